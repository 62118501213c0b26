// The rules, one function each; then taking frames apart.
#include "sim/checkers.h"

#include <fmt/format.h>

#include "base/hash.h"
#include "wire/ethernet.h"

namespace ph::sim {

// --- what arrived -------------------------------------------------------------------------------

void arrived_bytes::add(u32 from, u32 to) {
  if (to <= contiguous_ || from >= to) return;
  auto it = beyond_.lower_bound(from);
  if (it != beyond_.begin() && std::prev(it)->second >= from) --it;
  while (it != beyond_.end() && it->first <= to) {
    from = std::min(from, it->first);
    to = std::max(to, it->second);
    it = beyond_.erase(it);
  }
  if (from <= contiguous_) {
    contiguous_ = to;
  } else {
    beyond_[from] = to;
  }
}

bool arrived_bytes::covers(u32 from, u32 to) const {
  if (to <= contiguous_) return true;
  from = std::max(from, contiguous_);
  auto it = beyond_.upper_bound(from);
  return it != beyond_.begin() && std::prev(it)->second >= to;
}

// --- one end ------------------------------------------------------------------------------------

tcp_end_checker::offer tcp_end_checker::offer_of(const tcp_options_received& o) {
  return {o.mss == 0 ? u16{536} : o.mss, o.snd_wscale, o.wscale_ok, o.sack_ok, o.saw_tstamp};
}

/// The peer's numbering is known: what arrived counts from its SYN.
void tcp_end_checker::adopt_peer(seq32 irs) {
  const auto found = syns_.find(irs.raw);
  if (found == syns_.end()) return;
  peer_known_ = true;
  irs_ = irs;
  theirs_ = found->second.options;
  peer_syn_seen_ = true;
  arrived_ = {};
  arrived_.add(0, 1 + found->second.payload);
}

/// No window reaches so far that the others would be accepted.
bool tcp_end_checker::believable(const tcp_segment& seg) const {
  constexpr s32 farthest = 1 << 29;
  const s32 ahead = seg.seq - (irs_ + arrived_.contiguous());
  if (ahead > farthest || ahead < -farthest) return false;
  return !seg.ack() || (seg.ack_seq <= snd_max_ && snd_max_ - seg.ack_seq < farthest);
}

void tcp_end_checker::received(instant when, const tcp_segment& seg, u32 payload) {
  if (seg.rst()) return;
  if (when != last_arrival_) earlier_arrival_ = std::exchange(last_arrival_, when);
  if (seg.syn()) {
    // RFC 9293 §3.10.7.3: what comes with a SYN, a FIN too, may be taken later.
    const u32 behind = payload + (seg.fin() ? 1 : 0);
    syn& heard = syns_[seg.seq.raw];
    // A SYN that comes again without its data takes nothing back (both waited for ARP, say).
    heard = {offer_of(tcp_parse_options(seg.options, true)), std::max(heard.payload, behind),
             seg.window};
    if (known_ && peer_known_ && seg.seq == irs_) arrived_.add(0, 1 + behind);
    if (!known_ || peer_known_) return;
    if (seg.ack() && seg.ack_seq != iss_ + 1 && seg.ack_seq != snd_max_) return;
    adopt_peer(seg.seq);
    if (seg.ack()) send_edge_ = seq_max(send_edge_, seg.ack_seq + seg.window);
    else send_edge_ = seq_max(send_edge_, iss_ + 1 + seg.window);
    return;
  }
  if (!known_ || !peer_known_ || !believable(seg)) return;
  const u32 from = (seg.seq - irs_) >= 0 ? seg.seq.raw - irs_.raw : 0;
  const s32 to = seg.seq - irs_ + static_cast<s32>(payload) + (seg.fin() ? 1 : 0);
  if (to > 0) arrived_.add(from, static_cast<u32>(to));
  if (!seg.ack()) return;
  if (!peer_ack_ || seg.ack_seq > *peer_ack_) peer_ack_ = seg.ack_seq;
  const u8 shift = ours_.wscale_ok && theirs_.wscale_ok ? theirs_.wscale : u8{0};
  send_edge_ = seq_max(send_edge_, seg.ack_seq + (u32{seg.window} << shift));
}

/// This end sends a SYN: a new connection if its number is new.
void tcp_end_checker::opened(const tcp_segment& seg, const tcp_options_received& options) {
  // Within one tick of the clock of RFC 6528, two connections of the same ports share their ISN.
  const bool other_peer = seg.ack() && peer_known_ && seg.ack_seq != irs_ + 1 &&
                          syns_.contains(seg.ack_seq.raw - 1);
  if (!known_ || seg.seq != iss_ || other_peer) {
    auto syns = std::move(syns_);
    *this = {};
    syns_ = std::move(syns);
    known_ = true;
    iss_ = snd_max_ = send_edge_ = syn_end_ = seg.seq;
    ++send_edge_;
    ours_ = offer_of(options);
  }
  if (!seg.ack() || peer_known_) return;
  // The peer's SYN is the one right before what is acknowledged, or the one with data (RFC 7413).
  for (const auto& [number, heard] : syns_) {
    const u32 ahead = seg.ack_seq.raw - number;
    if (ahead < 1 || ahead > 1 + heard.payload) continue;
    adopt_peer(seq32(number));
    send_edge_ = seq_max(send_edge_, iss_ + 1 + heard.window);
    return;
  }
}

std::optional<tcp_end_checker::fault> tcp_end_checker::sent(instant when, const tcp_segment& seg,
                                                            u32 payload, bool whole) {
  if (seg.rst()) return {};
  const tcp_options_received options = tcp_parse_options(seg.options, seg.syn());
  if (seg.syn()) opened(seg, options);
  if (!known_) return {};  // an answer in the name of no connection
  if (auto bad = check_sequence(seg, payload)) return bad;
  if (seg.ack()) {
    if (!peer_known_) return fault{"ack", "it acknowledges a SYN that did not arrive"};
    if (auto bad = check_ack(seg)) return bad;
    last_ack_ = seg.ack_seq;
    if (auto bad = check_offered_edge(seg)) return bad;
    if (payload == 0 && !seg.syn() && !seg.fin()) {
      if (auto bad = check_bare(when, seg)) return bad;
    }
  }
  if (whole) {
    if (auto bad = check_sizes(seg, payload)) return bad;
  }
  return check_options(seg, options);
}

std::optional<tcp_end_checker::fault> tcp_end_checker::check_ack(const tcp_segment& seg) const {
  const s32 acked = seg.ack_seq - irs_;
  if (acked < 0 || static_cast<u32>(acked) > arrived_.contiguous()) {
    return fault{"ack", fmt::format("it acknowledges up to {} after the ISN, but only {} arrived",
                                    acked, arrived_.contiguous())};
  }
  if (last_ack_ && seg.ack_seq < *last_ack_) {
    return fault{"ack", fmt::format("it takes back an acknowledgement of {} bytes",
                                    *last_ack_ - seg.ack_seq)};
  }
  return {};
}

std::optional<tcp_end_checker::fault> tcp_end_checker::check_sequence(const tcp_segment& seg,
                                                                      u32 payload) {
  const seq32 end = seg.seq + (payload + (seg.syn() ? 1u : 0u) + (seg.fin() ? 1u : 0u));
  if (seg.seq > snd_max_) {
    return fault{"sequence", fmt::format("it leaves out {} numbers", seg.seq - snd_max_)};
  }
  if (seg.seq < iss_) return fault{"sequence", "it goes back behind its SYN"};
  if (fin_end_ && end > *fin_end_) {
    return fault{"sequence", fmt::format("it sends {} bytes after its FIN", end - *fin_end_)};
  }
  const seq32 data_end = seg.seq + (payload + (seg.syn() ? 1u : 0u));
  if (seg.syn()) syn_end_ = seq_max(syn_end_, data_end);
  // Data that the SYN carried before any window was known (RFC 7413) are sent again, and the first
  // of them may have to probe a window that has closed meanwhile (RFC 9293 §3.8.6.1).
  const bool repeats_syn = data_end <= syn_end_ && peer_ack_ && seg.seq == *peer_ack_;
  if (payload != 0 && !seg.syn() && data_end > send_edge_ && !repeats_syn) {
    return fault{"window", fmt::format("its data reach {} bytes beyond the window that it knows",
                                       data_end - send_edge_)};
  }
  snd_max_ = seq_max(snd_max_, end);
  if (seg.fin()) fin_end_ = end;
  return {};
}

std::optional<tcp_end_checker::fault> tcp_end_checker::check_offered_edge(const tcp_segment& seg) {
  const bool scaled = !seg.syn() && ours_.wscale_ok && theirs_.wscale_ok;
  const u32 unit = scaled ? 1u << ours_.wscale : 1u;
  const seq32 edge = seg.ack_seq + u32{seg.window} * unit;
  // A SYN+ACK that is sent again cannot say more than 65,535.
  if (!seg.syn() && offered_edge_ && edge + (unit - 1) < *offered_edge_) {
    return fault{"shrink", fmt::format("the window that it offers shrinks by {} bytes",
                                       *offered_edge_ - edge)};
  }
  if (!offered_edge_ || edge > *offered_edge_) offered_edge_ = edge;
  return {};
}

/// So many whole seconds after the last sign of life, or after the last probe: the keepalive timer
/// counts in those (TCP_KEEPIDLE, TCP_KEEPINTVL). Two ends that count alike probe each other at the
/// same distance, and the peer's probe may arrive at the very instant of the own one.
bool tcp_end_checker::keepalive_due(instant when) const {
  const auto whole = [when](instant since) {
    const duration passed = when - since;
    return since.ns >= 0 && passed >= seconds(1) && passed.ns % seconds(1).ns == 0;
  };
  return whole(earlier_arrival_) || whole(last_probe_);
}

std::optional<tcp_end_checker::fault> tcp_end_checker::check_bare(instant when,
                                                                  const tcp_segment& seg) {
  // Behind several segments the FIN may lie just beyond; window scale makes up for it.
  const bool scaled = ours_.wscale_ok && theirs_.wscale_ok;
  if (seg.seq > send_edge_ + (scaled ? (u32{1} << ours_.wscale) - 1 : 0)) {
    return fault{"bare", fmt::format("without data it lies {} numbers beyond the window, where the "
                                     "peer does not listen", seg.seq - send_edge_)};
  }
  // One number before what the peer acknowledged: a probe, of a closed window or of a silent peer.
  if (!peer_ack_ || seg.seq + 1 != *peer_ack_) return {};
  const bool by_timer = when != last_arrival_ || keepalive_due(when);
  const instant before = std::exchange(last_probe_, when);
  if (!by_timer) return fault{"probe", "it probes because a segment arrived"};
  if (before.ns >= 0 && when - before < milliseconds(1)) {
    return fault{"probe", "it probes twice within a millisecond"};
  }
  return {};
}

std::optional<tcp_end_checker::fault> tcp_end_checker::check_sizes(const tcp_segment& seg,
                                                                   u32 payload) const {
  if (!peer_syn_seen_ || payload == 0) return {};
  const std::size_t size = payload + seg.options.size();
  if (size > theirs_.mss) {
    return fault{"mss", fmt::format("payload and options are {} bytes, the peer allows {}", size,
                                    theirs_.mss)};
  }
  return {};
}

std::optional<tcp_end_checker::fault> tcp_end_checker::check_options(
    const tcp_segment& seg, const tcp_options_received& options) {
  if (seg.syn()) {
    if (options.saw_tstamp) last_tsval_ = options.rcv_tsval;
    return {};
  }
  const bool tstamp = ours_.tstamp && theirs_.tstamp;
  if (options.saw_tstamp != tstamp) {
    return fault{"option", tstamp ? "the timestamp that was agreed is missing"
                                  : "a timestamp that was not agreed"};
  }
  if (tstamp && last_tsval_ && static_cast<s32>(options.rcv_tsval - *last_tsval_) < 0) {
    return fault{"option", fmt::format("its timestamp runs back by {}",
                                       *last_tsval_ - options.rcv_tsval)};
  }
  if (tstamp) last_tsval_ = options.rcv_tsval;
  if (options.num_sacks != 0 && !(ours_.sack_ok && theirs_.sack_ok)) {
    return fault{"option", "SACK blocks that were not agreed"};
  }
  return check_sacks(seg, options);
}

std::optional<tcp_end_checker::fault> tcp_end_checker::check_sacks(
    const tcp_segment& seg, const tcp_options_received& options) const {
  for (u8 i = 0; i < options.num_sacks; ++i) {
    const tcp_sack_block block = options.sacks[i];
    if (!(block.start_seq < block.end_seq)) return fault{"sack", "an empty or backward block"};
    const s32 from = block.start_seq - irs_;
    const s32 to = block.end_seq - irs_;
    // RFC 2883 §4: the first block may report any duplicate, even one from before the connection.
    const bool old = i == 0 && from < 0 && block.end_seq <= seg.ack_seq;
    if (old) continue;
    if (from < 0 || !arrived_.covers(static_cast<u32>(from), static_cast<u32>(to))) {
      return fault{"sack", fmt::format("block {}..{} after the ISN did not arrive", from, to)};
    }
    // RFC 2883 §4: only the first block may report bytes acknowledged already.
    if (i > 0 && block.start_seq < seg.ack_seq) {
      return fault{"sack", "a block other than the first lies below the acknowledgement"};
    }
  }
  return {};
}

// --- frames -------------------------------------------------------------------------------------

struct wire_checker::frame {
  ipv4_view ip;
  tcp_segment seg;
  u32 payload = 0;
  u32 tcp_offset = 0;  ///< from the frame's first byte
  u32 tcp_bytes = 0;   ///< header and payload
};

std::optional<wire_checker::frame> wire_checker::parse(const link::frame_seen& seen) const {
  const auto eth = ethernet_view::parse(seen.bytes);
  if (!eth || eth->header().proto != uapi::eth_p_ip) return {};
  const iphdr* iph = view_as<iphdr>(eth->payload);
  if (iph == nullptr || iph->version() != 4 || iph->ihl() < 5) return {};
  if (iph->protocol != uapi::ipproto_tcp || iph->is_fragment()) return {};
  frame out;
  out.ip.iph = iph;
  const std::size_t head = iph->header_bytes();
  if (eth->payload.size() < head || iph->tot_len.value() < head) return {};
  if (seen.len < sizeof(ethhdr) + iph->tot_len.value()) return {};
  out.tcp_offset = static_cast<u32>(sizeof(ethhdr) + head);
  out.tcp_bytes = static_cast<u32>(iph->tot_len.value() - head);
  if (seen.skb.gso_size != 0) out.tcp_bytes = seen.len - out.tcp_offset;
  const byte_view tcp = eth->payload.subspan(head);
  const auto view = tcp_view::parse(tcp.first(std::min<std::size_t>(tcp.size(), out.tcp_bytes)));
  if (!view) return {};
  out.seg = view->segment();
  out.payload = out.tcp_bytes - static_cast<u32>(view->th->header_bytes());
  return out;
}

namespace {

/// All checksums of a frame are right. Reads the bytes wherever they lie.
bool checksums_ok(const link::frame_seen& seen, const iphdr& iph, u32 offset, u32 len) {
  const byte_view head(reinterpret_cast<const u8*>(&iph), iph.header_bytes());
  if (!csum_ok(csum_add_bytes(head))) return false;
  csum_partial sum =
      csum_pseudo_ipv4(iph.saddr, iph.daddr, uapi::ipproto_tcp, static_cast<u16>(len));
  std::array<u8, 2048> piece;
  for (u32 at = 0; at < len;) {
    const u32 n = std::min<u32>(len - at, static_cast<u32>(piece.size()));
    const byte_span part = byte_span(piece).first(n);
    if (!seen.skb.copy_bits(offset + at, part)) return false;
    sum = csum_add_bytes(part, sum);
    at += n;
  }
  return csum_ok(sum);
}

std::string describe(const tcp_segment& seg, u32 payload) {
  const bool urgent = (seg.flags & tcphdr_urg) != 0;
  return fmt::format("{}{}{}{} seq {} ack {} win {} len {}", seg.syn() ? "S" : "",
                     seg.fin() ? "F" : "", seg.ack() ? "A" : "", urgent ? "U" : "", seg.seq.raw,
                     seg.ack_seq.raw, seg.window, payload);
}

std::tuple<u32, u32, u32> end_key(ipv4_addr own, u16 own_port, ipv4_addr other, u16 other_port) {
  return {own.value(), other.value(), (u32{own_port} << 16) | other_port};
}

}  // namespace

void wire_checker::attach(link& wire, bool offload, bool verify) {
  const auto name_of = [&wire](link_end e) { return wire.port(e).device().net().machine().name(); };
  const auto mac_of_end = [&wire](link_end e) { return wire.port(e).device().dev_addr(); };
  const std::array<std::string, 2> names{name_of(link_end::a), name_of(link_end::b)};
  const std::array<mac_addr, 2> macs{mac_of_end(link_end::a), mac_of_end(link_end::b)};
  wire.set_observer([this, &wire, names, offload](const link::frame_seen& seen) {
    if (witness_) witness_(wire, seen);
    on_sent(seen, seen.from, names[static_cast<std::size_t>(seen.from)], offload);
  });
  wire.set_arrival_observer([this, names, macs, verify](const link::frame_seen& seen) {
    const auto to = static_cast<std::size_t>(other_end(seen.from));
    on_arrival(seen, names[to], macs[to], verify);
  });
}

void wire_checker::on_sent(const link::frame_seen& seen, link_end from, const std::string& host,
                           bool offload) {
  ++frames_;
  absorb(static_cast<u64>(seen.when.ns) * 2 + (from == link_end::a ? 0 : 1));
  absorb(seen.len);
  for (std::size_t at = 0; at + 8 <= seen.bytes.size() && at < 80; at += 8) {
    absorb(view_as<be64>(seen.bytes, at)->value());
  }
  const auto parsed = parse(seen);
  if (!parsed) return;
  const iphdr& iph = *parsed->ip.iph;
  const auto owner = owners_.find(iph.saddr.value());
  if (owner == owners_.end() || owner->second != host) return;  // forwarded
  const tcp_segment& seg = parsed->seg;
  std::optional<tcp_end_checker::fault> bad;
  if (!offload && !checksums_ok(seen, iph, parsed->tcp_offset, parsed->tcp_bytes)) {
    bad = {"checksum", "it sends a wrong checksum"};
  }
  if (!bad) {
    tcp_end_checker& end = ends_[end_key(iph.saddr, seg.source, iph.daddr, seg.dest)];
    if (!seg.syn() && lost_inside_ && lost_inside_(host)) end.forgive_gap_before(seg);
    // What waited for the next hop's hardware address leaves all at once.
    const auto resolved = resolved_.find(host);
    if (resolved != resolved_.end() && resolved->second == seen.when) end.forgive_late_probes();
    bad = end.sent(seen.when, seg, parsed->payload, seen.skb.gso_size == 0);
  }
  if (!bad) return;
  report_({seen.when, bad->rule,
           fmt::format("{} {}:{} -> {}:{}", host, iph.saddr.to_string(), seg.source,
                       iph.daddr.to_string(), seg.dest),
           fmt::format("{} ({})", bad->what, describe(seg, parsed->payload)), seen.skb.journey,
           seg.source, seg.dest});
}

void wire_checker::on_arrival(const link::frame_seen& seen, const std::string& host, mac_addr mac,
                              bool verify) {
  const ethhdr* eth = view_as<ethhdr>(seen.bytes);
  if (eth != nullptr && eth->h_proto.value() == uapi::eth_p_arp) resolved_[host] = seen.when;
  const auto parsed = parse(seen);
  if (!parsed) return;
  const iphdr& iph = *parsed->ip.iph;
  const auto owner = owners_.find(iph.daddr.value());
  if (owner == owners_.end() || owner->second != host) return;
  if (verify) {
    if (view_as<ethhdr>(seen.bytes)->h_dest != mac) return;
    if (!checksums_ok(seen, iph, parsed->tcp_offset, parsed->tcp_bytes)) return;
  }
  const tcp_segment& seg = parsed->seg;
  ends_[end_key(iph.daddr, seg.dest, iph.saddr, seg.source)].received(seen.when, seg,
                                                                        parsed->payload);
}

}  // namespace ph::sim
