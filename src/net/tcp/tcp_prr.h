// Proportional rate reduction (RFC 6937 with the slow-start and conservative bounds of its
// successor RFC 9937): between a loss and its repair the window follows what is delivered.
#pragma once

#include "net/tcp/tcp_ack.h"

namespace ph {

/// The window is being reduced to ssthresh.
[[nodiscard]] inline bool tcp_in_cwnd_reduction(const tcp_sock& tp) {
  return tp.ca_state == tcp_ca_state::cwr || tp.ca_state == tcp_ca_state::recovery;
}
/// Lets the algorithm choose ssthresh and begins the way to it.
void tcp_prr_begin(cpu& cx, tcp_sock& tp, loss_kind why);
/// `delivered` segments arrived and `lost` were found lost with one acknowledgement.
void tcp_prr_step(tcp_sock& tp, u32 delivered, u32 lost, bool una_advanced);
/// The reduction is over.
void tcp_prr_end(tcp_sock& tp);

}  // namespace ph
