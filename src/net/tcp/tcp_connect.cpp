// How connections begin on the program's side: bind, connect, listen, accept (RFC 9293 §3.10.1),
// and the rules by which sockets share a port.
#include <algorithm>

#include "net/tcp/tcp_fastopen.h"
#include "net/tcp/tcp_input.h"
#include "net/tcp/tcp_isn.h"
#include "net/tcp/tcp_ofo.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_request.h"
#include "net/tcp/tcp_repair.h"
#include "net/tcp/tcp_timer.h"
#include "net/tcp/tcp_timewait.h"

namespace ph {
namespace {

/// A port stays taken while connections from it linger in TIME-WAIT, unless both agreed to reuse.
bool blocked_by_timewait(tcp_sock& tp, port_no port) {
  return tp.tcp().timewaits.blocks(
      {port, tp.rcv_saddr, tp.opt.bound_dev_if, tp.opt.reuseaddr, tp.opt.reuseport});
}

/// Is the connection's four-tuple free, or held only by a TIME-WAIT that may be taken over? `until`
/// comes down to when one may that may not yet.
bool tuple_free(cpu& cx, tcp_sock& tp, port_no port, instant& until) {
  inet_tuple tuple = tp.tuple();
  tuple.lport = port;
  tcp_net& tn = tp.tcp();
  ehash_entry* entry = tn.ehash.find(tuple, tp.opt.bound_dev_if);
  if (entry == nullptr) return true;
  if (entry->kind != ehash_kind::timewait) return false;
  auto& tw = static_cast<tcp_timewait&>(*entry);
  if (tcp_timewait_reusable(cx, tw)) return true;
  until = std::min(until, tcp_timewait_held_until(cx, tw));
  return false;
}

/// The same for a port that the socket has. Who asks for a port of his own may take over whatever
/// lingers there, whatever net.ipv4.tcp_tw_reuse says, as long as timestamps tell old from new.
bool own_tuple_free(const tcp_sock& tp) {
  const ehash_entry* entry = tp.tcp().ehash.find(tp.tuple(), tp.opt.bound_dev_if);
  if (entry == nullptr) return true;
  return entry->kind == ehash_kind::timewait && static_cast<const tcp_timewait&>(*entry).tstamp_ok;
}

/// A port that nobody else has: where the kernel chooses, no option makes sockets share one
/// (net.ipv4.ip_autobind_reuse is 0).
result<void> choose_bound_port(cpu& cx, tcp_sock& tp) {
  const auto [low, high] = tp.af_ops->local_port_range(tp);
  tcp_sock* self = &tp;
  const auto usable = [self](port_no port) { return !blocked_by_timewait(*self, port); };
  inet_ports& ports = tp.tcp().ports;
  TRY(tp.sport, ports.bind_ephemeral(tp, low, high, cx.random(), tcp_port_kind(tp), usable));
  tp.port_held = true;
  return {};
}

/// A port for connect(): others may have it, as long as their peers differ.
result<void> choose_connecting_port(cpu& cx, tcp_sock& tp) {
  const auto [low, high] = tp.af_ops->local_port_range(tp);
  tcp_net& tn = tp.tcp();
  // A device makes room where others have none: such searches are not remembered.
  const bool anywhere = !tp.opt.bound_dev_if;
  const inet_full_destinations::search wanted{tp.tuple(), low, high, tn.ports.releases()};
  if (anywhere && tn.ehash.full().knows(wanted, cx.now())) return fail(errc::addrnotavail);
  instant until = never;
  struct {
    cpu& cx;
    tcp_sock& tp;
    instant& until;
  } at{cx, tp, until};
  const auto usable = [&at](port_no port) { return tuple_free(at.cx, at.tp, port, at.until); };
  auto found = tn.ports.connect_ephemeral(tp, low, high, cx.random(), tcp_port_kind(tp), usable);
  if (!found && anywhere) tn.ehash.full().note(wanted, until);
  TRY(tp.sport, found);
  if (anywhere) tn.ehash.full().taken(tp.tuple());
  tp.port_held = true;
  return {};
}

/// Takes over from a TIME-WAIT entry with the same ends; returns the first sequence number.
seq32 initial_sequence(cpu& cx, tcp_sock& tp) {
  tcp_net& tn = tp.tcp();
  ehash_entry* entry = tn.ehash.find(tp.tuple(), tp.opt.bound_dev_if);
  if (entry != nullptr && entry->kind == ehash_kind::timewait) {
    auto& tw = static_cast<tcp_timewait&>(*entry);
    const seq32 isn = tw.snd_nxt + (65535 + 2);
    tp.ts_recent = tw.ts_recent;
    tp.ts_recent_stamp = tw.ts_recent_stamp;
    tcp_timewait_kill(tw);
    tp.net().mib().add(cx, mib::tcpext_tw_recycled);
    return isn;
  }
  return tcp_init_seq(cx, tn, tp.tuple());
}

/// The variables of a connection that has not begun.
void begin_active_open(cpu& cx, tcp_sock& tp) {
  const tcp_sysctls& sysctl = tp.tcp().sysctl;
  tp.iss = initial_sequence(cx, tp);
  tp.send_from(tp.iss);
  tp.irs = seq32(0);
  tp.receive_from(tp.irs);
  tp.tsoffset = tcp_ts_offset(tp.tcp(), tp.saddr, tp.daddr);
  tp.mss_clamp = tp.user_mss != 0 ? tp.user_mss : 65535;
  tp.tstamp_ok = false;
  tcp_sync_mss(tp, tp.dst->mtu(cx.now()));
  tp.advmss = tcp_advertise_mss(cx, tp);
  tcp_initialize_rcv_mss(tp);
  const u32 options = sysctl.timestamps != 0 ? static_cast<u32>(tcpolen_tstamp_aligned) : 0;
  const tcp_initial_window first = tcp_select_initial_window(
      sysctl, tp.dst.get(), tcp_full_space(tp),
      tcp_window_limit(tp, tp.user_window_clamp, tp.dst.get()), tp.advmss - options,
      sysctl.window_scaling != 0);
  tp.rcv_wnd = tp.rcv_ssthresh = first.rcv_wnd;
  tp.window_clamp = first.window_clamp;
  tp.rcv_wscale = first.wscale;
  tp.rto = tcp_timeout_init;
  tp.retransmits = tp.backoff = 0;
  tp.retrans_stamp = instant{};
}

void forget_peer(tcp_sock& tp) {
  tp.daddr = {};
  tp.dport = {};
  if (!tp.addr_bound) tp.saddr = tp.rcv_saddr = {};
}

/// Joins the peers: route, then port. After an error the socket holds the port that it held, if
/// any, and getsockname() tells what it told, as on Linux: maybe the port of an earlier connect().
result<void> take_ends(cpu& cx, tcp_sock& tp, const inet_addr& peer, port_no port) {
  tp.daddr = peer;
  tp.dport = port;
  TRY_VOID(tp.af_ops->connect_route(cx, tp));
  if (tp.rcv_saddr.is_any()) tp.rcv_saddr = tp.saddr;
  if (peer.is_any()) {
    // As Linux: "any" as a peer is this host.
    tp.daddr = tp.saddr;
    TRY_VOID(tp.af_ops->connect_route(cx, tp));
  }
  if (tp.port_held) {
    if (!own_tuple_free(tp)) return fail(errc::addrnotavail);
    return {};
  }
  if (!choose_connecting_port(cx, tp)) return fail(errc::addrnotavail);
  return {};
}

/// connect(2) on a socket whose connection is under way or over.
result<void> connect_again(tcp_sock& tp) {
  if (tp.state == tcp_state::listen || tp.defer_connect) return fail(errc::isconn);
  if (tp.in_state({tcp_state::syn_sent, tcp_state::syn_recv})) return fail(errc::already);
  // The first call after a connect that did not wait tells the outcome.
  if (tp.call == tcp_call_state::connecting) {
    tp.call = tcp_call_state::connected;
    return {};
  }
  return fail(errc::isconn);
}

}  // namespace

result<void> tcp_sock::bind(cpu& cx, byte_view addr) {
  TRY(const auto to, af_ops->parse_sockaddr(addr));
  const auto& [wanted, port] = to;
  if (state != tcp_state::close || port_held) return fail(errc::inval);
  TRY_VOID(af_ops->check_bind(*this, wanted, port));
  const inet_addr old_saddr = saddr;
  const inet_addr old_rcv = rcv_saddr;
  saddr = rcv_saddr = wanted;
  result<void> done;
  if (port) {
    if (blocked_by_timewait(*this, port)) {
      done = fail(errc::addrinuse);
    } else {
      done = tcp().ports.bind(*this, port, tcp_port_kind(*this));
      if (done) {
        sport = port;
        port_held = true;
      }
    }
  } else if (!inet.bind_address_no_port) {
    done = choose_bound_port(cx, *this);
  }
  if (!done) {
    saddr = old_saddr;
    rcv_saddr = old_rcv;
    return done;
  }
  addr_bound = !wanted.is_any();
  port_bound = static_cast<bool>(port);
  return {};
}

errc tcp_connect_failed(cpu& cx, tcp_sock& tp) {
  const errc why = tp.take_error();
  tcp_disconnect(cx, tp);
  return why != errc::ok ? why : errc::connaborted;
}

result<void> tcp_begin_connect(cpu& cx, tcp_sock& tp, byte_view addr) {
  TRY(const auto to, tp.af_ops->parse_sockaddr(addr));
  if (const auto joined = take_ends(cx, tp, to.first, to.second); !joined) {
    forget_peer(tp);
    return joined;
  }
  tcp_port_moved(tp);
  begin_active_open(cx, tp);
  tcp_assign_congestion_control(tp);
  tcp_set_state(cx, tp, tcp_state::syn_sent);
  tcp_hash(tp);
  return {};
}

result<void> tcp_sock::connect(cpu& cx, byte_view addr) {
  if (sockaddr_family(addr) == uapi::af_unspec && addr.size() >= 2) {
    tcp_disconnect(cx, *this);
    return {};
  }
  if (state != tcp_state::close || call == tcp_call_state::connected) return connect_again(*this);
  if (call == tcp_call_state::connecting) return fail(tcp_connect_failed(cx, *this));
  if (repair) return tcp_repair_connect(cx, *this, addr);
  TRY_VOID(tcp_begin_connect(cx, *this, addr));
  if (tcp_fastopen_defers(cx, *this)) {
    defer_connect = true;
    call = tcp_call_state::connecting;
    return {};
  }
  call = tcp_call_state::connecting;
  tcp_send_syn(cx, *this);
  return fail(errc::inprogress);
}

result<void> tcp_sock::listen(cpu& cx, int backlog) {
  if (state != tcp_state::close && state != tcp_state::listen) return fail(errc::inval);
  max_ack_backlog = static_cast<u32>(std::max(backlog, 0));
  if (state == tcp_state::listen) return {};
  if (call != tcp_call_state::unconnected) return fail(errc::inval);
  if (!port_held) TRY_VOID(choose_bound_port(cx, *this));
  // Sockets that shared the port while nobody listened: the first listener wins.
  TRY_VOID(inet_ports::bind_again(*this, tcp_port_kind(*this)));
  state = tcp_state::listen;
  tcp_port_moved(*this);
  key = {rcv_saddr, {}, sport, {}};
  window_clamp = user_window_clamp;
  tcp().listeners.add(*this);
  hashed_listen = true;
  self = ref<tcp_sock>(this);
  return {};
}

result<ref<sock>> tcp_sock::accept(cpu&) {
  if (state != tcp_state::listen) return fail(errc::inval);
  if (accept_queue.empty()) {
    if (const errc why = take_error(); why != errc::ok) return fail(why);
    return fail(errc::again);
  }
  const ref<tcp_sock> child = accept_queue.front();
  accept_queue.pop_front();
  child->listener = nullptr;
  child->call = tcp_call_state::connected;
  return ref<sock>(child);
}

}  // namespace ph
