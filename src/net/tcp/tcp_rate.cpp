// Delivery-rate samples (draft-cheng-iccrg-delivery-rate-estimation §3).
#include "net/tcp/tcp_rate.h"

#include <algorithm>

namespace ph {

void tcp_rate_skb_sent(cpu& cx, tcp_sock& tp, sk_buff& skb) {
  // §3.2: nothing in flight: the clocks begin anew.
  if (tp.rtx_queue.packets_out() == 0) {
    tp.first_sent_at = cx.now();
    tp.delivered_at = cx.now();
  }
  tcp_skb_cb& cb = tcp_cb(skb);
  cb.first_sent_at = tp.first_sent_at;
  cb.delivered_at = tp.delivered_at;
  cb.delivered = tp.delivered;
  // A retransmission is marked as outstanding once it left, a first copy counts by then neither.
  cb.tx_in_flight = tp.in_flight() + cb.pcount;
  cb.lost = tp.lost;
  cb.app_limited = tp.app_limited != 0;
}

void tcp_rate_skb_delivered(tcp_sock& tp, const sk_buff& skb, tcp_rate_sample& sample) {
  const tcp_skb_cb& cb = tcp_cb(skb);
  if (sample.valid && cb.delivered < sample.prior_delivered) return;
  if (sample.valid && cb.delivered == sample.prior_delivered && cb.sent_at < sample.sent_at) {
    return;
  }
  sample.valid = true;
  sample.prior_delivered = cb.delivered;
  sample.prior_delivered_at = cb.delivered_at;
  sample.sent_at = cb.sent_at;
  sample.send_elapsed = cb.sent_at - cb.first_sent_at;
  sample.tx_in_flight = cb.tx_in_flight;
  sample.lost = cb.lost;
  sample.app_limited = cb.app_limited;
  tp.first_sent_at = cb.sent_at;
}

u64 tcp_rate_generate(cpu& cx, tcp_sock& tp, const tcp_rate_sample& sample) {
  if (tp.app_limited != 0 && tp.delivered > tp.app_limited) tp.app_limited = 0;
  if (!sample.valid) return 0;
  tp.delivered_at = cx.now();
  const duration ack_elapsed = cx.now() - sample.prior_delivered_at;
  const duration interval = std::max(sample.send_elapsed, ack_elapsed);
  // §3.3: an interval below the smallest round trip is not credible.
  if (interval.ns <= 0 || (tp.min_rtt.ns > 0 && interval < tp.min_rtt)) return 0;
  const u32 segs = static_cast<u32>(tp.delivered - sample.prior_delivered);
  const double rate = double(segs) * tp.mss_cache / interval.seconds();
  const double kept = tp.rate_interval.ns == 0
                          ? 0
                          : double(tp.rate_delivered) * tp.mss_cache / tp.rate_interval.seconds();
  if (!sample.app_limited || rate >= kept) {
    tp.rate_delivered = segs;
    tp.rate_interval = interval;
    tp.rate_app_limited = sample.app_limited;
  }
  return static_cast<u64>(rate);
}

void tcp_rate_check_app_limited(tcp_sock& tp) {
  const bool little_queued = tp.write_queue.bytes() < tp.mss_cache;
  if (little_queued && tp.in_flight() < tp.cong.cwnd &&
      tp.rtx_queue.lost_out() <= tp.rtx_queue.retrans_out()) {
    tp.app_limited = std::max<u64>(u64{tp.delivered} + tp.in_flight(), 1);
  }
}

}  // namespace ph
