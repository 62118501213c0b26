// What a UDP socket is found by, and the groups of SO_REUSEPORT that share what comes for them.
// udp_table keeps both.
#pragma once

#include <memory>
#include <vector>

#include "base/hash_table.h"
#include "net/core/cbpf.h"
#include "net/inet/inet_addr.h"

namespace ph {

class udp_sock;

/// A received datagram as lookups see it.
struct udp_flow {
  inet_addr saddr, daddr;
  port_no sport{}, dport{};
  u32 iif = 0;
};

/// What a socket is found by. All zero bytes stand for any address, whichever family's.
struct udp_demux_key {
  inet_tuple tuple;
  u32 dev = 0;   ///< SO_BINDTODEVICE; 0: all
  s32 cpu = -1;  ///< SO_INCOMING_CPU, if there is such a cpu; -1: none asked for
  friend bool operator==(const udp_demux_key&, const udp_demux_key&) = default;
};

/// In the table, and in the order of those that are found by the same.
using udp_hook = hash_hook<struct udp_tag>;
using udp_equal_hook = tree_hook<struct udp_equal_tag>;

/// Sockets of SO_REUSEPORT that share what comes for any of them: of one user, bound to one address
/// and device.
class udp_group final : public counted {
 public:
  /// The member for a datagram for which `best` was found: as `chooser` says, which looks at `skb`
  /// (data at the payload), if both are there; else by `flow_hash`, among those of the same cpu if
  /// that was what `best` was found by.
  [[nodiscard]] udp_sock* select(cpu& cx, const udp_sock& best, u64 flow_hash,
                                 const sk_buff* skb) const;
  void add(udp_sock& sk);
  /// The last one takes the place of the one that goes.
  void remove(udp_sock& sk);

  /// Chooses by number (SO_ATTACH_REUSEPORT_CBPF).
  std::shared_ptr<const cbpf_program> chooser;
  bool had_connections = false;  ///< a member was connected, and left

 private:
  std::vector<udp_sock*> members_;  ///< those that are not connected
};

/// Sockets that are found by the same, where there is more than one.
struct udp_equals;

/// What the table keeps about a socket.
struct udp_place : udp_hook, udp_equal_hook {
  udp_demux_key found_by;
  u64 age = 0;  ///< the later bound, the greater
  std::shared_ptr<udp_equals> equals;
  ref<udp_group> group;     ///< of SO_REUSEPORT
  s32 place_in_group = -1;  ///< -1: none, or it was connected when it was taken in
};

}  // namespace ph
