// The receive side's queues. RFC 9293 §3.10.7.4 (text and FIN), RFC 5681 §4.2 (when to
// acknowledge), RFC 2018/2883 (what to report), and dynamic right-sizing of the receive buffer
// (Fisk and Feng).
#include "net/tcp/tcp_ofo.h"

#include <algorithm>

#include "net/tcp/tcp_mem.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_prune.h"
#include "net/tcp/tcp_sack.h"
#include "net/tcp/tcp_timer.h"
#include "net/tcp/tcp_timewait.h"

namespace ph {
namespace {

/// Payloads up to this size are copied behind the last packet, so that small segments do not fill
/// the buffer with their overhead.
constexpr u32 small_payload = 512;
/// Smaller payloads say nothing about how well the buffer is used.
constexpr u32 least_growth = 128;

/// How much the program has read since rcvq_seq. What only left the stack for it is not read.
u32 read_since(const tcp_sock& tp) {
  const u32 copied = static_cast<u32>(tp.copied_seq - tp.rcvq_seq);
  return tp.outside == nullptr ? copied : copied - std::min(copied, tp.outside->ask());
}

/// Appends the bytes of `skb` to the last packet of the queue; false: does not suit.
bool try_coalesce(tcp_sock& tp, sk_buff& skb) {
  sk_buff* tail = tp.receive_queue.back();
  const u32 len = skb.len();
  if (tail == nullptr || len == 0 || len > small_payload || tail->tailroom() < len) return false;
  tcp_skb_cb& cb = tcp_cb(*tail);
  if (tail->cloned() || cb.end_seq != tcp_cb(skb).seq || (cb.flags & tcphdr_fin) != 0) return false;
  if (!skb.copy_bits(0, tail->put(len))) return false;
  cb.end_seq = tcp_cb(skb).end_seq;
  cb.flags |= tcp_cb(skb).flags;
  tail->tstamp = skb.tstamp;
  tp.receive_queue.adjust_bytes(len);
  return true;
}

void trim_front(sk_buff& skb, seq32 to) {
  tcp_skb_cb& cb = tcp_cb(skb);
  skb.pull_any(std::min(static_cast<u32>(to - cb.seq), skb.len()));
  cb.seq = to;
}

/// RFC 9293 §3.10.7.4: what lies beyond the window is cut off.
void trim_to_window(sk_buff& skb, seq32 end) {
  tcp_skb_cb& cb = tcp_cb(skb);
  if (cb.end_seq <= end) return;
  const u32 keep = static_cast<u32>(end - cb.seq);
  if (keep >= skb.len()) return;  // only the FIN is beyond: it takes no room
  skb.trim(keep);
  cb.end_seq = end;
  cb.flags &= static_cast<u8>(~tcphdr_fin);
}

/// RCV.NXT moved: takes what follows out of the tree. What was in it twice has been reported when
/// it came (RFC 2883 §4.2); what the new data have brought again is news.
void drain_ofo(cpu& cx, tcp_sock& tp) {
  const seq32 brought = tp.rcv_nxt;
  while (sk_buff* first = tp.ofo_queue.first()) {
    const tcp_skb_cb& cb = tcp_cb(*first);
    if (cb.seq > tp.rcv_nxt) break;
    if (cb.seq < brought) {
      cx.sometimes("tcp_ofo_overlaps_rcv_nxt");
      tcp_dsack_extend(cx, tp, cb.seq, seq_min(cb.end_seq, brought));
    }
    skb_ptr skb = tp.ofo_queue.remove(*first);
    if (cb.end_seq <= tp.rcv_nxt) {
      drop(cx, std::move(skb), drop_reason::tcp_old_data);
      continue;
    }
    if (cb.seq < tp.rcv_nxt) trim_front(*skb, tp.rcv_nxt);
    const bool fin = (cb.flags & tcphdr_fin) != 0;
    tcp_queue_rcv(cx, tp, std::move(skb));
    if (fin) {
      tcp_fin(cx, tp);
      return;
    }
  }
  if (tp.num_sacks != 0) tcp_sack_remove(tp);
}

/// RFC 2018 §8 allows a receiver to take all of its selective acknowledgements back.
void forget_ofo(cpu& cx, tcp_sock& tp) {
  tp.ofo_queue.purge(cx, drop_reason::tcp_rcv_pruned);
  tp.num_sacks = 0;
}

/// How fast rcv_ssthresh may grow after a packet of that density.
u32 window_growth(const tcp_sock& tp, u32 len, u32 truesize) {
  if (tcp_win_from_space(truesize) <= len) return 2 * tp.advmss;
  // A sparse packet proves less, the more of the maximum is in use.
  u32 cost = tcp_win_from_space(truesize) / 2;
  u32 window = tcp_win_from_space(static_cast<u32>(tp.tcp().sysctl.rmem[2])) / 2;
  while (tp.rcv_ssthresh <= window) {
    if (cost <= len) return 2 * tp.rcv_mss;
    cost /= 2;
    window /= 2;
  }
  return 0;
}

void grow_window(tcp_sock& tp, u32 len, u32 truesize) {
  const u32 most = std::min(tp.window_clamp, tcp_space(tp));
  if (most <= tp.rcv_ssthresh || tcp_under_memory_pressure(tp)) return;
  const u32 more = std::min(most - tp.rcv_ssthresh, window_growth(tp, len, truesize));
  if (more == 0) return;
  tp.rcv_ssthresh += more;
  tp.quick |= 1;
}

void data_queue_ofo(cpu& cx, tcp_sock& tp, skb_ptr skb) {
  tcp_skb_cb& cb = tcp_cb(*skb);
  tp.net().mib().add(cx, mib::tcpext_tcp_ofo_queue);
  ++tp.rcv_ooopack;
  if (cx.sometimes("tcp_forced_reneging")) forget_ofo(cx, tp);
  if (!tcp_try_rmem_schedule(cx, tp, *skb) || cx.sometimes("tcp_forced_ofo_drop")) {
    cx.sometimes("tcp_ofo_no_room");
    drop(cx, std::move(skb), drop_reason::tcp_ofo_drop);
    return;
  }
  sk_buff* other = tp.ofo_queue.find(cb.seq);
  if (other != nullptr && tcp_cb(*other).seq <= cb.seq) {
    if (tcp_cb(*other).end_seq >= cb.end_seq) {
      cx.sometimes("tcp_ofo_duplicate");
      tcp_dsack_set(cx, tp, cb.seq, cb.end_seq, true);
      // RFC 2018 §4: the block that holds what just came is the first one.
      if (tp.sack_ok) tcp_sack_new_ofo(tp, cb.seq, cb.end_seq);
      drop(cx, std::move(skb), drop_reason::tcp_ofo_merge);
      return;
    }
    cx.sometimes("tcp_ofo_overlaps_before");
    tcp_dsack_set(cx, tp, cb.seq, tcp_cb(*other).end_seq, true);
    trim_front(*skb, tcp_cb(*other).end_seq);
    other = tp.ofo_queue.next(*other);
  }
  while (other != nullptr && tcp_cb(*other).seq < cb.end_seq) {
    sk_buff* after = tp.ofo_queue.next(*other);
    const tcp_skb_cb& o = tcp_cb(*other);
    cx.sometimes("tcp_ofo_overlaps_after");
    tcp_dsack_extend(cx, tp, o.seq, seq_min(o.end_seq, cb.end_seq));
    if (o.end_seq > cb.end_seq) break;
    drop(cx, tp.ofo_queue.remove(*other), drop_reason::tcp_ofo_merge);
    other = after;
  }
  if (tp.sack_ok) {
    tcp_sack_new_ofo(tp, cb.seq, cb.end_seq);
    // Without SACK the window stays: only unchanged windows make duplicate acknowledgements.
    if (skb->len() >= least_growth) grow_window(tp, skb->len(), skb->truesize);
  }
  skb->dst.reset();
  skb->dev = nullptr;
  tp.set_owner_r(*skb);
  tp.ofo_queue.insert(std::move(skb));
}

/// Data that cannot be taken are answered at once, so that the peer learns where we are.
void refuse(cpu& cx, tcp_sock& tp, skb_ptr skb, skb_drop_reason why) {
  tcp_enter_quickack(tp, tcp_max_quickacks);
  tp.ack_scheduled = true;
  drop(cx, std::move(skb), why);
}

/// Data that begin at RCV.NXT, and what they make contiguous.
void queue_in_order(cpu& cx, tcp_sock& tp, skb_ptr skb) {
  const tcp_arrival data = tcp_arrival_of(*skb);
  tcp_queue_rcv(cx, tp, std::move(skb));
  if (data.len != 0) tcp_event_data_recv(cx, tp, data);
  if ((data.flags & tcphdr_fin) != 0) {
    tcp_fin(cx, tp);
  } else if (!tp.ofo_queue.empty()) {
    drain_ofo(cx, tp);
    // RFC 5681 §4.2: filling a gap is told at once.
    if (tp.ofo_queue.empty()) tp.ack_now = true;
  }
  if (data.len != 0 && tp.state != tcp_state::close) tcp_data_ready(tp);
}

void incr_quickack(tcp_sock& tp, u32 most) {
  u32 n = tp.rcv_wnd / (2 * tp.rcv_mss);
  if (n == 0) n = 2;
  tp.quick = static_cast<u8>(std::max<u32>(tp.quick, std::min(n, most)));
}

/// The peer's round trip as the receiver can see it: by timestamps, else the time one window takes.
void measure_rcv_rtt(cpu& cx, tcp_sock& tp, u32 len) {
  const auto sample = [&](duration rtt, bool by_window) {
    rtt = std::max(rtt, microseconds(1));
    if (tp.rcv_rtt.ns == 0) {
      tp.rcv_rtt = rtt;
    } else if (by_window) {
      tp.rcv_rtt = std::min(tp.rcv_rtt, rtt);
    } else {
      tp.rcv_rtt = (tp.rcv_rtt * 7 + rtt) / 8;
    }
  };
  if (tp.tstamp_ok && tp.rx.saw_tstamp && tp.rx.rcv_tsecr != 0) {
    if (tp.rx.rcv_tsecr == tp.rcv_rtt_tsecr || len < tp.rcv_mss) return;
    tp.rcv_rtt_tsecr = tp.rx.rcv_tsecr;
    const s32 ms = static_cast<s32>(tcp_time_stamp(cx, tp) - tp.rx.rcv_tsecr);
    if (ms >= 0) sample(milliseconds(std::max(ms, 1)), false);
    return;
  }
  if (tp.rcv_rtt_time != instant{}) {
    if (tp.rcv_nxt < tp.rcv_rtt_seq) return;
    sample(cx.now() - tp.rcv_rtt_time, true);
  }
  tp.rcv_rtt_seq = tp.rcv_nxt + tp.rcv_wnd;
  tp.rcv_rtt_time = cx.now();
}

}  // namespace

void tcp_queue_rcv(cpu& cx, tcp_sock& tp, skb_ptr skb) {
  const seq32 end = tcp_cb(*skb).end_seq;
  tp.bytes_received += static_cast<u32>(end - tp.rcv_nxt);
  tp.rcv_nxt = end;
  if (skb->sk != &tp && try_coalesce(tp, *skb)) {
    tp.net().mib().add(cx, mib::tcpext_tcp_rcv_coalesce);
    consume(cx, std::move(skb));
    return;
  }
  if (skb->sk != &tp) {
    skb->dst.reset();
    skb->dev = nullptr;
    tp.set_owner_r(*skb);
  }
  tp.receive_queue.push_back(std::move(skb));
}

tcp_arrival tcp_arrival_of(const sk_buff& skb) {
  const u32 segment = skb.gso_size != 0 ? skb.gso_size : skb.len();
  return {skb.len(), segment, skb.truesize, tcp_cb(skb).flags};
}

void tcp_event_data_recv(cpu& cx, tcp_sock& tp, const tcp_arrival& data) {
  tp.ack_scheduled = true;
  if (data.segment >= tp.rcv_mss) {
    tp.rcv_mss = std::min(data.segment, tp.advmss);
  } else if ((data.flags & tcphdr_psh) != 0 && tp.ack_pushed < 2) {
    ++tp.ack_pushed;
  }
  measure_rcv_rtt(cx, tp, data.len);
  const instant now = cx.now();
  if (tp.ato.ns == 0) {
    // The first data: the peer is in slow start and needs every acknowledgement.
    incr_quickack(tp, tcp_max_quickacks);
    tp.ato = tcp_ato_min;
  } else {
    const duration gap = now - tp.last_rcv;
    if (gap <= tcp_ato_min / 2) {
      tp.ato = tp.ato / 2 + tcp_ato_min / 2;
    } else if (gap < tp.ato) {
      tp.ato = std::min(tp.ato / 2 + gap, tp.rto);
    } else if (gap > tp.rto) {
      incr_quickack(tp, tcp_max_quickacks);  // the peer's window has probably restarted
    }
  }
  tp.last_rcv = now;
  tp.last_data_rcv = now;
  tcp_confirm_neigh(cx, tp);
  if (data.len >= least_growth) grow_window(tp, data.len, data.truesize);
}

void tcp_enter_quickack(tcp_sock& tp, u32 most) {
  incr_quickack(tp, most);
  tp.pingpong = false;
  tp.ato = tcp_ato_min;
}

void tcp_ack_snd_check(cpu& cx, tcp_sock& tp) {
  if (!tp.ack_scheduled && !tp.ack_now) return;
  const u32 unacked = static_cast<u32>(tp.rcv_nxt - tp.rcv_wup);
  // RFC 5681 §4.2: at least every second full-sized segment, and at once while there are holes.
  const bool full = unacked > tp.rcv_mss &&
                    (static_cast<u32>(tp.rcv_nxt - tp.copied_seq) < tp.opt.rcvlowat ||
                     tcp_choose_window(tp) >= tp.rcv_wnd);
  if (full || tcp_in_quickack(tp) || tp.ack_now || !tp.ofo_queue.empty()) {
    tcp_send_ack(cx, tp);
  } else {
    tcp_send_delayed_ack(cx, tp);
  }
}

bool tcp_readable(const tcp_sock& tp, u32 target) {
  const u32 waiting = static_cast<u32>(tp.rcv_nxt - tp.copied_seq);
  if (waiting == 0) return false;
  // SO_RCVLOWAT, unless the rest cannot come because there is no room for it.
  return waiting >= target || tcp_under_memory_pressure(tp) ||
         tp.rmem_alloc > tp.opt.rcvbuf - tp.opt.rcvbuf / 8 ||
         tcp_receive_window(tp) <= tp.rcv_mss;
}

void tcp_data_ready(tcp_sock& tp) {
  if (!tcp_readable(tp, tp.opt.rcvlowat) && (tp.shutdown_state & rcv_shutdown) == 0) return;
  tp.wake(uapi::pollin | uapi::pollrdnorm);
}

void tcp_data_queue(cpu& cx, tcp_sock& tp, skb_ptr skb) {
  const tcp_skb_cb& cb = tcp_cb(*skb);
  if (cb.seq == cb.end_seq) {
    consume(cx, std::move(skb));
    return;
  }
  const u32 window = tcp_receive_window(tp);
  const bool only_fin = skb->len() == 0;
  if (cb.end_seq <= tp.rcv_nxt) {
    // A retransmission: our acknowledgement was lost. Say it again, and that it came twice.
    tp.net().mib().add(cx, mib::tcpext_delayed_ack_lost);
    tcp_dsack_set(cx, tp, cb.seq, cb.end_seq, false);
    refuse(cx, tp, std::move(skb), drop_reason::tcp_old_data);
    return;
  }
  if (cb.seq >= tp.rcv_nxt + window && !(only_fin && cb.seq == tp.rcv_nxt)) {
    cx.sometimes("tcp_data_beyond_window");
    refuse(cx, tp, std::move(skb),
           window == 0 ? drop_reason::tcp_zero_window : drop_reason::tcp_overwindow);
    return;
  }
  trim_to_window(*skb, tp.rcv_nxt + window);
  if (cb.end_seq <= tp.rcv_nxt) {
    refuse(cx, tp, std::move(skb), drop_reason::tcp_zero_window);
    return;
  }
  if (cb.seq > tp.rcv_nxt) {
    tp.ack_scheduled = true;
    tp.ack_now = true;  // RFC 5681 §4.2: a hole is reported at once
    data_queue_ofo(cx, tp, std::move(skb));
    return;
  }
  if (cb.seq < tp.rcv_nxt) {
    cx.sometimes("tcp_data_partly_old");
    tcp_dsack_set(cx, tp, cb.seq, tp.rcv_nxt, false);
    trim_front(*skb, tp.rcv_nxt);
  }
  // What the program waits for is always taken.
  if (!only_fin && !tcp_try_rmem_schedule(cx, tp, *skb) && !tp.receive_queue.empty()) {
    cx.sometimes("tcp_in_order_refused");
    tp.net().mib().add(cx, mib::tcpext_tcp_rcv_q_drop);
    refuse(cx, tp, std::move(skb), drop_reason::tcp_rcv_pruned);
    return;
  }
  queue_in_order(cx, tp, std::move(skb));
}

void tcp_fin(cpu& cx, tcp_sock& tp) {
  tp.ack_scheduled = true;
  tp.shutdown_state |= rcv_shutdown;
  tp.stream_done = true;
  tp.ofo_queue.purge(cx, drop_reason::tcp_old_data);
  tp.num_sacks = 0;
  tp.have_dsack = false;  // as on Linux: behind the end of the stream nothing is left to report
  switch (tp.state) {
    case tcp_state::syn_recv:
    case tcp_state::established:
      tcp_set_state(cx, tp, tcp_state::close_wait);
      tp.pingpong = true;
      break;
    case tcp_state::fin_wait1:
      cx.sometimes("tcp_simultaneous_close");
      // RFC 9293 figure 13: both sides close at the same time.
      tcp_send_ack(cx, tp);
      tcp_set_state(cx, tp, tcp_state::closing);
      break;
    case tcp_state::fin_wait2:
      tcp_send_ack(cx, tp);
      tcp_time_wait(cx, tp);
      break;
    default: break;
  }
  if (tp.dead) return;
  const bool both = tp.shutdown_state == shutdown_mask || tp.state == tcp_state::close;
  tp.wake(uapi::pollin | uapi::pollrdnorm | uapi::pollrdhup | (both ? uapi::pollhup : 0));
}

void tcp_cleanup_rbuf(cpu& cx, tcp_sock& tp, std::size_t copied) {
  if (tp.in_state({tcp_state::close, tcp_state::listen, tcp_state::syn_sent})) return;
  bool now = false;
  if (tp.ack_scheduled) {
    const bool read_all = copied != 0 && tp.rmem_alloc == 0;
    now = static_cast<u32>(tp.rcv_nxt - tp.rcv_wup) > tp.rcv_mss ||
          (read_all && (tp.ack_pushed >= 2 || (tp.ack_pushed == 1 && !tp.pingpong)));
  }
  if (copied != 0 && !now && (tp.shutdown_state & rcv_shutdown) == 0) {
    const u32 current = tcp_receive_window(tp);
    // RFC 9293 §3.8.6.2.2: told only when it opened by much.
    if (2 * u64{current} <= tp.window_clamp) {
      const u32 window = tcp_choose_window(tp);
      now = window != 0 && window >= 2 * u64{current};
    }
  }
  if (now) tcp_send_ack(cx, tp);
}

void tcp_rcv_space_adjust(cpu& cx, tcp_sock& tp) {
  const duration elapsed = cx.now() - tp.rcvq_time;
  if (tp.rcv_rtt.ns == 0 || elapsed < tp.rcv_rtt) return;
  const u32 copied = read_since(tp);
  if (copied > tp.rcvq_space) {
    const tcp_sysctls& sysctl = tp.tcp().sysctl;
    if (sysctl.moderate_rcvbuf != 0 && !tp.opt.rcvbuf_locked) {
      // Twice what was read in a round trip, since the sender may double its window meanwhile,
      // and more while the reading itself grows.
      u64 window = 2 * u64{copied} + 16 * tp.advmss;
      window += 2 * (window * (copied - tp.rcvq_space) / std::max(tp.rcvq_space, 1u));
      const u64 space =
          std::min<u64>(window * 2, static_cast<u64>(std::max(sysctl.rmem[2], 0)));
      if (space > tp.opt.rcvbuf) {
        tp.opt.rcvbuf = static_cast<u32>(space);
        // DIFFERS: on Linux TCP_WINDOW_CLAMP is forgotten when the buffer grows by itself.
        if (tp.user_window_clamp == 0) {
          tp.window_clamp = std::max(tp.window_clamp, tcp_win_from_space(tp.opt.rcvbuf));
        }
      }
    }
    tp.rcvq_space = copied;
  }
  tp.rcvq_seq += copied;
  tp.rcvq_time = cx.now();
}

void tcp_initialize_rcv_mss(tcp_sock& tp) {
  u32 hint = std::min({tp.advmss, tp.mss_cache, uapi::tcp_mss_default + 0u});
  hint = std::min(hint, tp.rcv_wnd / 2);
  tp.rcv_mss = std::max(hint, tcp_min_mss);
}

void tcp_init_buffer_space(cpu& cx, tcp_sock& tp) {
  tcp_expand_sndbuf(tp);
  tp.rcvq_space = std::min(tp.rcv_wnd, tcp_init_cwnd * tp.advmss);
  tp.rcvq_seq = tp.copied_seq;
  tp.rcvq_time = cx.now();
  const u32 most = tcp_full_space(tp);
  if (tp.window_clamp > most) tp.window_clamp = most;
  tp.rcv_ssthresh = std::min(std::max(tp.rcv_ssthresh, tp.rcv_wnd), tp.window_clamp);
}

void tcp_send_dupack(cpu& cx, tcp_sock& tp, seq32 seq, seq32 end_seq) {
  if (seq != end_seq && seq < tp.rcv_nxt) {
    tp.net().mib().add(cx, mib::tcpext_delayed_ack_lost);
    tcp_enter_quickack(tp, tcp_max_quickacks);
    tcp_dsack_set(cx, tp, seq, seq_min(end_seq, tp.rcv_nxt), false);
  }
  tcp_send_ack(cx, tp);
}

}  // namespace ph
