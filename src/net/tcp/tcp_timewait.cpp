// RFC 9293 §3.10.7.4 for TIME-WAIT and orphans in FIN-WAIT-2, RFC 6191 (reuse by timestamps),
// RFC 1337 (assassination), RFC 5961 §5 (blind injection).
#include "net/tcp/tcp_timewait.h"

#include "net/tcp/tcp_ack.h"
#include "net/tcp/tcp_input.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_timer.h"

namespace ph {
namespace {

void arm(cpu& cx, tcp_timewait& tw, duration after = tcp_timewait_len) {
  tw.home->timers().arm(tw.expiry, cx.now() + after);
}

void answer(cpu& cx, tcp_timewait& tw) {
  const duration limit = milliseconds(tcp_of(tw.net).sysctl.invalid_ratelimit);
  if (tw.acked && cx.now() - tw.last_ack < limit) {
    tw.net.mib().add(cx, mib::tcpext_tcp_ack_skipped);
    return;
  }
  tw.acked = true;
  tw.last_ack = cx.now();
  tcp_reply reply;
  reply.info.tuple = tw.key;
  reply.info.tos = tw.tos;
  reply.info.oif = tw.bound_dev;
  reply.seq = tw.snd_nxt;
  reply.ack_seq = tw.rcv_nxt;
  reply.flags = tcphdr_ack;
  if (tw.signing) reply.signer = tcp_signer_for(tw.auth(), tw.signing->ends, reply.seq);
  reply.window = static_cast<u16>(std::min(tw.rcv_wnd >> tw.rcv_wscale, tcp_max_window));
  if (tw.tstamp_ok) {
    reply.options.timestamps = true;
    reply.options.tsval = static_cast<u32>(cx.now().ms()) + tw.tsoffset;
    reply.options.tsecr = tw.ts_recent;
  }
  tcp_send_reply(cx, tw.net, *tw.af_ops, std::move(reply));
}

/// RFC 5961 §5.2. All that was sent is acknowledged, so SND.UNA is snd_nxt.
bool ack_acceptable(const tcp_timewait& tw, const tcp_seg& seg) {
  return seg.ack() && seg.ack_seq <= tw.snd_nxt && seg.ack_seq >= tw.snd_nxt - tw.ack_reach;
}

skb_drop_reason why_unacceptable(const tcp_timewait& tw, const tcp_seg& seg) {
  if (!seg.ack()) return drop_reason::tcp_flags;
  return seg.ack_seq > tw.snd_nxt ? drop_reason::tcp_ack_unsent_data : drop_reason::tcp_too_old_ack;
}

tcp_timewait_ports::place place_of(const tcp_timewait& tw) {
  return {tw.key.lport, tw.key.laddr, tw.reuseaddr, tw.reuseport};
}

void stand_in(cpu& cx, tcp_sock& tp, bool fin_wait2, duration lifetime) {
  tcp_net& tn = tp.tcp();
  const ref<tcp_sock> hold(&tp);
  if (static_cast<s64>(tn.timewaits.size()) >= tn.sysctl.max_tw_buckets) {
    cx.sometimes("tcp_time_wait_overflow");
    tp.net().mib().add(cx, mib::tcpext_tcp_time_wait_overflow);
    tcp_done(cx, tp);
    return;
  }
  ref<tcp_timewait> tw = tcp_timewait::create(tp.net(), *tp.af_ops);
  tw->key = tp.tuple();
  tw->bound_dev = tp.opt.bound_dev_if;
  tw->home = &tp.home();
  tw->fin_wait2 = fin_wait2;
  tw->rcv_nxt = tp.rcv_nxt;
  tw->snd_nxt = tp.snd_nxt;
  tw->rcv_wnd = tcp_receive_window(tp);
  tw->ack_reach = tcp_ack_reach(tp);
  static_cast<tcp_agreed_options&>(*tw) = tp;
  // Bare acknowledgements are not marked, except with Accurate ECN. DIFFERS: RFC 9768 §3.2.2.2
  // wants the counter in them; as on Linux, TIME-WAIT forgot it, and no data will need it.
  const bool marked = tp.ecn.mode == tcp_ecn_mode::accecn && !tp.ecn.no_ect;
  tw->tos = static_cast<u8>((tp.inet.tos & ~uapi::iptos_ecn_mask) |
                            (marked ? uapi::iptos_ecn_ect0 : uapi::iptos_ecn_not_ect));
  tw->reuseaddr = tp.opt.reuseaddr;
  tw->reuseport = tp.opt.reuseport;
  if (tp.auth) {
    tw->signing = std::make_unique<tcp_timewait_auth>(*tp.auth, tcp_ends_of(tp));
  }
  tcp_done(cx, tp);  // leaves the table: the entry takes its place
  tn.ehash.insert(*tw);
  if (!tw->bound_dev) tn.ehash.full().taken(tw->key);
  tn.ehash.full().hold_until(tw->key, tcp_timewait_held_until(cx, *tw));
  tn.timewaits.add(place_of(*tw));
  tcp_timewait* raw = tw.get();
  tw->expiry.set_callback([raw](cpu& at) {
    raw->net.mib().add(at, mib::tcpext_tw);
    tcp_timewait_kill(*raw);
  });
  arm(cx, *tw, lifetime);
  tw->self = tw;
}

/// FIN-WAIT-2: what is still to come is a FIN, and nothing else counts.
void fin_wait2_rcv(cpu& cx, tcp_timewait& tw, skb_ptr skb, const tcp_seg& seg,
                   const tcp_options_received& rx) {
  const auto refuse = [&](skb_drop_reason why) {
    tcp_reply_reset(cx, tw.net, *tw.af_ops, tw.key, seg, tw.auth(), tw.ends());
    tcp_timewait_kill(tw);
    drop(cx, std::move(skb), why);
  };
  const bool inside = seg.seq == tw.rcv_nxt ||
                      (seg.end_seq > tw.rcv_nxt && seg.seq < tw.rcv_nxt + tw.rcv_wnd);
  if (!inside) {
    if (!seg.rst()) answer(cx, tw);
    drop(cx, std::move(skb), drop_reason::tcp_timewait);
  } else if (seg.rst()) {
    tcp_timewait_kill(tw);
    drop(cx, std::move(skb), drop_reason::tcp_reset);
  } else if (seg.syn()) {
    refuse(drop_reason::tcp_invalid_syn);
  } else if (!seg.ack() || seg.end_seq <= tw.rcv_nxt || seg.seq == seg.end_seq) {
    drop(cx, std::move(skb), drop_reason::tcp_timewait);
  } else if (!ack_acceptable(tw, seg)) {
    // DIFFERS: Linux looks at no acknowledgement here, so that a FIN or data whose sender guessed
    // but one number end the connection.
    answer(cx, tw);
    drop(cx, std::move(skb), why_unacceptable(tw, seg));
  } else if (!seg.fin() || seg.end_seq != tw.rcv_nxt + 1) {
    // RFC 1122 §4.2.2.13: data that nobody will read.
    refuse(drop_reason::tcp_fin_wait_data);
  } else {
    tw.fin_wait2 = false;
    tw.rcv_nxt = seg.end_seq;
    if (tw.tstamp_ok && rx.saw_tstamp) {
      tw.ts_recent = rx.rcv_tsval;
      tw.ts_recent_stamp = cx.now();
    }
    arm(cx, tw);
    tw.acked = false;  // this one is owed
    answer(cx, tw);
    consume(cx, std::move(skb));
  }
}

/// TIME-WAIT: a reset, or a segment without anything in it, just where the next would be.
void in_place_rcv(cpu& cx, tcp_timewait& tw, skb_ptr skb, const tcp_seg& seg,
                  const tcp_options_received& rx) {
  if (seg.rst()) {
    // RFC 1337: by default a reset ends it, as most expect.
    if (tcp_of(tw.net).sysctl.rfc1337 == 0) tcp_timewait_kill(tw);
  } else if (!ack_acceptable(tw, seg)) {
    // DIFFERS: on Linux such a timestamp counts (against RFC 7323 §4.3), and what the peer sends
    // afterwards looks old.
    drop(cx, std::move(skb), why_unacceptable(tw, seg));
    return;
  } else {
    if (tw.tstamp_ok && rx.saw_tstamp) {
      tw.ts_recent = rx.rcv_tsval;
      tw.ts_recent_stamp = cx.now();
    }
    arm(cx, tw);
  }
  drop(cx, std::move(skb), drop_reason::tcp_timewait);
}

}  // namespace

void tcp_time_wait(cpu& cx, tcp_sock& tp) { stand_in(cx, tp, false, tcp_timewait_len); }

void tcp_fin_wait2_orphaned(cpu& cx, tcp_sock& tp) {
  const duration lifetime = tcp_fin_time(tp);
  if (lifetime > tcp_timewait_len) {
    // DIFFERS: Linux gives the small object what exceeds a minute instead of the last minute, so
    // that the whole time comes out wrong unless it is two minutes.
    tcp_arm_keepalive(cx, tp, lifetime - tcp_timewait_len);
  } else {
    stand_in(cx, tp, true, lifetime);
  }
}

void tcp_fin_wait2_last_minute(cpu& cx, tcp_sock& tp) { stand_in(cx, tp, true, tcp_timewait_len); }

ref<tcp_timewait> tcp_timewait::create(net_namespace& net, const inet_af_ops& af) {
  void* const memory = tcp_of(net).timewait_memory.allocate();
  return ref<tcp_timewait>(::new (memory) tcp_timewait(net, af));
}

void tcp_timewait::release_last(tcp_timewait* tw) {
  slab_pool& memory = tcp_of(tw->net).timewait_memory;
  std::destroy_at(tw);
  memory.release(tw);
}

void tcp_timewait_kill(tcp_timewait& tw) {
  const ref<tcp_timewait> last = std::exchange(tw.self, {});
  if (!last) return;
  tcp_net& tn = tcp_of(tw.net);
  tn.ehash.erase(tw);
  tn.timewaits.remove(place_of(tw));
}

std::optional<seq32> tcp_timewait_rcv(cpu& cx, tcp_timewait& tw, skb_ptr& skb, const tcp_seg& seg,
                                      bool listening) {
  const ref<tcp_timewait> hold(&tw);
  const tcp_options_received rx = tcp_parse_options(seg.options, false);
  const bool stamped = tw.tstamp_ok && rx.saw_tstamp;
  const bool old = stamped && tcp_paws_reject(cx, true, tw.ts_recent, tw.ts_recent_stamp,
                                              rx.rcv_tsval, seg.rst());
  if (tw.fin_wait2 && !old) {
    fin_wait2_rcv(cx, tw, std::move(skb), seg, rx);
    return std::nullopt;
  }
  if (!old && seg.seq == tw.rcv_nxt && (seg.seq == seg.end_seq || seg.rst())) {
    in_place_rcv(cx, tw, std::move(skb), seg, rx);
    return std::nullopt;
  }
  // RFC 6191, RFC 9293 §3.10.7.4: a SYN beyond what was received, or with a younger timestamp.
  const bool younger = stamped && static_cast<s32>(rx.rcv_tsval - tw.ts_recent) > 0;
  // A SYN with a FIN never reuses TIME-WAIT: the listener drops it.
  if (listening && seg.syn() && !seg.fin() && !seg.rst() && !seg.ack() && !old &&
      (seg.seq > tw.rcv_nxt || younger)) {
    const seq32 isn = tw.snd_nxt + (65535 + 2);
    tcp_timewait_kill(tw);
    return isn;
  }
  if (!seg.rst()) {
    // DIFFERS: only what can be a FIN sent again restarts it (RFC 9293 §3.10.7.4, eighth step). On
    // Linux any stray ACK does, also the peer's answers to our answers: when both ends take the
    // other's timestamps for old, neither entry would ever end.
    const bool again = seg.seq != seg.end_seq && ack_acceptable(tw, seg);
    if (again && !tw.fin_wait2) arm(cx, tw);
    answer(cx, tw);
  }
  cx.sometimes("tcp_time_wait_answers");
  drop(cx, std::move(skb), old ? drop_reason::tcp_paws : drop_reason::tcp_timewait);
  return std::nullopt;
}

instant tcp_timewait_held_until(const cpu& cx, const tcp_timewait& tw) {
  const tcp_sysctls& sysctl = tcp_of(tw.net).sysctl;
  if (sysctl.tw_reuse == 0 || !tw.tstamp_ok) return never;
  if (sysctl.tw_reuse == 2) {  // loopback only
    const bool local = tw.key.laddr == tw.key.raddr ||
                       (tw.key.laddr.is_ipv4() && tw.key.laddr.ipv4().is_loopback());
    if (!local) return never;
  }
  // In FIN-WAIT-2 the time begins with the FIN, which may come now.
  const instant heard = tw.fin_wait2 ? cx.now() : tw.ts_recent_stamp;
  return heard + milliseconds(sysctl.tw_reuse_delay);
}

bool tcp_timewait_reusable(const cpu& cx, const tcp_timewait& tw) {
  return !tw.fin_wait2 && cx.now() > tcp_timewait_held_until(cx, tw);
}

}  // namespace ph
