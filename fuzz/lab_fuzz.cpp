// Any bytes as a lab file: a checked lab or an error with a message, never a crash; and what is
// accepted keeps the promises of daemon/lab.h.
#include <cstddef>
#include <cstdint>
#include <set>
#include <string_view>

#include "base/check.h"
#include "daemon/lab.h"

namespace {

void check_promises(const ph::lab& l) {
  ph_check(!l.hosts.empty());
  std::set<std::string_view> names;
  for (const ph::lab_host& host : l.hosts) {
    ph_check(names.insert(host.name).second);
    ph_check(host.cpus >= 1 && host.cpus <= 64);
  }
  for (const ph::lab_link& link : l.links) {
    for (const ph::lab_end& end : link.ends) {
      ph_check(l.find_host(end.host) != nullptr);
      ph_check(!end.dev.empty() && end.dev.size() <= 15);
    }
    for (const double share : {link.loss, link.reorder, link.duplicate, link.corrupt}) {
      ph_check(share >= 0 && share <= 1);
    }
    ph_check(link.jitter <= link.delay && link.delay.ns >= 0 && link.queue_packets >= 1);
  }
  for (const ph::lab_route& route : l.routes) ph_check(l.find_host(route.host) != nullptr);
  for (const ph::lab_device& device : l.devices) ph_check(l.find_host(device.host) != nullptr);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto l =
      ph::parse_lab(std::string_view(reinterpret_cast<const char*>(data), size), "lab.yaml");
  if (l) {
    check_promises(*l);
  } else {
    ph_check(l.error().to_string().starts_with("lab.yaml"));
  }
  return 0;
}
