// Cutting super-packets: TCP over IPv4 (RFC 9293) and UDP segmentation (UDP_SEGMENT) over IPv4.
// Every segment repeats the headers; what differs per segment is set by one small function per
// protocol. Does not: IPv6.
#include "net/core/gso.h"

#include "net/core/net_device.h"
#include "uapi/inet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace ph {
namespace {

/// Where things are in the super-packet, relative to data.
struct gso_layout {
  u32 network = 0;    ///< offset of the IP header
  u32 transport = 0;  ///< offset of the TCP or UDP header
  u32 headers = 0;    ///< bytes before the payload
  u8 protocol = 0;
};

/// Which segment is being made.
struct gso_position {
  u32 index = 0;
  u32 offset = 0;  ///< of its payload in the whole payload
  bool last = false;
  bool accurate_ecn = false;
};

/// Reads the layout and makes the headers linear. Errors: badmsg.
result<gso_layout> gso_parse(cpu& cx, sk_buff& skb) {
  gso_layout out;
  if (!skb.has_network_header() || skb.network_offset() < 0) return fail(errc::badmsg);
  out.network = static_cast<u32>(skb.network_offset());
  if (!skb.may_pull(cx, out.network + sizeof(iphdr))) return fail(errc::badmsg);
  // A forwarded packet has no transport header set: nobody on the way looked at it.
  const std::size_t ip_bytes = skb.network_header<iphdr>().header_bytes();
  out.transport = out.network + static_cast<u32>(ip_bytes);
  if (skb.ip_summed == checksum_state::partial &&
      skb.csum_start != skb.headroom() + out.transport) {
    return fail(errc::badmsg);
  }
  const bool tcp = (skb.gso_type & gso_tcpv4) != 0;
  out.protocol = tcp ? uapi::ipproto_tcp : uapi::ipproto_udp;
  out.headers = out.transport + static_cast<u32>(tcp ? sizeof(tcphdr) : sizeof(udphdr));
  if (!skb.may_pull(cx, out.headers)) return fail(errc::badmsg);
  if (tcp) {
    const auto bytes =
        static_cast<u32>(view_as<tcphdr>(skb.data(), out.transport)->header_bytes());
    if (bytes < sizeof(tcphdr)) return fail(errc::badmsg);
    out.headers = out.transport + bytes;
    if (!skb.may_pull(cx, out.headers)) return fail(errc::badmsg);
  }
  const iphdr& iph = skb.network_header<iphdr>();
  if (iph.version() != 4 || ip_bytes < sizeof(iphdr) || iph.protocol != out.protocol) {
    return fail(errc::badmsg);
  }
  return out;
}

/// A packet with the headers of `skb` and payload [at, at + n) of it; no metadata of the owner.
skb_ptr gso_copy(cpu& cx, const sk_buff& skb, const gso_layout& layout, u32 at, u32 n, bool share,
                 csum_partial& payload_sum) {
  const u32 linear = layout.headers + (share ? 0 : n);
  skb_ptr seg = alloc_skb(cx, skb.headroom() + linear);
  seg->reserve(skb.headroom());
  seg->put_bytes(skb.data().first(layout.headers));
  if (share) {
    seg->share_range(cx, skb, at, n);
  } else {
    byte_span to = seg->put(n);
    std::size_t done = 0;
    skb.for_pieces(at, n, [&](byte_view piece) {
      const csum_partial sum = csum_and_copy(to.subspan(done, piece.size()), piece);
      payload_sum = csum_block_add(payload_sum, sum, done);
      done += piece.size();
    });
  }
  seg->set_mac_header();
  seg->set_network_header(layout.network);
  seg->set_transport_header(layout.transport);
  seg->dev = skb.dev;
  seg->journey = skb.journey;
  seg->tstamp = skb.tstamp;
  seg->protocol = skb.protocol;
  seg->pkt_type = skb.pkt_type;
  seg->tc_class = skb.tc_class;
  seg->hash = skb.hash;
  seg->mark = skb.mark;
  seg->priority = skb.priority;
  seg->skb_iif = skb.skb_iif;
  seg->queue_mapping = skb.queue_mapping;
  return seg;
}

void fix_ipv4(sk_buff& seg, const gso_layout& layout, const gso_position& at) {
  iphdr& iph = seg.network_header_mut<iphdr>();
  iph.tot_len = be16(static_cast<u16>(seg.len() - layout.network));
  iph.id = be16(static_cast<u16>(iph.id.value() + at.index));
  ip_send_check(seg.writable().subspan(layout.network, layout.transport - layout.network));
}

/// RFC 9293 §3.1: data moves the sequence number; FIN and PSH belong to the end, CWR (RFC 3168
/// §6.1.2) to the first segment after the window was cut. Where the bit is a digit of a counter
/// (RFC 9768 §3.2.2) it belongs to all.
be16& fix_tcp(sk_buff& seg, const gso_position& at) {
  tcphdr& th = seg.transport_header_mut<tcphdr>();
  th.seq = be32(th.seq.value() + at.offset);
  if (!at.last) th.flags &= static_cast<u8>(~(tcphdr_fin | tcphdr_psh));
  if (at.index != 0 && !at.accurate_ecn) th.flags &= static_cast<u8>(~tcphdr_cwr);
  return th.check;
}

be16& fix_udp(sk_buff& seg, const gso_layout& layout) {
  udphdr& uh = seg.transport_header_mut<udphdr>();
  uh.len = be16(static_cast<u16>(seg.len() - layout.transport));
  return uh.check;
}

/// Sets lengths, numbers and checksums of one segment.
void fix_headers(sk_buff& seg, const gso_layout& layout, const gso_position& at, bool hw_csum,
                 csum_partial payload_sum) {
  fix_ipv4(seg, layout, at);
  const bool tcp = layout.protocol == uapi::ipproto_tcp;
  be16& check = tcp ? fix_tcp(seg, at) : fix_udp(seg, layout);
  const iphdr& iph = seg.network_header<iphdr>();
  const csum_partial pseudo =
      csum_pseudo_ipv4(iph.saddr, iph.daddr, layout.protocol,
                       static_cast<u16>(seg.len() - layout.transport));
  if (hw_csum) {
    seg.ip_summed = checksum_state::partial;
    seg.csum_start = static_cast<u16>(seg.headroom() + layout.transport);
    seg.csum_offset = tcp ? offsetof(tcphdr, check) : offsetof(udphdr, check);
    check = be16(static_cast<u16>(~csum_fold(pseudo).value()));
    return;
  }
  check = be16(0);
  const u32 header_bytes = layout.headers - layout.transport;  // even: payload adds unswapped
  csum_partial sum = csum_add_bytes(seg.transport_bytes().first(header_bytes), pseudo);
  check = csum_fold(csum_add(sum, payload_sum));
  if (!tcp && check == be16(0)) check = be16(0xffff);  // zero would mean "none" (RFC 768)
  seg.ip_summed = checksum_state::none;
}

}  // namespace

bool skb_needs_gso(const sk_buff& skb, u32 features) {
  if (skb.gso_size == 0) return false;
  // Segments get new checksums, so a device that cuts must sum as well.
  if (skb.ip_summed != checksum_state::partial || (features & netif_f_hw_csum) == 0) return true;
  // Nor do devices know a CWR that every segment must carry.
  if ((skb.gso_type & gso_accecn) != 0) return true;
  switch (skb.gso_type & (gso_tcpv4 | gso_tcpv6 | gso_udp_l4)) {
    case gso_tcpv4: return (features & netif_f_tso) == 0;
    case gso_tcpv6: return (features & netif_f_tso6) == 0;
    default: return (features & netif_f_gso_udp) == 0;
  }
}

bool skb_gso_segment(cpu& cx, skb_ptr skb, u32 features, skb_queue& out) {
  PH_TRACE(cx, *skb);
  const u8 kind = skb->gso_type & (gso_tcpv4 | gso_tcpv6 | gso_udp_l4);
  const result<gso_layout> layout =
      kind == gso_tcpv4 || kind == gso_udp_l4 ? gso_parse(cx, *skb) : fail(errc::opnotsupp);
  if (!layout || skb->gso_size == 0) {
    drop(cx, std::move(skb), drop_reason::bad_offload);
    return false;
  }
  const bool hw_csum = (features & netif_f_hw_csum) != 0;
  const bool share = hw_csum && (features & netif_f_sg) != 0;
  const u32 payload = skb->len() - layout->headers;
  const u32 count = gso_segments(payload, skb->gso_size);
  for (u32 i = 0; i < count; ++i) {
    const gso_position at{i, i * skb->gso_size, i + 1 == count,
                          (skb->gso_type & gso_accecn) != 0};
    const u32 n = at.last ? payload - at.offset : skb->gso_size;
    csum_partial payload_sum;
    skb_ptr seg =
        gso_copy(cx, *skb, *layout, layout->headers + at.offset, n, share, payload_sum);
    fix_headers(*seg, *layout, at, hw_csum, payload_sum);
    if (at.last && skb->destructor != nullptr) {
      seg->sk = std::exchange(skb->sk, nullptr);
      seg->destructor = std::exchange(skb->destructor, nullptr);
      seg->truesize = skb->truesize;
      seg->tx_flags = skb->tx_flags;
      seg->tskey = skb->tskey;
    }
    out.push_back(std::move(seg));
  }
  kfree_skb(skb.release());
  return true;
}

}  // namespace ph
