// TCP over IPv4: taking segments and ICMP errors from the network layer and finding whose they are.
// The only file of TCP that knows IPv4. RFC 9293 §3.1 (checksum), §3.9.2.2 (ICMP), RFC 5927 (ICMP
// must fit the connection), RFC 1191 (path MTU).
#include "net/core/net_device.h"
#include "net/ipv4/ipv4_net.h"
#include "net/ipv4/route.h"
#include "net/tcp/tcp.h"
#include "net/tcp/tcp_auth.h"
#include "net/tcp/tcp_fastopen.h"
#include "net/tcp/tcp_input.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_recovery.h"
#include "net/tcp/tcp_request.h"
#include "net/tcp/tcp_timer.h"
#include "net/tcp/tcp_timewait.h"
#include "wire/ipv4.h"

namespace ph {
namespace {

bool checksum_ok(const sk_buff& skb, const iphdr& iph) {
  if (skb.ip_summed == checksum_state::unnecessary || skb.ip_summed == checksum_state::partial) {
    return true;
  }
  const csum_partial pseudo = csum_pseudo_ipv4(iph.saddr, iph.daddr, uapi::ipproto_tcp,
                                               static_cast<u16>(skb.len()));
  if (skb.ip_summed == checksum_state::complete) return csum_ok(csum_add(skb.csum, pseudo));
  return csum_ok(skb.checksum(0, skb.len(), pseudo));
}

/// Header and lengths in host order; none: malformed.
std::optional<tcp_seg> read_segment(cpu& cx, sk_buff& skb) {
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

class tcp_v4 final : public inet_protocol {
 public:
  void rcv(cpu& cx, net_namespace& net, skb_ptr skb) override;
  void err(cpu& cx, net_namespace& net, const icmp_error& error, const sk_buff& icmp) override;

 private:
  void deliver(cpu& cx, net_namespace& net, skb_ptr skb, const tcp_seg& seg,
               const inet_tuple& tuple);
  bool steer(cpu& cx, net_namespace& net, skb_ptr& skb, cpu& home);
  void path_mtu(cpu& cx, tcp_sock& tp, u32 told);
  void sock_err(cpu& cx, tcp_sock& tp, const icmp_error& error);
};

/// The only hop between CPUs: a segment goes to the home of its socket. True: it is on its way.
bool tcp_v4::steer(cpu& cx, net_namespace& net, skb_ptr& skb, cpu& home) {
  if (&home == &cx) return false;
  sk_buff* raw = skb.release();
  home.mail().post([this, raw, &net](cpu& at) { rcv(at, net, skb_ptr(raw)); });
  return true;
}

/// Errors that end a half-open connection, as on Linux: the way back is known to be broken.
bool gives_up_request(const icmp_error& error) {
  if (error.type == uapi::icmp_dest_unreach) {
    return error.code == uapi::icmp_net_unreach || error.code == uapi::icmp_host_unreach;
  }
  return error.type == uapi::icmp_time_exceeded || error.type == uapi::icmp_parameterprob;
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
drop_reason judge_signature(ehash_entry* entry, tcp_sock* listener, const inet_tuple& tuple,
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
      return tcp_auth_inbound(tw.auth.get(), tw.auth ? tw.ends : ends, skb, seg);
    }
  }
  ph_unreachable("kind");
}

void tcp_v4::rcv(cpu& cx, net_namespace& net, skb_ptr skb) {
  PH_TRACE(cx, *skb);
  if (skb->pkt_type != packet_type_for::host) {
    drop(cx, std::move(skb), drop_reason::tcp_no_socket);
    return;
  }
  std::optional<tcp_seg> seg = read_segment(cx, *skb);
  if (!seg) {
    drop(cx, std::move(skb), drop_reason::tcp_malformed);
    return;
  }
  const iphdr& iph = skb->network_header<iphdr>();
  if (!checksum_ok(*skb, iph)) {
    drop(cx, std::move(skb), drop_reason::tcp_csum);
    return;
  }
  seg->tos = iph.tos;
  const inet_tuple tuple{inet_addr::of(iph.daddr), inet_addr::of(iph.saddr), port_no(seg->dest),
                         port_no(seg->source)};
  deliver(cx, net, std::move(skb), *seg, tuple);
}

void tcp_v4::deliver(cpu& cx, net_namespace& net, skb_ptr skb, const tcp_seg& seg,
                     const inet_tuple& tuple) {
  tcp_net& tn = tcp_of(net);
  const ifindex dev = skb->dev != nullptr ? skb->dev->index() : ifindex{};
  const u8 ttl = skb->network_header<iphdr>().ttl;
  ehash_entry* entry = tn.ehash.find(tuple, dev);
  tcp_sock* listener = nullptr;
  if (entry == nullptr || entry->kind == ehash_kind::timewait) {
    listener = tn.listeners.find(tuple, dev, inet_tuple_hash(tn.ehash_key, tuple));
  }
  if (entry != nullptr && steer(cx, net, skb, home_of(*entry))) return;
  if (entry == nullptr && listener != nullptr && steer(cx, net, skb, listener->home())) return;

  net.mib().add(cx, mib::tcp_in_segs);
  auto& cb = skb->init_cb<tcp_skb_cb>();
  cb.seq = seg.seq;
  cb.end_seq = seg.end_seq;
  cb.flags = seg.flags;
  skb->pull(seg.hdr_bytes);
  if (entry != nullptr || listener != nullptr) {
    const drop_reason why = judge_signature(entry, listener, tuple, dev, *skb, seg);
    if (why != drop_reason::none) return drop(cx, std::move(skb), why);
  }
  std::optional<seq32> isn;
  if (entry != nullptr && entry->kind == ehash_kind::timewait) {
    isn = tcp_timewait_rcv(cx, static_cast<tcp_timewait&>(*entry), skb, seg, listener != nullptr);
    if (!isn) return;
    entry = nullptr;
  }
  const tcp_sock* owner = listener;
  if (entry != nullptr) {
    owner = entry->kind == ehash_kind::request ? static_cast<tcp_request&>(*entry).listener
                                               : &static_cast<tcp_sock&>(*entry);
  }
  if (owner == nullptr) {
    tcp_reply_reset(cx, net, ipv4_af_ops(), tuple, seg);
    drop(cx, std::move(skb), drop_reason::tcp_no_socket);
    return;
  }
  if (owner->inet.min_ttl != 0 && ttl < owner->inet.min_ttl) {
    drop(cx, std::move(skb), drop_reason::tcp_min_ttl);  // RFC 5082
    return;
  }
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

void tcp_v4::err(cpu& cx, net_namespace& net, const icmp_error& error, const sk_buff&) {
  byte_reader quoted(error.quoted);
  const auto source = quoted.take<be16>();
  const auto dest = quoted.take<be16>();
  const seq32 seq(quoted.take<be32>().value());
  if (!quoted.ok()) return;
  const inet_tuple tuple{error.laddr, error.raddr, port_no(source.value()), port_no(dest.value())};
  ehash_entry* entry = tcp_of(net).ehash.find(tuple, {});
  if (entry == nullptr) {
    net.mib().add(cx, mib::icmp_in_errors);
    return;
  }
  if (entry->kind == ehash_kind::timewait) return;
  if (entry->kind == ehash_kind::request) {
    auto& req = static_cast<tcp_request&>(*entry);
    if (seq != req.snt_isn) {
      net.mib().add(cx, mib::tcpext_out_of_window_icmps);
    } else if (gives_up_request(error)) {
      tcp_request_drop(req);
      net.mib().add(cx, mib::tcpext_listen_drops);
    }
    return;
  }
  const ref<tcp_sock> hold(&static_cast<tcp_sock&>(*entry));
  // RFC 5927 §4.1: the quoted segment must be one that is outstanding.
  const bool size = error.type == uapi::icmp_dest_unreach && error.code == uapi::icmp_frag_needed;
  const bool answered = size && seq == hold->snd_nxt;
  if (!between(seq, hold->snd_una, hold->snd_nxt) || answered) {
    net.mib().add(cx, mib::tcpext_out_of_window_icmps);
    return;
  }
  if (tcp_auth_ignores_icmp(*hold, error)) {
    net.mib().add(cx, mib::tcpext_tcp_ao_dropped_icmps);
    return;
  }
  sock_err(cx, *hold, error);
}

/// RFC 1191 §6.3: the route learns the size, its segments follow. RFC 5927 §7.1: whoever quotes a
/// segment that is not in flight did not see it; sizes below min_pmtu count as min_pmtu.
void tcp_v4::path_mtu(cpu& cx, tcp_sock& tp, u32 told) {
  const u8 discover = tp.inet.pmtudisc;
  if (discover == uapi::ip_pmtudisc_interface || discover == uapi::ip_pmtudisc_omit) return;
  ip_rt_update_pmtu(cx, tp.net(), tp.daddr.ipv4(), told);
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

void tcp_v4::sock_err(cpu& cx, tcp_sock& tp, const icmp_error& error) {
  if (error.type == uapi::icmp_dest_unreach && error.code == uapi::icmp_frag_needed) {
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

std::unique_ptr<inet_protocol> tcp_v4_protocol() { return std::make_unique<tcp_v4>(); }

}  // namespace ph
