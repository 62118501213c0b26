// Counting pages, and who has to do without when they are short (tcp(7): tcp_mem, tcp_max_orphans).
#include "net/tcp/tcp_mem.h"

#include <algorithm>

#include "net/tcp/tcp_output.h"

namespace ph {
namespace {

s64 pages_of(u64 bytes) { return static_cast<s64>((bytes + tcp_mem_page - 1) / tcp_mem_page); }
u64 held(const tcp_sock& tp) { return u64{tp.rmem_alloc} + tp.wmem_queued; }

void judge_pressure(cpu& cx, tcp_net& tn, s64 pages) {
  if (pages <= tn.sysctl.mem[0]) {
    tn.memory.pressure = false;
  } else if (pages > tn.sysctl.mem[1] && !tn.memory.pressure) {
    tn.memory.pressure = true;
    tn.net.mib().add(cx, mib::tcpext_tcp_memory_pressures);
  }
}

enum class claim : u8 {
  granted,
  below_minimum,  ///< only if the socket holds less than every socket may
  refused,
};

/// What the namespace says to `more` bytes for a socket.
claim judge(cpu& cx, tcp_sock& tp, u32 more) {
  tcp_net& tn = tp.tcp();
  const s64 own = pages_of(held(tp) + more);
  const s64 all = tn.memory.pages - tp.mem_pages + own;
  judge_pressure(cx, tn, all);
  if (all <= tn.sysctl.mem[0]) return claim::granted;
  if (all > tn.sysctl.mem[2]) return claim::refused;
  if (!tn.memory.pressure) return claim::granted;
  // Under pressure a fair share is still granted.
  const bool modest = tn.sysctl.mem[2] > s64{tn.memory.sockets} * own;
  return modest ? claim::granted : claim::below_minimum;
}

}  // namespace

void tcp_mem_settle(cpu& cx, tcp_sock& tp) {
  const s64 pages = pages_of(held(tp));
  if (pages == tp.mem_pages) return;
  tcp_net& tn = tp.tcp();
  tn.memory.pages += pages - tp.mem_pages;
  tp.mem_pages = static_cast<u32>(pages);
  judge_pressure(cx, tn, tn.memory.pages);
}

bool tcp_mem_may_receive(cpu& cx, tcp_sock& tp, u32 more) {
  const claim answer = judge(cx, tp, more);
  if (answer != claim::below_minimum) return answer == claim::granted;
  return tp.rmem_alloc < static_cast<u32>(tp.tcp().sysctl.rmem[0]);
}

bool tcp_mem_may_send(cpu& cx, tcp_sock& tp, u32 more) {
  // A connection that has nothing queued would never be told that there is room again.
  if (tp.wmem_queued == 0) return true;
  const claim answer = judge(cx, tp, more);
  if (answer == claim::granted) return true;
  const bool little = tp.wmem_queued < static_cast<u32>(tp.tcp().sysctl.wmem[0]);
  if (answer == claim::below_minimum && little) return true;
  // The buffer shrinks, so that the program is not told to write before half of it is free.
  if (!tp.opt.sndbuf_locked) {
    tp.opt.sndbuf = std::max(std::min(tp.opt.sndbuf, tp.wmem_queued / 2), tcp_min_sndbuf);
  }
  return false;
}

bool tcp_out_of_memory(const tcp_sock& tp, u32 penalty) {
  const tcp_net& tn = tp.tcp();
  if (static_cast<s64>(u64{tn.orphans} << penalty) > tn.sysctl.max_orphans) return true;
  return tp.wmem_queued > tcp_min_sndbuf && tn.memory.pages > tn.sysctl.mem[2];
}

bool tcp_out_of_resources(cpu& cx, tcp_sock& tp, bool reset) {
  const duration quiet = cx.now() - tp.last_data_sent;
  u32 penalty = 0;
  // Who has not been able to send for long, or is said to be unreachable, goes first.
  if (quiet > tcp_rto_max * 2 || !reset) ++penalty;
  if (tp.soft_error != errc::ok) ++penalty;
  if (!tcp_out_of_memory(tp, penalty)) return false;
  if (quiet <= tcp_timewait_len || (tp.snd_wnd == 0 && tp.rtx_queue.empty())) reset = true;
  if (reset) tcp_send_active_reset(cx, tp);
  tp.net().mib().add(cx, mib::tcpext_tcp_abort_on_memory);
  tcp_write_queue_purge(cx, tp);
  tcp_done(cx, tp);
  return true;
}

}  // namespace ph
