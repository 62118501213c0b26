// The life of a TCP socket, and what programs do with one that exists: send, receive, poll,
// shutdown, close (RFC 9293 §3.10.2 to §3.10.5).
#include "net/tcp/tcp.h"

#include <algorithm>
#include <bit>

#include "net/tcp/tcp_ack.h"
#include "net/tcp/tcp_auth.h"
#include "net/tcp/tcp_fastopen.h"
#include "net/tcp/tcp_input.h"
#include "net/tcp/tcp_mem.h"
#include "net/tcp/tcp_mtu_probe.h"
#include "net/tcp/tcp_ofo.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_rate.h"
#include "net/tcp/tcp_reno.h"
#include "net/tcp/tcp_request.h"
#include "net/tcp/tcp_timer.h"
#include "net/tcp/tcp_timestamping.h"
#include "net/tcp/tcp_timewait.h"

namespace ph {
namespace {

/// What a change from a state that could send to one that has said FIN looks like.
struct close_step {
  tcp_state next;
  bool fin;
};
close_step after_close(tcp_state state) {
  switch (state) {
    case tcp_state::established:
    case tcp_state::syn_recv: return {tcp_state::fin_wait1, true};
    case tcp_state::close_wait: return {tcp_state::last_ack, true};
    case tcp_state::fin_wait1:
    case tcp_state::fin_wait2:
    case tcp_state::last_ack:
    case tcp_state::closing: return {state, false};
    default: return {tcp_state::close, false};
  }
}

/// RFC 9293 §3.10.5: states in which the peer must hear of an ABORT.
bool reset_needed(tcp_state state) {
  switch (state) {
    case tcp_state::established:
    case tcp_state::close_wait:
    case tcp_state::fin_wait1:
    case tcp_state::fin_wait2:
    case tcp_state::syn_recv: return true;
    default: return false;
  }
}

void abort_connection(cpu& cx, tcp_sock& tp) {
  tcp_send_active_reset(cx, tp);
  tcp_write_queue_purge(cx, tp);
  tcp_done(cx, tp);
}

/// Nobody holds the file any more: what the connection still does, it does alone.
void orphan(cpu& cx, tcp_sock& tp) {
  tp.dead = true;
  tcp_net& tn = tp.tcp();
  const ref<tcp_sock> hold(&tp);
  if (tp.state == tcp_state::close) {
    tp.ofo_queue.purge(cx, drop_reason::socket_closed);
    tcp_write_queue_purge(cx, tp);
    tcp_release_port(tp);
    return;
  }
  tp.orphaned = true;
  ++tn.orphans;
  if (tp.state == tcp_state::fin_wait2) {
    if (tp.linger2 < 0) {
      tp.net().mib().add(cx, mib::tcpext_tcp_abort_on_linger);
      abort_connection(cx, tp);
    } else {
      tcp_fin_wait2_orphaned(cx, tp);
    }
  }
  if (tp.state != tcp_state::close && tcp_out_of_memory(tp, 0)) {
    tp.net().mib().add(cx, mib::tcpext_tcp_abort_on_memory);
    abort_connection(cx, tp);
  }
}

bool unread_data(tcp_sock& tp) {
  for (sk_buff* skb = tp.receive_queue.front(); skb != nullptr;
       skb = tp.receive_queue.next(*skb)) {
    const tcp_skb_cb& cb = tcp_cb(*skb);
    const seq32 end = cb.end_seq - ((cb.flags & tcphdr_fin) != 0 ? 1u : 0u);
    if (end > tp.copied_seq) return true;
  }
  return false;
}

u32 wspace(const tcp_sock& tp) {
  return tp.opt.sndbuf > tp.wmem_queued ? tp.opt.sndbuf - tp.wmem_queued : 0;
}

bool writeable(const tcp_sock& tp) {
  return wspace(tp) >= tp.wmem_queued / 2 && tcp_stream_memory_free(tp, true);
}

}  // namespace

// --- life ---------------------------------------------------------------------------------------

tcp_sock::tcp_sock(net_namespace& net, cpu& home, const inet_af_ops& af)
    : inet_sock(net, home, af.family(), uapi::sock_stream, uapi::ipproto_tcp, af),
      ehash_entry(ehash_kind::established) {
  tcp().sockets.add(*this);
  const tcp_sysctls& sysctl = tcp().sysctl;
  opt.rcvbuf = static_cast<u32>(sysctl.rmem[1]);
  opt.sndbuf = static_cast<u32>(sysctl.wmem[1]);
  rto_max = milliseconds(sysctl.rto_max_ms);
  rto_min = microseconds(sysctl.rto_min_us);
  tcp_init_timers(*this);
  tcp_assign_congestion_control(*this);
}

tcp_sock::~tcp_sock() {
  cpu& cx = home();
  receive_queue.purge(cx, drop_reason::socket_closed);
  ofo_queue.purge(cx, drop_reason::socket_closed);
  tcp_write_queue_purge(cx, *this);
  tcp_mem_settle(cx, *this);
  tcp_release_port(*this);
}

inet_port_kind tcp_port_kind(const tcp_sock& tp) {
  return {tp.opt.bound_dev_if, tp.opt.uid, tp.opt.reuseaddr && tp.state != tcp_state::listen,
          tp.opt.reuseport};
}

void tcp_port_moved(tcp_sock& tp) {
  if (tp.port_held) inet_ports::moved(tp, tcp_port_kind(tp));
  if (tp.hashed_listen) tp.tcp().listeners.moved(tp);
}

void tcp_release_port(tcp_sock& tp) {
  if (std::exchange(tp.port_held, false)) tp.tcp().ports.release(tp);
}

void tcp_hash(tcp_sock& tp) {
  tp.key = tp.tuple();
  tp.bound_dev = tp.opt.bound_dev_if;
  tp.tcp().ehash.insert(tp);
  ++tp.tcp().memory.sockets;
  tp.self = ref<tcp_sock>(&tp);
}

void tcp_unhash(tcp_sock& tp) {
  if (tp.hashed_listen) {
    tp.tcp().listeners.remove(tp);
    tp.hashed_listen = false;
  } else if (tp.hashed()) {
    tp.tcp().ehash.erase(tp);
    --tp.tcp().memory.sockets;
  }
  tp.self.reset();
}

void tcp_set_state(cpu& cx, tcp_sock& tp, tcp_state state) {
  const tcp_state old = tp.state;
  if (old == state) return;
  const auto counted = [](tcp_state s) {
    return s == tcp_state::established || s == tcp_state::close_wait;
  };
  mib_table& mibs = tp.net().mib();
  if (state == tcp_state::close && counted(old)) mibs.add(cx, mib::tcp_estab_resets);
  if (state == tcp_state::established) mibs.add(cx, mib::tcp_curr_estab);
  if (old == tcp_state::established) mibs.add(cx, mib::tcp_curr_estab, ~u64{0});
  tp.state = state;
}

void tcp_write_queue_purge(cpu& cx, tcp_sock& tp) {
  while (!tp.write_queue.empty()) tcp_free_queued(cx, tp, tp.write_queue.pop_front());
  while (!tp.rtx_queue.empty()) {
    tcp_free_queued(cx, tp, tp.rtx_queue.remove(*tp.rtx_queue.first()));
  }
  tp.rtx_queue.forget_duplicates();
  tp.page.reset();
  tcp_zerocopy_acked(cx, tp, tp.write_seq);
  tcp_chrono_stop(cx, tp, tcp_chrono::busy);
}

void tcp_done(cpu& cx, tcp_sock& tp) {
  if (tp.state == tcp_state::close) return;
  const ref<tcp_sock> hold(&tp);
  if (tp.in_state({tcp_state::syn_sent, tcp_state::syn_recv})) {
    tp.net().mib().add(cx, mib::tcp_attempt_fails);
  }
  if (tp.srtt.ns != 0 && tp.backoff == 0) tcp_prove_peer(tp.tcp(), tp.daddr);
  tcp_set_state(cx, tp, tcp_state::close);
  tcp_fastopen_child_done(tp);
  tcp_clear_timers(tp);
  tcp_unhash(tp);
  if (!tp.port_bound || tp.dead) tcp_release_port(tp);
  if (tp.orphaned) {
    tp.orphaned = false;
    --tp.tcp().orphans;
  }
  tp.shutdown_state = shutdown_mask;
  tp.ofo_queue.purge(cx, drop_reason::socket_closed);
  tp.num_sacks = 0;
  if (tp.dead) {
    tcp_write_queue_purge(cx, tp);
    tp.receive_queue.purge(cx, drop_reason::socket_closed);
  }
  tcp_mem_settle(cx, tp);
  // Of a dead one, a close() may wait (SO_LINGER).
  tp.wake(uapi::pollin | uapi::pollrdnorm | uapi::pollout | uapi::pollwrnorm | uapi::pollrdhup |
          uapi::pollhup);
}

void tcp_reset(cpu& cx, tcp_sock& tp, errc error) {
  const ref<tcp_sock> hold(&tp);
  if (error != errc::ok && !tp.dead) tp.set_error(error);
  tcp_done(cx, tp);
}

void tcp_sock::reset_connection() {
  ph_check(rtx_queue.empty() && write_queue.empty() && ofo_queue.empty());
  static_cast<tcp_connection&>(*this) = {};
  shutdown_state = 0;
  dst.reset();
}

void tcp_disconnect(cpu& cx, tcp_sock& tp) {
  const ref<tcp_sock> hold(&tp);
  const tcp_state old = tp.state;
  tp.listening = false;
  if (old == tcp_state::listen) {
    tcp_set_state(cx, tp, tcp_state::close);
    tcp_unhash(tp);
    tcp_listen_stop(cx, tp);
  } else if (old != tcp_state::close) {
    const bool must = reset_needed(old) ||
                      (tp.snd_nxt != tp.write_seq &&
                       (old == tcp_state::closing || old == tcp_state::last_ack));
    if (must) tcp_send_active_reset(cx, tp);
    if (must || old == tcp_state::syn_sent) tp.set_error(errc::connreset);
    tcp_done(cx, tp);
  }
  tp.receive_queue.purge(cx, drop_reason::socket_closed);
  tp.ofo_queue.purge(cx, drop_reason::socket_closed);
  tcp_write_queue_purge(cx, tp);
  tcp_mem_settle(cx, tp);
  tp.reset_connection();
  tp.call = tcp_call_state::unconnected;
  tp.daddr = {};
  tp.dport = {};
  if (!tp.addr_bound) tp.saddr = tp.rcv_saddr = {};
  tcp_port_moved(tp);
  // What had neither a peer nor peers to come keeps the port that bind() chose for it.
  // getsockname() goes on telling one that is given back. Both as on Linux.
  if (old != tcp_state::close && !tp.port_bound) tcp_release_port(tp);
}

namespace {

/// The metrics of the route, ip-route(8).
void apply_route(tcp_sock& tp, const dst_entry& route) {
  if (route.cwnd_clamp != 0) tp.cong.cwnd_clamp = std::min(tp.cong.cwnd_clamp, route.cwnd_clamp);
  if (route.ssthresh != 0) tp.cong.ssthresh = std::min(route.ssthresh, tp.cong.cwnd_clamp);
  if (route.reordering != 0) tp.reordering = route.reordering;
  tp.cong.cwnd = std::min(tp.cong.cwnd, tp.cong.cwnd_clamp);
  if (tp.congestion_name.empty() && !route.congestion.empty()) tcp_assign_congestion_control(tp);
}

}  // namespace

void tcp_init_transfer(cpu& cx, tcp_sock& tp) {
  tp.cong.cwnd = tp.dst && tp.dst->initcwnd != 0 ? tp.dst->initcwnd : tcp_init_cwnd;
  // RFC 6298 (5.7), RFC 5681 §3.1: after a lost SYN the network deserves caution.
  if (tp.total_retrans > 1) tp.cong.cwnd = 1;
  if (tp.total_retrans > 0 && tp.srtt.ns == 0) tp.rto = seconds(3);
  tcp_mtup_init(cx, tp);
  tp.ca_state = tcp_ca_state::open;
  tp.retrans_stamp = instant{};
  tp.reordering = static_cast<u32>(tp.tcp().sysctl.reordering);
  tp.rack = {};
  tp.rack.fack = tp.snd_una;
  tp.tlp = {};
  tp.undo = {};
  tp.frto = false;
  tp.max_packets_seq = tp.snd_nxt;
  if (tp.dst) apply_route(tp, *tp.dst);
  tp.ca->on_init(cx, tcp_congestion_sample(tp), tp.cong);
  // As TCP_INFO counts them while there were none; an answer at once makes the session interactive.
  tp.last_data_sent = tp.last_data_rcv = tp.last_rcv = cx.now();
  tcp_init_buffer_space(cx, tp);
}

void tcp_assign_congestion_control(tcp_sock& tp) {
  const auto& registry = tp.net().machine().slots().get(tcp_congestion_key);
  // Its own choice, its route's, its namespace's.
  const congestion_entry* entry = registry.find(tp.congestion_name);
  if (entry == nullptr && tp.dst) entry = registry.find(tp.dst->congestion);
  if (entry == nullptr) entry = registry.find(tp.tcp().sysctl.congestion_control);
  if (entry == nullptr) entry = &registry.all().front();
  entry->emplace(tp.ca);
}

ref<sock> tcp_create(net_namespace& net, cpu& home, const inet_af_ops& af) {
  return ref<sock>(make_ref<tcp_sock>(net, home, af));
}

// --- buffers ------------------------------------------------------------------------------------

bool tcp_stream_memory_free(const tcp_sock& tp, bool waking) {
  if (tp.wmem_queued >= tp.opt.sndbuf) return false;
  const u32 lowat =
      tp.notsent_lowat != 0 ? tp.notsent_lowat : tp.tcp().sysctl.notsent_lowat;
  const u64 unsent = static_cast<u32>(tp.write_seq - tp.snd_nxt);
  return (waking ? 2 * unsent : unsent) < lowat;
}

void tcp_expand_sndbuf(tcp_sock& tp) {
  if (tp.opt.sndbuf_locked || !tcp_mem_plenty(tp)) return;
  // As on Linux, whose segments lie in blocks of powers of two: 87,040 bytes for the first window.
  // (Reckoned with 640 bytes for headers; a packet without data is charged for a block of 576.)
  // A smaller share runs dry in a recovery, when a window of new data joins what waits above the
  // hole, and the segments that then follow in a burst overflow a short queue.
  constexpr u32 headers = 640, descriptor = 256;
  const u32 mss = std::max(tp.mss_clamp == 65535 ? 0 : tp.mss_clamp, tp.mss_cache);
  const u32 per_segment = std::bit_ceil(mss + headers) + descriptor;
  const u64 segments = std::max({tcp_init_cwnd, tp.cong.cwnd, tp.reordering + 1});
  const u64 wanted = 2 * segments * per_segment;
  const u64 most = static_cast<u64>(std::max(tp.tcp().sysctl.wmem[2], 0));
  if (tp.opt.sndbuf < wanted) {
    tp.opt.sndbuf = std::max(tp.opt.sndbuf, static_cast<u32>(std::min(wanted, most)));
  }
}

void tcp_check_space(cpu& cx, tcp_sock& tp) {
  if (!tp.sndbuf_full) return;
  if (tp.in_flight() < tp.cong.cwnd) tcp_expand_sndbuf(tp);
  if (!writeable(tp)) return;
  tp.sndbuf_full = tp.writer_blocked = false;
  tcp_chrono_stop(cx, tp, tcp_chrono::sndbuf_limited);
  tp.wake(uapi::pollout | uapi::pollwrnorm | uapi::pollwrband);
}

/// Packets on their way out do not bound a stream: what is queued does (tcp_check_space).
void tcp_sock::write_space() {}

// --- poll, shutdown, close ----------------------------------------------------------------------

u32 tcp_sock::poll() {
  if (state == tcp_state::listen) {
    return accept_queue.empty() ? 0 : uapi::pollin | uapi::pollrdnorm;
  }
  u32 mask = 0;
  if (shutdown_state == shutdown_mask || state == tcp_state::close) mask |= uapi::pollhup;
  if ((shutdown_state & rcv_shutdown) != 0) {
    mask |= uapi::pollin | uapi::pollrdnorm | uapi::pollrdhup;
  }
  if (defer_connect) mask |= uapi::pollout | uapi::pollwrnorm;
  if (!opening()) {
    u32 target = opt.rcvlowat;
    if (urg_seen && !urg_read && urg_seq == copied_seq && !opt.oobinline) ++target;
    if (tcp_readable(*this, target)) mask |= uapi::pollin | uapi::pollrdnorm;
    if ((shutdown_state & send_shutdown) != 0 || writeable(*this)) {
      mask |= uapi::pollout | uapi::pollwrnorm;
    } else {
      sndbuf_full = true;
    }
    if (urg_valid && !urg_read) mask |= uapi::pollpri;
  }
  if (pending_error() != errc::ok || !error_queue.empty()) mask |= uapi::pollerr;
  return mask;
}

result<void> tcp_sock::shutdown(cpu& cx, u8 how) {
  if (how == 0 || (how & ~shutdown_mask) != 0) return fail(errc::inval);
  const ref<tcp_sock> hold(this);
  switch (state) {
    case tcp_state::close: return fail(errc::notconn);
    case tcp_state::listen:
      if ((how & rcv_shutdown) == 0) return {};
      tcp_disconnect(cx, *this);
      return {};
    case tcp_state::syn_sent:
      tcp_disconnect(cx, *this);
      take_error();
      return {};
    default: break;
  }
  shutdown_state |= how;
  if ((how & send_shutdown) != 0 &&
      in_state({tcp_state::established, tcp_state::syn_recv, tcp_state::close_wait})) {
    const close_step step = after_close(state);
    tcp_set_state(cx, *this, step.next);
    if (step.fin) tcp_send_fin(cx, *this);
  }
  wake(uapi::pollin | uapi::pollout | uapi::pollrdnorm | uapi::pollwrnorm |
       ((shutdown_state & rcv_shutdown) != 0 ? uapi::pollrdhup : 0) |
       (shutdown_state == shutdown_mask ? uapi::pollhup : 0));
  return {};
}

void tcp_sock::close(cpu& cx) {
  const ref<tcp_sock> hold(this);
  shutdown_state = shutdown_mask;
  if (state == tcp_state::listen) {
    tcp_set_state(cx, *this, tcp_state::close);
    tcp_unhash(*this);
    tcp_listen_stop(cx, *this);
  }
  const bool unread = unread_data(*this);
  receive_queue.purge(cx, drop_reason::socket_closed);
  if (repair && state != tcp_state::close) {
    // The connection goes on elsewhere: not a word.
    dead = true;
    tcp_write_queue_purge(cx, *this);
    tcp_done(cx, *this);
  } else if (state != tcp_state::close) {
    if (unread) {
      // RFC 1122 §4.2.2.13: data were lost; the peer must learn of it.
      net().mib().add(cx, mib::tcpext_tcp_abort_on_close);
      dead = true;
      abort_connection(cx, *this);
    } else if (opt.linger && opt.linger_time.ns == 0) {
      net().mib().add(cx, mib::tcpext_tcp_abort_on_data);
      dead = true;
      if (reset_needed(state)) tcp_send_active_reset(cx, *this);
      tcp_write_queue_purge(cx, *this);
      tcp_done(cx, *this);
    } else {
      const close_step step = after_close(state);
      if (step.next == tcp_state::close) {
        dead = true;
        tcp_write_queue_purge(cx, *this);
        tcp_done(cx, *this);
      } else {
        tcp_set_state(cx, *this, step.next);
        if (step.fin) tcp_send_fin(cx, *this);
      }
    }
  }
  orphan(cx, *this);
  tcp_mem_settle(cx, *this);
}

result<sockaddr_buf> tcp_sock::getname(bool peer) {
  if (peer) {
    if (!dport || in_state({tcp_state::close, tcp_state::syn_sent})) return fail(errc::notconn);
    return af_ops->make_sockaddr(daddr, dport);
  }
  return af_ops->make_sockaddr(rcv_saddr.is_any() ? saddr : rcv_saddr, sport);
}

// --- namespace ----------------------------------------------------------------------------------

tcp_net::tcp_net(net_namespace& n) : net(n), sockets(n, "tcp"), ehash([&] {
      siphash_key key;
      n.machine().secret({reinterpret_cast<u8*>(&key), sizeof key});
      return key;
    }()) {
  for (siphash_key* key : {&ehash_key, &isn_key, &ts_key, &fastopen_secret, &cookie_key,
                           &cookie_time_key}) {
    n.machine().secret({reinterpret_cast<u8*>(key), sizeof *key});
  }
}

tcp_net::~tcp_net() {
  cpu& cx = net.machine().boot_cpu();
  while (!listeners.empty()) {
    const ref<tcp_sock> tp(listeners.any());
    tcp_unhash(*tp);
    while (!tp->requests.empty()) tcp_request_drop(tp->requests.front());
    tp->accept_queue.clear();
    tp->state = tcp_state::close;
  }
  ehash.for_each([&](ehash_entry& entry) {
    if (entry.kind == ehash_kind::timewait) {
      tcp_timewait_kill(static_cast<tcp_timewait&>(entry));
    } else if (entry.kind == ehash_kind::established) {
      tcp_done(cx, static_cast<tcp_sock&>(entry));
    }
  });
}

}  // namespace ph
