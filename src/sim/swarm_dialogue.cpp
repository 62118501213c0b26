// Choosing the segments of a connection by their ports, and putting them into words.
#include "sim/swarm_dialogue.h"

#include <fmt/format.h>

#include "uapi/inet.h"
#include "uapi/packet.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/print.h"
#include "wire/tcp.h"

namespace ph::sim {

/// `frame` begins with its Ethernet header.
void swarm_dialogue::add(instant when, const std::string& where, const sk_buff& frame) {
  const auto eth = ethernet_view::parse(frame.data());
  if (!eth || eth->header().proto != uapi::eth_p_ip) return;
  const iphdr* iph = view_as<iphdr>(eth->payload);
  if (iph == nullptr || iph->protocol != uapi::ipproto_tcp || iph->fragment_offset() != 0) return;
  const auto* th = view_as<tcphdr>(eth->payload, iph->header_bytes());
  if (th == nullptr) return;
  const u16 source = th->source.value(), dest = th->dest.value();
  const bool forth = source == port_ && dest == peer_port_;
  const bool back = source == peer_port_ && dest == port_;
  if (!forth && !back) return;
  std::vector<u8> whole(frame.len());
  if (!frame.copy_bits(0, whole)) return;
  lines_.push_back(
      fmt::format("{:14.9f} {} {}", static_cast<double>(when.ns) / 1e9, where,
                  print_packet(uapi::eth_p_ip, byte_view(whole).subspan(sizeof(ethhdr)))));
}

void swarm_dialogue::on_wire(const link& wire, const link::frame_seen& seen) {
  add(seen.when, fmt::format("{} {}", wire.name(), seen.from == link_end::a ? "->" : "<-"),
      seen.skb);
}

void swarm_dialogue::watch_lo(world& w) {
  for (const auto& h : w.hosts()) {
    lo_tap& heard = taps_.emplace_back();
    heard.where = h->name() + ":lo";
    heard.tap.dev = h->net().loopback;
    heard.tap.func = [this, &heard](cpu& cx, const sk_buff& skb, net_device&, bool outgoing) {
      if (outgoing) add(cx.now(), heard.where, skb);
    };
    h->net().add_tap(heard.tap);
  }
}

}  // namespace ph::sim
