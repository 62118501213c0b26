// UDP's face to the rest (RFC 768). Raw and ping sockets are net/ipv4/raw.h and ping.h.
#pragma once

#include "net/core/net_namespace.h"
#include "net/inet/inet_sock.h"
#include "net/inet/inet_protocol.h"

namespace ph {

void udp_init(net_namespace& net);
std::unique_ptr<inet_protocol> udp_v4_protocol();
std::unique_ptr<inet_protocol> udplite_v4_protocol();
ref<sock> udp_create(net_namespace& net, cpu& home, const inet_af_ops& af);
ref<sock> udplite_create(net_namespace& net, cpu& home, const inet_af_ops& af);

}  // namespace ph
