// Choosing among the options that make received datagrams carry ancillary values.
#include "daemon/control_options.h"

#include <algorithm>
#include <iterator>

namespace ph::dropin {
namespace {

constexpr s32 on = 1;

/// Bit of the option, or 0.
u32 bit_of_option(int level, int name) {
  for (std::size_t i = 0; i < std::size(received_options); ++i) {
    if (received_options[i].level == level && received_options[i].name == name) return u32{1} << i;
  }
  return 0;
}

}  // namespace

void control_options::ask_for_all(host_sockets& host, int s) {
  for (const received_option& o : received_options) {
    (void)host.setsockopt(s, o.level, o.name, bytes_of(on));
  }
}

bool control_options::covers(int level, int name) { return bit_of_option(level, name) != 0; }

void control_options::set(host_sockets& host, int s, int level, int name, byte_view value) {
  const byte_view number = value.first(std::min(value.size(), sizeof(s32)));
  const bool choice = std::any_of(number.begin(), number.end(), [](u8 b) { return b != 0; });
  if (!choice) (void)host.setsockopt(s, level, name, bytes_of(on));
  const u32 bit = bit_of_option(level, name);
  chosen_ = choice ? chosen_ | bit : chosen_ & ~bit;
}

void control_options::get(int level, int name, byte_span value) const {
  if (!value.empty()) value[0] = (chosen_ & bit_of_option(level, name)) != 0 ? 1 : 0;
}

}  // namespace ph::dropin
