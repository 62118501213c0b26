// Receive queues of datagrams: limits, peeking, copying out, and the generic control messages.
#include "net/core/datagram.h"

#include "kernel/kernel.h"
#include "net/core/cbpf.h"
#include "net/core/timestamping.h"
#include "uapi/socket.h"

namespace ph {

// --- HOT --------------------------------------------------------------------------------------

void sock_drop_rcvbuf(cpu& cx, sock& sk, skb_ptr skb) {
  ++sk.drops;
  drop(cx, std::move(skb), drop_reason::socket_rcvbuff);
}

bool sock_queue_rcv_skb(cpu& cx, sock& sk, skb_ptr skb) {
  if (sk.filter && !sk_filter(cx, sk, *skb)) {
    drop(cx, std::move(skb), drop_reason::socket_filter);
    return false;
  }
  // As Linux: the last datagram may overrun the limit, so a small buffer still takes one.
  if (!sk.rcvbuf_fits([&](u32 used) { return used < sk.opt.rcvbuf; })) {
    sock_drop_rcvbuf(cx, sk, std::move(skb));
    return false;
  }
  sock_enqueue_rcv_skb(cx, sk, std::move(skb));
  return true;
}

void sock_enqueue_rcv_skb(cpu& cx, sock& sk, skb_ptr skb) {
  skb->dev = nullptr;  // may go away while the packet waits; skb_iif remains
  sk.set_owner_r(*skb);
  PH_TRACE(cx, *skb);
  sk.receive_queue.push_back(std::move(skb));
  if (!sk.dead) sk.wake(uapi::pollin | uapi::pollrdnorm);
}

result<sk_buff*> datagram_peek(cpu&, sock& sk, u32 flags) {
  TRY_VOID(sk.check_error());
  if (sk_buff* skb = sk.receive_queue.front(); skb != nullptr) return skb;
  const bool waits = (flags & uapi::msg_dontwait) == 0;
  if (waits && (sk.shutdown_state & rcv_shutdown) != 0) return nullptr;
  return fail(errc::again);
}

std::size_t datagram_copy_out(const sk_buff& skb, u32 offset, recv_msg& msg) {
  ph_check(offset <= skb.len());
  const u32 length = skb.len() - offset;
  const u32 n = static_cast<u32>(std::min<std::size_t>(length, msg.size()));
  msg_writer out(msg.iov);
  skb.for_pieces(offset, n, [&](byte_view piece) { out.write(piece); });
  if (n < length) msg.out_flags |= uapi::msg_trunc;
  return (msg.flags & uapi::msg_trunc) != 0 ? length : n;
}

void datagram_done(cpu& cx, sock& sk, sk_buff& skb, u32 flags) {
  if ((flags & uapi::msg_peek) != 0) return;
  consume(cx, sk.receive_queue.remove(skb));
}

// ----------------------------------------------------------------------------------------------

u32 datagram_poll(sock& sk) {
  u32 out = 0;
  if (sk.pending_error() != errc::ok || !sk.error_queue.empty()) out |= uapi::pollerr;
  if ((sk.shutdown_state & rcv_shutdown) != 0) {
    out |= uapi::pollrdhup | uapi::pollin | uapi::pollrdnorm;
  }
  if ((sk.shutdown_state & shutdown_mask) == shutdown_mask) out |= uapi::pollhup;
  if (!sk.receive_queue.empty()) out |= uapi::pollin | uapi::pollrdnorm;
  if (sk.wmem_alloc < sk.opt.sndbuf / 2) {
    out |= uapi::pollout | uapi::pollwrnorm | uapi::pollwrband;
  }
  return out;
}

result<int> datagram_ioctl(sock& sk, u32 command, byte_span arg) {
  u32 value = 0;
  if (command == uapi::siocoutq) {
    value = sk.wmem_alloc;
  } else if (command == uapi::siocinq) {
    const sk_buff* const first = sk.receive_queue.front();
    if (first != nullptr) value = first->len();
  } else {
    return fail(errc::notty);
  }
  copy_bytes(arg, bytes_of(value));
  return 0;
}

void sock_recv_cmsgs(sock& sk, const sk_buff& skb, recv_msg& msg) {
  // As on Linux: who gets the time as a control message does not get it by SIOCGSTAMP as well.
  const bool told =
      sk.opt.timestamp || (sk.opt.timestamping & uapi::sof_timestamping_software) != 0;
  if (!told) sk.stamp = skb.tstamp;
  msg.came = sk.net().machine().wall_clock(skb.tstamp);
  sock_recv_timestamps(sk, skb.tstamp, msg);
  // DIFFERS: Linux reports the drops before this packet was queued, we those until now.
  if (sk.opt.rxq_ovfl && sk.drops != 0) {
    put_cmsg(msg, uapi::sol_socket, uapi::so_rxq_ovfl, bytes_of(le32(static_cast<u32>(sk.drops))));
  }
  if (sk.opt.rcvmark) {
    put_cmsg(msg, uapi::sol_socket, uapi::so_mark, bytes_of(skb.mark));
  }
  if (sk.opt.rcvpriority) {
    put_cmsg(msg, uapi::sol_socket, uapi::so_priority, bytes_of(skb.priority));
  }
}

}  // namespace ph
