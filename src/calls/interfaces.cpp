// Asking for the interfaces, and the oldest form in which programs want them (netdevice(7)).
#include "calls/interfaces.h"

#include <net/if.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>

#include "calls/anchor.h"

namespace ph::calls {

using dropin::interface_record;

long read_interfaces(caller& c, interface_record (&out)[max_interfaces]) {
  std::size_t len = sizeof out;
  const int result =
      ask_for(c, -1, dropin::request_kind::interfaces, 0, 0, 0, nullptr, 0, out, &len);
  if (result < 0) return result;
  return static_cast<long>(len / sizeof(interface_record));
}

long fill_interface_list(caller& c, u64 out, int room) {
  interface_record records[max_interfaces];
  const long count = read_interfaces(c, records);
  if (count < 0) return count;
  long used = 0;
  for (long i = 0; i < count; ++i) {
    const interface_record& r = records[i];
    if (r.family != AF_INET) continue;
    if (room != 0 && used + static_cast<long>(sizeof(ifreq)) > room) break;
    if (room != 0) {
      ifreq one{};
      sockaddr_in address{};
      address.sin_family = AF_INET;
      std::memcpy(&address.sin_addr, r.address, sizeof address.sin_addr);
      std::memcpy(one.ifr_name, r.name, sizeof one.ifr_name);
      std::memcpy(&one.ifr_addr, &address, sizeof one.ifr_addr);
      if (!c.write(out + static_cast<u64>(used), &one, sizeof one)) return -EFAULT;
    }
    used += static_cast<long>(sizeof(ifreq));
  }
  return used;
}

}  // namespace ph::calls
