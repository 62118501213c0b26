// Building segments: options, window, header, and handing them to the IP family. Also the segments
// that carry nothing (ACK, RST, probes) and those that no full socket owns.
#include <algorithm>

#include "net/tcp/tcp_accecn.h"
#include "net/tcp/tcp_auth.h"
#include "net/tcp/tcp_mem.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_pacing.h"
#include "net/tcp/tcp_rate.h"
#include "net/tcp/tcp_recovery.h"
#include "net/tcp/tcp_sack.h"
#include "net/tcp/tcp_timer.h"

namespace ph {
namespace {

/// Room before the TCP header for link and network headers, and for the largest TCP header.
constexpr u32 transmit_headroom = max_header + 60;

struct header_values {
  u16 source = 0, dest = 0;
  seq32 seq, ack_seq;
  u8 flags = 0;
  u16 window = 0;
  u16 urg_ptr = 0;
  bool ae = false;
};

void push_header(sk_buff& skb, const header_values& values, const tcp_out_options& options) {
  const std::size_t option_bytes = tcp_options_size(options);
  const std::size_t bytes = sizeof(tcphdr) + option_bytes;
  const byte_span head = skb.push(static_cast<u32>(bytes));
  tcphdr& th = *view_as<tcphdr>(head);
  th.source.set(values.source);
  th.dest.set(values.dest);
  th.seq.set(values.seq.raw);
  th.ack_seq.set((values.flags & tcphdr_ack) != 0 ? values.ack_seq.raw : 0);
  th.set_header_bytes(bytes);
  if (values.ae) th.doff_res |= 1;
  th.flags = values.flags;
  th.window.set(values.window);
  th.urg_ptr.set(values.urg_ptr);
  tcp_options_write(head.subspan(sizeof(tcphdr)), options);
}

/// Leaves the checksum to the way out: the field holds the pseudo header's sum.
void begin_checksum(sk_buff& skb, const inet_af_ops& af, const inet_addr& saddr,
                    const inet_addr& daddr) {
  skb.set_transport_header();
  skb.ip_summed = checksum_state::partial;
  skb.csum_start = static_cast<u16>(skb.headroom());
  skb.csum_offset = offsetof(tcphdr, check);
  const csum_partial pseudo = af.pseudo(saddr, daddr, uapi::ipproto_tcp, skb.len());
  auto& th = skb.transport_header_mut<tcphdr>();
  th.check.set(static_cast<u16>(~csum_fold(pseudo).value()));
}

/// Of MSS, timestamps, SACK and window scale: what the smallest path has room for.
constexpr std::size_t syn_option_room = 20;

tcp_out_options syn_options(cpu& cx, tcp_sock& tp, bool with_ack, const tcp_signer& signer) {
  tcp_out_options out;
  tcp_sign_options(signer, out);
  const tcp_sysctls& sysctl = tp.tcp().sysctl;
  out.mss = static_cast<u16>(tp.advmss);
  // RFC 7323 §1.3, RFC 2018 §2: a SYN+ACK carries an option only if the SYN did.
  // An MD5 signature leaves no room for both timestamps and selective acknowledgements.
  out.timestamps = with_ack ? tp.tstamp_ok : sysctl.timestamps != 0 && !out.md5;
  out.sack_permitted = with_ack ? tp.sack_ok : sysctl.sack != 0;
  out.wscale_ok = with_ack ? tp.wscale_ok : sysctl.window_scaling != 0;
  out.wscale = tp.rcv_wscale;
  // RFC 7413 §4.2.1: whatever swallowed a SYN may have been afraid of the option.
  const bool first = with_ack ? tp.fastopen_child : tp.total_retrans == 0;
  if (first) out.fastopen = tp.fastopen_cookie;
  if (out.timestamps) {
    out.tsval = tcp_time_stamp(cx, tp);
    out.tsecr = tp.ts_recent;
  }
  if (tcp_options_size(out) > std::max(tcp_option_room(tp), syn_option_room)) out.fastopen = {};
  // RFC 9768 §3.2.3.2.2: whatever swallowed a SYN+ACK may have disliked the option.
  if (with_ack && tp.ecn.mode == tcp_ecn_mode::accecn && tp.ecn.synacks == 0) {
    out.accecn = tcp_accecn_synack_option(sysctl, tcp_max_option_space - tcp_options_size(out));
  }
  return out;
}

/// `bare`: an ACK that may answer a SYN+ACK.
tcp_out_options established_options(cpu& cx, tcp_sock& tp, const tcp_signer& signer, bool bare) {
  tcp_out_options out;
  tcp_sign_options(signer, out);
  if (tp.tstamp_ok) {
    out.timestamps = true;
    out.tsval = tcp_time_stamp(cx, tp);
    out.tsecr = tp.ts_recent;
  }
  if (tp.ecn.mode == tcp_ecn_mode::accecn) {
    tcp_accecn_and_sack_options(cx, tp, out);
    if (bare && tp.ecn.reflect) out.num_sacks = 0;
  } else if (tp.sack_ok) {
    tcp_sack_options(tp, out);
  }
  return out;
}

/// The header's window field; never takes back what was offered (RFC 9293 §3.8.6.2.2).
u16 select_window(cpu& cx, tcp_sock& tp) {
  const u32 old = tp.rcv_wnd;
  const u32 current = tcp_receive_window(tp);
  const u32 unit = u32{1} << tp.rcv_wscale;
  u32 window = tcp_choose_window(tp);
  if (window < current) {
    if (window == 0) tp.net().mib().add(cx, mib::tcpext_tcp_want_zero_window_adv);
    window = (current + unit - 1) / unit * unit;
  }
  tp.rcv_wnd = window;
  tp.rcv_wup = tp.rcv_nxt;
  tp.rcv_wnd = std::min(tp.rcv_wnd, tcp_max_window << tp.rcv_wscale);
  if (tp.rcv_wnd == 0 && old != 0) {
    cx.sometimes("tcp_window_closes");
    tp.net().mib().add(cx, mib::tcpext_tcp_to_zero_window_adv);
  } else if (tp.rcv_wnd != 0 && old == 0) {
    cx.sometimes("tcp_window_reopens");
    tp.net().mib().add(cx, mib::tcpext_tcp_from_zero_window_adv);
  }
  return static_cast<u16>(std::min(tp.rcv_wnd >> tp.rcv_wscale, tcp_max_window));
}

void note_ack_sent(tcp_sock& tp) {
  if (tp.quick > 0) --tp.quick;
  tp.last_ack_sent = tp.rcv_nxt;
  tp.ack_scheduled = false;
  tp.ack_now = false;
  tp.ack_pushed = 0;
  tp.home().timers().cancel(tp.delack_timer);
}

void note_data_sent(cpu& cx, tcp_sock& tp, const sk_buff& skb) {
  const instant now = cx.now();
  if (tp.rtx_queue.packets_out() == 0) {
    tcp_cwnd_restart_after_idle(cx, tp);
    const duration idle = now - std::max(tp.last_data_sent, tp.last_ack_rcv);
    tp.ca->on_tx_start(cx, idle, tp.app_limited != 0, tp.cong);
  }
  tp.last_data_sent = now;
  // An answer within the delayed-ACK time makes the session interactive.
  if (now - tp.last_rcv < tp.ato) tp.pingpong = true;
  tp.data_segs_out += tcp_cb(skb).pcount;
  tp.bytes_sent += skb.len();
}

/// What was refused on this host is not paced and says nothing of the path.
void note_data_left(cpu& cx, tcp_sock& tp, sk_buff& data) {
  tcp_cb(data).sent_at = cx.now();
  tcp_rate_skb_sent(cx, tp, data);
  if (data.len() != 0) tcp_pacing_sent(cx, tp, data.len());
}

u16 urgent_pointer(const tcp_sock& tp, seq32 seq, seq32 end, bool stdurg) {
  if (!tp.urg_mode || tp.snd_up <= seq || end == seq) return 0;
  const u32 distance = static_cast<u32>(tp.snd_up - seq);
  if (distance > 0xffff) return seq + 0xffff > tp.snd_nxt ? u16{0} : u16{0xffff};
  return static_cast<u16>(stdurg ? distance - 1 : distance);
}

tcp_ecn_load load_of(const tcp_sock& tp, const sk_buff* data, seq32 seq) {
  if (data == nullptr || data->len() == 0) return tcp_ecn_load::none;
  return seq >= tp.snd_nxt ? tcp_ecn_load::new_data : tcp_ecn_load::sent_before;
}

}  // namespace

u32 tcp_choose_window(tcp_sock& tp) {
  u32 mss = tp.rcv_mss;
  u32 free_space = tcp_space(tp);
  const u32 allowed = tcp_full_space(tp);
  const u32 full = std::min(allowed, tp.window_clamp);
  mss = std::min(mss, full);
  if (mss == 0) return 0;
  if (free_space < full / 2) {
    tp.quick = 0;
    if (tcp_under_memory_pressure(tp)) tcp_adjust_rcv_ssthresh(tp);
    // RFC 9293 §3.8.6.2.2: rather close the window than open it by a little.
    if (free_space < allowed / 16 || free_space < mss) return 0;
  }
  free_space = std::min(free_space, tp.rcv_ssthresh);
  if (tp.rcv_wscale != 0) {
    const u32 unit = u32{1} << tp.rcv_wscale;
    return (free_space + unit - 1) / unit * unit;
  }
  u32 window = tp.rcv_wnd;
  if (window + mss <= free_space || window > free_space) {
    window = free_space / mss * mss;
  } else if (mss == full && free_space > window + full / 2) {
    window = free_space;
  }
  return window;
}

xmit_result tcp_transmit_skb(cpu& cx, tcp_sock& tp, sk_buff* data, seq32 seq, u8 flags) {
  if (tp.repair) {
    // TCP_REPAIR: its state is being moved, the peer must not notice.
    if (data != nullptr) {
      tcp_cb(*data).sent_at = cx.now();
      tcp_rate_skb_sent(cx, tp, *data);
    }
    return xmit_result::sent;
  }
  skb_ptr out = alloc_skb(cx, transmit_headroom);
  out->reserve(transmit_headroom);
  seq32 end = seq + ((flags & (tcphdr_syn | tcphdr_fin)) != 0 ? 1u : 0u);
  if (data != nullptr) {
    for (std::size_t i = 0; i < data->nr_frags(); ++i) {
      const skb_frag& f = data->frag(i);
      ph_check(out->add_frag(f.block, f.offset, f.len));
    }
    out->truesize += data->len();
    end = tcp_cb(*data).end_seq;
    tcp_skb_cb& cb = tcp_cb(*data);
    if (cb.pcount > 1 && (flags & tcphdr_syn) == 0) {
      out->gso_size = cb.mss;
      out->gso_segs = cb.pcount;
      out->gso_type = tp.family() == uapi::af_inet6 ? gso_tcpv6 : gso_tcpv4;
    }
    if (cb.tx_flags != 0) {
      out->tx_flags = cb.tx_flags & (skb_tx_sched | skb_tx_software);
      out->tskey = cb.tskey.raw - tp.tskey;
    }
  }
  const bool syn = (flags & tcphdr_syn) != 0;
  const tcp_signer signer = tcp_signer_of(tp, seq, flags);
  const bool bare = flags == tcphdr_ack && data == nullptr;
  const tcp_out_options options = syn ? syn_options(cx, tp, (flags & tcphdr_ack) != 0, signer)
                                      : established_options(cx, tp, signer, bare);
  header_values values{tp.sport.value, tp.dport.value, seq, tp.rcv_nxt, flags, 0, 0, false};
  // RFC 7323 §2.2: the window of a SYN is never scaled.
  values.window = syn ? static_cast<u16>(std::min(tp.rcv_wnd, tcp_max_window))
                      : select_window(cx, tp);
  values.urg_ptr = urgent_pointer(tp, seq, end, tp.tcp().sysctl.stdurg != 0);
  if (values.urg_ptr != 0) values.flags |= tcphdr_urg;
  // The last segment of a super-packet ends a burst: as Linux, tell the peer not to wait for more.
  if (out->gso_segs > 1) values.flags |= tcphdr_psh;
  const tcp_ecn_flags ecn = tcp_ecn_send(tp, flags, load_of(tp, data, seq));
  values.flags |= ecn.flags;
  values.ae = ecn.ae;
  if (out->gso_segs > 1 && tp.ecn.mode == tcp_ecn_mode::accecn) out->gso_type |= gso_accecn;
  if (out->gso_segs > 1 && tp.ecn.mode == tcp_ecn_mode::rfc3168 && ecn.flags & tcphdr_cwr) {
    out->gso_type |= gso_ecn;
  }
  push_header(*out, values, options);
  tcp_sign(signer, *out, tp.saddr, tp.daddr);
  begin_checksum(*out, *tp.af_ops, tp.saddr, tp.daddr);
  out->priority = tp.opt.priority;
  out->mark = tp.opt.mark;
  tp.set_owner_w(*out);
  trace_born(cx, *out, "tcp_transmit_skb");

  const u32 segs = data != nullptr ? std::max<u32>(tcp_cb(*data).pcount, 1) : 1;
  if ((flags & tcphdr_ack) != 0) {
    note_ack_sent(tp);
    tp.have_dsack = false;
  }
  if (data != nullptr && data->len() != 0) note_data_sent(cx, tp, *data);
  tp.segs_out += segs;
  tp.net().mib().add(cx, mib::tcp_out_segs, segs);
  const xmit_result result = tp.af_ops->queue_xmit(cx, tp, std::move(out));
  if (data != nullptr && tcp_left_host(result)) note_data_left(cx, tp, *data);
  return result;
}

seq32 tcp_acceptable_seq(const tcp_sock& tp) {
  const seq32 end = tcp_wnd_end(tp);
  if (tp.snd_nxt <= end) return tp.snd_nxt;
  // With window scale the peer may mean up to one unit more than it could say.
  const bool rounding = tp.wscale_ok && tp.snd_nxt < end + (u32{1} << tp.rcv_wscale);
  return rounding ? tp.snd_nxt : end;
}

void tcp_send_ack(cpu& cx, tcp_sock& tp) {
  if (tp.state == tcp_state::close) return;
  static_cast<void>(tcp_transmit_skb(cx, tp, nullptr, tcp_acceptable_seq(tp), tcphdr_ack));
}

void tcp_send_active_reset(cpu& cx, tcp_sock& tp) {
  tp.net().mib().add(cx, mib::tcp_out_rsts);
  const u8 flags = tcphdr_rst | tcphdr_ack;
  static_cast<void>(tcp_transmit_skb(cx, tp, nullptr, tcp_acceptable_seq(tp), flags));
}

xmit_result tcp_send_probe(cpu& cx, tcp_sock& tp) {
  return tcp_transmit_skb(cx, tp, nullptr, tp.snd_una - 1, tcphdr_ack);
}

void tcp_send_reply(cpu& cx, net_namespace& net, const inet_af_ops& af, tcp_reply reply) {
  skb_ptr out = alloc_skb(cx, transmit_headroom);
  out->reserve(transmit_headroom);
  const inet_tuple& tuple = reply.info.tuple;
  reply.info.protocol = uapi::ipproto_tcp;
  const header_values values{tuple.lport.value, tuple.rport.value, reply.seq, reply.ack_seq,
                             reply.flags, reply.window, 0, reply.ae};
  tcp_sign_options(reply.signer, reply.options);
  push_header(*out, values, reply.options);
  tcp_sign(reply.signer, *out, tuple.laddr, tuple.raddr);
  begin_checksum(*out, af, tuple.laddr, tuple.raddr);
  trace_born(cx, *out, "tcp_send_reply");
  net.mib().add(cx, mib::tcp_out_segs);
  if ((reply.flags & tcphdr_rst) != 0) net.mib().add(cx, mib::tcp_out_rsts);
  static_cast<void>(af.send_reply(cx, net, std::move(out), reply.info));
}

void tcp_reply_reset(cpu& cx, net_namespace& net, const inet_af_ops& af, const inet_tuple& tuple,
                     const tcp_seg& seg, const tcp_auth* auth, const tcp_auth_ends* ends) {
  if (seg.rst()) return;
  tcp_reply reply;
  reply.info.tuple = tuple;
  if (seg.ack()) {
    // RFC 9293 §3.10.7.1: <SEQ=SEG.ACK><CTL=RST>
    reply.seq = seg.ack_seq;
    reply.flags = tcphdr_rst;
  } else {
    // <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
    reply.ack_seq = seg.end_seq;
    reply.flags = tcphdr_rst | tcphdr_ack;
  }
  if (auth != nullptr) reply.signer = tcp_signer_for(auth, *ends, reply.seq);
  tcp_send_reply(cx, net, af, std::move(reply));
}

void tcp_reply_reset(cpu& cx, tcp_sock& tp, const tcp_seg& seg) {
  const tcp_auth_ends ends = tcp_ends_of(tp);
  tcp_reply_reset(cx, tp.net(), *tp.af_ops, tp.tuple(), seg, tp.auth.get(), &ends);
}

void tcp_reply_reset(cpu& cx, tcp_sock& listener, const inet_tuple& tuple, const tcp_seg& seg) {
  tcp_auth_ends ends;
  ends.tuple = tuple;
  ends.dev = listener.opt.bound_dev_if;
  // What the segment says of the connection that it believes in.
  ends.local_isn = seg.ack_seq - 1;
  ends.remote_isn = seg.syn() ? seg.seq : seg.seq - 1;
  tcp_reply_reset(cx, listener.net(), *listener.af_ops, tuple, seg, listener.auth.get(), &ends);
}

}  // namespace ph
