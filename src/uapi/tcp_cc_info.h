// The Linux ABI of what congestion controls tell: the values of TCP_CC_INFO and of the attributes
// INET_DIAG_VEGASINFO, INET_DIAG_DCTCPINFO and INET_DIAG_BBRINFO (linux/inet_diag.h).
#pragma once

#include "base/byteorder.h"

namespace ph::uapi {

struct tcpvegas_info {
  u32 tcpv_enabled = 0;
  u32 tcpv_rttcnt = 0;  ///< samples in this round trip
  u32 tcpv_rtt = 0;     ///< µs
  u32 tcpv_minrtt = 0;  ///< µs
};

struct tcp_dctcp_info {
  u16 dctcp_enabled = 0;
  u16 dctcp_ce_state = 0;
  u32 dctcp_alpha = 0;   ///< 1,024: every segment marked
  u32 dctcp_ab_ecn = 0;  ///< marked in this round trip
  u32 dctcp_ab_tot = 0;  ///< acknowledged in this round trip
};

struct tcp_bbr_info {
  u32 bbr_bw_lo = 0;        ///< bytes per second
  u32 bbr_bw_hi = 0;
  u32 bbr_min_rtt = 0;      ///< µs
  u32 bbr_pacing_gain = 0;  ///< 256: 1.0
  u32 bbr_cwnd_gain = 0;    ///< 256: 1.0
};

/// Any of them, as TCP_CC_INFO's value.
inline constexpr std::size_t tcp_cc_info_max = 20;

}  // namespace ph::uapi
