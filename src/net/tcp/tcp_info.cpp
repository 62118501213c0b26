// TCP_INFO, the clocks behind its busy times, and the invariants of a connection.
#include "net/tcp/tcp_info.h"

#include <algorithm>

#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_pacing.h"

namespace ph {
namespace {

u32 ms_since(cpu& cx, instant then) { return static_cast<u32>((cx.now() - then).ms()); }

void chrono_set(cpu& cx, tcp_sock& tp, tcp_chrono kind) {
  if (tp.chrono == kind) return;
  tp.chrono_total[static_cast<std::size_t>(tp.chrono)] += cx.now() - tp.chrono_start;
  tp.chrono = kind;
  tp.chrono_start = cx.now();
}

duration chrono_time(cpu& cx, const tcp_sock& tp, tcp_chrono kind) {
  duration out = tp.chrono_total[static_cast<std::size_t>(kind)];
  if (tp.chrono == kind) out += cx.now() - tp.chrono_start;
  return out;
}

void put_counts(uapi::tcp_info& out, const tcp_sock& tp) {
  out.tcpi_unacked = tp.rtx_queue.packets_out();
  out.tcpi_sacked = tp.rtx_queue.sacked_out();
  out.tcpi_lost = tp.rtx_queue.lost_out();
  out.tcpi_retrans = tp.rtx_queue.retrans_out();
  out.tcpi_total_retrans = tp.total_retrans;
  out.tcpi_bytes_acked = tp.bytes_acked;
  out.tcpi_bytes_received = tp.bytes_received;
  out.tcpi_bytes_sent = tp.bytes_sent;
  out.tcpi_bytes_retrans = tp.bytes_retrans;
  out.tcpi_segs_out = tp.segs_out;
  out.tcpi_segs_in = tp.segs_in;
  out.tcpi_data_segs_in = tp.data_segs_in;
  out.tcpi_data_segs_out = tp.data_segs_out;
  out.tcpi_delivered = tp.delivered;
  out.tcpi_delivered_ce = tp.ecn.delivered_ce;
  out.tcpi_dsack_dups = tp.dsack_dups;
  out.tcpi_reord_seen = tp.reord_seen;
  out.tcpi_rcv_ooopack = tp.rcv_ooopack;
  out.tcpi_total_rto = tp.total_rto;
  out.tcpi_total_rto_recoveries = tp.total_rto_recoveries;
}

void put_times(cpu& cx, uapi::tcp_info& out, const tcp_sock& tp) {
  out.tcpi_rto = static_cast<u32>(tp.rto.us());
  out.tcpi_ato = static_cast<u32>(tp.ato.us());
  out.tcpi_last_data_sent = ms_since(cx, tp.last_data_sent);
  out.tcpi_last_data_recv = ms_since(cx, tp.last_data_rcv);
  out.tcpi_last_ack_recv = ms_since(cx, tp.last_ack_rcv);
  out.tcpi_rtt = static_cast<u32>(tp.srtt.us());
  out.tcpi_rttvar = static_cast<u32>(tp.rttvar.us());
  out.tcpi_min_rtt = tp.min_rtt.ns != 0 ? static_cast<u32>(tp.min_rtt.us()) : ~u32{0};
  out.tcpi_rcv_rtt = static_cast<u32>(tp.rcv_rtt.us());
  const duration rwnd = chrono_time(cx, tp, tcp_chrono::rwnd_limited);
  const duration sndbuf = chrono_time(cx, tp, tcp_chrono::sndbuf_limited);
  out.tcpi_rwnd_limited = static_cast<u64>(rwnd.us());
  out.tcpi_sndbuf_limited = static_cast<u64>(sndbuf.us());
  out.tcpi_busy_time =
      static_cast<u64>((chrono_time(cx, tp, tcp_chrono::busy) + rwnd + sndbuf).us());
  duration in_rto = tp.total_rto_time;
  if (tp.rto_stamp != instant{}) in_rto += cx.now() - tp.rto_stamp;
  out.tcpi_total_rto_time = static_cast<u32>(in_rto.ms());
}

/// Marks of congestion as counted at both ends (RFC 9768 §3.2.1), without the values that the
/// counters begin with.
void put_marks(uapi::tcp_info& out, const tcp_sock& tp) {
  constexpr tcp_accecn_counters begin;
  const tcp_accecn_counters& rcv = tp.ecn.rcv;
  const tcp_accecn_counters& snd = tp.ecn.snd;
  out.tcpi_received_ce = rcv.cep - begin.cep;
  out.tcpi_received_ce_bytes = rcv.ceb - begin.ceb;
  out.tcpi_received_e0_bytes = rcv.e0b - begin.e0b;
  out.tcpi_received_e1_bytes = rcv.e1b - begin.e1b;
  out.tcpi_delivered_ce_bytes = snd.ceb - begin.ceb;
  out.tcpi_delivered_e0_bytes = snd.e0b - begin.e0b;
  out.tcpi_delivered_e1_bytes = snd.e1b - begin.e1b;
  // As Linux numbers them: what fails, and what was seen of the peer's option.
  enum : u16 { ace_fail_recv = 2, opt_fail_send = 4, opt_fail_recv = 8 };
  enum : u16 { opt_not_seen = 0, opt_counter_seen = 2, opt_fail_seen = 3 };
  const auto bit = [](bool set, u16 value) { return set ? value : u16{0}; };
  out.tcpi_accecn_fail_mode = static_cast<u16>(bit(tp.ecn.feedback_bad, ace_fail_recv) |
                                               bit(tp.ecn.option_lost, opt_fail_send) |
                                               bit(tp.ecn.option_bad, opt_fail_recv));
  out.tcpi_accecn_opt_seen = tp.ecn.option_bad    ? u16{opt_fail_seen}
                             : tp.ecn.peer_option ? u16{opt_counter_seen}
                                                  : u16{opt_not_seen};
}

void put_options(uapi::tcp_info& out, const tcp_sock& tp) {
  if (tp.tstamp_ok) out.tcpi_options |= uapi::tcpi_opt_timestamps;
  if (tp.sack_ok) out.tcpi_options |= uapi::tcpi_opt_sack;
  if (tp.wscale_ok) {
    out.tcpi_options |= uapi::tcpi_opt_wscale;
    out.tcpi_snd_wscale = tp.snd_wscale & 15;
    out.tcpi_rcv_wscale = tp.rcv_wscale & 15;
  }
  if (tp.ecn.mode != tcp_ecn_mode::none) out.tcpi_options |= uapi::tcpi_opt_ecn;
  if (tp.ecn.seen) out.tcpi_options |= uapi::tcpi_opt_ecn_seen;
  if (tp.syn_data_acked) out.tcpi_options |= uapi::tcpi_opt_syn_data;
  if (tp.fastopen_born) out.tcpi_options |= uapi::tcpi_opt_tfo_child;
  out.tcpi_fastopen_client_fail = static_cast<u8>(tp.fastopen_fail) & 3;
}

}  // namespace

uapi::tcp_info tcp_get_info(cpu& cx, tcp_sock& tp) {
  uapi::tcp_info out;
  out.tcpi_state = static_cast<u8>(tp.state);
  if (tp.state == tcp_state::listen) {
    // As Linux: a listener's queue in the fields of segments.
    out.tcpi_unacked = static_cast<u32>(tp.accept_queue.size()) + tp.accepted_ahead;
    out.tcpi_sacked = tp.max_ack_backlog;
    return out;
  }
  out.tcpi_ca_state = static_cast<u8>(tp.ca_state);
  out.tcpi_retransmits = tp.retransmits;
  out.tcpi_probes = tp.probes_out;
  out.tcpi_backoff = tp.backoff;
  put_options(out, tp);
  out.tcpi_snd_mss = tp.mss_cache;
  out.tcpi_rcv_mss = tp.rcv_mss;
  put_counts(out, tp);
  put_times(cx, out, tp);
  put_marks(out, tp);
  out.tcpi_pmtu = tp.pmtu_cookie;
  out.tcpi_rcv_ssthresh = tp.rcv_ssthresh;
  out.tcpi_snd_ssthresh = tp.cong.ssthresh;
  out.tcpi_snd_cwnd = tp.cong.cwnd;
  out.tcpi_advmss = tp.advmss;
  out.tcpi_reordering = tp.reordering;
  out.tcpi_rcv_space = tp.rcvq_space;
  out.tcpi_pacing_rate = tcp_pacing_rate(tp);
  out.tcpi_max_pacing_rate = tp.opt.max_pacing_rate;
  out.tcpi_notsent_bytes = static_cast<u32>(tp.write_seq - tp.snd_nxt);
  if (tp.rate_interval.ns > 0) {
    out.tcpi_delivery_rate = static_cast<u64>(double(tp.rate_delivered) * tp.mss_cache /
                                              tp.rate_interval.seconds());
  }
  out.tcpi_delivery_rate_app_limited = tp.rate_app_limited ? 1 : 0;
  out.tcpi_snd_wnd = tp.snd_wnd;
  out.tcpi_rcv_wnd = tcp_receive_window(tp);
  return out;
}

void tcp_chrono_start(cpu& cx, tcp_sock& tp, tcp_chrono kind) {
  if (kind > tp.chrono) chrono_set(cx, tp, kind);
}

void tcp_chrono_stop(cpu& cx, tcp_sock& tp, tcp_chrono kind) {
  if (tp.rtx_queue.empty() && tp.write_queue.empty()) {
    chrono_set(cx, tp, tcp_chrono::idle);
  } else if (kind == tp.chrono) {
    chrono_set(cx, tp, tcp_chrono::busy);
  }
}

void tcp_check_invariants(tcp_sock& tp) {
  if (tp.in_state({tcp_state::close, tcp_state::listen})) return;
  ph_check(tp.snd_una <= tp.snd_nxt && tp.snd_nxt <= tp.write_seq);
  ph_check(tp.rtx_queue.is_consistent());
  ph_check(tp.cong.cwnd >= 1);
  ph_check(tp.state == tcp_state::syn_sent || tp.copied_seq <= tp.rcv_nxt);
  // Something outstanding always has a timer behind it (RFC 6298 §5.1).
  if (!tp.rtx_queue.empty()) {
    ph_check(tcp_cb(*tp.rtx_queue.first()).seq <= tp.snd_una);
    ph_check(tcp_cb(*tp.rtx_queue.last()).end_seq == tp.snd_nxt);
  }
  seq32 unsent = tp.snd_nxt;
  for (sk_buff* skb = tp.write_queue.front(); skb != nullptr; skb = tp.write_queue.next(*skb)) {
    ph_check(tcp_cb(*skb).seq == unsent);
    unsent = tcp_cb(*skb).end_seq;
  }
  ph_check(unsent == tp.write_seq);
  seq32 before = tp.rcv_nxt;
  for (sk_buff* skb = tp.ofo_queue.first(); skb != nullptr; skb = tp.ofo_queue.next(*skb)) {
    ph_check(tcp_cb(*skb).seq > tp.rcv_nxt && tcp_cb(*skb).seq >= before);
    before = tcp_cb(*skb).seq;
  }
}

}  // namespace ph
