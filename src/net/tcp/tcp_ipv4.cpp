// TCP over IPv4: the checksum (RFC 9293 §3.1), and what the header says of where a segment comes
// from. The only file of TCP that knows IPv4; whose a segment is, tcp_demux finds.
#include "net/ipv4/ipv4_net.h"
#include "net/ipv4/route.h"
#include "net/tcp/tcp.h"
#include "net/tcp/tcp_demux.h"
#include "wire/ipv4.h"

namespace ph {
namespace {

bool checksum_ok(const sk_buff& skb, const iphdr& iph) {
  if (skb.ip_summed == checksum_state::unnecessary || skb.ip_summed == checksum_state::partial) {
    return true;
  }
  const csum_partial pseudo = csum_pseudo_ipv4(iph.saddr, iph.daddr, uapi::ipproto_tcp,
                                               static_cast<u16>(skb.len()));
  if (skb.ip_summed == checksum_state::complete) return csum_ok(csum_add(skb.csum, pseudo));
  return csum_ok(skb.checksum(0, skb.len(), pseudo));
}

class tcp_v4 final : public inet_protocol {
 public:
  void rcv(cpu& cx, net_namespace& net, skb_ptr skb) override;
  void err(cpu& cx, net_namespace& net, const icmp_error& error, const sk_buff&) override {
    const tcp_icmp_outcome done = tcp_demux_error(cx, net, error);
    if (done == tcp_icmp_outcome::nobodys) net.mib().add(cx, mib::icmp_in_errors);
    // As Linux: who spoofs one must know the connection as well as for any other error.
    const bool redirect = error.kind == icmp_kind::redirect;
    if (redirect && done == tcp_icmp_outcome::taken) ip_rt_redirect(cx, net, error);
  }
};

void tcp_v4::rcv(cpu& cx, net_namespace& net, skb_ptr skb) {
  PH_TRACE(cx, *skb);
  if (skb->pkt_type != packet_type_for::host) {
    drop(cx, std::move(skb), drop_reason::tcp_no_socket);
    return;
  }
  const std::optional<tcp_seg> seg = tcp_read_segment(cx, *skb);
  if (!seg) {
    drop(cx, std::move(skb), drop_reason::tcp_malformed);
    return;
  }
  const iphdr& iph = skb->network_header<iphdr>();
  if (!checksum_ok(*skb, iph)) {
    drop(cx, std::move(skb), drop_reason::tcp_csum);
    return;
  }
  const tcp_packet packet{
      *this, ipv4_af_ops(), inet_addr::of(iph.daddr), inet_addr::of(iph.saddr), iph.tos, iph.ttl};
  tcp_demux(cx, net, std::move(skb), *seg, packet);
}

}  // namespace

std::unique_ptr<inet_protocol> tcp_v4_protocol() { return std::make_unique<tcp_v4>(); }

}  // namespace ph
