// Hooks of getifaddrs and the if_* functions. libc's own ask the host's kernel from inside libc.
#include "calls/interfaces.h"

#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "shim/config.h"
#include "shim/hook.h"
#include "shim/own_caller.h"

namespace {

using namespace ph;
using namespace ph::shim;
using dropin::interface_record;

constinit next_function<int(ifaddrs**)> next_getifaddrs{"getifaddrs"};
constinit next_function<unsigned(const char*)> next_if_nametoindex{"if_nametoindex"};
constinit next_function<char*(unsigned, char*)> next_if_indextoname{"if_indextoname"};
constinit next_function<struct if_nameindex*()> next_if_nameindex{"if_nameindex"};

/// One element of getifaddrs' list with all that it points to.
struct listed_address {
  ifaddrs entry;
  char name[IFNAMSIZ];
  sockaddr_storage address;
  sockaddr_storage mask;
  sockaddr_storage broadcast;
};

sockaddr* put_inet(sockaddr_storage& to, u16 family, const u8* bytes) {
  to.ss_family = family;
  if (family == AF_INET) std::memcpy(reinterpret_cast<u8*>(&to) + 4, bytes, 4);
  if (family == AF_INET6) std::memcpy(reinterpret_cast<u8*>(&to) + 8, bytes, 16);
  return reinterpret_cast<sockaddr*>(&to);
}

void prefix_bytes(unsigned prefix_len, u8 (&out)[16]) {
  for (unsigned i = 0; i < 16; ++i) {
    const unsigned bits = prefix_len > i * 8 ? prefix_len - i * 8 : 0;
    out[i] = bits >= 8 ? 0xff : static_cast<u8>(0xff00u >> bits);
  }
}

sockaddr* put_hardware(sockaddr_storage& to, const interface_record& r) {
  sockaddr_ll ll{};
  ll.sll_family = AF_PACKET;
  ll.sll_ifindex = static_cast<int>(r.index);
  ll.sll_hatype = r.hardware_type;
  ll.sll_halen = r.hardware_addr_len <= 8 ? r.hardware_addr_len : u8{8};
  std::memcpy(ll.sll_addr, r.hardware_addr, sizeof ll.sll_addr);
  std::memcpy(&to, &ll, sizeof ll);
  return reinterpret_cast<sockaddr*>(&to);
}

void fill_entry(listed_address& to, const interface_record& r) {
  std::memcpy(to.name, r.name, sizeof to.name);
  to.name[sizeof to.name - 1] = 0;
  to.entry.ifa_name = to.name;
  to.entry.ifa_flags = r.flags;
  if (r.family == 0) {
    to.entry.ifa_addr = put_hardware(to.address, r);
    return;
  }
  to.entry.ifa_addr = put_inet(to.address, r.family, r.address);
  u8 mask[16];
  prefix_bytes(r.prefix_len, mask);
  to.entry.ifa_netmask = put_inet(to.mask, r.family, mask);
  if ((r.flags & IFF_BROADCAST) != 0) {
    to.entry.ifa_broadaddr = put_inet(to.broadcast, r.family, r.broadcast);
  }
}

bool same_name(const interface_record& r, const char* name) {
  return std::strncmp(r.name, name, sizeof r.name) == 0;
}

/// 0, or -errno.
int ask_for_interfaces(interface_list& out) {
  own_caller c(-1);
  return out.read(c);
}

}  // namespace

PH_HOOK(int, getifaddrs, ifaddrs** out) {
  if (!config().active) return next_getifaddrs(out);
  interface_list records;
  if (const int error = ask_for_interfaces(records); error != 0) return finish(error);
  const std::size_t count = records.size();
  *out = nullptr;
  if (count == 0) return 0;
  // One block, as libc's own: freeifaddrs(3) frees the head.
  auto* list = static_cast<listed_address*>(std::calloc(count, sizeof(listed_address)));
  if (list == nullptr) return finish(-ENOMEM);
  for (std::size_t i = 0; i < count; ++i) {
    fill_entry(list[i], records[i]);
    list[i].entry.ifa_next = i + 1 < count ? &list[i + 1].entry : nullptr;
  }
  *out = &list[0].entry;
  return 0;
}

PH_HOOK(void, freeifaddrs, ifaddrs* list) { std::free(list); }

PH_HOOK(unsigned, if_nametoindex, const char* name) {
  if (!config().active) return next_if_nametoindex(name);
  interface_list records;
  const int error = ask_for_interfaces(records);
  for (const interface_record& r : records) {
    if (same_name(r, name)) return r.index;
  }
  errno = error < 0 ? -error : ENODEV;
  return 0;
}

PH_HOOK(char*, if_indextoname, unsigned index, char* name) {
  if (!config().active) return next_if_indextoname(index, name);
  interface_list records;
  const int error = ask_for_interfaces(records);
  for (const interface_record& r : records) {
    if (r.index == index) {
      std::memcpy(name, r.name, IFNAMSIZ);
      return name;
    }
  }
  errno = error < 0 ? -error : ENXIO;
  return nullptr;
}

PH_HOOK(struct if_nameindex*, if_nameindex, void) {
  if (!config().active) return next_if_nameindex();
  interface_list records;
  if (const int error = ask_for_interfaces(records); error != 0) {
    errno = -error;
    return nullptr;
  }
  // Each name is freed by if_freenameindex(3) on its own, as libc's are.
  auto* list = static_cast<struct if_nameindex*>(
      std::calloc(records.size() + 1, sizeof(struct if_nameindex)));
  std::size_t used = 0;
  for (std::size_t i = 0; list != nullptr && i < records.size(); ++i) {
    bool seen = false;
    for (std::size_t k = 0; k < i; ++k) seen = seen || records[k].index == records[i].index;
    if (seen) continue;
    list[used].if_index = records[i].index;
    list[used++].if_name = strndup(records[i].name, IFNAMSIZ);
  }
  return list;
}
