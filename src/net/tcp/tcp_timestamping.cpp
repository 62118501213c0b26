// Marking the last byte of a send, and reporting what becomes of it.
#include "net/tcp/tcp_timestamping.h"

#include "net/inet/inet_error_queue.h"

namespace ph {

void tcp_note_send(tcp_sock& tp, u8 tx_flags, u32 msg_flags) {
  if (tp.opt.zerocopy && (msg_flags & uapi::msg_zerocopy) != 0) {
    tp.zerocopy_sends.push_back({tp.write_seq, tp.zerocopy_id++});
  }
  if (tx_flags == 0) return;
  sk_buff* last = tp.write_queue.back();
  if (last == nullptr) {
    // It has left already; its acknowledgement is still to come.
    last = tp.rtx_queue.last();
    tx_flags &= skb_tx_ack;
  }
  if (last == nullptr || tx_flags == 0) return;
  tcp_cb(*last).tx_flags = tx_flags;
  tcp_cb(*last).tskey = tp.write_seq - 1;
}

void tcp_split_watch(tcp_skb_cb& first, tcp_skb_cb& rest) {
  if (first.tx_flags == 0) return;
  (first.tskey < rest.seq ? rest : first).tx_flags = 0;
}

void tcp_report_acked(cpu& cx, tcp_sock& tp, const sk_buff& skb) {
  const tcp_skb_cb& cb = tcp_cb(skb);
  if ((cb.tx_flags & skb_tx_ack) == 0 || tp.dead) return;
  inet_queue_timestamp(cx, tp, skb_tx_ack, cb.tskey.raw - tp.tskey, &skb);
}

void tcp_zerocopy_acked(cpu& cx, tcp_sock& tp, seq32 una) {
  std::size_t done = 0;
  while (done < tp.zerocopy_sends.size() && tp.zerocopy_sends[done].end_seq <= una) {
    inet_zerocopy_done(cx, tp, tp.zerocopy_sends[done].id);
    ++done;
  }
  tp.zerocopy_sends.erase(tp.zerocopy_sends.begin(),
                          tp.zerocopy_sends.begin() + static_cast<std::ptrdiff_t>(done));
}

result<u32> tcp_sock::timestamp_base(bool next_write) const {
  if (in_state({tcp_state::close, tcp_state::listen})) return fail(errc::inval);
  return next_write ? write_seq.raw : snd_una.raw;
}

}  // namespace ph
