// Memory of TCP: what all sockets of a namespace hold is counted in pages against net.ipv4.tcp_mem
// (tcp(7)). Up to the first value nobody is bothered; above the second there is pressure, until the
// first is reached again: windows and buffers no longer grow, and who holds more than its share
// must wait; above the third nothing more is taken but what a connection needs to go on at all.
//
// The count follows the sockets' own (rmem_alloc, wmem_queued): each tells what changed when it has
// done its work (tcp_mem_settle), so the fast path knows nothing of pages.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

inline constexpr u32 tcp_mem_page = 4096;
inline constexpr u32 tcp_min_sndbuf = 4608;  ///< bytes that a send buffer always has
inline constexpr u32 tcp_min_rcvbuf = 2304;

/// Brings the namespace's count up to date with what the socket holds now.
void tcp_mem_settle(cpu& cx, tcp_sock& tp);
/// May `more` bytes be queued for the program, or for the peer?
bool tcp_mem_may_receive(cpu& cx, tcp_sock& tp, u32 more);
bool tcp_mem_may_send(cpu& cx, tcp_sock& tp, u32 more);

inline bool tcp_under_memory_pressure(const tcp_sock& tp) { return tp.tcp().memory.pressure; }
/// No pressure, and none near: buffers may grow by themselves.
inline bool tcp_mem_plenty(const tcp_sock& tp) {
  const tcp_net& tn = tp.tcp();
  return !tn.memory.pressure && tn.memory.pages < tn.sysctl.mem[0];
}
/// The window offered shrinks to what keeps the peer going.
inline void tcp_adjust_rcv_ssthresh(tcp_sock& tp) {
  tp.rcv_ssthresh = std::min(tp.rcv_ssthresh, 4 * tp.advmss);
}

/// Too many orphans (net.ipv4.tcp_max_orphans; one counts as 2^penalty), or too much memory for
/// one to go on.
bool tcp_out_of_memory(const tcp_sock& tp, u32 penalty);
/// An orphan's timer fired: is there still room for it? Otherwise it is ended, with a reset if
/// `reset` or if it was alive lately; true then.
bool tcp_out_of_resources(cpu& cx, tcp_sock& tp, bool reset);

}  // namespace ph
