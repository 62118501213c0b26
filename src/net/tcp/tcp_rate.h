// Delivery rate: how fast the network took data, measured from acknowledgements
// (draft-cheng-iccrg-delivery-rate-estimation). Shown by TCP_INFO, used by algorithms.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

/// Collected while one acknowledgement clears packets.
struct tcp_rate_sample {
  bool valid = false;
  u64 prior_delivered = 0;
  instant prior_delivered_at{};
  instant sent_at{};
  duration send_elapsed{};
  u32 tx_in_flight = 0;
  u32 lost = 0;
  bool app_limited = false;
};
/// A packet leaves: it remembers the connection's state.
void tcp_rate_skb_sent(cpu& cx, tcp_sock& tp, sk_buff& skb);
/// A packet was delivered (cumulatively or selectively).
void tcp_rate_skb_delivered(tcp_sock& tp, const sk_buff& skb, tcp_rate_sample& sample);
/// The sample of an acknowledgement in bytes per second; 0: none.
u64 tcp_rate_generate(cpu& cx, tcp_sock& tp, const tcp_rate_sample& sample);
/// The program gives less than the network would take.
void tcp_rate_check_app_limited(tcp_sock& tp);

}  // namespace ph
