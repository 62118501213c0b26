// The search for the largest packet, one probe at a time, and shrinking on black holes.
#include "net/tcp/tcp_mtu_probe.h"

#include <algorithm>

#include "net/core/net_device.h"
#include "net/tcp/tcp_output.h"

namespace ph {
namespace {

/// RFC 4821 §7.2: a window that a lost probe does not empty.
constexpr u32 least_cwnd = 11;

u32 mss_to_mtu(const tcp_sock& tp, u32 mss) {
  const u32 options = tp.tstamp_ok ? static_cast<u32>(tcpolen_tstamp_aligned) : 0;
  return mss + options + static_cast<u32>(sizeof(tcphdr) + tp.inet.ip_options.size()) +
         tp.af_ops->net_header_len();
}

u32 largest(const tcp_sock& tp) {
  return tp.mss_clamp + static_cast<u32>(sizeof(tcphdr)) + tp.af_ops->net_header_len();
}

/// RFC 4821 §7.6.4: a path may have become wider since.
void begin_anew_when_due(cpu& cx, tcp_sock& tp) {
  if (cx.now() - tp.mtup.stamp < seconds(tp.tcp().sysctl.probe_interval)) return;
  tp.mtup.probe_size = 0;
  tp.mtup.search_high = largest(tp);
  tp.mtup.search_low = mss_to_mtu(tp, tcp_current_mss(cx, tp));
  tp.mtup.stamp = cx.now();
}

/// The first `size` bytes of the queue can be in one packet.
bool gatherable(tcp_sock& tp, u32 size) {
  u32 pieces = 0;
  for (sk_buff* skb = tp.write_queue.front(); skb != nullptr; skb = tp.write_queue.next(*skb)) {
    pieces += static_cast<u32>(skb->nr_frags());
    if (skb->len() >= size) return pieces <= max_skb_frags;
    if (tcp_cb(*skb).eor) return false;
    size -= skb->len();
  }
  return false;
}

/// Moves the first `n` bytes of a queued packet that has more into `to`.
void take_front(cpu& cx, tcp_sock& tp, sk_buff& from, u32 n, sk_buff& to) {
  to.share_range(cx, from, 0, n);
  from.pull_any(n);
  from.truesize -= n;
  tp.wmem_queued -= n;
  tcp_skb_cb& cb = tcp_cb(from);
  cb.seq += n;
  if (cb.tx_flags == 0 || cb.tskey >= cb.seq) return;
  tcp_cb(to).tx_flags = std::exchange(cb.tx_flags, u8{0});
  tcp_cb(to).tskey = cb.tskey;
}

/// Puts a packet with the first `size` bytes of the queue in front of it.
void gather(cpu& cx, tcp_sock& tp, u32 size) {
  skb_ptr probe = tcp_stream_alloc(cx, tp, tcp_cb(*tp.write_queue.front()).seq, tcphdr_ack);
  tcp_skb_cb& cb = tcp_cb(*probe);
  while (probe->len() < size) {
    sk_buff& head = *tp.write_queue.front();
    const u32 n = std::min(head.len(), size - probe->len());
    if (n < head.len()) {
      take_front(cx, tp, head, n, *probe);
      tp.write_queue.adjust_bytes(-static_cast<s64>(n));
      continue;
    }
    probe->share_range(cx, head, 0, n);
    cb.flags |= tcp_cb(head).flags;
    if (tcp_cb(head).tx_flags != 0) {
      cb.tx_flags = tcp_cb(head).tx_flags;
      cb.tskey = tcp_cb(head).tskey;
    }
    tcp_free_queued(cx, tp, tp.write_queue.pop_front());
  }
  probe->truesize += size;
  tp.wmem_queued += size;
  cb.end_seq = cb.seq + size;
  cb.pcount = 1;
  cb.mss = static_cast<u16>(size);
  tp.write_queue.push_front(std::move(probe));
}

}  // namespace

void tcp_mtup_init(cpu& cx, tcp_sock& tp) {
  const tcp_sysctls& sysctl = tp.tcp().sysctl;
  tp.mtup = {};
  tp.mtup.enabled = sysctl.mtu_probing > 1;
  tp.mtup.search_high = largest(tp);
  tp.mtup.search_low = mss_to_mtu(tp, static_cast<u32>(sysctl.base_mss));
  if (tp.mtup.enabled) tp.mtup.stamp = cx.now();
}

tcp_mtup_verdict tcp_mtup_prepare(cpu& cx, tcp_sock& tp) {
  tcp_mtup_state& search = tp.mtup;
  if (!search.enabled || search.probe_size != 0 || tp.ca_state != tcp_ca_state::open ||
      tp.cong.cwnd < least_cwnd || tp.num_sacks != 0 || tp.have_dsack || tp.urg_mode) {
    return tcp_mtup_verdict::no;
  }
  // What the device cannot send need not be tried.
  const u32 high = std::min(search.search_high, tp.dst ? tp.dst->dev->mtu() : 0);
  const u32 width = high - std::min(search.search_low, high);
  const u32 size = tcp_mtu_to_mss(tp, search.search_low + width / 2);
  if (width < static_cast<u32>(tp.tcp().sysctl.probe_threshold) ||
      size > tcp_mtu_to_mss(tp, high)) {
    begin_anew_when_due(cx, tp);
    return tcp_mtup_verdict::no;
  }
  // RFC 4821 §7.4: enough must follow for fast retransmit, should the probe be lost.
  const u32 needed = size + (tp.reordering + 1) * tp.mss_cache;
  if (static_cast<u32>(tp.write_seq - tp.snd_nxt) < needed || tp.snd_wnd < needed) {
    return tcp_mtup_verdict::no;
  }
  if (tp.snd_nxt + needed > tcp_wnd_end(tp)) return tcp_mtup_verdict::wait;
  if (tp.in_flight() + 2 > tp.cong.cwnd) {
    return tp.in_flight() == 0 ? tcp_mtup_verdict::no : tcp_mtup_verdict::wait;
  }
  if (!gatherable(tp, size)) return tcp_mtup_verdict::no;
  gather(cx, tp, size);
  return tcp_mtup_verdict::ready;
}

void tcp_mtup_refused(tcp_sock& tp, const sk_buff& probe) {
  tp.mtup.search_high = mss_to_mtu(tp, probe.len()) - 1;
}

void tcp_mtup_sent(tcp_sock& tp, const sk_buff& probe) {
  tp.mtup.probe_size = mss_to_mtu(tp, probe.len());
  tp.mtup.probe_start = tcp_cb(probe).seq;
  tp.mtup.probe_end = tcp_cb(probe).end_seq;
  --tp.cong.cwnd;  // it is as much as two segments
}

void tcp_mtup_acked(cpu& cx, tcp_sock& tp) {
  if (tp.mtup.probe_size == 0 || tp.mtup.probe_end > tp.snd_una) return;
  // The window counts segments: as many bytes as before.
  const u64 bytes = u64{tp.cong.cwnd} * mss_to_mtu(tp, tp.mss_cache);
  tp.cong.cwnd = std::max(static_cast<u32>(bytes / tp.mtup.probe_size), 1u);
  tp.cong.cwnd_cnt = 0;
  tp.mtup.search_low = std::exchange(tp.mtup.probe_size, 0u);
  tcp_sync_mss(tp, tp.pmtu_cookie);
  tp.net().mib().add(cx, mib::tcpext_tcp_mtup_success);
}

bool tcp_mtup_lost(cpu& cx, tcp_sock& tp) {
  if (tp.mtup.probe_size == 0 || tp.mtup.probe_start != tp.snd_una ||
      tp.ca_state >= tcp_ca_state::cwr) {
    return false;
  }
  tp.mtup.search_high = std::exchange(tp.mtup.probe_size, 0u) - 1;
  ++tp.cong.cwnd;  // what tcp_mtup_sent took
  tp.net().mib().add(cx, mib::tcpext_tcp_mtup_fail);
  return true;
}

void tcp_mtup_black_hole(cpu& cx, tcp_sock& tp) {
  const tcp_sysctls& sysctl = tp.tcp().sysctl;
  if (sysctl.mtu_probing == 0) return;
  if (!tp.mtup.enabled) {
    tp.mtup.enabled = true;
    tp.mtup.stamp = cx.now();
  } else {
    u32 mss = std::min(static_cast<u32>(sysctl.base_mss),
                       tcp_mtu_to_mss(tp, tp.mtup.search_low) / 2);
    mss = std::max({mss, static_cast<u32>(sysctl.mtu_probe_floor),
                    static_cast<u32>(sysctl.min_snd_mss)});
    tp.mtup.search_low = mss_to_mtu(tp, mss);
  }
  tcp_sync_mss(tp, tp.pmtu_cookie);
}

}  // namespace ph
