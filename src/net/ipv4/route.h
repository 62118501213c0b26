// Routes as packets use them: rtable, the lookups for input and output, and exceptions
// (path MTU, redirects).
#pragma once

#include "net/core/neighbour.h"
#include "net/ipv4/ipv4_net.h"

namespace ph {

/// A cached answer of the FIB.
class rtable final : public dst_entry {
 public:
  explicit rtable(net_namespace& net) : net_(net) {}
  void input(cpu& cx, skb_ptr skb) override;
  xmit_result output(cpu& cx, skb_ptr skb) override;
  [[nodiscard]] u32 mtu(instant now) const override;
  /// The neighbour of the next hop for a packet to daddr, looked up once. Errors: nobufs.
  result<ref<neighbour>> neigh(cpu& cx, ipv4_addr daddr);
  /// An upper layer had an answer through the next hop to daddr: it is reachable.
  void confirm(cpu& cx, ipv4_addr daddr);
  [[nodiscard]] net_namespace& net() const { return net_; }

  route_type type = route_type::unspec;
  bool is_input = false;
  bool local_copy = false;  ///< a broadcast or multicast that this host receives as well
  bool mtu_locked = false;  ///< packets may be fragmented on the way: no DF
  ipv4_addr gateway;        ///< any: on link
  ipv4_addr fib_gateway;    ///< what the tables say, whatever a redirect said
  instant gateway_expires = never;  ///< a redirect's is not for ever
  ipv4_addr saddr;          ///< preferred source (output)
  /// By which device a packet of ours to ourselves seems to come, whatever it comes by: that of its
  /// address.
  ifindex iif{};
  u32 fib_mtu = 0;          ///< RTAX_MTU, 0: device's
  u32 pmtu = 0;             ///< learned, 0: none
  instant pmtu_expires{};
  errc error = errc::ok;    ///< for routes that refuse

 private:
  net_namespace& net_;
  ref<neighbour> neigh_;
};

/// Route for a packet we send. flow.saddr any: chosen (see rtable::saddr). Errors: netunreach,
/// hostunreach, acces, inval, nodev.
result<ref<rtable>> ip_route_output(cpu& cx, net_namespace& net, const flowi4& flow);
/// Route for a packet that arrived (network header set): sets skb.dst or says why not.
skb_drop_reason ip_route_input(cpu& cx, sk_buff& skb, net_device& dev);
/// Still true? (table generation, expiry of a redirect)
bool rt_valid(const rtable& rt, instant now);
/// A router said the path to daddr takes at most `mtu` (RFC 1191); clamped to min_pmtu.
void ip_rt_update_pmtu(cpu& cx, net_namespace& net, ipv4_addr daddr, u32 mtu);
/// RFC 1122 §3.2.2.2: the gateway that is in use for error.raddr says that error.info is better. As
/// Linux: believed once the link knows that one, which is asked for it; not by routers.
void ip_rt_redirect(cpu& cx, net_namespace& net, const icmp_error& error);
/// What is known of the path, 0: nothing.
u32 ip_rt_pmtu(net_namespace& net, ipv4_addr daddr, instant now);

}  // namespace ph
