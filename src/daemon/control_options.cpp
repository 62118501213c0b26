// The table of options that make received datagrams carry ancillary values.
#include "daemon/control_options.h"

#include <algorithm>

#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::dropin {
namespace {

struct row {
  int level;
  int name;  ///< of the option
  int type;  ///< of the control message
};
constexpr row table[] = {
    {uapi::sol_ip, uapi::ip_pktinfo, uapi::ip_pktinfo},
    {uapi::sol_ip, uapi::ip_recvttl, uapi::ip_ttl},
    {uapi::sol_ip, uapi::ip_recvtos, uapi::ip_tos},
    {uapi::sol_ip, uapi::ip_recvopts, uapi::ip_recvopts},
    {uapi::sol_ip, uapi::ip_retopts, uapi::ip_retopts},
    {uapi::sol_ip, uapi::ip_recvorigdstaddr, uapi::ip_origdstaddr},
    {uapi::sol_ip, uapi::ip_recvfragsize, uapi::ip_recvfragsize},
    {uapi::sol_socket, uapi::so_rxq_ovfl, uapi::so_rxq_ovfl},
    {uapi::sol_socket, uapi::so_rcvmark, uapi::so_mark},
    {uapi::sol_socket, uapi::so_rcvpriority, uapi::so_priority},
};
constexpr s32 on = 1;

/// Bit of the option, or 0.
u32 bit_of_option(int level, int name) {
  for (std::size_t i = 0; i < std::size(table); ++i) {
    if (table[i].level == level && table[i].name == name) return u32{1} << i;
  }
  return 0;
}

}  // namespace

void control_options::ask_for_all(host_sockets& host, int s) {
  for (const row& r : table) (void)host.setsockopt(s, r.level, r.name, bytes_of(on));
}

bool control_options::covers(int level, int name) { return bit_of_option(level, name) != 0; }

bool control_options::set(host_sockets& host, int s, int level, int name, byte_view value) {
  const byte_view number = value.first(std::min(value.size(), sizeof(s32)));
  const bool choice = std::any_of(number.begin(), number.end(), [](u8 b) { return b != 0; });
  if (!choice) (void)host.setsockopt(s, level, name, bytes_of(on));
  const u32 bit = bit_of_option(level, name);
  const u32 before = chosen_;
  chosen_ = choice ? chosen_ | bit : chosen_ & ~bit;
  return chosen_ != before;
}

void control_options::get(int level, int name, byte_span value) const {
  if (!value.empty()) value[0] = (chosen_ & bit_of_option(level, name)) != 0 ? 1 : 0;
}

bool control_options::wants(int level, int type) const {
  for (std::size_t i = 0; i < std::size(table); ++i) {
    if (table[i].level == level && table[i].type == type) return (chosen_ >> i & 1) != 0;
  }
  return true;
}

}  // namespace ph::dropin
