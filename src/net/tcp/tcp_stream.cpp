// The byte stream as programs see it: sendmsg fills the write queue, recvmsg empties the receive
// queue, ioctls tell how full they are (RFC 9293 §3.10.2, §3.10.3; tcp(7)).
#include <algorithm>

#include "net/core/timestamping.h"
#include "net/inet/inet_error_queue.h"
#include "net/tcp/tcp_fastopen.h"
#include "net/tcp/tcp_input.h"
#include "net/tcp/tcp_mem.h"
#include "net/tcp/tcp_ofo.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_rate.h"
#include "net/tcp/tcp_recovery.h"
#include "net/tcp/tcp_repair.h"
#include "net/tcp/tcp_timer.h"
#include "net/tcp/tcp_timestamping.h"

namespace ph {
namespace {

constexpr std::size_t small_block = 2048;
constexpr std::size_t large_block = std::size_t{16} * 1024;

/// Room for new data behind `page_offset` of the socket's block.
void refill_page(cpu& cx, tcp_sock& tp, std::size_t wanted) {
  if (tp.page && tp.page_offset < tp.page->capacity) return;
  tp.page = cx.memory().allocate_block(wanted <= small_block ? small_block : large_block);
  tp.page_offset = 0;
}

/// Copies up to `most` bytes into the packet; returns how many fitted.
u32 append_data(cpu& cx, tcp_sock& tp, sk_buff& skb, msg_reader& from, u32 most) {
  // What an earlier call pushed is no longer the end of the data.
  tcp_cb(skb).flags &= static_cast<u8>(~tcphdr_psh);
  u32 done = 0;
  while (done < most) {
    refill_page(cx, tp, most - done);
    const u32 take = std::min(most - done, tp.page->capacity - tp.page_offset);
    if (!skb.add_frag(tp.page, tp.page_offset, take)) break;
    const std::size_t read = from.read({tp.page->bytes() + tp.page_offset, take});
    ph_check(read == take);
    tp.page_offset += take;
    done += take;
  }
  skb.truesize += done;
  tp.wmem_queued += done;
  return done;
}

/// MSG_ZEROCOPY: each piece of the program's list is a fragment (none is copied on Linux), and a
/// packet holds so many. How many bytes from `done` on a packet takes that has `have` of them.
std::size_t bytes_of_pieces(std::span<const byte_view> iov, std::size_t done, std::size_t have) {
  std::size_t end = 0;
  for (const byte_view piece : iov) {
    end += piece.size();
    if (end > done && ++have >= max_skb_frags) break;
  }
  return end - done;
}

/// The packet at the end of the queue, if more may be added to it.
sk_buff* appendable(tcp_sock& tp, u32 goal) {
  sk_buff* tail = tp.write_queue.back();
  if (tail == nullptr || tail->len() >= goal || tcp_cb(*tail).eor) return nullptr;
  return tail->nr_frags() < max_skb_frags ? tail : nullptr;
}

/// A new packet at the end of the queue, for `bytes`; nullptr: there is no room.
sk_buff* begin_packet(cpu& cx, tcp_sock& tp, std::size_t bytes) {
  const u32 cost = static_cast<u32>(sizeof(sk_buff) + bytes);
  if (!tcp_stream_memory_free(tp) || !tcp_mem_may_send(cx, tp, cost)) return nullptr;
  // The window must be known before the first packet is cut to it.
  if (tp.rtx_queue.empty() && tp.write_queue.empty()) tcp_cwnd_restart_after_idle(cx, tp);
  tp.write_queue.push_back(tcp_stream_alloc(cx, tp, tp.write_seq, tcphdr_ack));
  return tp.write_queue.back();
}

void mark_push(tcp_sock& tp, sk_buff& skb) {
  tcp_cb(skb).flags |= tcphdr_psh;
  tp.pushed_seq = tp.write_seq;
}

void mark_urgent(tcp_sock& tp) {
  tp.snd_up = tp.write_seq;
  tp.urg_mode = true;
}

/// What has been queued goes out, as flags and Nagle allow.
void push(cpu& cx, tcp_sock& tp, u32 flags) {
  sk_buff* tail = tp.write_queue.back();
  if (tail == nullptr) return;
  const bool more = (flags & uapi::msg_more) != 0;
  if (!more || static_cast<u32>(tp.write_seq - tp.pushed_seq) > tp.max_window / 2) {
    mark_push(tp, *tail);
  }
  if ((flags & uapi::msg_oob) != 0) mark_urgent(tp);
  tcp_push_pending(cx, tp, more ? tcp_nagle::cork : tcp_nagle::normal);
}

/// Why nothing can be sent: the pending error, or EPIPE.
errc send_error(tcp_sock& tp) {
  const errc why = tp.take_error();
  return why != errc::ok ? why : errc::pipe;
}

/// Errors: opnotsupp when this host does not open fast (tcp_fastopen), or the address says nothing.
result<void> may_open_with_data(const tcp_sock& tp, const send_msg& msg) {
  const bool enabled = (tp.tcp().sysctl.fastopen & tfo_client_enable) != 0;
  const bool unspec = msg.name.size() >= 2 && sockaddr_family(msg.name) == uapi::af_unspec;
  if (!enabled || unspec) return fail(errc::opnotsupp);
  return {};
}

/// Is it this call that begins the connection?
bool begins_here(const tcp_sock& tp) {
  return tp.defer_connect || tp.call == tcp_call_state::unconnected;
}

/// MSG_FASTOPEN on a socket whose connection began before: what connect() would say.
result<void> join_connection(cpu& cx, tcp_sock& tp, u32 flags) {
  if (tp.call != tcp_call_state::connecting) return fail(errc::isconn);
  if (tp.state == tcp_state::close) return fail(tcp_connect_failed(cx, tp));
  if (tp.opening()) {
    if ((flags & uapi::msg_dontwait) != 0) return fail(errc::already);
    tp.write_waits = true;
    return fail(errc::again);
  }
  tp.call = tcp_call_state::connected;
  return {};
}

/// RFC 7413 §4.2.1: connects with the first bytes in the SYN. Returns how many bytes it took; a
/// call that waits comes again once the connection is established (or not).
result<std::size_t> open_with_data(cpu& cx, tcp_sock& tp, const send_msg& msg) {
  if (!tp.defer_connect) {
    if (tp.state != tcp_state::close) return fail(errc::isconn);
    TRY_VOID(tcp_begin_connect(cx, tp, msg.name));
  }
  tp.defer_connect = false;
  msg_reader from(msg.iov);
  const std::size_t size = from.remaining();
  const u32 most = static_cast<u32>(
      std::min<std::size_t>(size, tcp_fastopen_prepare(cx, tp)));
  skb_ptr data;
  if (most != 0) {
    data = tcp_stream_alloc(cx, tp, tp.iss + 1, tcphdr_ack | tcphdr_psh);
    tp.syn_data = append_data(cx, tp, *data, from, most);
    tcp_cb(*data).flags |= tcphdr_psh;
    tcp_cb(*data).end_seq += tp.syn_data;
  }
  tp.call = tcp_call_state::connecting;
  tcp_send_syn(cx, tp, std::move(data));
  tp.pushed_seq = tp.write_seq;
  if ((msg.flags & uapi::msg_dontwait) != 0) {
    if (tp.syn_data != 0) tcp_note_send(tp, 0, msg.flags);
    if (tp.syn_data == 0) return fail(errc::inprogress);
    return tp.syn_data;
  }
  tp.fastopen_waiting = tp.syn_data;
  tp.write_waits = tp.syn_data < size;
  return fail(errc::again);
}

/// May data be queued? Errors: again while connecting, the pending error, EPIPE.
result<void> check_sendable(tcp_sock& tp, u32 flags) {
  const bool open = tp.pending_error() == errc::ok && (tp.shutdown_state & send_shutdown) == 0;
  if (open && tp.opening()) {
    if ((flags & uapi::msg_dontwait) == 0) tp.write_waits = true;
    return fail(errc::again);
  }
  const bool connected =
      tp.in_state({tcp_state::established, tcp_state::close_wait, tcp_state::syn_recv});
  if (!open || !connected) return fail(send_error(tp));
  return {};
}

/// A call that waits is told when much of the buffer is free (tcp_check_space); coming back earlier
/// changes nothing.
bool still_blocked(const tcp_sock& tp, u32 flags) {
  return tp.writer_blocked && tp.sndbuf_full && (flags & uapi::msg_dontwait) == 0;
}

/// Where reading goes on.
struct read_place {
  sk_buff* skb = nullptr;
  u32 offset = 0;
};
read_place find_place(tcp_sock& tp, seq32 seq) {
  for (sk_buff* skb = tp.receive_queue.front(); skb != nullptr;
       skb = tp.receive_queue.next(*skb)) {
    const u32 offset = static_cast<u32>(seq - tcp_cb(*skb).seq);
    const bool fin = (tcp_cb(*skb).flags & tcphdr_fin) != 0;
    if (offset < skb->len() || (fin && offset == skb->len())) return {skb, offset};
  }
  return {};
}

void copy_out(const sk_buff& skb, u32 offset, u32 len, msg_writer& to) {
  skb.for_pieces(offset, len, [&](byte_view piece) { to.write(piece); });
}

/// Reads from `seq` on until the list is full, the queue empty, or the urgent mark is reached.
std::size_t read_stream(cpu& cx, tcp_sock& tp, recv_msg& msg, seq32& seq) {
  const bool peek = (msg.flags & uapi::msg_peek) != 0;
  const bool discard = (msg.flags & uapi::msg_trunc) != 0;
  msg_writer out(msg.iov);
  const std::size_t wanted = msg.size();
  std::size_t copied = 0;
  while (copied < wanted) {
    const bool at_mark = tp.urg_seen && tp.urg_seq == seq;
    if (at_mark && copied != 0) break;  // RFC 9293 §3.8.5: reading stops at the mark
    const read_place place = find_place(tp, seq);
    if (place.skb == nullptr) break;
    u32 used = place.skb->len() - place.offset;
    used = static_cast<u32>(std::min<std::size_t>(used, wanted - copied));
    u32 skip = 0;
    if (tp.urg_seen && tp.urg_seq >= seq) {
      const u32 ahead = static_cast<u32>(tp.urg_seq - seq);
      if (ahead == 0 && used != 0 && !tp.opt.oobinline) {
        skip = 1;  // the urgent byte is not part of the stream
        used = std::min(place.skb->len() - place.offset - 1,
                        static_cast<u32>(wanted - copied));
      } else if (ahead != 0 && ahead < used) {
        used = ahead;
      }
    }
    if (used != 0 && !discard) copy_out(*place.skb, place.offset + skip, used, out);
    copied += used;
    seq += used + skip;
    if (!peek && tp.urg_seen && seq > tp.urg_seq) tp.urg_seen = tp.urg_valid = tp.urg_read = false;
    tp.stamp = place.skb->tstamp;
    if (place.offset + skip + used < place.skb->len()) continue;
    const bool fin = (tcp_cb(*place.skb).flags & tcphdr_fin) != 0;
    if (fin) ++seq;
    if (!peek) consume(cx, tp.receive_queue.remove(*place.skb));
    if (fin) break;
  }
  return copied;
}

/// Bytes that can be read now, as SIOCINQ tells.
u32 inq(const tcp_sock& tp) {
  if (tp.opening()) return 0;
  const bool mark_ahead = tp.urg_seen && !tp.opt.oobinline && tp.urg_seq >= tp.copied_seq &&
                          tp.urg_seq < tp.rcv_nxt;
  if (mark_ahead) return static_cast<u32>(tp.urg_seq - tp.copied_seq);
  u32 out = static_cast<u32>(tp.rcv_nxt - tp.copied_seq);
  if (out != 0 && tp.stream_done) --out;  // the FIN is no byte
  return out;
}

/// TCP_INQ. After the last byte a program that trusts the count must still come back for the end.
void tell_inq(const tcp_sock& tp, recv_msg& msg) {
  const u32 left = inq(tp);
  const u32 told = left == 0 && tp.stream_done ? 1 : left;
  put_cmsg(msg, uapi::sol_tcp, uapi::tcp_cm_inq, bytes_of(le32(told)));
}

}  // namespace

namespace {

/// Reads up to `n` bytes that nobody needs; returns how many there were.
std::size_t pass_over(msg_reader& from, std::size_t n) {
  std::array<u8, 256> buffer;
  const byte_span room(buffer);
  std::size_t done = 0;
  while (done < n) {
    const std::size_t got = from.read(room.first(std::min(n - done, room.size())));
    if (got == 0) break;
    done += got;
  }
  return done;
}

}  // namespace

result<std::size_t> tcp_sock::sendmsg(cpu& cx, const send_msg& msg) {
  const ref<tcp_sock> hold(this);
  const bool fast = (msg.flags & uapi::msg_fastopen) != 0 || defer_connect;
  if (fast && !fastopen_waiting) {
    TRY_VOID(may_open_with_data(*this, msg));
    if (begins_here(*this)) return open_with_data(cx, *this, msg);
    TRY_VOID(join_connection(cx, *this, msg.flags));
  }
  if (repair && repair_queue != tcp_repair_queue::send) {
    return tcp_repair_receive_queue(cx, *this, msg);
  }
  TRY_VOID(check_sendable(*this, fastopen_waiting ? msg.flags | uapi::msg_dontwait : msg.flags));
  TRY(const sock_send_cmsg extra, sock_cmsg_send(*this, msg.control));
  const u8 tx_flags = extra.tx_flags;
  if (still_blocked(*this, msg.flags)) return fail(errc::again);
  const u32 mss = tcp_current_mss(cx, *this);
  const u32 goal = tcp_size_goal(*this, mss);
  msg_reader from(msg.iov);
  const std::size_t size = from.remaining();
  std::size_t copied = 0;
  bool pushed = false;
  const bool zerocopy = opt.zerocopy && (msg.flags & uapi::msg_zerocopy) != 0;
  if (fastopen_waiting) {
    // The call that opened the connection: the SYN took its first bytes.
    copied = pass_over(from, *fastopen_waiting);
    fastopen_waiting.reset();
    if (copied == size) {
      tcp_note_send(*this, 0, msg.flags);
      return copied;
    }
  }
  tcp_rate_check_app_limited(*this);
  while (copied < size) {
    sk_buff* skb = appendable(*this, goal);
    if (skb == nullptr) skb = begin_packet(cx, *this, std::min<std::size_t>(size - copied, goal));
    if (skb == nullptr) {
      sndbuf_full = true;
      writer_blocked = (msg.flags & uapi::msg_dontwait) == 0;
      if (copied != 0 || std::exchange(pushed, true)) break;
      // What can leave makes room now: only who finds none afterwards will be woken.
      tcp_push_pending(cx, *this);
      continue;
    }
    const u32 room = goal - skb->len();
    const std::size_t pieces =
        zerocopy ? bytes_of_pieces(msg.iov, copied, skb->nr_frags()) : size - copied;
    const u32 most = static_cast<u32>(std::min<std::size_t>(pieces, room));
    const u32 added = append_data(cx, *this, *skb, from, most);
    write_queue.adjust_bytes(added);
    tcp_skb_cb& cb = tcp_cb(*skb);
    cb.end_seq += added;
    write_seq += added;
    copied += added;
    if (copied == size && (msg.flags & uapi::msg_eor) != 0) cb.eor = true;
    if (copied < size && added == pieces) {
      mark_push(*this, *skb);
      cb.eor = true;
    }
    // What fills the window is sent while the rest is copied.
    if (copied < size && skb->len() >= goal) {
      if (static_cast<u32>(write_seq - pushed_seq) > max_window / 2) mark_push(*this, *skb);
      tcp_push_pending(cx, *this, tcp_nagle::normal);
    }
  }
  if (copied == 0 && size != 0) return fail(errc::again);
  tcp_mem_settle(cx, *this);
  if (copied != 0) tcp_note_send(*this, tx_flags, msg.flags);
  if (copied != 0) push(cx, *this, copied == size ? msg.flags : msg.flags & ~u32{uapi::msg_oob});
  return copied;
}

result<std::size_t> tcp_sock::recvmsg(cpu& cx, recv_msg& msg) {
  const ref<tcp_sock> hold(this);
  if (msg.name != nullptr) msg.name->len = 0;
  if ((msg.flags & uapi::msg_errqueue) != 0) return inet_recv_error(cx, *this, msg);
  if (state == tcp_state::listen) return fail(errc::notconn);
  if (repair && (msg.flags & uapi::msg_peek) == 0) return fail(errc::perm);
  if (repair && repair_queue != tcp_repair_queue::recv) return tcp_repair_peek(*this, msg);
  if ((msg.flags & uapi::msg_oob) != 0) return tcp_recv_urg(cx, *this, msg);
  const bool peek = (msg.flags & uapi::msg_peek) != 0;
  seq32 seq = copied_seq;
  const std::size_t copied = read_stream(cx, *this, msg, seq);
  if (!peek) {
    copied_seq = seq;
    if (copied != 0) tcp_rcv_space_adjust(cx, *this);
    tcp_cleanup_rbuf(cx, *this, copied);
    tcp_mem_settle(cx, *this);
  }
  if (copied != 0) sock_recv_timestamps(*this, stamp, msg);
  if (copied == 0 && msg.size() != 0 && !stream_done) {
    if (pending_error() != errc::ok) return fail(take_error());
    if ((shutdown_state & rcv_shutdown) == 0) {
      return fail(state == tcp_state::close ? errc::notconn : errc::again);
    }
  }
  if (recv_cmsg_inq) tell_inq(*this, msg);
  return copied;
}

result<int> tcp_sock::ioctl(cpu& cx, u32 command, byte_span arg) {
  u32 answer = 0;
  const bool unsent = opening() || state == tcp_state::close;
  switch (command) {
    case uapi::siocinq:
      if (state == tcp_state::listen) return fail(errc::inval);
      answer = inq(*this);
      break;
    case uapi::siocatmark: answer = urg_seen && urg_seq == copied_seq ? 1 : 0; break;
    case uapi::siocoutq:
      if (state == tcp_state::listen) return fail(errc::inval);
      answer = unsent ? 0 : static_cast<u32>(write_seq - snd_una);
      break;
    case uapi::siocoutqnsd:
      if (state == tcp_state::listen) return fail(errc::inval);
      answer = unsent ? 0 : static_cast<u32>(write_seq - snd_nxt);
      break;
    default: return sock::ioctl(cx, command, arg);
  }
  if (arg.size() < 4) return fail(errc::fault);
  copy_bytes(arg, bytes_of(le32(answer)));
  return 0;
}

}  // namespace ph
