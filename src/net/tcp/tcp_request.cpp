// Passive opens: RFC 9293 §3.10.7.2 and §3.10.7.4 (SYN-RECEIVED), RFC 7323 §1.3, RFC 2018 §2, with
// the two queues of a listener: half-open, and waiting for accept(). When they overflow is Linux's
// rule: listen(2), tcp(7) and the settings tcp_max_syn_backlog, tcp_syncookies and
// tcp_abort_on_overflow.
#include "net/tcp/tcp_request.h"

#include <algorithm>

#include "net/tcp/tcp_accecn.h"
#include "net/tcp/tcp_ack.h"
#include "net/tcp/tcp_fastopen.h"
#include "net/tcp/tcp_input.h"
#include "net/tcp/tcp_isn.h"
#include "net/tcp/tcp_ofo.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_syncookies.h"

namespace ph {
namespace {

bool accept_queue_full(const tcp_sock& listener) {
  return listener.accept_queue.size() + listener.accepted_ahead > listener.max_ack_backlog;
}

bool syn_queue_full(const tcp_sock& listener) {
  return listener.request_count > listener.max_ack_backlog;
}

/// tcp_max_syn_backlog: where no cookies help out, the last quarter is for hosts that are known to
/// exist.
bool syn_backlog_reserved(const tcp_sock& listener, const inet_addr& peer) {
  const tcp_net& tn = listener.tcp();
  const s64 most = tn.sysctl.max_syn_backlog;
  return tn.sysctl.syncookies == 0 && most - listener.request_count < most / 4 &&
         !tcp_peer_proven(tn, peer);
}

inet_af_ops::reply_info reply_info_of(const tcp_sock& listener, const inet_tuple& tuple) {
  inet_af_ops::reply_info info;
  info.tuple = tuple;
  info.protocol = uapi::ipproto_tcp;
  info.tos = listener.inet.tos;
  info.ttl = listener.inet.uc_ttl;
  info.mark = listener.opt.mark;
  info.priority = listener.opt.priority;
  info.oif = listener.opt.bound_dev_if;
  info.sk = const_cast<tcp_sock*>(&listener);
  return info;
}

u32 request_time_stamp(const cpu& cx, const tcp_request& req) {
  return static_cast<u32>(cx.now().ms()) + req.tsoffset;
}

void send_synack(cpu& cx, tcp_request& req, u32 tsval) {
  tcp_reply reply;
  reply.info = reply_info_of(*req.listener, req.key);
  reply.seq = req.snt_isn;
  reply.ack_seq = req.rcv_isn + 1;
  reply.flags = tcphdr_syn | tcphdr_ack;
  reply.window = static_cast<u16>(std::min(req.rcv_wnd, tcp_max_window));
  reply.signer = tcp_signer_of(req, reply.seq);
  tcp_sign_options(reply.signer, reply.options);
  reply.options.mss = req.advmss;
  reply.options.wscale_ok = req.wscale_ok;
  reply.options.wscale = req.rcv_wscale;
  reply.options.sack_permitted = req.sack_ok;
  reply.options.timestamps = req.tstamp_ok;
  reply.options.tsval = tsval;
  reply.options.tsecr = req.ts_recent;
  if (req.num_retrans == 0) reply.options.fastopen = req.fastopen_cookie;
  if (tcp_options_size(reply.options) > tcp_max_option_space) reply.options.fastopen = {};
  const tcp_ecn_flags ecn = tcp_ecn_synack(req, reply.info.tos);
  reply.flags |= ecn.flags;
  reply.ae = ecn.ae;
  if (req.ecn == tcp_ecn_mode::accecn && req.num_retrans == 0) {
    const std::size_t room = tcp_max_option_space - tcp_options_size(reply.options);
    reply.options.accecn = tcp_accecn_synack_option(req.listener->tcp().sysctl, room);
  }
  tcp_send_reply(cx, req.listener->net(), *req.listener->af_ops, std::move(reply));
}

void send_synack(cpu& cx, tcp_request& req) {
  req.tsval_last = request_time_stamp(cx, req);
  if (req.num_retrans == 0) req.tsval_first = req.tsval_last;
  send_synack(cx, req, req.tsval_last);
}

/// An echo of a timestamp that nothing of ours carried is of another connection, or invented.
bool echoes_another(const tcp_request& req, const tcp_options_received& rx) {
  if (!req.tstamp_ok || !rx.saw_tstamp || rx.rcv_tsecr == 0) return false;
  return rx.rcv_tsecr - req.tsval_first > req.tsval_last - req.tsval_first;
}

/// Answers to what does not fit are limited (net.ipv4.tcp_invalid_ratelimit).
bool may_answer(cpu& cx, tcp_request& req) {
  const duration limit = milliseconds(req.listener->tcp().sysctl.invalid_ratelimit);
  if (req.answered && cx.now() - req.last_answer < limit) {
    req.listener->net().mib().add(cx, mib::tcpext_tcp_ack_skipped);
    return false;
  }
  req.answered = true;
  req.last_answer = cx.now();
  return true;
}

/// An ACK of where we are (RFC 9293 §3.10.7.4).
void send_request_ack(cpu& cx, tcp_request& req) {
  if (!may_answer(cx, req)) return;
  tcp_reply reply;
  reply.info = reply_info_of(*req.listener, req.key);
  reply.seq = req.snt_isn + 1;
  reply.ack_seq = req.rcv_isn + 1;
  const tcp_ecn_flags ecn = tcp_ecn_request_ack(req);
  reply.flags = static_cast<u8>(tcphdr_ack | ecn.flags);
  reply.ae = ecn.ae;
  reply.signer = tcp_signer_of(req, reply.seq);
  reply.window = static_cast<u16>(req.rcv_wnd >> req.rcv_wscale);
  reply.options.timestamps = req.tstamp_ok;
  // DIFFERS: Linux takes an echo of this one for another connection's.
  reply.options.tsval = req.tsval_last = request_time_stamp(cx, req);
  reply.options.tsecr = req.ts_recent;
  tcp_send_reply(cx, req.listener->net(), *req.listener->af_ops, std::move(reply));
}

duration synack_timeout(const tcp_request& req) {
  return std::min(tcp_timeout_init * (s64{1} << std::min<u32>(req.num_timeout, 10)),
                  req.listener->rto_max);
}

/// How often a SYN+ACK is sent again. Once the queue is more than half full, the old make room for
/// the young: each halving of their share costs a try.
u32 synack_retries(const tcp_sock& listener) {
  u32 most = listener.syn_retries != 0 ? listener.syn_retries
                                       : static_cast<u32>(listener.tcp().sysctl.synack_retries);
  const u32 all = listener.request_count;
  if (2 * all <= std::max(8u, listener.max_ack_backlog)) return most;
  for (u64 young = 2 * u64{listener.young_requests}; most > 2 && all >= young; young *= 2) --most;
  return most;
}

void resend_fired(cpu& cx, tcp_request& req) {
  tcp_sock& listener = *req.listener;
  const u32 defer = listener.defer_accept;
  // TCP_DEFER_ACCEPT: who has been heard may take its time with data.
  const bool deferred = req.acked && req.num_timeout < defer;
  if (req.num_timeout >= synack_retries(listener) && !deferred) {
    listener.net().mib().add(cx, mib::tcp_attempt_fails);
    tcp_request_drop(req);
    return;
  }
  if (req.num_timeout++ == 0) --listener.young_requests;
  // It is reminded only near the end: its answer to that opens the connection.
  const bool silent = req.acked && req.num_timeout < defer;
  if (!silent) {
    if (req.num_retrans < 255) ++req.num_retrans;
    listener.net().mib().add(cx, mib::tcp_retrans_segs);
    cx.sometimes("tcp_syn_ack_again");
    listener.net().mib().add(cx, mib::tcpext_tcp_syn_retrans);
    send_synack(cx, req);
  }
  listener.home().timers().arm(req.resend, cx.now() + synack_timeout(req));
}

/// The SYN again: so did our answer get lost, or the peer is impatient.
void repeat_synack(cpu& cx, tcp_request& req) {
  if (!may_answer(cx, req)) return;
  tcp_sock& listener = *req.listener;
  if (req.num_retrans < 255) ++req.num_retrans;
  listener.net().mib().add(cx, mib::tcp_retrans_segs);
  listener.net().mib().add(cx, mib::tcpext_tcp_syn_retrans);
  send_synack(cx, req);
  listener.home().timers().arm(req.resend, cx.now() + synack_timeout(req));
}

void take_syn_options(tcp_request& req, const tcp_options_received& rx) {
  const tcp_sysctls& sysctl = req.listener->tcp().sysctl;
  req.peer_mss = rx.mss != 0 ? rx.mss : uapi::tcp_mss_default;
  req.wscale_ok = rx.wscale_ok && sysctl.window_scaling != 0;
  req.snd_wscale = req.wscale_ok ? rx.snd_wscale : u8{0};
  req.sack_ok = rx.sack_ok && sysctl.sack != 0;
  req.tstamp_ok = rx.saw_tstamp && sysctl.timestamps != 0;
  // As Linux: with an MD5 signature there is no room for both, and SACK stays.
  const bool md5 = tcp_signer_of(req, req.snt_isn).md5 != nullptr;
  if (md5 && req.sack_ok) req.tstamp_ok = false;
  req.ts_recent = rx.rcv_tsval;
}

/// The full socket of a half-open connection.
ref<tcp_sock> make_child(cpu& cx, tcp_request& req, const tcp_seg& seg) {
  tcp_sock& listener = *req.listener;
  ref<tcp_sock> child = make_ref<tcp_sock>(listener.net(), listener.home(), *listener.af_ops);
  child->opt = listener.opt;
  child->inet = listener.inet;
  child->inet.memberships.clear();
  child->saddr = child->rcv_saddr = req.key.laddr;
  child->daddr = req.key.raddr;
  child->sport = req.key.lport;
  child->dport = req.key.rport;
  child->inherit_options(listener);
  tcp_assign_congestion_control(*child);

  child->state = tcp_state::syn_recv;
  child->iss = req.snt_isn;
  child->send_from(req.snt_isn + 1);
  child->irs = req.rcv_isn;
  child->receive_from(req.rcv_isn + 1);
  child->snd_wl1 = seg.seq;
  static_cast<tcp_agreed_options&>(*child) = req;
  child->ts_recent_stamp = cx.now();
  child->ts_recent_valid = req.tstamp_ok;
  child->snd_wnd = u32{seg.window} << req.snd_wscale;
  child->max_window = child->snd_wnd;
  child->rcv_wnd = child->rcv_ssthresh = req.rcv_wnd;
  child->window_clamp = req.window_clamp;
  child->advmss = req.advmss;
  child->mss_clamp = req.peer_mss;
  if (child->user_mss != 0) child->mss_clamp = std::min(child->mss_clamp, child->user_mss);
  tcp_ecn_create_child(*child, req);
  tcp_auth_inherit(*child, req);
  return child;
}

/// Tables and the listener's queue for accept().
void enqueue_child(cpu& cx, tcp_sock& listener, const ref<tcp_sock>& child) {
  listener.tcp().ports.inherit(*child, child->sport, tcp_port_kind(*child));
  child->port_held = true;
  tcp_hash(*child);
  child->listener = &listener;
  listener.accept_queue.push_back(child);
  listener.net().mib().add(cx, mib::tcp_passive_opens);
}

/// The handshake is complete: a socket takes the place of the request. nullptr: no way, and the
/// packet stays with the caller.
ref<tcp_sock> tcp_request_to_sock(cpu& cx, tcp_request& req, const tcp_seg& seg) {
  tcp_sock& listener = *req.listener;
  ref<tcp_sock> child = make_child(cx, req, seg);
  if (!child->af_ops->connect_route(cx, *child)) return {};
  tcp_sync_mss(*child, child->dst->mtu(cx.now()));
  tcp_initialize_rcv_mss(*child);
  // RFC 6298: the SYN+ACK gives the first sample if it was sent once, and this is its first answer.
  // DIFFERS: Linux samples also how long the peer's data are waited for (TCP_DEFER_ACCEPT), which
  // says nothing about the path.
  if (req.num_retrans == 0 && !req.acked) tcp_rtt_estimate(cx, *child, cx.now() - req.sent_at);
  const ref<tcp_request> hold(&req);
  tcp_request_drop(req);
  enqueue_child(cx, listener, child);
  return child;
}

/// RFC 7413 §4.2.2: a socket before the handshake is over. False: the ordinary way must do.
bool open_at_once(cpu& cx, tcp_request& req, skb_ptr& skb, const tcp_seg& seg) {
  const ref<tcp_sock> listener(req.listener);
  const ref<tcp_sock> child = make_child(cx, req, seg);
  if (!child->af_ops->connect_route(cx, *child)) return false;
  tcp_sync_mss(*child, child->dst->mtu(cx.now()));
  tcp_initialize_rcv_mss(*child);
  child->fastopen_cookie = req.fastopen_cookie;
  child->fastopen_parent = listener;
  ++listener->fastopen_pending;
  enqueue_child(cx, *listener, child);
  tcp_fastopen_begin(cx, *child, std::move(skb), seg);
  listener->wake(uapi::pollin | uapi::pollrdnorm);
  return true;
}

void overflow(cpu& cx, tcp_request& req, skb_ptr skb, const tcp_seg& seg) {
  tcp_sock& listener = *req.listener;
  if (req.self && listener.tcp().sysctl.abort_on_overflow != 0) {
    tcp_reply_reset(cx, listener, req.key, seg);
    listener.net().mib().add(cx, mib::tcpext_embryonic_rsts);
    tcp_request_drop(req);
  } else {
    req.acked = true;  // the peer believes itself connected; it will send again
  }
  drop(cx, std::move(skb), drop_reason::tcp_listen_overflow);
}

/// RST or SYN inside the window of a half-open connection.
void embryonic_reset(cpu& cx, tcp_request& req, skb_ptr skb, const tcp_seg& seg) {
  tcp_sock& listener = *req.listener;
  if (seg.rst() && seg.seq != req.rcv_isn + 1) {
    send_request_ack(cx, req);  // RFC 5961 §3.2
    drop(cx, std::move(skb), drop_reason::tcp_request);
    return;
  }
  if (!seg.rst()) tcp_reply_reset(cx, listener, req.key, seg);
  listener.net().mib().add(cx, mib::tcpext_embryonic_rsts);
  listener.net().mib().add(cx, mib::tcp_attempt_fails);
  tcp_request_drop(req);
  drop(cx, std::move(skb), drop_reason::tcp_reset);
}

bool in_window(const tcp_request& req, const tcp_seg& seg) {
  const seq32 start = req.rcv_isn + 1;
  const seq32 end = start + req.rcv_wnd;
  if (seg.seq == start) return true;
  if (seg.end_seq > start && seg.seq < end) return true;
  return seg.seq == end && seg.seq == seg.end_seq && !seg.rst();
}

/// Waits for the ACK of its SYN+ACK.
void enqueue_request(cpu& cx, const ref<tcp_request>& req) {
  tcp_sock& listener = *req->listener;
  tcp_request* raw = req.get();
  req->resend.set_callback([raw](cpu& at) {
    const ref<tcp_request> hold(raw);
    resend_fired(at, *raw);
  });
  req->self = req;
  listener.tcp().ehash.insert(*req);
  listener.requests.push_back(*req);
  ++listener.request_count;
  ++listener.young_requests;
  req->sent_at = cx.now();
  listener.home().timers().arm(req->resend, cx.now() + synack_timeout(*req));
}

/// Answers with a cookie and forgets the SYN.
void send_cookie(cpu& cx, tcp_request& req) {
  tcp_sock& listener = *req.listener;
  // What is not in the cookie is remembered by timestamps or not at all.
  if (!req.tstamp_ok) {
    req.sack_ok = req.wscale_ok = false;
    req.rcv_wscale = 0;
    req.ecn = tcp_ecn_mode::none;
  }
  req.snt_isn = tcp_cookie_make(cx, listener.tcp(), req.key, req.rcv_isn, req.peer_mss);
  tcp_cookie_sent(cx, listener);
  tcp_cookie_options remember;
  remember.wscale_ok = req.wscale_ok;
  remember.snd_wscale = req.snd_wscale;
  remember.sack_ok = req.sack_ok;
  remember.ecn_ok = req.ecn != tcp_ecn_mode::none;
  const u32 clock = static_cast<u32>(cx.now().ms());
  send_synack(cx, req, tcp_cookie_timestamp(clock, remember) + req.tsoffset);
}

}  // namespace

void tcp_rcv_listen(cpu& cx, tcp_sock& listener, skb_ptr skb, const tcp_seg& seg,
                    const inet_tuple& tuple, std::optional<seq32> isn) {
  PH_TRACE(cx, *skb);
  if (seg.rst()) {
    drop(cx, std::move(skb), drop_reason::tcp_flags);
  } else if (seg.ack()) {
    if (tcp_cookie_ack(cx, listener, skb, seg, tuple)) return;
    tcp_reply_reset(cx, listener, tuple, seg);
    drop(cx, std::move(skb), drop_reason::tcp_no_socket);
  } else if (!seg.syn() || seg.fin()) {
    drop(cx, std::move(skb), drop_reason::tcp_flags);
  } else {
    tcp_conn_request(cx, listener, std::move(skb), seg, tuple, isn);
  }
}

result<ref<dst_entry>> tcp_request_route(cpu& cx, const tcp_request& req) {
  const tcp_sock& listener = *req.listener;
  return listener.af_ops->route_to(cx, listener.net(), reply_info_of(listener, req.key));
}

void tcp_request_set_window(tcp_request& req, const dst_entry& route, instant now) {
  const tcp_sock& listener = *req.listener;
  req.advmss = static_cast<u16>(tcp_advertise_mss(listener, route, now));
  const u32 options = req.tstamp_ok ? static_cast<u32>(tcpolen_tstamp_aligned) : 0;
  const tcp_initial_window first =
      tcp_select_initial_window(listener.tcp().sysctl, &route, tcp_full_space(listener),
                                tcp_window_limit(listener, listener.window_clamp, &route),
                                req.advmss - options, req.wscale_ok);
  req.rcv_wnd = first.rcv_wnd;
  req.window_clamp = first.window_clamp;
  req.rcv_wscale = first.wscale;
}

void tcp_conn_request(cpu& cx, tcp_sock& listener, skb_ptr skb, const tcp_seg& seg,
                      const inet_tuple& tuple, std::optional<seq32> isn) {
  PH_TRACE(cx, *skb);
  tcp_net& tn = listener.tcp();
  mib_table& mibs = listener.net().mib();
  // Who comes out of TIME-WAIT was here before and passes.
  const bool full = syn_queue_full(listener) && !isn;
  const bool cookie = !isn && (tn.sysctl.syncookies == 2 || (full && tn.sysctl.syncookies != 0));
  if (full || cookie) {
    mibs.add(cx, cookie ? mib::tcpext_tcp_req_q_full_do_cookies : mib::tcpext_tcp_req_q_full_drop);
  }
  if (full && !cookie) {
    drop(cx, std::move(skb), drop_reason::tcp_syn_queue_full);
    return;
  }
  if (accept_queue_full(listener)) {
    drop(cx, std::move(skb), drop_reason::tcp_listen_overflow);
    return;
  }
  ref<tcp_request> req = make_ref<tcp_request>(listener);
  req->key = tuple;
  req->bound_dev = listener.opt.bound_dev_if;
  const auto dst = tcp_request_route(cx, *req);
  if (!dst) {
    drop(cx, std::move(skb), drop_reason::tcp_no_route);
    return;
  }
  if (!cookie && !isn && syn_backlog_reserved(listener, tuple.raddr)) {
    drop(cx, std::move(skb), drop_reason::tcp_syn_queue_full);
    return;
  }
  const tcp_options_received rx = tcp_parse_options(seg.options, true);
  req->rcv_isn = seg.seq;
  req->snt_isn = isn.value_or(tcp_init_seq(cx, tn, tuple));
  req->tsoffset = tcp_ts_offset(tn, tuple.laddr, tuple.raddr);
  req->tos = seg.tos;
  tcp_ecn_create_request(*req, seg);
  tcp_auth_note_syn(*req, seg);
  take_syn_options(*req, rx);
  tcp_request_set_window(*req, **dst, cx.now());
  if (cookie) {
    consume(cx, std::move(skb));
    send_cookie(cx, *req);
    return;
  }
  const auto fastopen = tcp_fastopen_judge(cx, listener, seg, tuple, rx.fastopen);
  req->fastopen_cookie = fastopen.cookie;
  if (fastopen.accept && open_at_once(cx, *req, skb, seg)) return;
  enqueue_request(cx, req);
  consume(cx, std::move(skb));
  send_synack(cx, *req);
}

void tcp_check_req(cpu& cx, tcp_request& req, skb_ptr skb, const tcp_seg& seg) {
  PH_TRACE(cx, *skb);
  const ref<tcp_request> hold(&req);
  tcp_sock& listener = *req.listener;
  const tcp_options_received rx = tcp_parse_options(seg.options, seg.syn());
  const bool old = req.tstamp_ok && rx.saw_tstamp && !seg.rst() &&
                   static_cast<s32>(req.ts_recent - rx.rcv_tsval) > 0;
  if (seg.seq == req.rcv_isn && seg.syn() && !seg.ack() && !seg.rst() && !old) {
    if (!tcp_ecn_repeated_syn(req, seg)) {
      tcp_reply_reset(cx, listener, req.key, seg);
      listener.net().mib().add(cx, mib::tcp_attempt_fails);
      tcp_request_drop(req);
      drop(cx, std::move(skb), drop_reason::tcp_flags);
      return;
    }
    repeat_synack(cx, req);
    drop(cx, std::move(skb), drop_reason::tcp_request);
    return;
  }
  if (seg.ack() && !seg.rst() && seg.ack_seq != req.snt_isn + 1) {
    tcp_reply_reset(cx, listener, req.key, seg);
    drop(cx, std::move(skb), drop_reason::tcp_invalid_ack);
    return;
  }
  const bool foreign = echoes_another(req, rx);
  if (old || foreign || !in_window(req, seg)) {
    if (!seg.rst()) send_request_ack(cx, req);
    const skb_drop_reason why = old       ? drop_reason::tcp_paws
                                : foreign ? drop_reason::tcp_tsecr
                                          : drop_reason::tcp_request;
    drop(cx, std::move(skb), why);
    return;
  }
  if (req.tstamp_ok && rx.saw_tstamp && seg.seq <= req.rcv_isn + 1) {
    req.ts_recent = rx.rcv_tsval;
  }
  if (seg.rst() || seg.syn()) {
    embryonic_reset(cx, req, std::move(skb), seg);
    return;
  }
  if (!seg.ack()) {
    drop(cx, std::move(skb), drop_reason::tcp_flags);
    return;
  }
  if (req.num_timeout < listener.defer_accept && seg.end_seq == req.rcv_isn + 1) {
    // TCP_DEFER_ACCEPT: a bare ACK is not worth waking anybody.
    req.acked = true;
    cx.sometimes("tcp_accept_deferred");
    listener.net().mib().add(cx, mib::tcpext_tcp_defer_accept_drop);
    drop(cx, std::move(skb), drop_reason::tcp_request);
    return;
  }
  tcp_request_complete(cx, req, std::move(skb), seg);
}

void tcp_request_complete(cpu& cx, tcp_request& req, skb_ptr skb, const tcp_seg& seg) {
  tcp_sock& listener = *req.listener;
  if (accept_queue_full(listener)) {
    overflow(cx, req, std::move(skb), seg);
    return;
  }
  const ref<tcp_sock> child = tcp_request_to_sock(cx, req, seg);
  if (!child) {
    drop(cx, std::move(skb), drop_reason::tcp_no_route);
    return;
  }
  const ref<tcp_sock> parent(&listener);
  tcp_do_rcv(cx, *child, std::move(skb), seg);
  parent->wake(uapi::pollin | uapi::pollrdnorm);
}

void tcp_request_drop(tcp_request& req) {
  const ref<tcp_request> last = std::exchange(req.self, {});
  if (!last) return;
  tcp_sock& listener = *req.listener;
  listener.tcp().ehash.erase(req);
  req.list_hook<tcp_request_tag>::unlink();
  --listener.request_count;
  if (req.num_timeout == 0) --listener.young_requests;
  listener.home().timers().cancel(req.resend);
}

namespace {

constexpr std::size_t proven_places = 256;

std::size_t proven_place(const tcp_net& tn, const inet_addr& peer) {
  return siphash(tn.ehash_key, peer.bytes) % proven_places;
}

}  // namespace

bool tcp_peer_proven(const tcp_net& tn, const inet_addr& peer) {
  return !tn.proven_peers.empty() && tn.proven_peers[proven_place(tn, peer)] == peer;
}

void tcp_prove_peer(tcp_net& tn, const inet_addr& peer) {
  tn.proven_peers.resize(proven_places);
  tn.proven_peers[proven_place(tn, peer)] = peer;
}

void tcp_listen_stop(cpu& cx, tcp_sock& listener) {
  while (!listener.requests.empty()) tcp_request_drop(listener.requests.front());
  while (!listener.accept_queue.empty()) {
    const ref<tcp_sock> child = listener.accept_queue.front();
    listener.accept_queue.pop_front();
    child->listener = nullptr;
    child->dead = true;
    // Nobody will ever read what it brought: RFC 9293 §3.6 ABORT.
    if (child->state != tcp_state::close) tcp_send_active_reset(cx, *child);
    tcp_done(cx, *child);
  }
}

}  // namespace ph
