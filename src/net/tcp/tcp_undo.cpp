// RFC 3522 §3, RFC 3708 §3, RFC 4015 §3.2: the window returns to what it was; slow start goes on
// where it was left.
#include "net/tcp/tcp_undo.h"

#include <algorithm>

#include "net/tcp/tcp_ecn.h"
#include "net/tcp/tcp_prr.h"

namespace ph {
namespace {

/// RFC 3522 §3.2 step 4: the echo is older than the first retransmission.
bool packet_delayed(const tcp_sock& tp) {
  if (tp.retrans_stamp == instant{} || !tp.tstamp_ok || !tp.rx.saw_tstamp) return false;
  if (tp.rx.rcv_tsecr == 0) return false;
  const u32 first = static_cast<u32>(tp.retrans_stamp.ms()) + tp.tsoffset;
  return static_cast<s32>(tp.rx.rcv_tsecr - first) < 0;
}

bool may_undo(const tcp_sock& tp) {
  return tp.undo.marker && (tp.undo.retrans == 0 || packet_delayed(tp));
}

void restore(cpu& cx, tcp_sock& tp, bool unmark) {
  if (unmark) {
    tp.rtx_queue.unmark_lost();
    tp.lost_edge = tp.snd_una;
  }
  if (!tp.ca->owns_cwnd()) {
    tp.cong.cwnd = std::max(tp.cong.cwnd, std::min(tp.undo.cwnd, tp.cong.cwnd_clamp));
  }
  if (tp.undo.ssthresh > tp.cong.ssthresh) {
    tp.cong.ssthresh = tp.undo.ssthresh;
    tcp_ecn_withdraw_cwr(tp);
  }
  tp.ca->on_undo(cx, tp.cong);
  tp.undo = {};
  tp.rack.advanced = true;
}

}  // namespace

void tcp_undo_begin(tcp_sock& tp) {
  tp.undo = {};
  tp.undo.marker = tp.snd_una;
  if (tp.ca_state <= tcp_ca_state::disorder) {
    tp.undo.cwnd = tp.cong.cwnd;
    tp.undo.ssthresh = std::max(tp.cong.ssthresh, tp.cong.cwnd / 4 * 3);
  }
  u32 copies = tp.rtx_queue.retrans_out();
  if (tp.tlp.end_seq && tp.tlp.is_retrans) ++copies;
  if (copies != 0) tp.undo.retrans = copies;
}

void tcp_undo_retransmitted(tcp_sock& tp, u32 segs) {
  tp.undo.retrans = std::max<s64>(tp.undo.retrans, 0) + segs;
}

void tcp_undo_duplicate(tcp_sock& tp, seq32 end, u32 segs) {
  if (!tp.undo.marker || tp.undo.retrans <= 0 || end <= *tp.undo.marker) return;
  tp.undo.retrans = std::max<s64>(tp.undo.retrans - segs, 0);
}

bool tcp_try_undo_recovery(cpu& cx, tcp_sock& tp) {
  if (!may_undo(tp)) return false;
  cx.sometimes("tcp_undo_recovery");
  tp.net().mib().add(cx, tp.ca_state == tcp_ca_state::loss ? mib::tcpext_tcp_loss_undo
                                                           : mib::tcpext_tcp_full_undo);
  restore(cx, tp, false);
  return true;
}

bool tcp_try_undo_partial(cpu& cx, tcp_sock& tp) {
  if (!tp.undo.marker || !packet_delayed(tp)) return false;
  if (tp.rtx_queue.retrans_out() != 0) return true;
  cx.sometimes("tcp_undo_partial");
  tp.net().mib().add(cx, mib::tcpext_tcp_partial_undo);
  restore(cx, tp, true);
  tp.retrans_stamp = instant{};
  tp.ca_state = tp.rtx_queue.sacked_out() != 0 ? tcp_ca_state::disorder : tcp_ca_state::open;
  return true;
}

bool tcp_try_undo_dsack(cpu& cx, tcp_sock& tp) {
  if (!tp.undo.marker || tp.undo.retrans != 0) return false;
  cx.sometimes("tcp_undo_by_dsack");
  tp.net().mib().add(cx, mib::tcpext_tcp_dsack_undo);
  restore(cx, tp, false);
  return true;
}

bool tcp_try_undo_loss(cpu& cx, tcp_sock& tp, bool frto) {
  if (!frto && !may_undo(tp)) return false;
  cx.sometimes("tcp_undo_timeout");
  tp.net().mib().add(cx, mib::tcpext_tcp_loss_undo);
  if (frto) tp.net().mib().add(cx, mib::tcpext_tcp_spurious_rtos);
  restore(cx, tp, true);
  tp.retransmits = 0;
  tp.frto = false;
  return true;
}

}  // namespace ph
