// Time: retransmission, persist, delayed acknowledgement, keepalive, the end of FIN_WAIT2.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

/// Binds the timers of a socket to their work.
void tcp_init_timers(tcp_sock& tp);
void tcp_clear_timers(tcp_sock& tp);
/// Starts the retransmission timer (ends persisting).
void tcp_arm_rto(cpu& cx, tcp_sock& tp, duration after);
/// Starts the same timer for something else that comes before the timeout.
void tcp_arm_rtx(cpu& cx, tcp_sock& tp, tcp_rtx_event event, duration after);
/// How long until the timeout of the oldest segment, counted from its transmission.
duration tcp_rto_left(cpu& cx, tcp_sock& tp);
/// RFC 6298 §5: restarts it while something is outstanding, stops it otherwise.
void tcp_rearm_rto(cpu& cx, tcp_sock& tp);
/// (Re)starts the persist timer with its backoff.
void tcp_arm_probe(cpu& cx, tcp_sock& tp);
/// The same after a time of its own; not past TCP_USER_TIMEOUT.
void tcp_arm_probe_after(cpu& cx, tcp_sock& tp, duration after);
/// Starts the persist timer if data wait, nothing is in flight and no timer runs.
void tcp_check_probe_timer(cpu& cx, tcp_sock& tp);
void tcp_stop_probing(tcp_sock& tp);
/// Owes an acknowledgement: within ato (RFC 9293 §3.8.6.3, RFC 5681 §4.2).
void tcp_send_delayed_ack(cpu& cx, tcp_sock& tp);
void tcp_arm_keepalive(cpu& cx, tcp_sock& tp, duration after);
/// Idle time before the first keepalive probe; how long between; how many.
duration tcp_keepalive_time(const tcp_sock& tp);
duration tcp_keepalive_intvl(const tcp_sock& tp);
u32 tcp_keepalive_probes(const tcp_sock& tp);
/// Lifetime of FIN_WAIT2 without a program.
duration tcp_fin_time(const tcp_sock& tp);

}  // namespace ph
