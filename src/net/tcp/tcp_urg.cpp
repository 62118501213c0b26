// Urgent data: RFC 9293 §3.8.5 and RFC 6093. One byte is kept aside, as sockets have always shown
// it; with SO_OOBINLINE it stays in the stream and only the mark is told.
#include "net/tcp/tcp_input.h"

namespace ph {
namespace {

/// A segment announces urgent data up to its urgent pointer.
void check_urgent_pointer(tcp_sock& tp, const tcp_seg& seg) {
  u32 pointer = seg.urg_ptr;
  // DIFFERS: RFC 6093 §3.1: the pointer names the byte after the urgent one for nearly everyone;
  // net.ipv4.tcp_stdurg switches to the byte itself.
  if (pointer != 0 && tp.tcp().sysctl.stdurg == 0) --pointer;
  const seq32 at = seg.seq + pointer;
  if (at < tp.copied_seq || at < tp.rcv_nxt) return;      // read, or passed, already
  if (tp.urg_seen && at <= tp.urg_seq) return;            // not news
  tp.urg_seen = true;
  tp.urg_valid = tp.urg_read = false;
  tp.urg_seq = at;
}

}  // namespace

void tcp_urg(cpu&, tcp_sock& tp, const sk_buff& skb, const tcp_seg& seg) {
  if (seg.urg()) {
    check_urgent_pointer(tp, seg);
    if (tp.urg_seen && !tp.dead) tp.wake(uapi::pollpri);
  }
  if (!tp.urg_seen || tp.urg_valid || tp.urg_seq < seg.seq) return;
  const u32 offset = static_cast<u32>(tp.urg_seq - seg.seq) - (seg.syn() ? 1u : 0u);
  if (offset >= skb.len()) return;
  if (!skb.copy_bits(offset, {&tp.urg_data, 1})) return;
  tp.urg_valid = true;
  if (!tp.dead) tp.wake(uapi::pollpri);
}

result<std::size_t> tcp_recv_urg(cpu&, tcp_sock& tp, recv_msg& msg) {
  // man tcp: nothing there, read already, or kept in line.
  if (tp.opt.oobinline || !tp.urg_seen || tp.urg_read) return fail(errc::inval);
  if (tp.state == tcp_state::close && !tp.urg_valid) return fail(errc::notconn);
  if (!tp.urg_valid) {
    if ((tp.shutdown_state & rcv_shutdown) != 0) return 0;
    return fail(errc::again);
  }
  msg.out_flags |= uapi::msg_oob;
  std::size_t copied = 0;
  if ((msg.flags & uapi::msg_trunc) == 0) {
    msg_writer out(msg.iov);
    copied = out.write({&tp.urg_data, 1});
    if (copied == 0) msg.out_flags |= uapi::msg_trunc;
  } else {
    copied = 1;
  }
  if ((msg.flags & uapi::msg_peek) == 0) tp.urg_read = true;
  return copied;
}

}  // namespace ph
