// Demultiplexing for both families: established table, half-open requests, TIME-WAIT, listeners;
// and what ICMP errors do to connections (RFC 9293 §3.9.2.2, RFC 5927, RFC 1191).
#include "net/tcp/tcp_demux.h"

#include "net/core/net_device.h"
#include "net/tcp/tcp_auth.h"
#include "net/tcp/tcp_fastopen.h"
#include "net/tcp/tcp_input.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_recovery.h"
#include "net/tcp/tcp_request.h"
#include "net/tcp/tcp_timer.h"
#include "net/tcp/tcp_timewait.h"

namespace ph {
namespace {

/// The only hop between CPUs: a segment goes to the home of its socket. True: it is on its way.
bool steer(cpu& cx, net_namespace& net, skb_ptr& skb, inet_protocol& handler, cpu& home) {
  if (&home == &cx) return false;
  sk_buff* raw = skb.release();
  inet_protocol* again = &handler;
  home.mail().post([again, raw, &net](cpu& at) { again->rcv(at, net, skb_ptr(raw)); });
  return true;
}

cpu& home_of(ehash_entry& entry) {
  switch (entry.kind) {
    case ehash_kind::established: return static_cast<tcp_sock&>(entry).home();
    case ehash_kind::request: return static_cast<tcp_request&>(entry).listener->home();
    case ehash_kind::timewait: return *static_cast<tcp_timewait&>(entry).home;
  }
  ph_unreachable("kind");
}

/// Is the segment signed as the keys of its receiver want it?
skb_drop_reason judge_signature(ehash_entry* entry, tcp_sock* listener, const inet_tuple& tuple,
                                ifindex dev, const sk_buff& skb, const tcp_seg& seg) {
  tcp_auth_ends ends;
  ends.tuple = tuple;
  ends.dev = dev;
  if (entry == nullptr) {
    ends.isns_known = false;
    return tcp_auth_inbound(listener != nullptr ? listener->auth.get() : nullptr, ends, skb, seg);
  }
  switch (entry->kind) {
    case ehash_kind::established: {
      tcp_sock& tp = static_cast<tcp_sock&>(*entry);
      if (tp.auth) ends = tcp_ends_of(tp);
      return tcp_auth_inbound(tp.auth.get(), ends, skb, seg);
    }
    case ehash_kind::request: {
      const tcp_request& req = static_cast<tcp_request&>(*entry);
      ends.local_isn = req.snt_isn;
      ends.remote_isn = req.rcv_isn;
      return tcp_auth_inbound(req.listener->auth.get(), ends, skb, seg);
    }
    case ehash_kind::timewait: {
      tcp_timewait& tw = static_cast<tcp_timewait&>(*entry);
      // A SYN is a new connection's, and is for the listener to judge.
      if (seg.syn() && !seg.ack() && listener != nullptr) {
        return judge_signature(nullptr, listener, tuple, dev, skb, seg);
      }
      return tcp_auth_inbound(tw.auth(), tw.signing ? tw.signing->ends : ends, skb, seg);
    }
  }
  ph_unreachable("kind");
}

/// The socket whose rules a segment meets: a listener for half-open connections. nullptr: nobody's.
const tcp_sock* owner_of(ehash_entry* entry, const tcp_sock* listener) {
  if (entry == nullptr) return listener;
  if (entry->kind == ehash_kind::request) return static_cast<tcp_request&>(*entry).listener;
  return &static_cast<tcp_sock&>(*entry);
}

/// `entry`: a connection or a half-open one; nullptr: `listener` takes it.
void deliver(cpu& cx, ehash_entry* entry, tcp_sock* listener, skb_ptr skb, const tcp_seg& seg,
             const inet_tuple& tuple, std::optional<seq32> isn) {
  if (entry == nullptr) {
    const ref<tcp_sock> hold(listener);
    tcp_rcv_listen(cx, *listener, std::move(skb), seg, tuple, isn);
  } else if (entry->kind == ehash_kind::request) {
    const ref<tcp_sock> hold(static_cast<tcp_request&>(*entry).listener);
    tcp_check_req(cx, static_cast<tcp_request&>(*entry), std::move(skb), seg);
  } else {
    const ref<tcp_sock> hold(&static_cast<tcp_sock&>(*entry));
    tcp_do_rcv(cx, *hold, std::move(skb), seg);
  }
}

/// Errors that end a half-open connection, as on Linux: the way back is known to be broken.
bool gives_up_request(icmp_kind kind) {
  return kind == icmp_kind::net_unreachable || kind == icmp_kind::host_unreachable ||
         kind == icmp_kind::time_exceeded || kind == icmp_kind::parameter_problem;
}

void request_error(cpu& cx, net_namespace& net, tcp_request& req, const icmp_error& error,
                   seq32 seq) {
  if (seq != req.snt_isn) {
    net.mib().add(cx, mib::tcpext_out_of_window_icmps);
  } else if (gives_up_request(error.kind)) {
    tcp_request_drop(req);
    net.mib().add(cx, mib::tcpext_listen_drops);
  }
}

/// RFC 1191 §6.3: the route learns the size, its segments follow. RFC 5927 §7.1: whoever quotes a
/// segment that is not in flight did not see it; sizes below min_pmtu count as min_pmtu.
void path_mtu(cpu& cx, tcp_sock& tp, u32 told) {
  const u8 discover = tp.inet.pmtudisc;
  if (discover == uapi::ip_pmtudisc_interface || discover == uapi::ip_pmtudisc_omit) return;
  tp.af_ops->update_pmtu(cx, tp.net(), tp.daddr, told);
  const u32 old = tp.pmtu_cookie;
  if (!tp.dst || !tp.af_ops->connect_route(cx, tp)) return;
  const u32 mtu = tp.dst->mtu(cx.now());
  if (discover == uapi::ip_pmtudisc_dont || mtu >= old) return;
  tcp_sync_mss(tp, mtu);
  if (tp.state == tcp_state::syn_sent) {
    tcp_fastopen_syn_too_big(cx, tp);
  } else {
    tcp_simple_retransmit(cx, tp);
  }
}

void sock_error(cpu& cx, tcp_sock& tp, const icmp_error& error) {
  if (error.kind == icmp_kind::packet_too_big) {
    path_mtu(cx, tp, error.info);
    return;
  }
  if (error.error == errc::ok) return;
  if (tp.in_state({tcp_state::syn_sent, tcp_state::syn_recv})) {
    // Nothing is agreed yet, so the attempt fails at once, as on Linux (RFC 1122 §4.2.3.9 would
    // keep trying on soft errors).
    tcp_write_queue_purge(cx, tp);
    tcp_reset(cx, tp, error.error);
    return;
  }
  // RFC 1122 §4.2.3.9: an established connection only remembers it for the day it times out.
  if (tp.inet.recverr) {
    tp.set_error(error.error);
  } else {
    tp.soft_error = error.error;
  }
}

}  // namespace

std::optional<tcp_seg> tcp_read_segment(cpu& cx, sk_buff& skb) {
  if (!skb.may_pull(cx, sizeof(tcphdr))) return std::nullopt;
  const std::size_t header = view_as<tcphdr>(skb.data())->header_bytes();
  if (header < sizeof(tcphdr) || !skb.may_pull(cx, static_cast<u32>(header))) return std::nullopt;
  const tcphdr& th = *view_as<tcphdr>(skb.data());
  tcp_seg seg;
  seg.source = th.source.value();
  seg.dest = th.dest.value();
  seg.seq = seq32(th.seq.value());
  seg.ack_seq = seq32(th.ack_seq.value());
  seg.window = th.window.value();
  seg.urg_ptr = th.urg_ptr.value();
  seg.flags = th.flags;
  seg.ae = th.ae();
  seg.packets = std::max<u16>(skb.gso_segs, 1);
  seg.hdr_bytes = static_cast<u32>(header);
  seg.len = skb.len() - seg.hdr_bytes;
  seg.end_seq = seg.seq + (seg.len + (seg.syn() ? 1u : 0u) + (seg.fin() ? 1u : 0u));
  seg.options = skb.data().subspan(sizeof(tcphdr), header - sizeof(tcphdr));
  return seg;
}

void tcp_demux(cpu& cx, net_namespace& net, skb_ptr skb, tcp_seg seg, const tcp_packet& packet) {
  seg.tos = packet.tos;
  const inet_tuple tuple{packet.laddr, packet.raddr, port_no(seg.dest), port_no(seg.source)};
  tcp_net& tn = tcp_of(net);
  const ifindex dev(skb->skb_iif);
  ehash_entry* entry = tn.ehash.find(tuple, dev);
  tcp_sock* listener = nullptr;
  if (entry == nullptr || entry->kind == ehash_kind::timewait) {
    listener = tn.listeners.find(tuple, dev, inet_tuple_hash(tn.ehash_key, tuple));
  }
  inet_protocol& handler = packet.handler;
  if (entry != nullptr && steer(cx, net, skb, handler, home_of(*entry))) return;
  if (entry == nullptr && listener != nullptr && steer(cx, net, skb, handler, listener->home())) {
    return;
  }
  net.mib().add(cx, mib::tcp_in_segs);
  auto& cb = skb->init_cb<tcp_skb_cb>();
  cb.seq = seg.seq;
  cb.end_seq = seg.end_seq;
  cb.flags = seg.flags;
  skb->pull(seg.hdr_bytes);
  if (entry != nullptr || listener != nullptr) {
    const skb_drop_reason why = judge_signature(entry, listener, tuple, dev, *skb, seg);
    if (why != drop_reason::none) return drop(cx, std::move(skb), why);
  }
  std::optional<seq32> isn;
  if (entry != nullptr && entry->kind == ehash_kind::timewait) {
    isn = tcp_timewait_rcv(cx, static_cast<tcp_timewait&>(*entry), skb, seg, listener != nullptr);
    if (!isn) return;
    entry = nullptr;
  }
  const tcp_sock* const owner = owner_of(entry, listener);
  if (owner == nullptr) {
    tcp_reply_reset(cx, net, packet.af, tuple, seg);
    drop(cx, std::move(skb), drop_reason::tcp_no_socket);
  } else if (owner->inet.min_ttl != 0 && packet.hop_limit < owner->inet.min_ttl) {
    drop(cx, std::move(skb), drop_reason::tcp_min_ttl);  // RFC 5082
  } else {
    deliver(cx, entry, listener, std::move(skb), seg, tuple, isn);
  }
}

tcp_icmp_outcome tcp_demux_error(cpu& cx, net_namespace& net, const icmp_error& error) {
  using enum tcp_icmp_outcome;
  byte_reader quoted(error.quoted);
  const auto source = quoted.take<be16>();
  const auto dest = quoted.take<be16>();
  const seq32 seq(quoted.take<be32>().value());
  if (!quoted.ok()) return refused;
  const inet_tuple tuple{error.laddr, error.raddr, port_no(source.value()), port_no(dest.value())};
  // A socket bound to a device hears errors that come by it, as it hears segments.
  ehash_entry* const entry = tcp_of(net).ehash.find(tuple, error.dev);
  if (entry == nullptr) return nobodys;
  if (entry->kind == ehash_kind::timewait) return refused;
  if (entry->kind == ehash_kind::request) {
    request_error(cx, net, static_cast<tcp_request&>(*entry), error, seq);
    return refused;
  }
  const ref<tcp_sock> hold(&static_cast<tcp_sock&>(*entry));
  // RFC 5927 §4.1: the quoted segment must be one that is outstanding.
  const bool answered = error.kind == icmp_kind::packet_too_big && seq == hold->snd_nxt;
  if (!between(seq, hold->snd_una, hold->snd_nxt) || answered) {
    net.mib().add(cx, mib::tcpext_out_of_window_icmps);
    return refused;
  }
  if (tcp_auth_ignores_icmp(*hold, error)) {
    net.mib().add(cx, mib::tcpext_tcp_ao_dropped_icmps);
    return refused;
  }
  sock_error(cx, *hold, error);
  return taken;
}

}  // namespace ph
