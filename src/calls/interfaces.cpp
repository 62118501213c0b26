// Asking for the interfaces, and the oldest form in which programs want them (netdevice(7)).
#include "calls/interfaces.h"

#include <net/if.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>

#include "calls/anchor.h"

namespace ph::calls {

using dropin::interface_record;

int interface_list::read(caller& c) {
  constexpr std::size_t most = 256;
  std::size_t len = most * sizeof(interface_record);
  if (memory_.take(len) == nullptr) return -ENOMEM;
  const int result =
      ask_for(c, -1, dropin::request_kind::interfaces, 0, 0, 0, nullptr, 0, memory_.bytes(), &len);
  if (result < 0) return result;
  count_ = len / sizeof(interface_record);
  return 0;
}

long fill_interface_list(caller& c, u64 out, int room) {
  interface_list records;
  if (const int error = records.read(c); error != 0) return error;
  long used = 0;
  for (const interface_record& r : records) {
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
