// Options of level SOL_TCP, tcp(7), and what options of SOL_SOCKET mean to a connection.
#include <algorithm>
#include <utility>

#include "net/tcp/tcp_ack.h"
#include "net/tcp/tcp_auth.h"
#include "net/tcp/tcp_fastopen.h"
#include "net/tcp/tcp_info.h"
#include "net/tcp/tcp_mem.h"
#include "net/tcp/tcp_ofo.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_repair.h"
#include "net/tcp/tcp_timer.h"
#include "uapi/tcp_auth.h"

namespace ph {
namespace {

result<s32> int_of(byte_view value) {
  if (value.size() < 4) return fail(errc::inval);
  return static_cast<s32>(view_as<le32>(value)->value());
}

result<std::size_t> put_int(byte_span out, u32 value) {
  return copy_bytes(out, bytes_of(le32(value)));
}

result<u8> in_range(s32 value, s32 low, s32 high) {
  if (value < low || value > high) return fail(errc::inval);
  return static_cast<u8>(value);
}

/// TCP_DEFER_ACCEPT is given in seconds and kept as a number of SYN+ACK retransmissions.
u8 seconds_to_retransmissions(s32 wanted) {
  if (wanted <= 0) return 0;
  u8 out = 1;
  s64 period = 1;
  s64 timeout = 1;
  while (wanted > period && out < 255) {
    ++out;
    timeout = std::min<s64>(timeout * 2, 120);
    period += timeout;
  }
  return out;
}
u32 retransmissions_to_seconds(u8 count) {
  if (count == 0) return 0;
  s64 period = 1;
  s64 timeout = 1;
  for (u8 i = 1; i < count; ++i) {
    timeout = std::min<s64>(timeout * 2, 120);
    period += timeout;
  }
  return static_cast<u32>(period);
}

result<void> set_keepidle(cpu& cx, tcp_sock& tp, s32 value) {
  if (value < 1 || value > 32767) return fail(errc::inval);
  tp.keepalive_time = seconds(value);
  if (!tp.opt.keepalive || tp.in_state({tcp_state::close, tcp_state::listen})) return {};
  const duration idle = cx.now() - std::max(tp.last_rcv, tp.last_ack_rcv);
  tcp_arm_keepalive(cx, tp, std::max(tp.keepalive_time - idle, duration{}));
  return {};
}

result<void> set_congestion(cpu& cx, tcp_sock& tp, byte_view value) {
  if (value.empty()) return fail(errc::inval);
  std::string_view name = text_of(value.first(std::min(value.size(), uapi::tcp_ca_name_max - 1)));
  name = name.substr(0, name.find('\0'));
  const auto& registry = tp.net().machine().slots().get(tcp_congestion_key);
  if (registry.find(name) == nullptr) return fail(errc::noent);
  if (tp.ca->name() == name) return {};
  tp.congestion_name = name;
  tcp_assign_congestion_control(tp);
  if (tp.in_state({tcp_state::close, tcp_state::listen, tcp_state::syn_sent})) return {};
  // In the middle of a connection: what the old one held back is let go.
  tp.cong.pacing_rate = congestion_state{}.pacing_rate;
  tp.cong.app_limited = false;
  tp.ca->on_init(cx, tcp_congestion_sample(tp), tp.cong);
  return {};
}

void set_quickack(cpu& cx, tcp_sock& tp, s32 value) {
  if (value == 0) {
    tp.pingpong = true;
    return;
  }
  tp.pingpong = false;
  if (tp.in_state({tcp_state::established, tcp_state::close_wait}) && tp.ack_scheduled) {
    tp.ack_pushed = 2;
    tcp_cleanup_rbuf(cx, tp, 1);
    if ((value & 1) == 0) tp.pingpong = true;
  }
}

result<void> set_window_clamp(tcp_sock& tp, s32 value) {
  if (value == 0) {
    if (tp.state != tcp_state::close) return fail(errc::inval);
    tp.user_window_clamp = 0;
    return {};
  }
  constexpr s32 smallest = tcp_min_rcvbuf / 2;
  tp.user_window_clamp = static_cast<u32>(std::max(value, smallest));
  const u32 old = std::exchange(tp.window_clamp, tp.user_window_clamp);
  if (tp.window_clamp < old) {
    tp.rcv_ssthresh = std::min(tp.rcv_ssthresh, tp.window_clamp);
  } else {
    tp.rcv_ssthresh = std::max(tp.rcv_ssthresh, std::min(tp.rcv_wnd, tp.window_clamp));
  }
  return {};
}

result<void> set_fastopen(tcp_sock& tp, int name, s32 value) {
  const bool idle = tp.in_state({tcp_state::close, tcp_state::listen});
  if (name == uapi::tcp_fastopen) {
    if (value < 0 || !idle) return fail(errc::inval);
    tp.fastopen_qlen = std::min(static_cast<u32>(value), u32{uapi::somaxconn});
    return {};
  }
  if (value != 0 && value != 1) return fail(errc::inval);
  if (name == uapi::tcp_fastopen_no_cookie) {
    if (!idle) return fail(errc::inval);
    tp.fastopen_no_cookie = value != 0;
    return {};
  }
  if ((tp.tcp().sysctl.fastopen & tfo_client_enable) == 0) return fail(errc::opnotsupp);
  if (tp.state != tcp_state::close) return fail(errc::inval);
  tp.fastopen_connect = value != 0;
  return {};
}

result<std::size_t> get_fastopen_key(const tcp_sock& tp, byte_span out) {
  std::size_t at = 0;
  for (const siphash_key& key : tcp_fastopen_keys(tp)) {
    for (const u64 word : {key.k0, key.k1}) {
      if (out.size() < at + 8) return at;
      at += copy_bytes(out.subspan(at), bytes_of(le64(word)));
    }
  }
  return at;
}

/// Bounds of the retransmission timeout and of delayed acknowledgements.
result<void> set_time_limit(tcp_sock& tp, int name, s32 value) {
  if (name == uapi::tcp_rto_max_ms) {
    if (value < 1000 || value > tcp_rto_max.ms()) return fail(errc::inval);
    tp.rto_max = milliseconds(value);
    return {};
  }
  // Both can only be lowered; below this a timer would fire before it could have helped.
  constexpr duration least = milliseconds(2);
  const duration wanted = microseconds(value);
  const bool rto = name == uapi::tcp_rto_min_us;
  if (wanted < least || wanted > (rto ? tcp_rto_min : tcp_delack_max)) return fail(errc::inval);
  (rto ? tp.rto_min : tp.delack_max) = wanted;
  return {};
}

/// Mechanisms for connections with few segments in flight; RACK made TCP_THIN_DUPACK needless.
result<void> set_thin(tcp_sock& tp, int name, s32 value) {
  if (value < 0 || value > 1) return fail(errc::inval);
  if (name == uapi::tcp_thin_linear_timeouts) tp.thin_linear_timeouts = value != 0;
  return {};
}

result<void> set_number(cpu& cx, tcp_sock& tp, int name, s32 value) {
  switch (name) {
    case uapi::tcp_nodelay:
      tp.nodelay = value != 0;
      if (tp.nodelay) tcp_push_pending(cx, tp, tcp_nagle::push);
      return {};
    case uapi::tcp_cork:
      tp.cork = value != 0;
      if (!tp.cork) tcp_push_pending(cx, tp, tcp_nagle::push);
      return {};
    case uapi::tcp_maxseg:
      if (value != 0 && (value < static_cast<s32>(tcp_min_mss) || value > 32767)) {
        return fail(errc::inval);
      }
      tp.user_mss = static_cast<u32>(value);
      return {};
    case uapi::tcp_keepidle: return set_keepidle(cx, tp, value);
    case uapi::tcp_keepintvl:
      if (value < 1 || value > 32767) return fail(errc::inval);
      tp.keepalive_intvl = seconds(value);
      return {};
    case uapi::tcp_keepcnt: {
      TRY(tp.keepalive_probes, in_range(value, 1, 127));
      return {};
    }
    case uapi::tcp_syncnt: {
      TRY(tp.syn_retries, in_range(value, 1, 127));
      return {};
    }
    case uapi::tcp_linger2:
      if (value < 0) {
        tp.linger2 = -1;
      } else {
        tp.linger2 = std::min(value, 120);
      }
      return {};
    case uapi::tcp_defer_accept:
      tp.defer_accept = seconds_to_retransmissions(value);
      return {};
    case uapi::tcp_window_clamp: return set_window_clamp(tp, value);
    case uapi::tcp_quickack: set_quickack(cx, tp, value); return {};
    case uapi::tcp_user_timeout:
      if (value < 0) return fail(errc::inval);
      tp.user_timeout_ms = static_cast<u32>(value);
      return {};
    case uapi::tcp_notsent_lowat:
      tp.notsent_lowat = static_cast<u32>(value);
      tcp_check_space(cx, tp);
      return {};
    case uapi::tcp_fastopen:
    case uapi::tcp_fastopen_connect:
    case uapi::tcp_fastopen_no_cookie: return set_fastopen(tp, name, value);
    case uapi::tcp_rto_max_ms:
    case uapi::tcp_rto_min_us:
    case uapi::tcp_delack_max_us: return set_time_limit(tp, name, value);
    case uapi::tcp_thin_linear_timeouts:
    case uapi::tcp_thin_dupack: return set_thin(tp, name, value);
    case uapi::tcp_inq:
      if (value != 0 && value != 1) return fail(errc::inval);
      tp.recv_cmsg_inq = value != 0;
      return {};
    default: return fail(errc::noprotoopt);
  }
}

result<u32> get_number(tcp_sock& tp, int name) {
  switch (name) {
    case uapi::tcp_nodelay: return tp.nodelay ? 1 : 0;
    case uapi::tcp_cork: return tp.cork ? 1 : 0;
    case uapi::tcp_maxseg:
      if (tp.user_mss != 0 && tp.in_state({tcp_state::close, tcp_state::listen})) {
        return tp.user_mss;
      }
      return tp.mss_cache;
    case uapi::tcp_keepidle: return static_cast<u32>(tcp_keepalive_time(tp) / seconds(1));
    case uapi::tcp_keepintvl: return static_cast<u32>(tcp_keepalive_intvl(tp) / seconds(1));
    case uapi::tcp_keepcnt: return tcp_keepalive_probes(tp);
    case uapi::tcp_syncnt:
      return tp.syn_retries != 0 ? tp.syn_retries
                                 : static_cast<u32>(tp.tcp().sysctl.syn_retries);
    case uapi::tcp_linger2:
      if (tp.linger2 < 0) return static_cast<u32>(-1);
      return tp.linger2 != 0 ? static_cast<u32>(tp.linger2)
                             : static_cast<u32>(tp.tcp().sysctl.fin_timeout);
    case uapi::tcp_defer_accept: return retransmissions_to_seconds(tp.defer_accept);
    case uapi::tcp_window_clamp: return tp.window_clamp;
    case uapi::tcp_quickack: return tp.pingpong ? 0 : 1;
    case uapi::tcp_user_timeout: return tp.user_timeout_ms;
    case uapi::tcp_notsent_lowat: return tp.notsent_lowat;
    case uapi::tcp_fastopen: return tp.fastopen_qlen;
    case uapi::tcp_fastopen_connect: return tp.fastopen_connect ? 1 : 0;
    case uapi::tcp_fastopen_no_cookie: return tp.fastopen_no_cookie ? 1 : 0;
    case uapi::tcp_inq: return tp.recv_cmsg_inq ? 1 : 0;
    case uapi::tcp_rto_max_ms: return static_cast<u32>(tp.rto_max.ms());
    case uapi::tcp_rto_min_us: return static_cast<u32>(tp.rto_min.us());
    case uapi::tcp_delack_max_us: return static_cast<u32>(tp.delack_max.us());
    case uapi::tcp_thin_linear_timeouts: return tp.thin_linear_timeouts ? 1 : 0;
    case uapi::tcp_thin_dupack:
    case uapi::tcp_is_mptcp: return 0;
    default: return fail(errc::noprotoopt);
  }
}

/// What each segment carries beside data has changed.
void resync_mss(tcp_sock& tp) {
  if (!tp.in_state({tcp_state::close, tcp_state::listen})) tcp_sync_mss(tp, tp.pmtu_cookie);
}

bool is_auth_option(int name) {
  return name == uapi::tcp_md5sig_opt || name == uapi::tcp_md5sig_ext ||
         name == uapi::tcp_ao_add_key || name == uapi::tcp_ao_del_key ||
         name == uapi::tcp_ao_info || name == uapi::tcp_ao_repair_opt;
}

}  // namespace

result<void> tcp_sock::setsockopt(cpu& cx, int level, int name, byte_view value) {
  if (level == uapi::sol_ip) {
    const std::size_t options = inet.ip_options.size();
    TRY_VOID(af_ops->setsockopt(cx, *this, name, value));
    if (inet.ip_options.size() != options) resync_mss(*this);
    return {};
  }
  if (level != uapi::sol_tcp) return fail(errc::noprotoopt);
  if (name == uapi::tcp_congestion) return set_congestion(cx, *this, value);
  if (tcp_is_repair_option(name)) return tcp_repair_setsockopt(cx, *this, name, value);
  if (name == uapi::tcp_fastopen_key) {
    TRY(fastopen_keys, tcp_fastopen_read_key(value));
    return {};
  }
  if (is_auth_option(name)) {
    TRY_VOID(tcp_auth_setsockopt(*this, name, value));
    resync_mss(*this);
    return {};
  }
  TRY(const s32 number, int_of(value));
  return set_number(cx, *this, name, number);
}

result<std::size_t> tcp_sock::getsockopt(cpu& cx, int level, int name, byte_span out) {
  if (level == uapi::sol_ip) return af_ops->getsockopt(cx, *this, name, out);
  if (level != uapi::sol_tcp) return fail(errc::opnotsupp);
  if (tcp_is_repair_option(name)) return tcp_repair_getsockopt(cx, *this, name, out);
  switch (name) {
    case uapi::tcp_info_opt: return copy_bytes(out, bytes_of(tcp_get_info(cx, *this)));
    case uapi::tcp_fastopen_key: return get_fastopen_key(*this, out);
    case uapi::tcp_cc_info: return ca->info(out);
    case uapi::tcp_ao_info:
    case uapi::tcp_ao_repair_opt:
    case uapi::tcp_ao_get_keys: return tcp_auth_getsockopt(*this, name, out);
    case uapi::tcp_congestion: {
      std::array<u8, uapi::tcp_ca_name_max> text{};
      copy_bytes(byte_span(text).first(text.size() - 1), bytes_of(ca->name()));
      return copy_bytes(out, text);
    }
    default: break;
  }
  TRY(const u32 number, get_number(*this, name));
  return put_int(out, number);
}

void tcp_sock::option_changed(cpu& cx, int name) {
  if (name == uapi::so_keepalive) {
    if (in_state({tcp_state::close, tcp_state::listen})) return;
    if (opt.keepalive) {
      tcp_arm_keepalive(cx, *this, tcp_keepalive_time(*this));
    } else if (!(state == tcp_state::fin_wait2 && dead)) {
      home().timers().cancel(keepalive_timer);
    }
  } else if (name == uapi::so_rcvlowat) {
    // The buffer must be able to hold what the program waits for, so that is bounded by what the
    // buffer may become.
    const u32 most = opt.rcvbuf_locked ? opt.rcvbuf : static_cast<u32>(tcp().sysctl.rmem[2]);
    opt.rcvlowat = std::max(std::min(opt.rcvlowat, most / 2), 1u);
    tcp_data_ready(*this);
    const u32 space = tcp_space_from_win(opt.rcvlowat);
    if (!opt.rcvbuf_locked && space > opt.rcvbuf) {
      opt.rcvbuf = space;
      window_clamp = opt.rcvlowat;
    }
  } else if (name == uapi::so_sndbuf) {
    tcp_check_space(cx, *this);
  } else {
    tcp_port_moved(*this);  // SO_REUSEADDR, SO_REUSEPORT, SO_BINDTODEVICE
  }
}

}  // namespace ph
