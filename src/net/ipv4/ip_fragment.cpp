// Reassembly: a sorted list of fragments per datagram, and everything that ends one early.
#include "net/ipv4/ip_fragment.h"

#include <optional>

#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/icmp.h"
#include "uapi/inet.h"
#include "wire/ipv4.h"

namespace ph {

/// Where a fragment's payload belongs in the datagram's, in bytes.
struct inet_frags::frag_cb {
  static constexpr cb_owner owner{"ipv4 fragment"};
  u32 offset = 0;
  u32 end = 0;
};

struct inet_frags::queue : list_hook<struct frag_age_tag> {
  key id;
  timer expiry;
  skb_queue fragments;   ///< by offset, without their IP headers
  u32 len = 0;           ///< end of the payload as far as known
  u32 meat = 0;          ///< bytes there
  bool first_in = false, last_in = false;
  u8 ecn = 0;            ///< bit n: a fragment with ECN field n came
  u32 rid = 0;
  u32 iif = 0;
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
  by_age_.push_back(*q);
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

void inet_frags::drop_fragments(cpu& cx, queue& q, drop_reason why) {
  while (!q.fragments.empty()) {
    skb_ptr skb = q.fragments.pop_front();
    memory_ -= skb->truesize;
    drop(cx, std::move(skb), why);
  }
}

void inet_frags::fail(cpu& cx, queue& q, drop_reason why) {
  net_.mib().add(cx, mib::ip_reasm_fails);
  drop_fragments(cx, q, why);
  erase(q);
}

/// RFC 1122 §3.3.2: the sender is told, if the first fragment is there to quote.
void inet_frags::expire(cpu& cx, queue& q) {
  net_.mib().add(cx, mib::ip_reasm_timeout);
  net_device* dev = net_.device(ifindex(q.iif));
  if (q.first_in && dev != nullptr) {
    sk_buff& head = *q.fragments.front();
    head.dev = dev;
    icmp_send(cx, head, uapi::icmp_time_exceeded, uapi::icmp_exc_fragtime, 0);
  }
  fail(cx, q, drop_reason::frag_reasm_timeout);
}

/// Over the high mark the oldest datagrams go until the low mark is reached.
void inet_frags::evict(cpu& cx) {
  const ipv4_sysctls& sysctl = ipv4_of(net_).sysctl;
  if (memory_ <= static_cast<u64>(sysctl.ipfrag_high_thresh)) return;
  const auto low = static_cast<u64>(std::min(sysctl.ipfrag_low_thresh, sysctl.ipfrag_high_thresh));
  while (memory_ > low && !by_age_.empty()) fail(cx, by_age_.front(), drop_reason::frag_evicted);
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
  q.len = q.meat = 0;
  q.first_in = q.last_in = false;
  q.ecn = 0;
  cx.timers().arm(q.expiry, cx.now() + seconds(ipv4_of(net_).sysctl.ipfrag_time));
}

/// Puts a fragment between its neighbours. If it cannot, skb is left: frag_bad for what is all
/// there already (a duplicate), frag_overlap for a true overlap.
drop_reason inet_frags::place(queue& q, skb_ptr& skb) {
  const u32 offset = skb->cb<frag_cb>().offset, end = skb->cb<frag_cb>().end;
  sk_buff* last = q.fragments.back();
  if (last == nullptr || last->cb<frag_cb>().end <= offset) {
    q.fragments.push_back(std::move(skb));
    return drop_reason::none;
  }
  sk_buff* at = q.fragments.front();
  while (at != nullptr) {
    // A run: fragments without a hole between them.
    const u32 run_begin = at->cb<frag_cb>().offset;
    u32 run_end = at->cb<frag_cb>().end;
    if (run_begin >= end) break;
    sk_buff* next = q.fragments.next(*at);
    while (next != nullptr && next->cb<frag_cb>().offset == run_end) {
      run_end = next->cb<frag_cb>().end;
      next = q.fragments.next(*next);
    }
    if (run_end > offset) {
      const bool duplicate = run_begin <= offset && end <= run_end;
      return duplicate ? drop_reason::frag_bad : drop_reason::frag_overlap;
    }
    at = next;
  }
  ph_check(at != nullptr);
  q.fragments.insert_before(*at, std::move(skb));
  return drop_reason::none;
}

/// none: taken, or gone as a duplicate. Else the whole datagram must end for that reason.
drop_reason inet_frags::insert(cpu& cx, queue& q, skb_ptr& skb) {
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
  if (header + end > ipv4_max_packet) return drop_reason::frag_too_big;
  const u8 ecn = static_cast<u8>(1u << (iph.tos & 3u));
  skb->trim(header + end - offset);
  skb->pull(header);
  skb->ip_summed = checksum_state::none;
  skb->init_cb<frag_cb>() = {offset, end};
  q.iif = skb->dev->index().value;
  net_device* const dev = std::exchange(skb->dev, nullptr);  // may go while the fragment waits
  const u32 truesize = skb->truesize;
  const drop_reason why = place(q, skb);
  if (skb) skb->dev = dev;
  if (why == drop_reason::frag_bad) {
    drop(cx, std::move(skb), drop_reason::frag_overlap);
    return drop_reason::none;
  }
  if (why != drop_reason::none) {
    net_.mib().add(cx, mib::ipext_reasm_overlaps);
    return why;
  }
  q.len = std::max(q.len, end);
  q.last_in = q.last_in || !more;
  q.first_in = q.first_in || offset == 0;
  q.ecn |= ecn;
  q.meat += end - offset;
  memory_ += truesize;
  return drop_reason::none;
}

skb_ptr inet_frags::defrag(cpu& cx, skb_ptr skb) {
  PH_TRACE(cx, *skb);
  net_.mib().add(cx, mib::ip_reasm_reqds);
  evict(cx);
  const iphdr& iph = skb->network_header<iphdr>();
  if (memory_ + skb->truesize > static_cast<u64>(ipv4_of(net_).sysctl.ipfrag_high_thresh) &&
      queues_.empty()) {
    net_.mib().add(cx, mib::ip_reasm_fails);
    drop(cx, std::move(skb), drop_reason::frag_memory);
    return {};
  }
  queue& q = find_or_create(cx, {iph.saddr, iph.daddr, iph.id.value(), iph.protocol});
  restart_if_too_far(cx, q);
  const drop_reason why = insert(cx, q, skb);
  if (why != drop_reason::none) {
    drop(cx, std::move(skb), why);
    fail(cx, q, why);
    return {};
  }
  if (!q.first_in || !q.last_in || q.meat != q.len) return {};
  return reassemble(cx, q);
}

skb_ptr inet_frags::reassemble(cpu& cx, queue& q) {
  const iphdr head_copy = q.fragments.front()->network_header<iphdr>();
  const auto ecn = reassembled_ecn(q.ecn, head_copy.tos & 3u);
  net_device* dev = net_.device(ifindex(q.iif));
  if (!ecn || dev == nullptr) {
    fail(cx, q, drop_reason::frag_bad);
    return {};
  }
  skb_ptr whole = q.fragments.pop_front();
  memory_ -= whole->truesize;
  const auto header = static_cast<u32>(head_copy.header_bytes());
  if (q.fragments.size() > max_skb_frags - 1 - whole->nr_frags()) {
    // Too many pieces to carry along: one linear block.
    whole->expand_head(cx, whole->headroom(), q.len);
    whole->linearize(cx);
    while (!q.fragments.empty()) {
      skb_ptr piece = q.fragments.pop_front();
      memory_ -= piece->truesize;
      ph_check(piece->copy_bits(0, whole->put(piece->len())));
      consume(cx, std::move(piece));
    }
  } else {
    while (!q.fragments.empty()) {
      skb_ptr piece = q.fragments.pop_front();
      memory_ -= piece->truesize;
      piece->linearize(cx);
      ph_check(whole->append_from(*piece));
      consume(cx, std::move(piece));
    }
  }
  whole->unshare_head(cx);
  const byte_span front = whole->push(header);
  iphdr& iph = *view_as<iphdr>(front);
  iph.tot_len.set(static_cast<u16>(whole->len()));
  iph.frag_off.set(0);
  iph.tos = static_cast<u8>((iph.tos & ~3u) | *ecn);
  ip_send_check(front);
  whole->dev = dev;
  net_.mib().add(cx, mib::ip_reasm_oks);
  erase(q);
  return whole;
}

}  // namespace ph
