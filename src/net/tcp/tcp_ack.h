// Acknowledgements: what they clear, the round-trip time they give, the window they carry.
#pragma once

#include "net/tcp/tcp_rate.h"
#include "net/tcp/tcp_sock.h"

namespace ph {

/// What one acknowledgement did, for recovery and congestion control.
struct tcp_ack_info {
  u32 prior_in_flight = 0;
  u32 acked_segs = 0;        ///< cumulatively, not counted as selective before
  u32 cleared_segs = 0;      ///< cumulatively, all
  u32 sacked_segs = 0;       ///< selectively, new
  u64 acked_bytes = 0;
  bool dupack = false;       ///< RFC 5681 §2, or brought new selective acknowledgements
  bool dsack = false;
  bool una_advanced = false;
  bool retrans_acked = false;  ///< something that was sent more than once
  u32 lost_segs = 0;         ///< newly marked
  seq32 prior_fack;          ///< end of the highest segment delivered before it
  std::optional<seq32> reordered;  ///< lowest number below prior_fack that came from its first copy
  bool orig_acked = false;   ///< a first copy that left before the timeout was delivered
  bool reneged = false;      ///< SND.UNA rose to what had been selectively acknowledged
  bool send_new = false;     ///< RFC 5682 step 2b: new data first
  bool hold_retrans = false;  ///< what was sent again proves to have been needless
  bool reo_timer = false;    ///< the timer waits for reordering
  bool ecn_echo = false;     ///< the peer reports congestion marks
  u32 ce_segs = 0;           ///< of what it delivered, those marked
  bool tlp_dsack = false;    ///< the duplicate reported is our loss probe
  duration rtt{-1};
  duration sack_rtt{-1};
  tcp_rate_sample rate;
};

/// What the acknowledgement number means.
enum class tcp_ack_verdict : u8 {
  ok,        ///< processed (it may be a duplicate)
  old,       ///< behind SND.UNA: nothing new
  too_old,   ///< RFC 5961 §5.2: far behind; answered with a challenge ACK
  unsent,    ///< beyond SND.NXT
};
/// RFC 9293 §3.10.7.4 fifth step, for states from SYN_RECV on. `update_window`: the segment may
/// change SND.WND (it was acceptable).
tcp_ack_verdict tcp_ack(cpu& cx, tcp_sock& tp, const tcp_seg& seg);
/// How far below SND.UNA an acknowledgement may lie (RFC 5961 §5.2).
u32 tcp_ack_reach(const tcp_sock& tp);
/// What congestion control may know now, without an acknowledgement.
ack_sample tcp_congestion_sample(const tcp_sock& tp);
/// HOT: the header-prediction case: in-order acknowledgement, window unchanged, no SACK.
void tcp_rtt_estimate(cpu& cx, tcp_sock& tp, duration rtt);
/// RTO from the estimate, RFC 6298 §2.3 with Linux's floor.
void tcp_set_rto(tcp_sock& tp);
/// SND.WND from a SYN or ACK (RFC 9293 §3.10.7.4).
void tcp_update_window(cpu& cx, tcp_sock& tp, const tcp_seg& seg);
/// The window of a segment in bytes.
inline u32 tcp_segment_window(const tcp_sock& tp, const tcp_seg& seg) {
  return seg.syn() ? seg.window : u32{seg.window} << tp.snd_wscale;
}
/// May an answer to a segment outside of the window go? One in tcp_invalid_ratelimit, as the peer
/// may answer it in turn. Counts it.
bool tcp_oow_allowed(cpu& cx, tcp_sock& tp);
/// Sends a challenge ACK within that limit and the host's (RFC 5961 §7).
void tcp_send_challenge_ack(cpu& cx, tcp_sock& tp);

}  // namespace ph
