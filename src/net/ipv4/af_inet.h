// The AF_INET family: which sock a socket(2) call gets.
#pragma once

#include "kernel/task.h"
#include "net/inet/inet_sock.h"

namespace ph {

/// How the transports that IPv4 may not name make their socks; filled by init/builtin.
struct inet_family : slot_object {
  using create_fn = ref<sock> (*)(net_namespace& net, cpu& home, const inet_af_ops& af);
  create_fn stream = nullptr;  ///< TCP
  create_fn dgram = nullptr;   ///< UDP
  create_fn dgram_lite = nullptr;  ///< UDP-Lite
};
/// In the kernel's slots (a namespace has ipv4_net under the same number).
inline constexpr slot_key<inet_family> inet_family_key{"ipv4"};

/// Errors: socktnosupport (no such type), protonosupport (no such protocol for the type), perm
/// (raw sockets without net_admin), acces (ping sockets outside ping_group_range).
result<ref<sock>> inet_create(task& who, cpu& home, u16 type, int protocol);

}  // namespace ph
