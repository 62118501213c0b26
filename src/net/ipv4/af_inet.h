// The AF_INET family: which sock a socket(2) call gets.
#pragma once

#include <vector>

#include "kernel/task.h"
#include "net/inet/inet_sock.h"

namespace ph {

/// How a transport that IPv4 may not name makes its socks (Linux's struct inet_protosw).
struct inet_protosw {
  u16 type;
  u8 protocol;
  ref<sock> (*create)(net_namespace& net, cpu& home, const inet_af_ops& af);
};

/// Filled by init/builtin. The first of a type is the one that socket(2) means by protocol 0.
struct inet_family : slot_object {
  std::vector<inet_protosw> transports;
};
/// In the kernel's slots (a namespace has ipv4_net under the same number).
inline constexpr slot_key<inet_family> inet_family_key{"ipv4"};

/// Errors: socktnosupport (no such type), protonosupport (no such protocol for the type), perm
/// (raw sockets without net_admin), acces (ping sockets outside ping_group_range).
result<ref<sock>> inet_create(task& who, cpu& home, u16 type, int protocol);

}  // namespace ph
