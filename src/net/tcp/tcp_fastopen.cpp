// RFC 7413. Cookies are SipHash-2-4 of both addresses under the listener's key, 8 bytes, least
// significant first, as Linux makes them.
#include "net/tcp/tcp_fastopen.h"

#include <algorithm>
#include <charconv>

#include "net/tcp/tcp_ack.h"
#include "net/tcp/tcp_ofo.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_recovery.h"
#include "net/tcp/tcp_timer.h"

namespace ph {
namespace {

constexpr std::size_t key_text = 35;        ///< of one key
constexpr std::size_t most_peers = 4096;    ///< remembered in a namespace
constexpr duration loss_memory = seconds(60);

std::optional<siphash_key> read_key_text(std::string_view text) {
  if (text.size() != key_text) return std::nullopt;
  u32 words[4] = {};
  for (std::size_t i = 0; i < 4; ++i) {
    const char* begin = text.data() + i * 9;
    const auto [end, error] = std::from_chars(begin, begin + 8, words[i], 16);
    if (error != std::errc{} || end != begin + 8) return std::nullopt;
    if (i < 3 && *end != '-') return std::nullopt;
  }
  return siphash_key{words[0] | u64{words[1]} << 32, words[2] | u64{words[3]} << 32};
}

u64 read_u64(byte_view bytes, std::size_t at) {
  u64 out = 0;
  for (std::size_t i = 0; i < 8; ++i) out |= u64{bytes[at + i]} << (8 * i);
  return out;
}

tcp_fastopen_peer* remembered(tcp_sock& tp) {
  auto& peers = tp.tcp().fastopen_peers;
  const auto found = peers.find({tp.saddr, tp.daddr});
  return found == peers.end() ? nullptr : &found->second;
}

/// §4.1.3.1: where SYNs with data got lost, they are not tried for a while, ever longer.
bool distrusted(cpu& cx, const tcp_fastopen_peer& peer) {
  return peer.syn_losses > 1 &&
         cx.now() - peer.last_loss < loss_memory * (s64{1} << std::min<u32>(peer.syn_losses, 10));
}

void remember(cpu& cx, tcp_sock& tp, u16 mss, const tcp_fastopen_cookie& cookie, bool syn_lost,
              u8 try_exp) {
  auto& peers = tp.tcp().fastopen_peers;
  if (peers.size() >= most_peers && remembered(tp) == nullptr) peers.erase(peers.begin());
  tcp_fastopen_peer& peer = peers[{tp.saddr, tp.daddr}];
  if (mss != 0) peer.mss = mss;
  if (cookie.len > 0) {
    peer.cookie = cookie;
    peer.try_exp = 0;
  } else if (try_exp > peer.try_exp && peer.cookie.len <= 0 && !peer.cookie.exp) {
    peer.try_exp = try_exp;
  }
  if (syn_lost) {
    ++peer.syn_losses;
    peer.last_loss = cx.now();
  } else {
    peer.syn_losses = 0;
  }
}

/// What lies behind the SYN in the retransmission queue: its data.
sk_buff* syn_data_of(tcp_sock& tp) {
  sk_buff* skb = tp.rtx_queue.first();
  if (skb != nullptr && (tcp_cb(*skb).flags & tcphdr_syn) != 0) skb = tp.rtx_queue.next(*skb);
  return skb;
}

}  // namespace

// --- cookies ------------------------------------------------------------------------------------

bool tcp_fastopen_key_valid(std::string_view text) {
  if (text.size() == key_text) return read_key_text(text).has_value();
  return text.size() == 2 * key_text + 1 && text[key_text] == ',' &&
         read_key_text(text.substr(0, key_text)) && read_key_text(text.substr(key_text + 1));
}

result<std::vector<siphash_key>> tcp_fastopen_read_key(byte_view bytes) {
  if (bytes.size() != 16 && bytes.size() != 32) return fail(errc::inval);
  std::vector<siphash_key> out;
  for (std::size_t at = 0; at < bytes.size(); at += 16) {
    out.push_back({read_u64(bytes, at), read_u64(bytes, at + 8)});
  }
  return out;
}

std::vector<siphash_key> tcp_fastopen_keys(const tcp_sock& listener) {
  if (!listener.fastopen_keys.empty()) return listener.fastopen_keys;
  const tcp_net& tn = listener.tcp();
  // Nobody wrote one: a key that nobody knows.
  if (!tn.sysctl.fastopen_key_given) return {tn.fastopen_secret};
  const std::string_view text = tn.sysctl.fastopen_key;
  std::vector<siphash_key> out;
  for (std::size_t at = 0; at < text.size(); at += key_text + 1) {
    const auto key = read_key_text(text.substr(at, key_text));
    if (key) out.push_back(*key);
  }
  return out;
}

tcp_fastopen_cookie tcp_fastopen_make_cookie(const siphash_key& key, const inet_addr& peer,
                                             const inet_addr& local) {
  std::array<u8, 32> bytes{};
  const std::size_t length = peer.is_ipv4() ? 4 : 16;
  copy_bytes(bytes, byte_view(peer.bytes).last(length));
  copy_bytes(byte_span(bytes).subspan(length), byte_view(local.bytes).last(length));
  const u64 hash = siphash(key, byte_view(bytes).first(2 * length));
  tcp_fastopen_cookie out;
  out.len = 8;
  for (std::size_t i = 0; i < 8; ++i) out.val[i] = static_cast<u8>(hash >> (8 * i));
  return out;
}

// --- server -------------------------------------------------------------------------------------

namespace {

constexpr duration reset_counts_for = seconds(60);

/// Makes room for one child, if the oldest of those that were reset has counted long enough.
bool forget_a_reset(const cpu& cx, tcp_sock& listener) {
  std::deque<instant>& resets = listener.fastopen_resets;
  if (resets.empty() || resets.front() > cx.now()) return false;
  resets.pop_front();
  --listener.fastopen_pending;
  return true;
}

}  // namespace

tcp_fastopen_verdict tcp_fastopen_judge(cpu& cx, tcp_sock& listener, const tcp_seg& seg,
                                        const inet_tuple& tuple,
                                        const tcp_fastopen_cookie& offered) {
  tcp_fastopen_verdict out;
  mib_table& counters = listener.net().mib();
  if (offered.present() && offered.len == 0) {
    counters.add(cx, mib::tcpext_tcp_fast_open_cookie_reqd);
  }
  const s32 bits = listener.tcp().sysctl.fastopen;
  const bool wanted = listener.fastopen_qlen != 0 || (bits & tfo_server_all_listeners) != 0;
  if ((bits & tfo_server_enable) == 0 || !wanted) return out;
  // §5.1: a flood of forged SYNs must not fill the listener with connections.
  const u32 most = listener.fastopen_qlen != 0 ? listener.fastopen_qlen
                                               : std::max(listener.max_ack_backlog, 1u);
  if (listener.fastopen_pending >= most && !forget_a_reset(cx, listener)) {
    counters.add(cx, mib::tcpext_tcp_fast_open_listen_overflow);
    return out;
  }
  const bool cookie_needless =
      (bits & tfo_server_cookie_not_reqd) != 0 || listener.fastopen_no_cookie;
  if (cookie_needless && (seg.len != 0 || offered.present())) {
    out.accept = true;
    return out;
  }
  if (!offered.present()) return out;
  const auto keys = tcp_fastopen_keys(listener);
  for (std::size_t i = 0; i < keys.size() && !out.accept; ++i) {
    const auto good = tcp_fastopen_make_cookie(keys[i], tuple.raddr, tuple.laddr);
    out.accept = std::ranges::equal(good.bytes(), offered.bytes());
    if (out.accept && i == 0) return out;
  }
  if (!out.accept && offered.len > 0) {
    counters.add(cx, mib::tcpext_tcp_fast_open_passive_fail);
  }
  out.cookie = tcp_fastopen_make_cookie(keys.front(), tuple.raddr, tuple.laddr);
  out.cookie.exp = offered.exp;
  return out;
}

void tcp_fastopen_begin(cpu& cx, tcp_sock& child, skb_ptr skb, const tcp_seg& seg) {
  child.net().mib().add(cx, mib::tcpext_tcp_fast_open_passive);
  child.fastopen_child = child.fastopen_born = true;
  child.send_from(child.iss);  // the SYN+ACK is among what it sends
  child.write_seq = child.pushed_seq = child.iss + 1;
  child.ecn.synacks = 0;  // no request sent one
  // RFC 7323 §2.2: the window of a SYN is never scaled. It begins behind our SYN, which is SND.UNA.
  child.max_window = seg.window;
  child.snd_wnd = child.max_window + 1;
  tcp_init_transfer(cx, child);
  if (seg.len != 0) {
    tcp_skb_cb& cb = tcp_cb(*skb);
    cb.seq = seg.seq + 1;
    cb.flags &= static_cast<u8>(~tcphdr_syn);
    child.syn_data_acked = true;
    ++child.segs_in;
    ++child.data_segs_in;
    tcp_queue_rcv(cx, child, std::move(skb));
  } else {
    consume(cx, std::move(skb));
  }
  child.rcv_wup = child.rcv_nxt;
  skb_ptr synack = tcp_stream_alloc(cx, child, child.iss, tcphdr_syn | tcphdr_ack);
  tcp_cb(*synack).sent = true;
  sk_buff& queued = child.rtx_queue.add(std::move(synack));
  child.snd_nxt = child.iss + 1;
  static_cast<void>(
      tcp_transmit_skb(cx, child, &queued, child.iss, tcphdr_syn | tcphdr_ack));
  tcp_arm_rto(cx, child, child.rto);
}

void tcp_fastopen_repeat(cpu& cx, tcp_sock& tp) {
  sk_buff* head = tp.rtx_queue.first();
  cx.sometimes("tcp_fastopen_syn_again");
  if (head == nullptr || (tcp_cb(*head).flags & tcphdr_syn) == 0) return;
  static_cast<void>(tcp_transmit_skb(cx, tp, head, tp.iss, tcphdr_syn | tcphdr_ack));
}

void tcp_fastopen_child_reset(cpu& cx, tcp_sock& tp) {
  if (!std::exchange(tp.fastopen_child, false)) return;
  const ref<tcp_sock> parent = std::exchange(tp.fastopen_parent, {});
  if (!parent) return;
  cx.sometimes("tcp_fastopen_child_reset");
  parent->fastopen_resets.push_back(cx.now() + reset_counts_for);
}

void tcp_fastopen_child_done(tcp_sock& tp) {
  if (!std::exchange(tp.fastopen_child, false)) return;
  if (tp.fastopen_parent) --tp.fastopen_parent->fastopen_pending;
  tp.fastopen_parent.reset();
}

// --- client -------------------------------------------------------------------------------------

u32 tcp_fastopen_prepare(cpu& cx, tcp_sock& tp) {
  const s32 bits = tp.tcp().sysctl.fastopen;
  const tcp_fastopen_peer* peer = remembered(tp);
  cx.sometimes("tcp_fastopen_tried");
  tp.fastopen_cookie = {};
  tp.syn_fastopen = false;
  tp.fastopen_fail = tcp_fastopen_fail::none;
  if (peer != nullptr && distrusted(cx, *peer)) {
    cx.sometimes("tcp_fastopen_distrusted");
    return 0;
  }
  u32 mss = tp.mss_clamp;
  if (peer != nullptr && peer->mss != 0) mss = std::min<u32>(mss, peer->mss);
  const bool no_cookie = (bits & tfo_client_no_cookie) != 0 || tp.fastopen_no_cookie;
  if (!no_cookie) {
    tp.syn_fastopen = true;
    if (peer == nullptr || peer->cookie.len <= 0) {
      // §4.2: ask for one. A server may know the option only in its experimental form.
      tp.fastopen_cookie.len = 0;
      tp.fastopen_cookie.exp = peer != nullptr && peer->try_exp == 1;
      tp.fastopen_fail = tcp_fastopen_fail::cookie_unavailable;
      return 0;
    }
    tp.fastopen_cookie = peer->cookie;
  }
  // RFC 7413 §4.2.1: within what the peer announced before, with room for any options.
  const u32 clamp = std::exchange(tp.mss_clamp, mss);
  const u32 most = tcp_mtu_to_mss(tp, tp.pmtu_cookie);
  tp.mss_clamp = clamp;
  return most > tcp_max_option_space ? most - static_cast<u32>(tcp_max_option_space) : 0;
}

bool tcp_fastopen_defers(cpu& cx, tcp_sock& tp) {
  if (!tp.fastopen_connect) return false;
  return tcp_fastopen_prepare(cx, tp) != 0;
}

bool tcp_fastopen_synack(cpu& cx, tcp_sock& tp, const tcp_options_received& rx) {
  if (!tp.syn_fastopen && tp.syn_data == 0) return false;
  sk_buff* data = tp.syn_data != 0 ? syn_data_of(tp) : nullptr;
  const bool has_cookie = tp.syn_fastopen && rx.fastopen.present();
  bool syn_lost = false;
  u8 try_exp = 0;
  if (!tp.syn_fastopen) {
    // Data went without the option; a cookie that nobody asked for is not kept.
  } else if (tp.total_retrans != 0) {
    // Nothing but the repeated, plain SYN seems to have arrived.
    syn_lost = !has_cookie && data != nullptr;
  } else if (!has_cookie && tp.syn_data == 0) {
    try_exp = tp.fastopen_cookie.exp ? 2 : 1;
  }
  const tcp_fastopen_cookie cookie = has_cookie ? rx.fastopen : tcp_fastopen_cookie{};
  remember(cx, tp, rx.mss, cookie, syn_lost, try_exp);
  if (data == nullptr) {
    tp.syn_data_acked = tp.syn_data != 0;
    if (tp.syn_data_acked) tp.net().mib().add(cx, mib::tcpext_tcp_fast_open_active);
    // SYN and data left as one packet.
    if (tp.syn_data_acked && tp.delivered > 1) --tp.delivered;
    return false;
  }
  tp.fastopen_fail = tp.total_retrans != 0 ? tcp_fastopen_fail::syn_retransmitted
                                           : tcp_fastopen_fail::data_not_acked;
  tp.net().mib().add(cx, mib::tcpext_tcp_fast_open_active_fail);
  for (; data != nullptr; data = tp.rtx_queue.next(*data)) {
    if ((tcp_cb(*data).sacked & (skb_lost | skb_sacked)) == 0) tcp_mark_lost(cx, tp, *data);
  }
  // That the server did not take them says nothing about the network: the window stays.
  tp.ca_state = tcp_ca_state::loss;
  tp.high_seq = tp.recover = tp.snd_nxt;
  tp.retrans_hint = tp.snd_una;
  tcp_xmit_recovery(cx, tp);
  return true;
}

void tcp_fastopen_syn_too_big(cpu& cx, tcp_sock& tp) {
  sk_buff* syn = tp.rtx_queue.first();
  if (tp.syn_data == 0 || syn == nullptr || (tcp_cb(*syn).flags & tcphdr_syn) == 0) return;
  tp.advmss = tcp_advertise_mss(cx, tp);
  static_cast<void>(tcp_retransmit_skb(cx, tp, *syn));
  tcp_rearm_rto(cx, tp);
}

}  // namespace ph
