// What each forged segment changes about the genuine one that it takes after.
#include "sim/swarm_attack.h"

#include <algorithm>
#include <optional>

#include "uapi/inet.h"
#include "uapi/packet.h"
#include "wire/ethernet.h"

namespace ph::sim {
namespace {

constexpr std::size_t remembered = 200;
constexpr u8 fresh_ttl = 64;  ///< what a router passed on may be a forgery, and one of that a hit
constexpr u32 far = 1u << 30;  ///< no window reaches so far

/// A TCP segment in a frame, with room to change it.
struct opened {
  byte_span ip;
  byte_span tcp;
  [[nodiscard]] iphdr& iph() const { return *view_as<iphdr>(ip); }
  [[nodiscard]] tcphdr& th() const { return *view_as<tcphdr>(tcp); }
  [[nodiscard]] byte_span options() const {
    return tcp.subspan(sizeof(tcphdr), th().header_bytes() - sizeof(tcphdr));
  }
};

/// Nothing when the frame is no whole, single TCP segment.
std::optional<opened> open_frame(byte_span frame) {
  const ethhdr* eth = view_as<ethhdr>(frame);
  if (eth == nullptr || eth->h_proto.value() != uapi::eth_p_ip) return {};
  const byte_span ip = frame.subspan(sizeof(ethhdr));
  const auto view = ipv4_view::parse(ip);
  if (!view || view->iph->protocol != uapi::ipproto_tcp || view->iph->is_fragment()) return {};
  if (!tcp_view::parse(view->payload)) return {};
  const std::size_t head = view->iph->header_bytes();
  return opened{ip, ip.subspan(head, view->iph->tot_len.value() - head)};
}

/// Moves the timestamp by so much, if there is one.
void move_timestamp(const opened& seg, u32 by) {
  const byte_span options = seg.options();
  for (std::size_t at = 0; at + tcpolen_timestamp <= options.size();) {
    const u8 kind = options[at];
    if (kind == tcpopt_eol) return;
    if (kind == tcpopt_nop) {
      ++at;
      continue;
    }
    if (kind == tcpopt_timestamp) {
      be32& value = *view_as<be32>(options, at + 2);
      value.set(value.value() + by);
      return;
    }
    at += std::max<std::size_t>(options[at + 1], 2);
  }
}

/// Cuts the payload off.
opened without_data(const opened& seg) {
  const std::size_t header = seg.th().header_bytes();
  const std::size_t head = seg.iph().header_bytes();
  seg.iph().tot_len.set(static_cast<u16>(head + header));
  return {seg.ip.first(head + header), seg.tcp.first(header)};
}

void mend_checksums(const opened& seg) {
  ip_send_check(seg.ip.first(seg.iph().header_bytes()));
  seg.th().check.set(0);
  const csum_partial pseudo = csum_pseudo_ipv4(seg.iph().saddr, seg.iph().daddr, uapi::ipproto_tcp,
                                               static_cast<u16>(seg.tcp.size()));
  seg.th().check = csum_fold(csum_add_bytes(seg.tcp, pseudo));
}

void add_to(be32& number, u32 by) { number.set(number.value() + by); }

}  // namespace

void swarm_attack::overhear(link& wire, const link::frame_seen& seen) {
  if (seen.skb.gso_size != 0) return;
  heard next{&wire, seen.from, std::vector<u8>(seen.len)};
  if (!seen.skb.copy_bits(0, next.frame)) return;
  const auto seg = open_frame(next.frame);
  if (!seg || seg->iph().ttl != fresh_ttl) return;
  heard_.push_back(std::move(next));
  if (heard_.size() > remembered) heard_.pop_front();
}

void swarm_attack::strike() {
  if (heard_.empty()) return;
  const heard& victim = heard_[chance_.below(heard_.size())];
  if (chance_.chance(0.3)) {
    replay(victim);
  } else {
    forge(victim);
  }
}

/// A late copy, with the checksums that it had. Not of a SYN, whose data a server may take twice
/// (RFC 7413 §2.1), nor of a reset.
void swarm_attack::replay(const heard& from) {
  std::vector<u8> frame = from.frame;
  if ((open_frame(frame)->th().flags & (tcphdr_syn | tcphdr_rst)) != 0) return;
  from.wire->inject(from.from, frame, true);
}

void swarm_attack::forge(const heard& from) {
  std::vector<u8> frame = from.frame;
  opened seg = *open_frame(frame);
  tcphdr& th = seg.th();
  if ((th.flags & (tcphdr_syn | tcphdr_rst)) != 0) return;
  const u32 some = static_cast<u32>(chance_.below(far));
  switch (chance_.below(6)) {
    case 0:  // anything, far outside the window
      add_to(th.seq, far + some);
      th.flags = static_cast<u8>(tcphdr_ack | (chance_.below(2) * tcphdr_fin));
      move_timestamp(seg, some);
      break;
    case 1:  // an acknowledgement of what was never sent, with a timestamp from the future
      add_to(th.ack_seq, far + some);
      move_timestamp(seg, far);
      break;
    case 2:  // the same with data cut off, from the past
      add_to(th.ack_seq, far + some);
      move_timestamp(seg, 0u - far);
      seg = without_data(seg);
      break;
    case 3:  // a reset far outside the window
      seg = without_data(seg);
      seg.th().flags = tcphdr_rst;
      add_to(seg.th().seq, far + some);
      break;
    case 4:  // a reset with an old number; in SYN-SENT the acknowledgement alone must refuse it:
             // with the right one it would pass for genuine (RFC 9293 §3.10.7.3)
      seg = without_data(seg);
      seg.th().flags = tcphdr_rst | tcphdr_ack;
      add_to(seg.th().seq, 0u - (far + some));
      add_to(seg.th().ack_seq, far + some);
      break;
    default:  // an acknowledgement far too old
      seg = without_data(seg);
      add_to(seg.th().ack_seq, 0u - (far + some));
      move_timestamp(seg, far);
      break;
  }
  mend_checksums(seg);
  from.wire->inject(from.from, byte_view(frame).first(sizeof(ethhdr) + seg.ip.size()), false);
}

}  // namespace ph::sim
