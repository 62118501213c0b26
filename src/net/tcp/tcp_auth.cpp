// What TCP-MD5 and TCP-AO have in common: whose key it is, what is signed, what is accepted
// (RFC 2385 §2, RFC 5925 §7.4 and §7.5).
#include "net/tcp/tcp_auth.h"

#include <algorithm>
#include <iterator>

#include "net/core/net_device.h"
#include "net/tcp/tcp_ao.h"
#include "net/tcp/tcp_md5.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_request.h"

namespace ph {
namespace {

/// The pseudo header of either family (RFC 9293 §3.1, RFC 8200 §8.1).
struct pseudo_header {
  std::array<u8, 40> bytes{};
  std::size_t len = 0;
  pseudo_header(const inet_addr& saddr, const inet_addr& daddr, u32 segment) {
    const std::size_t address = saddr.is_ipv4() ? 4 : 16;
    byte_writer out(bytes);
    out.put_bytes(byte_view(saddr.bytes).last(address));
    out.put_bytes(byte_view(daddr.bytes).last(address));
    if (address == 4) {
      out.put(be16(uapi::ipproto_tcp));
      out.put(be16(static_cast<u16>(segment)));
    } else {
      out.put(be32(segment));
      out.put(be32(uapi::ipproto_tcp));
    }
    len = out.written();
  }
  [[nodiscard]] byte_view view() const { return byte_view(bytes).first(len); }
};

/// Where nothing was counted: near its first number a connection may have wrapped, too.
u32 fresh_sne(seq32 isn, seq32 seq) {
  tcp_sne out;
  out.start(isn);
  return out.of(seq);
}

bool same(byte_view a, byte_view b) {
  u8 difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    difference = static_cast<u8>(difference | (a[i] ^ b[i]));
  }
  return difference == 0;  // in the same time, wherever they differ
}

/// The key that signs, if any is for the peer.
const tcp_ao_key* sending_key(const tcp_ao_state& ao, const inet_addr& peer, ifindex dev) {
  if (ao.keys.empty()) return nullptr;
  const tcp_ao_key* key = nullptr;
  if (ao.current) key = tcp_ao_by_sndid(ao, peer, dev, *ao.current);
  return key != nullptr ? key : tcp_ao_any(ao, peer, dev);
}

tcp_signer ao_signer(const tcp_ao_key& key, const tcp_ao_state& ao, const tcp_auth_ends& ends,
                     bool syn) {
  tcp_signer out;
  out.ao = &key;
  out.keyid = key.sndid;
  out.rnextkeyid = ao.rnext.value_or(key.rcvid);
  const inet_tuple& t = ends.tuple;
  // RFC 5925 §5.2: a SYN knows only one of the first numbers.
  out.traffic = tcp_ao_derive(key, {t.laddr, t.raddr, t.lport.value, t.rport.value,
                                    ends.local_isn.raw, syn ? 0 : ends.remote_isn.raw});
  return out;
}

struct found_options {
  tcp_options_received rx;
  [[nodiscard]] bool md5() const { return rx.md5_offset != 0; }
  [[nodiscard]] bool ao() const { return rx.ao_offset != 0; }
};

skb_drop_reason check_ao(tcp_ao_state& ao, const tcp_auth_ends& ends, const sk_buff& skb,
                         const tcp_seg& seg, const tcp_options_received& rx, byte_view header) {
  const inet_tuple& t = ends.tuple;
  const byte_view option = header.subspan(rx.ao_offset, rx.ao_bytes);
  tcp_ao_key* key = tcp_ao_by_rcvid(ao, t.raddr, ends.dev, option[0]);
  if (key == nullptr) {
    ++ao.key_not_found;
    return drop_reason::tcp_ao_key_not_found;
  }
  const bool syn = seg.syn() && !seg.ack();
  u32 sisn = ends.remote_isn.raw;
  u32 disn = syn ? 0 : ends.local_isn.raw;
  if (seg.syn()) sisn = seg.seq.raw;
  if (!seg.syn() && !ends.isns_known) {
    sisn = (seg.seq - 1).raw;
    disn = (seg.ack_seq - 1).raw;
  }
  const tcp_traffic_key traffic =
      tcp_ao_derive(*key, {t.raddr, t.laddr, t.rport.value, t.lport.value, sisn, disn});
  const u32 sne = ends.wraps_known ? ao.rcv.of(seg.seq) : fresh_sne(seq32(sisn), seg.seq);
  const pseudo_header pseudo(t.raddr, t.laddr, seg.hdr_bytes + seg.len);
  const bool fits = option.size() == 2u + key->maclen;
  const bool good =
      fits && same(byte_view(tcp_ao_mac(*key, traffic, sne, pseudo.view(), header,
                                        rx.ao_offset + 2u, skb, 0))
                       .first(key->maclen),
                   option.subspan(2));
  if (!good) {
    ++key->bad;
    ++ao.bad;
    return drop_reason::tcp_ao_failure;
  }
  ++key->good;
  ++ao.good;
  if (!ends.wraps_known) return drop_reason::none;
  ao.rcv.note(seg.seq);
  // RFC 5925 §7.5 step 7: the peer is ready for another key.
  if (tcp_ao_by_sndid(ao, t.raddr, ends.dev, option[1]) != nullptr) ao.current = option[1];
  return drop_reason::none;
}

skb_drop_reason check_md5(const tcp_md5_key& key, const tcp_auth_ends& ends, const sk_buff& skb,
                          const tcp_seg& seg, const tcp_options_received& rx, byte_view header) {
  const pseudo_header pseudo(ends.tuple.raddr, ends.tuple.laddr, seg.hdr_bytes + seg.len);
  const auto digest = tcp_md5_digest(key, pseudo.view(), header, skb, 0);
  return same(digest, header.subspan(rx.md5_offset, digest.size())) ? drop_reason::none
                                                                    : drop_reason::tcp_md5_failure;
}

/// An unsigned segment where there are keys.
skb_drop_reason unsigned_segment(tcp_auth& auth, const tcp_auth_ends& ends) {
  if (tcp_md5_find(&auth, ends.tuple.raddr, ends.dev) != nullptr) {
    return drop_reason::tcp_md5_not_found;
  }
  if (!auth.ao.required && tcp_ao_any(auth.ao, ends.tuple.raddr, ends.dev) == nullptr) {
    return drop_reason::none;
  }
  ++auth.ao.missing;
  return drop_reason::tcp_ao_not_found;
}

}  // namespace

bool tcp_key_scope::covers(const inet_addr& addr, ifindex over) const {
  if (dev && dev != over) return false;
  const std::size_t whole = prefix / 8;
  if (!std::equal(addr.bytes.begin(), addr.bytes.begin() + static_cast<std::ptrdiff_t>(whole),
                  peer.bytes.begin())) {
    return false;
  }
  if (prefix % 8 == 0) return true;
  const u32 mask = 0xffu << (8 - prefix % 8);
  return ((u32{addr.bytes[whole]} ^ peer.bytes[whole]) & mask & 0xff) == 0;
}

tcp_auth_ends tcp_ends_of(const tcp_sock& tp) {
  tcp_auth_ends out;
  out.tuple = {tp.saddr, tp.daddr, tp.sport, tp.dport};
  out.dev = tp.opt.bound_dev_if;
  out.local_isn = tp.iss;
  out.remote_isn = tp.irs;
  out.wraps_known = !tp.in_state({tcp_state::syn_sent, tcp_state::listen, tcp_state::close});
  return out;
}

tcp_signer tcp_signer_for(const tcp_auth* auth, const tcp_auth_ends& ends, seq32 seq) {
  if (auth == nullptr) return {};
  tcp_signer out;
  out.md5 = tcp_md5_find(auth, ends.tuple.raddr, ends.dev);
  if (out.md5 != nullptr) return out;
  const tcp_ao_key* key = sending_key(auth->ao, ends.tuple.raddr, ends.dev);
  if (key == nullptr) return {};
  out = ao_signer(*key, auth->ao, ends, false);
  out.sne = ends.wraps_known ? auth->ao.snd.of(seq) : fresh_sne(ends.local_isn, seq);
  return out;
}

tcp_signer tcp_signer_of(tcp_sock& tp, seq32 seq, u8 flags) {
  if (!tp.auth) return {};
  const tcp_auth_ends ends = tcp_ends_of(tp);
  if ((flags & (tcphdr_syn | tcphdr_ack)) != tcphdr_syn) {
    if (ends.wraps_known) tp.auth->ao.snd.note(seq);
    return tcp_signer_for(tp.auth.get(), ends, seq);
  }
  tcp_signer out;
  out.md5 = tcp_md5_find(tp.auth.get(), tp.daddr, ends.dev);
  const tcp_ao_key* key = sending_key(tp.auth->ao, tp.daddr, ends.dev);
  if (out.md5 == nullptr && key != nullptr) out = ao_signer(*key, tp.auth->ao, ends, true);
  return out;
}

tcp_signer tcp_signer_of(const tcp_request& req, seq32 seq) {
  const tcp_auth* auth = req.listener->auth.get();
  if (auth == nullptr) return {};
  tcp_auth_ends ends;
  ends.tuple = req.key;
  ends.dev = req.listener->opt.bound_dev_if;
  ends.local_isn = req.snt_isn;
  ends.remote_isn = req.rcv_isn;
  if (!req.signed_by_ao) return tcp_signer_for(auth, ends, seq);
  const tcp_ao_key* key = tcp_ao_by_sndid(auth->ao, req.key.raddr, ends.dev, req.ao_keyid);
  if (key == nullptr) key = tcp_ao_any(auth->ao, req.key.raddr, ends.dev);
  if (key == nullptr) return {};
  tcp_signer out = ao_signer(*key, auth->ao, ends, false);
  out.sne = fresh_sne(req.snt_isn, seq);
  out.rnextkeyid = req.ao_rnextkeyid;
  return out;
}

void tcp_sign_options(const tcp_signer& signer, tcp_out_options& options) {
  options.md5 = signer.md5 != nullptr;
  if (signer.ao == nullptr) return;
  options.ao_mac_bytes = signer.ao->maclen;
  options.ao_keyid = signer.keyid;
  options.ao_rnextkeyid = signer.rnextkeyid;
}

void tcp_sign(const tcp_signer& signer, sk_buff& skb, const inet_addr& saddr,
              const inet_addr& daddr) {
  if (signer.md5 == nullptr && signer.ao == nullptr) return;
  ph_check(skb.gso_size == 0);
  const std::size_t bytes = view_as<tcphdr>(skb.data())->header_bytes();
  const byte_span header = skb.writable().first(bytes);
  const pseudo_header pseudo(saddr, daddr, skb.len());
  const u32 payload_at = static_cast<u32>(bytes);
  // The signature is the first option: behind two NOPs, kind and length; or kind, length and both
  // identifiers.
  constexpr std::size_t at = sizeof(tcphdr) + 4;
  if (signer.md5 != nullptr) {
    copy_bytes(header.subspan(at),
               tcp_md5_digest(*signer.md5, pseudo.view(), header, skb, payload_at));
    return;
  }
  const auto mac = tcp_ao_mac(*signer.ao, signer.traffic, signer.sne, pseudo.view(), header, at,
                              skb, payload_at);
  copy_bytes(header.subspan(at), byte_view(mac).first(signer.ao->maclen));
}

u32 tcp_auth_option_bytes(const tcp_auth* auth, const inet_addr& peer, ifindex dev) {
  if (auth == nullptr) return 0;
  tcp_out_options options;
  options.md5 = tcp_md5_find(auth, peer, dev) != nullptr;
  const tcp_ao_key* key = sending_key(auth->ao, peer, dev);
  if (!options.md5 && key != nullptr) options.ao_mac_bytes = key->maclen;
  return static_cast<u32>(tcp_options_size(options));
}

u32 tcp_auth_option_bytes(const tcp_sock& tp) {
  return tcp_auth_option_bytes(tp.auth.get(), tp.daddr, tp.opt.bound_dev_if);
}

skb_drop_reason tcp_auth_inbound(tcp_auth* auth, const tcp_auth_ends& ends, const sk_buff& skb,
                                 const tcp_seg& seg) {
  constexpr std::size_t shortest = 16;  // of options that hold a signature
  if (auth == nullptr && seg.options.size() < shortest) return drop_reason::none;
  const found_options found{tcp_parse_options(seg.options, false)};
  if (!found.md5() && !found.ao()) {
    return auth == nullptr ? drop_reason::none : unsigned_segment(*auth, ends);
  }
  const byte_view header = skb.transport_bytes().first(seg.hdr_bytes);
  if (found.md5()) {
    const tcp_md5_key* key = tcp_md5_find(auth, ends.tuple.raddr, ends.dev);
    // RFC 5925 §2.2: never both.
    if (key == nullptr || found.ao()) return drop_reason::tcp_md5_unexpected;
    return check_md5(*key, ends, skb, seg, found.rx, header);
  }
  if (auth == nullptr || tcp_ao_any(auth->ao, ends.tuple.raddr, ends.dev) == nullptr) {
    return drop_reason::tcp_ao_unexpected;
  }
  return check_ao(auth->ao, ends, skb, seg, found.rx, header);
}

void tcp_auth_note_syn(tcp_request& req, const tcp_seg& seg) {
  if (!req.listener->auth) return;
  const tcp_options_received rx = tcp_parse_options(seg.options, false);
  if (rx.ao_offset == 0) return;
  const std::size_t at = rx.ao_offset - sizeof(tcphdr);
  req.signed_by_ao = true;
  // RFC 5925 §7.4: the answer uses the key that the peer is ready for.
  req.ao_rnextkeyid = seg.options[at];
  req.ao_keyid = seg.options[at + 1];
}

void tcp_auth_inherit(tcp_sock& child, const tcp_request& req) {
  const tcp_auth* from = req.listener->auth.get();
  if (from == nullptr) return;
  const ifindex dev = req.listener->opt.bound_dev_if;
  const auto own = [&](const auto& key) { return key.scope.covers(req.key.raddr, dev); };
  // Key by key: a listener may have a thousand for other peers.
  auto out = std::make_unique<tcp_auth>();
  std::ranges::copy_if(from->md5, std::back_inserter(out->md5), own);
  std::ranges::copy_if(from->ao.keys, std::back_inserter(out->ao.keys), own);
  out->ao.current = from->ao.current;
  out->ao.rnext = from->ao.rnext;
  out->ao.required = from->ao.required;
  out->ao.accept_icmps = from->ao.accept_icmps;
  if (out->md5.empty() && out->ao.keys.empty() && !out->ao.required) return;
  if (req.signed_by_ao) {
    out->ao.current = req.ao_keyid;
    out->ao.rnext = req.ao_rnextkeyid;
  }
  child.omem_alloc += static_cast<u32>(out->md5.size()) * tcp_md5_key_cost +
                      static_cast<u32>(out->ao.keys.size()) * tcp_ao_key_cost;
  child.auth = std::move(out);
  tcp_auth_start(child);
}

void tcp_auth_start(tcp_sock& tp) {
  if (!tp.auth) return;
  tp.auth->ao.snd.start(tp.iss);
  tp.auth->ao.rcv.start(tp.irs);
}

bool tcp_auth_ignores_icmp(const tcp_sock& tp, const icmp_error& error) {
  // RFC 5925 §7.8: a forger must not end what he cannot sign.
  if (!tp.auth || tp.auth->ao.keys.empty() || tp.auth->ao.accept_icmps) return false;
  if (tp.in_state({tcp_state::syn_sent, tcp_state::syn_recv})) return false;
  const bool hard = error.kind == icmp_kind::protocol_unreachable ||
                    error.kind == icmp_kind::port_unreachable ||
                    error.kind == icmp_kind::packet_too_big;
  if (hard) ++tp.auth->ao.dropped_icmps;
  return hard;
}

result<void> tcp_auth_setsockopt(tcp_sock& tp, int name, byte_view value) {
  const bool md5 = name == uapi::tcp_md5sig_opt || name == uapi::tcp_md5sig_ext;
  TRY_VOID(md5 ? tcp_md5_setsockopt(tp, name, value) : tcp_ao_setsockopt(tp, name, value));
  // The option takes room from now on.
  if (!tp.in_state({tcp_state::close, tcp_state::listen})) tcp_sync_mss(tp, tp.pmtu_cookie);
  return {};
}

result<std::size_t> tcp_auth_getsockopt(tcp_sock& tp, int name, byte_span out) {
  return tcp_ao_getsockopt(tp, name, out);
}

}  // namespace ph
