// How a receive buffer is kept within its bounds. RFC 2018 §8 allows a receiver to throw away what
// it has reported but not acknowledged; RFC 9293 §3.8.6.2.2 how the window follows.
#include "net/tcp/tcp_prune.h"

#include <algorithm>

#include "net/tcp/tcp_mem.h"
#include "net/tcp/tcp_sack.h"

namespace ph {
namespace {

/// Bytes of a packet that others are copied into; filled, three quarters of its charge are data.
constexpr u32 block = 2304;

bool fits(const tcp_sock& tp) { return tp.rmem_alloc <= tp.opt.rcvbuf; }

/// Three quarters or more of its charge are data.
bool dense(const sk_buff& skb) { return skb.len() * 4 > skb.truesize * 3; }

/// Copies badly filled packets together, however long they are (a super-packet from a device that
/// reads into large blocks may pay for several times its bytes), and gives everything to `put` in
/// the same order. Linux counts this as TCPRcvCollapsed.
template <class Put>
void collapse(cpu& cx, tcp_sock& tp, skb_queue& from, Put&& put) {
  skb_ptr packed;
  const auto flush = [&] {
    if (!packed) return;
    tp.set_owner_r(*packed);
    put(std::move(packed));
  };
  while (skb_ptr skb = from.pop_front()) {
    const tcp_skb_cb& cb = tcp_cb(*skb);
    if (dense(*skb) || skb->len() == 0) {
      flush();
      put(std::move(skb));
      continue;
    }
    // Out of order there are gaps; and nothing belongs behind a FIN.
    if (packed && (tcp_cb(*packed).end_seq != cb.seq ||
                   (tcp_cb(*packed).flags & tcphdr_fin) != 0)) {
      flush();
    }
    const u32 len = skb->len();
    for (u32 done = 0; done < len;) {
      if (packed && packed->tailroom() == 0) flush();
      if (!packed) {
        packed = alloc_skb(cx, block);
        packed->init_cb<tcp_skb_cb>() = cb;
        packed->tstamp = skb->tstamp;
        tcp_cb(*packed).seq = cb.seq + done;
        tcp_cb(*packed).flags = 0;
      }
      const u32 piece = std::min(packed->tailroom(), len - done);
      ph_check(skb->copy_bits(done, packed->put(piece)));
      done += piece;
      tcp_cb(*packed).end_seq = cb.seq + done;
    }
    tcp_cb(*packed).end_seq = cb.end_seq;  // the last piece has the FIN
    tcp_cb(*packed).flags |= cb.flags;
    cx.sometimes("tcp_receive_queue_collapsed");
    tp.net().mib().add(cx, mib::tcpext_tcp_rcv_collapsed);
    consume(cx, std::move(skb));
  }
  flush();
}

void collapse_receive_queue(cpu& cx, tcp_sock& tp) {
  skb_queue old;
  old.splice_back(tp.receive_queue);
  collapse(cx, tp, old, [&](skb_ptr skb) { tp.receive_queue.push_back(std::move(skb)); });
}

void collapse_ofo_queue(cpu& cx, tcp_sock& tp) {
  skb_queue old;
  while (sk_buff* first = tp.ofo_queue.first()) old.push_back(tp.ofo_queue.remove(*first));
  collapse(cx, tp, old, [&](skb_ptr skb) { tp.ofo_queue.push_back(std::move(skb)); });
}

/// Throws away what lies out of order beyond `seq`, farthest first, an eighth of the buffer at a
/// time, until there is room. False: there was nothing.
bool prune_ofo_queue(cpu& cx, tcp_sock& tp, seq32 seq) {
  bool pruned = false;
  const s64 portion = tp.opt.rcvbuf / 8;
  s64 goal = portion;
  while (sk_buff* last = tp.ofo_queue.last()) {
    // What came may be what all the others wait for, or lie behind them and be the first to go.
    if (tcp_cb(*last).seq <= seq) break;
    pruned = true;
    goal -= last->truesize;
    drop(cx, tp.ofo_queue.remove(*last), drop_reason::tcp_rcv_pruned);
    if (goal > 0) continue;
    if (fits(tp) && !tcp_under_memory_pressure(tp)) break;
    goal = portion;
  }
  if (!pruned) return false;
  cx.sometimes("tcp_ofo_pruned");
  tp.net().mib().add(cx, mib::tcpext_ofo_pruned);
  // DIFFERS: Linux reports nothing at all after this; what is still there helps the peer.
  tp.num_sacks = 0;
  for (sk_buff* skb = tp.ofo_queue.first(); skb != nullptr; skb = tp.ofo_queue.next(*skb)) {
    tcp_sack_new_ofo(tp, tcp_cb(*skb).seq, tcp_cb(*skb).end_seq);
  }
  return true;
}

/// More is in the queues than the buffer should hold: it grows if it may, otherwise the window
/// offered falls to what keeps acknowledgements coming.
void clamp_window(tcp_sock& tp) {
  tp.quick = 0;
  const u32 most = static_cast<u32>(std::max(tp.tcp().sysctl.rmem[2], 0));
  if (tp.opt.rcvbuf < most && !tp.opt.rcvbuf_locked && tcp_mem_plenty(tp)) {
    tp.opt.rcvbuf = std::min(tp.rmem_alloc, most);
  }
  if (!fits(tp)) tp.rcv_ssthresh = std::min(tp.window_clamp, 2 * tp.advmss);
}

/// False: nothing helped.
bool prune(cpu& cx, tcp_sock& tp, seq32 seq) {
  mib_table& mibs = tp.net().mib();
  cx.sometimes("tcp_receive_buffer_full");
  mibs.add(cx, mib::tcpext_prune_called);
  if (!fits(tp)) {
    clamp_window(tp);
  } else if (tcp_under_memory_pressure(tp)) {
    tcp_adjust_rcv_ssthresh(tp);
  }
  if (fits(tp)) return true;
  collapse_ofo_queue(cx, tp);
  collapse_receive_queue(cx, tp);
  if (fits(tp)) return true;
  prune_ofo_queue(cx, tp, seq);
  if (fits(tp)) return true;
  cx.sometimes("tcp_receive_buffer_stays_full");
  mibs.add(cx, mib::tcpext_rcv_pruned);
  return false;
}

}  // namespace

bool tcp_try_rmem_schedule(cpu& cx, tcp_sock& tp, const sk_buff& skb) {
  const u32 size = skb.truesize;
  const seq32 seq = tcp_cb(skb).seq;
  if (fits(tp) && tcp_mem_may_receive(cx, tp, size)) return true;
  if (!prune(cx, tp, seq)) return false;
  while (!tcp_mem_may_receive(cx, tp, size)) {
    if (!prune_ofo_queue(cx, tp, seq)) return false;
  }
  return true;
}

}  // namespace ph
