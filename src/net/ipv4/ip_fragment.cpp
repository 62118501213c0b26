// Reassembly: the fragments of each datagram by offset, and everything that ends one early.
#include "net/ipv4/ip_fragment.h"

#include <optional>

#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/icmp.h"
#include "uapi/inet.h"
#include "wire/ipv4.h"

namespace ph {

struct inet_frags::queue {
  key id;
  timer expiry;
  std::map<u32, skb_ptr> fragments;  ///< by offset in the payload, without their IP headers
  /// Begin and end of what counts as one piece: a fragment that continues the last run joins it,
  /// any other is a run of its own.
  std::map<u32, u32> runs;
  u32 len = 0;      ///< end of the payload as far as known
  u32 present = 0;  ///< bytes that are there
  bool last_in = false;
  u8 ecn = 0;            ///< bit n: a fragment with ECN field n came
  u32 longest = 0;       ///< of the fragments, with header
  u32 longest_df = 0;    ///< of those that must not be fragmented
  u32 rid = 0;
  u32 iif = 0;
  [[nodiscard]] bool first_in() const { return !runs.empty() && runs.begin()->first == 0; }
  [[nodiscard]] bool complete() const { return last_in && first_in() && present == len; }
  /// Forgets its fragments, which are gone.
  void restart() {
    fragments.clear();
    runs.clear();
    len = present = longest = longest_df = 0;
    last_in = false;
    ecn = 0;
  }
};

namespace {

/// RFC 3168 §5.3: CE in any fragment marks the datagram, unless one says it is not ECN capable.
/// The field of the whole, or nothing when the fragments cannot belong together.
std::optional<u8> reassembled_ecn(u8 seen, u8 first) {
  constexpr u8 not_ect = 1, ce = 8;
  if ((seen & not_ect) != 0 && seen != not_ect) return {};
  return (seen & ce) != 0 ? u8{3} : first;
}

}  // namespace

inet_frags::inet_frags(net_namespace& net) : net_(net) {}
inet_frags::~inet_frags() { purge(net_.machine().boot_cpu()); }

void inet_frags::purge(cpu& cx) {
  while (!queues_.empty()) {
    queue& q = *queues_.begin()->second;
    drop_fragments(cx, q, drop_reason::queue_purge);
    erase(q);
  }
}

inet_frags::queue& inet_frags::find_or_create(cpu& cx, const key& k) {
  auto& place = queues_[k];
  if (place) return *place;
  place = std::make_unique<queue>();
  queue* q = place.get();
  q->id = k;
  q->expiry.set_callback([this, q](cpu& at) { expire(at, *q); });
  cx.timers().arm(q->expiry, cx.now() + seconds(ipv4_of(net_).sysctl.ipfrag_time));
  source& from = sources_[k.saddr];
  ++from.waiting;
  q->rid = from.rid;
  return *q;
}

void inet_frags::erase(queue& q) {
  const auto from = sources_.find(q.id.saddr);
  if (--from->second.waiting == 0) sources_.erase(from);
  const key id = q.id;
  queues_.erase(id);
}

void inet_frags::drop_fragments(cpu& cx, queue& q, skb_drop_reason why) {
  for (auto& [offset, skb] : q.fragments) {
    memory_ -= skb->truesize;
    drop(cx, std::move(skb), why);
  }
  q.restart();
}

void inet_frags::fail(cpu& cx, queue& q, skb_drop_reason why) {
  net_.mib().add(cx, mib::ip_reasm_fails);
  drop_fragments(cx, q, why);
  erase(q);
}

/// RFC 1122 §3.3.2: the sender is told, if the first fragment is there to quote.
void inet_frags::expire(cpu& cx, queue& q) {
  net_.mib().add(cx, mib::ip_reasm_timeout);
  net_device* dev = net_.device(ifindex(q.iif));
  if (q.first_in() && dev != nullptr) {
    sk_buff& head = *q.fragments.begin()->second;
    head.dev = dev;
    icmp_send(cx, head, uapi::icmp_time_exceeded, uapi::icmp_exc_fragtime, 0);
  }
  fail(cx, q, drop_reason::frag_reasm_timeout);
}

/// A source that sent many fragments of other datagrams meanwhile has wrapped its identification,
/// or lost the rest: what waits is not joined with news (ip-sysctl: ipfrag_max_dist).
void inet_frags::restart_if_too_far(cpu& cx, queue& q) {
  const s32 most = ipv4_of(net_).sysctl.ipfrag_max_dist;
  source& from = sources_.at(q.id.saddr);
  const u32 distance = ++from.rid - q.rid;
  q.rid = from.rid;
  if (most == 0 || q.fragments.empty() || distance <= static_cast<u32>(most)) return;
  net_.mib().add(cx, mib::ip_reasm_fails);
  drop_fragments(cx, q, drop_reason::frag_bad);
  cx.timers().arm(q.expiry, cx.now() + seconds(ipv4_of(net_).sysctl.ipfrag_time));
}

/// Whether bytes [offset, end) are new; they are then there. frag_bad: one run has them all (a
/// duplicate). frag_overlap: some are there, or all in several runs.
skb_drop_reason inet_frags::place(queue& q, u32 offset, u32 end) {
  const auto after = q.runs.lower_bound(end);  // the first run that begins behind
  if (after != q.runs.begin()) {
    const auto before = std::prev(after);
    if (before->second > offset) {
      const bool there = before->first <= offset && end <= before->second;
      return there ? drop_reason::frag_bad : drop_reason::frag_overlap;
    }
    if (before->second == offset && after == q.runs.end()) {
      before->second = end;
      return drop_reason::none;
    }
  }
  q.runs.emplace(offset, end);
  return drop_reason::none;
}

/// none: taken, or gone as a duplicate. Else the whole datagram must end for that reason.
skb_drop_reason inet_frags::insert(cpu& cx, queue& q, skb_ptr& skb) {
  const iphdr& iph = skb->network_header<iphdr>();
  const auto header = static_cast<u32>(iph.header_bytes());
  const u32 offset = iph.fragment_offset();
  const bool more = iph.more_fragments();
  u32 end = offset + skb->len() - header;
  if (!more) {
    if (end < q.len || (q.last_in && end != q.len)) return drop_reason::frag_bad;
  } else {
    end &= ~u32{7};
    if (end > q.len && q.last_in) return drop_reason::frag_bad;
  }
  if (end <= offset) return drop_reason::frag_bad;
  const u8 ecn = static_cast<u8>(1u << (iph.tos & 3u));
  const bool df = iph.dont_fragment();
  skb->trim(header + end - offset);
  skb->pull(header);
  skb->ip_summed = checksum_state::none;
  q.iif = skb->dev->index().value;
  const skb_drop_reason why = place(q, offset, end);
  if (why == drop_reason::frag_bad) {
    drop(cx, std::move(skb), drop_reason::frag_overlap);
    return drop_reason::none;
  }
  if (why != drop_reason::none) {
    net_.mib().add(cx, mib::ipext_reasm_overlaps);
    return why;
  }
  skb->dev = nullptr;  // may go while the fragment waits
  memory_ += skb->truesize;
  q.fragments.emplace(offset, std::move(skb));
  q.len = std::max(q.len, end);
  q.present += end - offset;
  q.longest = std::max(q.longest, header + end - offset);
  if (df) q.longest_df = std::max(q.longest_df, header + end - offset);
  q.last_in = q.last_in || !more;
  q.ecn |= ecn;
  return drop_reason::none;
}

skb_ptr inet_frags::defrag(cpu& cx, skb_ptr skb) {
  PH_TRACE(cx, *skb);
  net_.mib().add(cx, mib::ip_reasm_reqds);
  const iphdr& iph = skb->network_header<iphdr>();
  const auto most = static_cast<u64>(ipv4_of(net_).sysctl.ipfrag_high_thresh);
  if (most == 0 || memory_ > most) {
    net_.mib().add(cx, mib::ip_reasm_fails);
    drop(cx, std::move(skb), drop_reason::frag_memory);
    return {};
  }
  queue& q = find_or_create(cx, {iph.saddr, iph.daddr, iph.id.value(), iph.protocol});
  restart_if_too_far(cx, q);
  const skb_drop_reason why = insert(cx, q, skb);
  if (why != drop_reason::none) {
    drop(cx, std::move(skb), why);
    fail(cx, q, why);
    return {};
  }
  return q.complete() ? reassemble(cx, q) : skb_ptr{};
}

/// Appends the payloads of the others to the first one's.
void inet_frags::join(cpu& cx, queue& q, sk_buff& whole) {
  const bool copy = whole.nr_frags() + q.fragments.size() > max_skb_frags;
  if (copy) {
    // Too many pieces to carry along: one linear block.
    whole.expand_head(cx, whole.headroom(), q.len);
    whole.linearize(cx);
  }
  for (auto& [offset, piece] : q.fragments) {
    memory_ -= piece->truesize;
    if (copy) {
      ph_check(piece->copy_bits(0, whole.put(piece->len())));
    } else {
      piece->linearize(cx);
      ph_check(whole.append_from(*piece));
    }
    consume(cx, std::move(piece));
  }
  q.fragments.clear();
}

skb_ptr inet_frags::reassemble(cpu& cx, queue& q) {
  const iphdr head_copy = q.fragments.begin()->second->network_header<iphdr>();
  const auto header = static_cast<u32>(head_copy.header_bytes());
  const auto ecn = reassembled_ecn(q.ecn, head_copy.tos & 3u);
  net_device* dev = net_.device(ifindex(q.iif));
  const bool too_long = header + q.len > ipv4_max_packet;  // the first one alone may have options
  if (too_long || !ecn || dev == nullptr) {
    fail(cx, q, too_long ? drop_reason::frag_too_big : drop_reason::frag_bad);
    return {};
  }
  skb_ptr whole = std::move(q.fragments.begin()->second);
  q.fragments.erase(q.fragments.begin());
  memory_ -= whole->truesize;
  join(cx, q, *whole);
  whole->unshare_head(cx);
  const byte_span front = whole->push(header);
  iphdr& iph = *view_as<iphdr>(front);
  iph.tot_len.set(static_cast<u16>(whole->len()));
  // As Linux: DF is the whole's when its longest fragment had it. Sockets and errors show it.
  iph.frag_off.set(q.longest_df == q.longest ? ip_df : u16{0});
  iph.tos = static_cast<u8>((iph.tos & ~3u) | *ecn);
  ip_send_check(front);
  whole->dev = dev;
  whole->frag_max_size = static_cast<u16>(q.longest);
  net_.mib().add(cx, mib::ip_reasm_oks);
  erase(q);
  return whole;
}

}  // namespace ph
