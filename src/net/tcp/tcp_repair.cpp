// Reading and writing the state of a connection.
#include "net/tcp/tcp_repair.h"

#include <algorithm>

#include "net/tcp/tcp_fastopen.h"
#include "net/tcp/tcp_mem.h"
#include "net/tcp/tcp_mtu_probe.h"
#include "net/tcp/tcp_ofo.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_prune.h"
#include "net/tcp/tcp_request.h"

namespace ph {
namespace {

/// Values of TCP_REPAIR.
enum : s32 { repair_off_no_probe = -1, repair_off = 0, repair_on = 1 };

/// EFBIG, which tells of a window scale above 14.
constexpr errc file_too_big{27};

/// Elements of TCP_REPAIR_OPTIONS: a kind of RFC 9293's options and what was agreed.
struct repair_option {
  u32 code = 0, value = 0;
};

/// Value of TCP_REPAIR_WINDOW.
struct repair_window {
  u32 snd_wl1 = 0, snd_wnd = 0, max_window = 0, rcv_wnd = 0, rcv_wup = 0;
};

result<void> switch_repair(cpu& cx, tcp_sock& tp, s32 value) {
  if (!tp.opt.net_admin || tp.state == tcp_state::listen) return fail(errc::perm);
  if (value < repair_off_no_probe || value > repair_on) return fail(errc::inval);
  const bool was = std::exchange(tp.repair, value == repair_on);
  tp.repair_queue = tcp_repair_queue::none;
  if (!was || value != repair_off || tp.state != tcp_state::established) return {};
  // The peer answers a segment from the past and so tells its window.
  tp.snd_wl1 = tp.rcv_nxt - 1;
  static_cast<void>(tcp_send_probe(cx, tp));
  return {};
}

result<void> choose_queue(tcp_sock& tp, s32 value) {
  if (!tp.repair) return fail(errc::perm);
  if (value < 0 || value > static_cast<s32>(tcp_repair_queue::send)) return fail(errc::inval);
  tp.repair_queue = static_cast<tcp_repair_queue>(value);
  return {};
}

result<void> set_queue_seq(tcp_sock& tp, u32 value) {
  if (tp.state != tcp_state::close) return fail(errc::perm);
  switch (tp.repair_queue) {
    case tcp_repair_queue::send:
      if (!tp.rtx_queue.empty()) return fail(errc::perm);
      tp.write_seq = seq32(value);
      return {};
    case tcp_repair_queue::recv:
      if (tp.rcv_nxt != tp.copied_seq) return fail(errc::perm);
      tp.rcv_nxt = tp.copied_seq = seq32(value);
      return {};
    default: return fail(errc::inval);
  }
}

result<void> set_one_option(cpu& cx, tcp_sock& tp, const repair_option& option) {
  switch (option.code) {
    case tcpopt_mss:
      tp.mss_clamp = static_cast<u16>(option.value);
      tcp_mtup_init(cx, tp);
      tcp_sync_mss(tp, tp.pmtu_cookie);
      return {};
    case tcpopt_window: {
      const u32 snd = option.value & 0xffff, rcv = option.value >> 16;
      if (snd > uapi::tcp_max_winshift || rcv > uapi::tcp_max_winshift) {
        return fail(file_too_big);
      }
      tp.snd_wscale = static_cast<u8>(snd);
      tp.rcv_wscale = static_cast<u8>(rcv);
      tp.wscale_ok = true;
      return {};
    }
    case tcpopt_sack_perm:
      if (option.value != 0) return fail(errc::inval);
      tp.sack_ok = true;
      return {};
    case tcpopt_timestamp:
      if (option.value != 0) return fail(errc::inval);
      tp.tstamp_ok = true;
      tcp_sync_mss(tp, tp.pmtu_cookie);
      return {};
    default: return {};
  }
}

result<void> set_options(cpu& cx, tcp_sock& tp, byte_view value) {
  if (!tp.repair) return fail(errc::inval);
  if (tp.state != tcp_state::established || tp.bytes_sent != 0) return fail(errc::perm);
  byte_reader reader(value);
  while (reader.remaining() >= sizeof(repair_option)) {
    TRY_VOID(set_one_option(cx, tp, reader.take<repair_option>()));
  }
  return {};
}

result<void> set_window(tcp_sock& tp, byte_view value) {
  if (!tp.repair) return fail(errc::perm);
  if (value.size() != sizeof(repair_window)) return fail(errc::inval);
  const auto window = byte_reader(value).take<repair_window>();
  if (window.max_window < window.snd_wnd) return fail(errc::inval);
  if (seq32(window.snd_wl1) > tp.rcv_nxt + window.rcv_wnd) return fail(errc::inval);
  if (seq32(window.rcv_wup) > tp.rcv_nxt) return fail(errc::inval);
  tp.snd_wl1 = seq32(window.snd_wl1);
  tp.snd_wnd = window.snd_wnd;
  tp.max_window = window.max_window;
  tp.rcv_wnd = window.rcv_wnd;
  tp.rcv_wup = seq32(window.rcv_wup);
  tcp_sync_mss(tp, tp.pmtu_cookie);
  return {};
}

/// False: the receive buffer has no room for them.
bool restore_received(cpu& cx, tcp_sock& tp, msg_reader& from, u32 n) {
  skb_ptr skb = alloc_skb(cx, n);
  ph_check(from.read(skb->put(n)) == n);
  tcp_skb_cb& cb = skb->init_cb<tcp_skb_cb>();
  cb.seq = tp.rcv_nxt;
  cb.end_seq = tp.rcv_nxt + n;
  cb.flags = tcphdr_ack;
  skb->tstamp = cx.now();
  if (!tcp_try_rmem_schedule(cx, tp, *skb)) {
    consume(cx, std::move(skb));
    return false;
  }
  tcp_queue_rcv(cx, tp, std::move(skb));
  return true;
}

template <class T>
std::size_t answer(byte_span out, const T& value) {
  return copy_bytes(out, bytes_of(value));
}

}  // namespace

bool tcp_is_repair_option(int name) {
  return name == uapi::tcp_repair || name == uapi::tcp_repair_queue ||
         name == uapi::tcp_queue_seq || name == uapi::tcp_repair_options ||
         name == uapi::tcp_repair_window || name == uapi::tcp_timestamp;
}

result<void> tcp_repair_setsockopt(cpu& cx, tcp_sock& tp, int name, byte_view value) {
  if (name == uapi::tcp_repair_options) return set_options(cx, tp, value);
  if (name == uapi::tcp_repair_window) return set_window(tp, value);
  if (value.size() < sizeof(s32)) return fail(errc::inval);
  const s32 number = byte_reader(value).take<s32>();
  switch (name) {
    case uapi::tcp_repair: return switch_repair(cx, tp, number);
    case uapi::tcp_repair_queue: return choose_queue(tp, number);
    case uapi::tcp_queue_seq: return set_queue_seq(tp, static_cast<u32>(number));
    default:  // TCP_TIMESTAMP
      if (!tp.repair) return fail(errc::perm);
      tp.tsoffset += static_cast<u32>(number) - tcp_time_stamp(cx, tp);
      return {};
  }
}

result<std::size_t> tcp_repair_getsockopt(cpu& cx, tcp_sock& tp, int name, byte_span out) {
  switch (name) {
    case uapi::tcp_repair: return answer(out, u32{tp.repair});
    case uapi::tcp_repair_queue:
      if (!tp.repair) return fail(errc::inval);
      return answer(out, static_cast<u32>(tp.repair_queue));
    case uapi::tcp_queue_seq:
      if (tp.repair_queue == tcp_repair_queue::none) return fail(errc::inval);
      return answer(out, tp.repair_queue == tcp_repair_queue::send ? tp.write_seq.raw
                                                                    : tp.rcv_nxt.raw);
    case uapi::tcp_repair_window:
      if (out.size() < sizeof(repair_window)) return fail(errc::inval);
      if (!tp.repair) return fail(errc::perm);
      return answer(out, repair_window{tp.snd_wl1.raw, tp.snd_wnd, tp.max_window, tp.rcv_wnd,
                                       tp.rcv_wup.raw});
    case uapi::tcp_timestamp: return answer(out, tcp_time_stamp(cx, tp));
    default: return fail(errc::noprotoopt);  // TCP_REPAIR_OPTIONS: TCP_INFO tells them
  }
}

result<void> tcp_repair_connect(cpu& cx, tcp_sock& tp, byte_view addr) {
  const seq32 send = tp.write_seq, receive = tp.rcv_nxt;
  TRY_VOID(tcp_begin_connect(cx, tp, addr));
  tp.iss = send - 1;
  tp.send_from(send);
  tp.irs = receive - 1;
  tp.receive_from(receive);
  tp.last_ack_rcv = cx.now();
  tp.call = tcp_call_state::connected;
  tcp_set_state(cx, tp, tcp_state::established);
  tcp_init_transfer(cx, tp);
  tp.wake(uapi::pollout | uapi::pollwrnorm | uapi::pollwrband);
  return {};
}

result<std::size_t> tcp_repair_receive_queue(cpu& cx, tcp_sock& tp, const send_msg& msg) {
  if (tp.repair_queue != tcp_repair_queue::recv) return fail(errc::inval);
  if (tp.state != tcp_state::established) return fail(errc::pipe);
  msg_reader from(msg.iov);
  std::size_t restored = 0;
  while (from.remaining() != 0) {
    const auto n = static_cast<u32>(std::min<std::size_t>(from.remaining(), 16 * 1024));
    if (!restore_received(cx, tp, from, n)) break;
    restored += n;
  }
  tcp_mem_settle(cx, tp);
  if (restored == 0 && msg.size() != 0) return fail(errc::nomem);
  return restored;
}

result<std::size_t> tcp_repair_peek(tcp_sock& tp, recv_msg& msg) {
  if (tp.repair_queue == tcp_repair_queue::none) return fail(errc::inval);
  msg_writer out(msg.iov);
  std::size_t copied = 0;
  const auto copy = [&](const sk_buff& skb) {
    skb.for_pieces(0, skb.len(), [&](byte_view piece) { copied += out.write(piece); });
  };
  for (sk_buff* skb = tp.rtx_queue.first(); skb != nullptr; skb = tp.rtx_queue.next(*skb)) {
    copy(*skb);
  }
  for (sk_buff* skb = tp.write_queue.front(); skb != nullptr; skb = tp.write_queue.next(*skb)) {
    copy(*skb);
  }
  return copied;
}

}  // namespace ph
