// TCP's face to the rest: how a namespace gets it. Its state is in tcp_sock.h.
#pragma once

#include "net/core/net_namespace.h"
#include "net/inet/inet_sock.h"
#include "net/inet/inet_protocol.h"

namespace ph {

/// Furnishes a kernel with the registry of congestion controls (tcp_cong.h).
void tcp_kernel_init(kernel& machine);
/// Furnishes a namespace: tables, sysctls (net.ipv4.tcp_*), memory limits.
void tcp_init(net_namespace& net);
/// Sets what Linux computes from a machine's memory: net.ipv4.tcp_max_tw_buckets, tcp_max_orphans
/// and tcp_max_syn_backlog. A new namespace has those of 24 GiB.
void tcp_set_limits(net_namespace& net, u64 memory_bytes);
/// The handler for IPPROTO_TCP of IPv4 (inet_protocol_table).
std::unique_ptr<inet_protocol> tcp_v4_protocol();
/// A new TCP sock over the family.
ref<sock> tcp_create(net_namespace& net, cpu& home, const inet_af_ops& af);

}  // namespace ph
