// What happens when a timer fires: RFC 6298 §5 (retransmission), RFC 9293 §3.8.6.1 (persist),
// §3.8.4 (keepalive), §3.8.3 (giving up), RFC 5482 (user timeout).
#include "net/tcp/tcp_timer.h"

#include <algorithm>

#include "net/tcp/tcp_ack.h"
#include "net/tcp/tcp_mem.h"
#include "net/tcp/tcp_mtu_probe.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_rack.h"
#include "net/tcp/tcp_recovery.h"
#include "net/tcp/tcp_timewait.h"

namespace ph {
namespace {

/// The connection failed: the program hears why.
void write_error(cpu& cx, tcp_sock& tp) {
  cx.sometimes("tcp_gives_up");
  tp.net().mib().add(cx, mib::tcpext_tcp_abort_on_timeout);
  const errc why = tp.soft_error != errc::ok ? tp.soft_error : errc::timedout;
  tcp_write_queue_purge(cx, tp);
  tcp_reset(cx, tp, why);
}

/// The time that `count` timeouts with doubling take, from 200 ms or for a SYN from one
/// second, none above TCP_RTO_MAX_MS: R2 of RFC 9293 §3.8.3.
duration backoff_time(const tcp_sock& tp, u32 count) {
  duration step = tp.state == tcp_state::syn_sent ? tcp_timeout_init : tcp_rto_min;
  duration out{};
  for (u32 i = 0; i <= count; ++i) {
    out = out + std::min(step, tp.rto_max);
    if (step < tp.rto_max) step = step * 2;
  }
  return out;
}

u32 orphan_retries(const tcp_sock& tp, bool alive) {
  u32 retries = static_cast<u32>(tp.tcp().sysctl.orphan_retries);
  if (tp.soft_error != errc::ok && !alive) retries = 0;
  if (retries == 0 && alive) retries = 8;
  return retries;
}

bool timed_out(cpu& cx, const tcp_sock& tp, u32 count, u32 user_timeout_ms) {
  if (tp.retransmits == 0) return false;
  const duration limit = user_timeout_ms != 0 ? milliseconds(user_timeout_ms)
                                                : backoff_time(tp, count);
  const bool opening = tp.state == tcp_state::syn_sent;
  return cx.now() - (opening ? tp.syn_stamp : tp.retrans_stamp) >= limit;
}

/// A SYN or SYN+ACK was sent as often as it may be. SYNs at the first interval do not count, but
/// the time that the others would have taken is not exceeded.
bool opening_expired(cpu& cx, const tcp_sock& tp) {
  const tcp_sysctls& sysctl = tp.tcp().sysctl;
  const s32 usual = tp.fastopen_child ? sysctl.synack_retries : sysctl.syn_retries;
  const u32 retries = tp.syn_retries != 0 ? tp.syn_retries : static_cast<u32>(usual);
  if (tp.state != tcp_state::syn_sent) {
    return tp.retransmits >= retries ||
           (tp.user_timeout_ms != 0 && timed_out(cx, tp, 0, tp.user_timeout_ms));
  }
  return tp.retransmits >= retries + static_cast<u32>(sysctl.syn_linear_timeouts) ||
         timed_out(cx, tp, retries, tp.user_timeout_ms);
}

/// True when the connection was given up.
bool give_up(cpu& cx, tcp_sock& tp) {
  const tcp_sysctls& sysctl = tp.tcp().sysctl;
  bool expired = false;
  if (tp.in_state({tcp_state::syn_sent, tcp_state::syn_recv})) {
    expired = opening_expired(cx, tp);
  } else {
    // R1 of RFC 9293 §3.8.3: the path is looked at anew.
    if (timed_out(cx, tp, static_cast<u32>(sysctl.retries1), 0)) tcp_mtup_black_hole(cx, tp);
    u32 retries = static_cast<u32>(sysctl.retries2);
    if (tp.dead) {
      const bool alive = tp.rto < tp.rto_max;
      retries = orphan_retries(tp, alive);
      const bool fresh = alive || !timed_out(cx, tp, retries, 0);
      if (tcp_out_of_resources(cx, tp, fresh)) return true;
    }
    expired = expired || timed_out(cx, tp, retries, tp.user_timeout_ms);
  }
  if (expired) write_error(cx, tp);
  return expired;
}

/// RFC 9293 §3.8.6.1: the receiver took its window back from data that are in flight.
bool window_closed(const tcp_sock& tp) {
  return tp.snd_wnd == 0 && !tp.dead &&
         !tp.in_state({tcp_state::syn_sent, tcp_state::syn_recv});
}

/// Who closed its window lives as long as it answers, but for twice the longest interval of
/// silence; TCP_USER_TIMEOUT counts whatever it answers (tcp(7)).
bool closed_window_expired(cpu& cx, const tcp_sock& tp) {
  if (tp.user_timeout_ms != 0) return timed_out(cx, tp, 0, tp.user_timeout_ms);
  return tp.retransmits != 0 &&
         cx.now() - std::max(tp.last_ack_rcv, tp.retrans_stamp) >= tp.rto_max * 2;
}

/// The next timeout; never past the end of TCP_USER_TIMEOUT.
duration clamped_rto(cpu& cx, const tcp_sock& tp) {
  if (tp.user_timeout_ms == 0 || tp.retrans_stamp == instant{}) return tp.rto;
  const duration left =
      tp.retrans_stamp + milliseconds(tp.user_timeout_ms) - cx.now();
  return left.ns <= 0 ? milliseconds(1) : std::min(tp.rto, left);
}

/// RFC 6298 (5.5), tcp(7): a connection with few segments in flight, which can learn of a loss only
/// by timeouts, may keep its interval for six of them; so may a SYN (tcp_syn_linear_timeouts).
void back_off(tcp_sock& tp) {
  const tcp_sysctls& sysctl = tp.tcp().sysctl;
  constexpr u32 thin_packets = 4;
  constexpr u32 thin_timeouts = 6;
  const bool thin = (tp.thin_linear_timeouts || sysctl.thin_linear_timeouts != 0) &&
                    tp.rtx_queue.packets_out() < thin_packets;
  if (tp.state == tcp_state::established && thin && tp.retransmits <= thin_timeouts) {
    tp.backoff = 0;
    tcp_set_rto(tp);
    return;
  }
  if (tp.state == tcp_state::syn_sent && tp.total_rto <= sysctl.syn_linear_timeouts) return;
  if (tp.backoff < 255) ++tp.backoff;
  tp.rto = std::min(tp.rto * 2, tp.rto_max);
}

void rto_fired(cpu& cx, tcp_sock& tp) {
  if (tp.rtx_queue.packets_out() == 0) return;
  if (window_closed(tp)) {
    cx.sometimes("tcp_timeout_into_closed_window");
    if (closed_window_expired(cx, tp)) {
      write_error(cx, tp);
      return;
    }
  } else if (give_up(cx, tp)) {
    return;
  }
  cx.sometimes("tcp_timeout");
  tp.net().mib().add(cx, mib::tcpext_tcp_timeouts);
  ++tp.total_rto;
  const bool repairing = tp.ca_state >= tcp_ca_state::recovery;
  tcp_enter_loss(cx, tp);
  if (tp.retransmits == 0) {
    // How long nothing has moved counts from here; what was sent again before makes timestamps
    // useless as a proof that this timeout was needless.
    tp.retrans_stamp = instant{};
    if (repairing) tp.undo.marker.reset();
  }
  sk_buff* head = tp.rtx_queue.first();
  ph_check(head != nullptr);
  if (tp.retransmits < 255) ++tp.retransmits;
  const xmit_result result = tcp_retransmit_skb(cx, tp, *head);
  tp.retrans_hint = seq_max(tp.retrans_hint, tcp_cb(*head).end_seq);
  if (result == xmit_result::dropped) {
    // A full queue of this host says nothing about the path: there is nothing to back off from.
    cx.sometimes("tcp_timeout_dropped_below");
    tcp_arm_rto(cx, tp, tcp_resource_probe);
    return;
  }
  back_off(tp);
  tcp_arm_rto(cx, tp, clamped_rto(cx, tp));
}

void probe_fired(cpu& cx, tcp_sock& tp) {
  if (tp.rtx_queue.packets_out() != 0 || tp.write_queue.empty()) {
    tp.probes_out = 0;
    tp.probes_stamp = instant{};
    return;
  }
  if (tp.probes_out == 0) tp.probes_stamp = cx.now();
  u32 most = static_cast<u32>(tp.tcp().sysctl.retries2);
  bool expired = tp.user_timeout_ms != 0 && tp.probes_stamp != instant{} &&
                 cx.now() - tp.probes_stamp >= milliseconds(tp.user_timeout_ms);
  if (tp.dead) {
    const bool alive = tp.rto.ns << std::min<u32>(tp.backoff, 20) < tp.rto_max.ns;
    most = orphan_retries(tp, alive);
    if (!alive && tp.backoff >= most) expired = true;
    if (!expired && tcp_out_of_resources(cx, tp, true)) return;
  }
  if (expired || tp.probes_out >= most) {
    write_error(cx, tp);
    return;
  }
  cx.sometimes("tcp_window_probe");
  tp.net().mib().add(cx, mib::tcpext_tcp_win_probe);
  const xmit_result result = tcp_write_wakeup(cx, tp);
  if (tp.rtx_queue.packets_out() != 0 || tp.write_queue.empty()) {
    tp.probes_out = 0;
    tp.backoff = 0;
    return;
  }
  ++tp.probes_out;
  if (!tcp_left_host(result)) {
    // Nothing left this machine, so there is nothing to back off from.
    cx.sometimes("tcp_probe_refused_below");
    tcp_arm_probe_after(cx, tp, tcp_resource_probe);
    return;
  }
  if (tp.backoff < tp.tcp().sysctl.retries2) ++tp.backoff;
  tcp_arm_probe(cx, tp);
}

void retransmit_fired(cpu& cx, tcp_sock& tp) {
  if (std::exchange(tp.probing, false)) {
    probe_fired(cx, tp);
    return;
  }
  switch (std::exchange(tp.rtx_event, tcp_rtx_event::timeout)) {
    case tcp_rtx_event::timeout: rto_fired(cx, tp); return;
    case tcp_rtx_event::reordering: tcp_rack_reo_timeout(cx, tp); return;
    case tcp_rtx_event::loss_probe: tcp_send_loss_probe(cx, tp); return;
  }
}

void delack_fired(cpu& cx, tcp_sock& tp) {
  if (!tp.ack_scheduled) return;
  if (!tp.pingpong) {
    tp.ato = std::min(tp.ato * 2, tp.rto);  // missed once: be slower
  } else {
    tp.pingpong = false;
    tp.ato = tcp_ato_min;
  }
  tp.net().mib().add(cx, mib::tcpext_delayed_acks);
  tcp_send_ack(cx, tp);
}

void pacing_fired(cpu& cx, tcp_sock& tp) {
  if (tp.state == tcp_state::close) return;
  tcp_xmit_recovery(cx, tp);
  tcp_push_pending(cx, tp);
}

void keepalive_fired(cpu& cx, tcp_sock& tp) {
  if (tp.state == tcp_state::fin_wait2 && tp.dead) {
    if (tcp_fin_time(tp) > tcp_timewait_len) {
      tcp_fin_wait2_last_minute(cx, tp);
    } else {
      tcp_send_active_reset(cx, tp);
      tcp_done(cx, tp);
    }
    return;
  }
  if (!tp.opt.keepalive || tp.in_state({tcp_state::close, tcp_state::syn_sent})) return;
  duration again = tcp_keepalive_time(tp);
  if (tp.rtx_queue.packets_out() == 0 && tp.write_queue.empty()) {
    const duration idle = cx.now() - std::max(tp.last_rcv, tp.last_ack_rcv);
    if (idle >= again) {
      const bool expired =
          tp.user_timeout_ms != 0
              ? idle >= milliseconds(tp.user_timeout_ms) && tp.probes_out > 0
              : tp.probes_out >= tcp_keepalive_probes(tp);
      if (expired) {
        cx.sometimes("tcp_keepalive_gives_up");
        tcp_send_active_reset(cx, tp);
        write_error(cx, tp);
        return;
      }
      cx.sometimes("tcp_keepalive_probe");
      tp.net().mib().add(cx, mib::tcpext_tcp_keep_alive);
      static_cast<void>(tcp_send_probe(cx, tp));
      ++tp.probes_out;
      again = tcp_keepalive_intvl(tp);
    } else {
      again = again - idle;
    }
  }
  tcp_arm_keepalive(cx, tp, again);
}

using handler = void (*)(cpu&, tcp_sock&);

/// Timers fire on the home cpu of a socket that lives; the work may end it.
template <handler Work>
void bind_timer(timer& t, tcp_sock& tp) {
  tcp_sock* raw = &tp;
  t.set_callback([raw](cpu& cx) {
    const ref<tcp_sock> hold(raw);
    Work(cx, *raw);
  });
}

}  // namespace

void tcp_init_timers(tcp_sock& tp) {
  bind_timer<retransmit_fired>(tp.retransmit_timer, tp);
  bind_timer<delack_fired>(tp.delack_timer, tp);
  bind_timer<pacing_fired>(tp.pacing_timer, tp);
  bind_timer<keepalive_fired>(tp.keepalive_timer, tp);
}

void tcp_clear_timers(tcp_sock& tp) {
  timer_wheel& wheel = tp.home().timers();
  wheel.cancel(tp.retransmit_timer);
  wheel.cancel(tp.delack_timer);
  wheel.cancel(tp.pacing_timer);
  wheel.cancel(tp.keepalive_timer);
  tp.probing = false;
  tp.rtx_event = tcp_rtx_event::timeout;
  tp.ack_scheduled = false;
}

void tcp_arm_rto(cpu& cx, tcp_sock& tp, duration after) {
  tcp_arm_rtx(cx, tp, tcp_rtx_event::timeout, after);
}

void tcp_arm_rtx(cpu& cx, tcp_sock& tp, tcp_rtx_event event, duration after) {
  tp.probing = false;
  tp.rtx_event = event;
  tp.home().timers().arm(tp.retransmit_timer, cx.now() + std::min(after, tp.rto_max));
}

duration tcp_rto_left(cpu& cx, tcp_sock& tp) {
  const sk_buff* head = tp.rtx_queue.first();
  return head == nullptr ? tp.rto : tcp_cb(*head).sent_at + tp.rto - cx.now();
}

void tcp_rearm_rto(cpu& cx, tcp_sock& tp) {
  if (tp.rtx_queue.packets_out() != 0) {
    duration after = clamped_rto(cx, tp);
    // What was waited for in between does not put the timeout off (RFC 8985 §7.3).
    if (tp.rtx_event != tcp_rtx_event::timeout && !tp.probing) {
      after = std::min(after, std::max(tcp_rto_left(cx, tp), milliseconds(1)));
    }
    tcp_arm_rto(cx, tp, after);
  } else if (!tp.probing) {
    tp.rtx_event = tcp_rtx_event::timeout;
    tp.home().timers().cancel(tp.retransmit_timer);
  }
}

void tcp_arm_probe_after(cpu& cx, tcp_sock& tp, duration after) {
  tp.probing = true;
  tp.rtx_event = tcp_rtx_event::timeout;
  if (tp.user_timeout_ms != 0 && tp.probes_stamp != instant{} && tp.probes_out != 0) {
    const duration left = tp.probes_stamp + milliseconds(tp.user_timeout_ms) - cx.now();
    after = std::min(after, std::max(left, milliseconds(1)));
  }
  tp.home().timers().arm(tp.retransmit_timer, cx.now() + after);
}

void tcp_arm_probe(cpu& cx, tcp_sock& tp) {
  const u32 shift = std::min<u32>(tp.backoff, 20);
  duration after = std::max(tp.rto, tcp_rto_min);
  after.ns = after.ns > tp.rto_max.ns >> shift ? tp.rto_max.ns : after.ns << shift;
  tcp_arm_probe_after(cx, tp, after);
}

void tcp_check_probe_timer(cpu& cx, tcp_sock& tp) {
  if (tp.rtx_queue.empty() && !tp.write_queue.empty() && !tp.retransmit_timer.armed()) {
    tcp_arm_probe(cx, tp);
  }
}

void tcp_stop_probing(tcp_sock& tp) {
  if (!std::exchange(tp.probing, false)) return;
  tp.home().timers().cancel(tp.retransmit_timer);
  tp.probes_stamp = instant{};
}

void tcp_send_delayed_ack(cpu& cx, tcp_sock& tp) {
  duration ato = tp.ato;
  if (ato > tcp_delack_min) {
    duration most = tp.pingpong ? tp.delack_max : milliseconds(500);
    if (tp.srtt.ns != 0) most = std::min(most, std::max(tp.srtt, tcp_delack_min));
    ato = std::min(ato, most);
  }
  ato = std::min(ato, tp.delack_max);
  instant when = cx.now() + ato;
  if (tp.ack_scheduled && tp.delack_timer.armed()) {
    const instant due = tp.delack_timer.deadline();
    if (due <= cx.now() + ato / 4) {
      tcp_send_ack(cx, tp);
      return;
    }
    when = std::min(when, due);
  }
  tp.ack_scheduled = true;
  tp.home().timers().arm(tp.delack_timer, when);
}

void tcp_arm_keepalive(cpu& cx, tcp_sock& tp, duration after) {
  tp.home().timers().arm(tp.keepalive_timer, cx.now() + after);
}

duration tcp_keepalive_time(const tcp_sock& tp) {
  return tp.keepalive_time.ns != 0 ? tp.keepalive_time : seconds(tp.tcp().sysctl.keepalive_time);
}
duration tcp_keepalive_intvl(const tcp_sock& tp) {
  return tp.keepalive_intvl.ns != 0 ? tp.keepalive_intvl
                                    : seconds(tp.tcp().sysctl.keepalive_intvl);
}
u32 tcp_keepalive_probes(const tcp_sock& tp) {
  return tp.keepalive_probes != 0 ? tp.keepalive_probes
                                  : static_cast<u32>(tp.tcp().sysctl.keepalive_probes);
}
duration tcp_fin_time(const tcp_sock& tp) {
  duration out = tp.linger2 != 0 ? seconds(tp.linger2) : seconds(tp.tcp().sysctl.fin_timeout);
  return std::max(out, tp.rto * 4 - tp.rto / 2);
}

}  // namespace ph
