// RFC 4987 §3.6 and appendix A. The cookie, in D. J. Bernstein's form:
//
//   peer's ISN + H1(ends) + 2^24 * minute + (H2(ends, minute) + index of the MSS) mod 2^24
//
// H1 hides the minute, H2 is the secret that a forger would have to guess: of 2^24 numbers, four
// are good in a minute. That the peer's own number goes in keeps ours rising with it.
#include "net/tcp/tcp_syncookies.h"

#include <algorithm>

#include "net/tcp/tcp_accecn.h"
#include "net/tcp/tcp_isn.h"
#include "net/tcp/tcp_request.h"

namespace ph {
namespace {

constexpr u32 low_bits = 24;
constexpr u32 low_mask = (u32{1} << low_bits) - 1;

/// No option; the internet over tunnels; PPPoE; Ethernet.
constexpr std::array<u16, 4> mss_values = {536, 1300, 1440, 1460};

// Low bits of the timestamp.
constexpr u32 ts_wscale_mask = 0xf;  ///< 15: no scaling
constexpr u32 ts_sack = 1 << 4;
constexpr u32 ts_ecn = 1 << 5;
constexpr u32 ts_bits = 6;

u32 minute_of(const cpu& cx) {
  return static_cast<u32>(cx.now().ns / tcp_cookie_period.ns);
}

u32 hash_ends(const siphash_key& key, const inet_tuple& tuple, u32 minute) {
  std::array<u8, 40> bytes{};
  const byte_span out(bytes);
  copy_bytes(out.first(16), tuple.laddr.bytes);
  copy_bytes(out.subspan(16, 16), tuple.raddr.bytes);
  copy_bytes(out.subspan(32, 4), bytes_of(be32(u32{tuple.lport.value} << 16 | tuple.rport.value)));
  copy_bytes(out.subspan(36, 4), bytes_of(be32(minute)));
  return static_cast<u32>(siphash(key, bytes));
}

/// There is one bit for both kinds of ECN, and the ACK tells which (RFC 9768 §5.1): only Accurate
/// ECN has more in its three flags than an echo.
tcp_ecn_mode kind_of_ecn(const tcp_seg& seg) {
  return tcp_ace(seg) > 1 ? tcp_ecn_mode::accecn : tcp_ecn_mode::rfc3168;
}

/// The SYN as far as cookie and timestamp remember it. False: they cannot be ours.
bool recall(cpu& cx, tcp_request& req, const tcp_seg& seg) {
  const tcp_sock& listener = *req.listener;
  const tcp_sysctls& sysctl = listener.tcp().sysctl;
  const tcp_options_received rx = tcp_parse_options(seg.options, false);
  req.tsoffset = tcp_ts_offset(listener.tcp(), req.key.laddr, req.key.raddr);
  req.sent_at = cx.now();
  if (!rx.saw_tstamp) return true;
  const tcp_cookie_options said = tcp_cookie_read_timestamp(rx.rcv_tsecr - req.tsoffset);
  if (sysctl.timestamps == 0 || (said.sack_ok && sysctl.sack == 0)) return false;
  if (said.wscale_ok && sysctl.window_scaling == 0) return false;
  req.tstamp_ok = true;
  req.ts_recent = rx.rcv_tsval;
  req.sack_ok = said.sack_ok;
  req.wscale_ok = said.wscale_ok;
  req.snd_wscale = said.snd_wscale;
  if (said.ecn_ok) req.ecn = std::min(kind_of_ecn(seg), tcp_ecn_answers(listener));
  return true;
}

}  // namespace

seq32 tcp_cookie_make(const cpu& cx, const tcp_net& tn, const inet_tuple& tuple, seq32 peer_isn,
                      u16& mss) {
  u32 index = 0;
  for (u32 i = 1; i < mss_values.size(); ++i) {
    if (mss_values[i] <= mss) index = i;
  }
  mss = mss_values[index];
  const u32 minute = minute_of(cx);
  const u32 low = (hash_ends(tn.cookie_time_key, tuple, minute) + index) & low_mask;
  return peer_isn + (hash_ends(tn.cookie_key, tuple, 0) + (minute << low_bits) + low);
}

std::optional<u16> tcp_cookie_check(const cpu& cx, const tcp_net& tn, const inet_tuple& tuple,
                                    seq32 peer_isn, seq32 cookie) {
  const u32 body = cookie.raw - peer_isn.raw - hash_ends(tn.cookie_key, tuple, 0);
  const u32 now = minute_of(cx);
  // Only eight bits of the minute are there: how long ago is what they tell.
  const u32 age = (now - (body >> low_bits)) & 0xff;
  if (age >= tcp_cookie_periods) return std::nullopt;
  const u32 index = (body - hash_ends(tn.cookie_time_key, tuple, now - age)) & low_mask;
  if (index >= mss_values.size()) return std::nullopt;
  return mss_values[index];
}

u32 tcp_cookie_timestamp(u32 clock, const tcp_cookie_options& options) {
  u32 low = options.wscale_ok ? options.snd_wscale : ts_wscale_mask;
  if (options.sack_ok) low |= ts_sack;
  if (options.ecn_ok) low |= ts_ecn;
  constexpr u32 step = u32{1} << ts_bits;
  const u32 out = clock / step * step + low;
  return static_cast<s32>(out - clock) > 0 ? out - step : out;
}

tcp_cookie_options tcp_cookie_read_timestamp(u32 echo) {
  tcp_cookie_options out;
  out.sack_ok = (echo & ts_sack) != 0;
  out.ecn_ok = (echo & ts_ecn) != 0;
  out.wscale_ok = (echo & ts_wscale_mask) != ts_wscale_mask;
  if (out.wscale_ok) {
    out.snd_wscale = static_cast<u8>(std::min<u32>(echo & ts_wscale_mask, uapi::tcp_max_winshift));
  }
  return out;
}

void tcp_cookie_sent(cpu& cx, tcp_sock& listener) {
  cx.sometimes("tcp_syn_cookie_sent");
  listener.synq_overflowed = true;
  listener.synq_overflow = cx.now();
  listener.net().mib().add(cx, mib::tcpext_syncookies_sent);
}

bool tcp_cookie_ack(cpu& cx, tcp_sock& listener, skb_ptr& skb, const tcp_seg& seg,
                    const inet_tuple& tuple) {
  const tcp_net& tn = listener.tcp();
  if (tn.sysctl.syncookies == 0 || seg.syn() || seg.rst()) return false;
  // Who has sent none lately need not ask whether this is one: a forger gains nothing.
  const duration good = tcp_cookie_period * tcp_cookie_periods;
  if (!listener.synq_overflowed || cx.now() - listener.synq_overflow > good) return false;
  const seq32 cookie = seg.ack_seq - 1;
  const seq32 peer_isn = seg.seq - 1;
  const std::optional<u16> mss = tcp_cookie_check(cx, tn, tuple, peer_isn, cookie);
  mib_table& mibs = listener.net().mib();
  if (!mss) {
    mibs.add(cx, mib::tcpext_syncookies_failed);
    return false;
  }
  cx.sometimes("tcp_syn_cookie_taken");
  mibs.add(cx, mib::tcpext_syncookies_recv);
  const ref<tcp_request> req = make_ref<tcp_request>(listener);
  req->key = tuple;
  req->bound_dev = listener.opt.bound_dev_if;
  req->rcv_isn = peer_isn;
  req->snt_isn = cookie;
  req->peer_mss = *mss;
  req->tos = seg.tos;
  req->num_retrans = 1;  // when the SYN+ACK left is forgotten, so it gives no RTT
  if (!recall(cx, *req, seg)) return false;
  const auto dst = tcp_request_route(cx, *req);
  if (!dst) {
    drop(cx, std::move(skb), drop_reason::tcp_no_route);
    return true;
  }
  tcp_request_set_window(*req, **dst, cx.now());
  tcp_request_complete(cx, *req, std::move(skb), seg);
  return true;
}

}  // namespace ph
