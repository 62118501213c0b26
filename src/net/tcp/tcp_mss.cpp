// Segment sizes: from path MTU, the peer's MSS option and its largest window; the MSS and the
// first window that we announce (RFC 9293 §3.7.1, RFC 6691, RFC 7323 §2).
#include <algorithm>

#include "net/core/net_device.h"
#include "net/tcp/tcp_accecn.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_pacing.h"
#include "net/tcp/tcp_sack.h"

namespace ph {
namespace {

/// RFC 9293 §3.8.6.2.1: segments beyond half of the peer's largest window would never leave.
u32 bound_to_half_window(const tcp_sock& tp, u32 bytes) {
  const u32 cutoff = tp.max_window > uapi::tcp_mss_default ? tp.max_window / 2 : tp.max_window;
  if (cutoff != 0 && bytes > cutoff) return std::max(cutoff, 28u);
  return bytes;
}

/// What options leave for data, however many there are.
constexpr u32 least_payload = 8;

/// Of IP, with options, and of TCP, without.
u32 headers_of(const tcp_sock& tp) {
  return tp.af_ops->net_header_len() + static_cast<u32>(tp.inet.ip_options.size()) +
         static_cast<u32>(sizeof(tcphdr));
}

}  // namespace

u32 tcp_mtu_to_mss(const tcp_sock& tp, u32 pmtu) {
  const u32 headers = headers_of(tp);
  u32 mss = pmtu > headers ? pmtu - headers : 0;
  // RFC 6691: the peer's MSS option does not account for options; the sender does.
  mss = std::min(mss, tp.mss_clamp);
  mss = std::max(mss, static_cast<u32>(tp.tcp().sysctl.min_snd_mss));
  mss = std::min(mss, 65535u - headers);  // whatever the MTU, the peer and the settings say
  const u32 options = tp.tstamp_ok ? static_cast<u32>(tcpolen_tstamp_aligned) : 0;
  const u32 signature = tcp_auth_option_bytes(tp);
  return std::max(mss, options + signature + least_payload) - options - signature;
}

u32 tcp_sync_mss(tcp_sock& tp, u32 pmtu) {
  if (tp.mtup.search_high > pmtu) tp.mtup.search_high = pmtu;
  tp.mss_cache = bound_to_half_window(tp, tcp_mtu_to_mss(tp, pmtu));
  // RFC 4821 §7.3: what the search has not shown to pass is only for probes.
  if (tp.mtup.enabled) {
    tp.mss_cache = std::min(tp.mss_cache, tcp_mtu_to_mss(tp, tp.mtup.search_low));
  }
  tp.pmtu_cookie = pmtu;
  return tp.mss_cache;
}

u32 tcp_current_mss(cpu& cx, tcp_sock& tp) {
  if (tp.dst) {
    const u32 mtu = tp.dst->mtu(cx.now());
    if (mtu != tp.pmtu_cookie) tcp_sync_mss(tp, mtu);
  }
  const u32 blocks = tp.num_sacks + (tp.have_dsack ? 1u : 0u);
  const u32 accecn = tcp_accecn_option_bytes(tp);
  if (!tp.sack_ok || blocks == 0) return std::max(tp.mss_cache, accecn + least_payload) - accecn;
  const std::size_t always =
      (tp.tstamp_ok ? tcpolen_tstamp_aligned : 0) + tcp_auth_option_bytes(tp);
  const std::size_t room = tcp_option_room(tp);
  const std::size_t fit = tcp_sack_blocks_that_fit(room > always ? room - always : 0, blocks);
  const std::size_t sack =
      fit != 0 ? tcpolen_sack_base_aligned + fit * tcpolen_sack_perblock : 0;
  const u32 taken = static_cast<u32>(sack) + accecn;
  return std::max(tp.mss_cache, taken + least_payload) - taken;
}

std::size_t tcp_option_room(const tcp_sock& tp) {
  if (tp.pmtu_cookie == 0) return tcp_max_option_space;
  const u32 taken = headers_of(tp) + least_payload;
  const std::size_t room = tp.pmtu_cookie > taken ? tp.pmtu_cookie - taken : 0;
  return std::min(room / 4 * 4, tcp_max_option_space);
}

std::size_t tcp_option_room_left(const tcp_sock& tp, const tcp_out_options& out) {
  const std::size_t room = tcp_option_room(tp), taken = tcp_options_size(out);
  return room > taken ? room - taken : 0;
}

u32 tcp_size_goal(const tcp_sock& tp, u32 mss) {
  // A device that cannot cut super-packets is helped on the way out (net/core/gso).
  const u32 goal = std::min(tcp_super_packet, std::max(tp.max_window / 2, mss));
  return std::max(goal / mss, 1u) * mss;
}

u32 tcp_advertise_mss(cpu& cx, const tcp_sock& tp) {
  if (!tp.dst) return uapi::tcp_mss_default;
  return tcp_advertise_mss(tp, *tp.dst, cx.now());
}

u32 tcp_advertise_mss(const tcp_sock& tp, const dst_entry& route, instant now) {
  constexpr u32 header = sizeof(tcphdr);
  u32 mss = route.advmss;
  if (mss == 0) mss = tp.af_ops->default_advmss(tp.net(), route.mtu(now), header);
  if (tp.user_mss != 0) mss = std::min(mss, tp.user_mss);
  return mss;
}

u32 tcp_window_limit(const tcp_sock& tp, u32 clamp, const dst_entry* route) {
  if (clamp == 0 && route != nullptr) clamp = route->window;
  const u32 full = tcp_full_space(tp);
  return tp.opt.rcvbuf_locked && (clamp == 0 || clamp > full) ? full : clamp;
}

tcp_initial_window tcp_select_initial_window(const tcp_sysctls& sysctl, const dst_entry* route,
                                             u32 space, u32 clamp, u32 mss, bool wscale_ok) {
  tcp_initial_window out;
  if (clamp == 0) clamp = tcp_max_window << uapi::tcp_max_winshift;
  space = std::min(space, clamp);
  if (space > mss) space = space / mss * mss;
  if (wscale_ok) {
    u32 largest = std::min(std::max(space, static_cast<u32>(sysctl.rmem[2])), clamp);
    while (largest > tcp_max_window && out.wscale < uapi::tcp_max_winshift) {
      largest >>= 1;
      ++out.wscale;
    }
  }
  out.rcv_wnd = std::min(space, tcp_max_window);
  if (route != nullptr && route->initrwnd != 0) {
    out.rcv_wnd = static_cast<u32>(std::min<u64>(out.rcv_wnd, u64{route->initrwnd} * mss));
  }
  out.window_clamp = std::min(tcp_max_window << out.wscale, clamp);
  return out;
}

}  // namespace ph
