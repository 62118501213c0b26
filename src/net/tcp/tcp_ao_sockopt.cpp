// The socket options of TCP-AO, as the kernel's documentation of it describes them.
#include <algorithm>
#include <cstring>

#include "net/tcp/tcp_ao.h"
#include "net/tcp/tcp_md5.h"
#include "uapi/tcp_auth.h"

namespace ph {
namespace {

constexpr u8 most_mac_bytes = 16;

template <class T>
result<T> read_value(byte_view bytes) {
  T out;
  if (bytes.size() < sizeof out) return fail(errc::inval);
  std::memcpy(&out, bytes.data(), sizeof out);
  return out;
}

/// Has TCP-AO ever been asked for here? A socket with keys of TCP-MD5 alone has none.
bool has_ao(const tcp_sock& tp) {
  if (!tp.auth) return false;
  const tcp_ao_state& ao = tp.auth->ao;
  return !ao.keys.empty() || ao.required || ao.accept_icmps;
}

bool connected(const tcp_sock& tp) {
  return !tp.in_state({tcp_state::close, tcp_state::listen});
}

result<tcp_key_scope> read_scope(const tcp_sock& tp, const uapi::sockaddr_room& addr, u8 prefix,
                                 u8 flags, s32 dev) {
  TRY(const auto peer, tp.af_ops->parse_sockaddr(addr.bytes));
  const u8 most = peer.first.is_ipv4() ? 32 : 128;
  // "Any" is for all peers and has no bits.
  if (prefix > most || (prefix == 0) != peer.first.is_any()) return fail(errc::inval);
  tcp_key_scope out{peer.first, static_cast<u8>(128 - most + prefix), {}};
  if ((flags & uapi::tcp_ao_keyf_ifindex) != 0) out.dev = ifindex(static_cast<u32>(dev));
  return out;
}

result<tcp_ao_algorithm> read_algorithm(const std::array<char, 64>& name) {
  const std::string_view text(name.data(), strnlen(name.data(), name.size()));
  if (text == "hmac(sha1)") return tcp_ao_algorithm::hmac_sha1;
  if (text == "cmac(aes128)") return tcp_ao_algorithm::cmac_aes128;
  return fail(errc::noent);
}

result<void> add_key(tcp_sock& tp, byte_view value) {
  TRY(const auto in, read_value<uapi::tcp_ao_add>(value));
  constexpr u8 flags = uapi::tcp_ao_keyf_ifindex | uapi::tcp_ao_keyf_exclude_opt;
  if (in.reserved != 0 || in.reserved2 != 0 || (in.keyflags & ~flags) != 0) {
    return fail(errc::inval);
  }
  if (in.keylen == 0 || in.keylen > uapi::tcp_ao_maxkeylen) return fail(errc::inval);
  tcp_ao_key key;
  TRY(key.scope, read_scope(tp, in.addr, in.prefix, in.keyflags, in.ifindex));
  TRY(key.algorithm, read_algorithm(in.alg_name));
  key.sndid = in.sndid;
  key.rcvid = in.rcvid;
  key.maclen = in.maclen != 0 ? in.maclen : u8{12};
  if (key.maclen < 4 || key.maclen > most_mac_bytes) return fail(errc::inval);
  key.flags = in.keyflags;
  key.len = in.keylen;
  copy_bytes(key.key, byte_view(in.key).first(in.keylen));
  if (tp.auth) {
    if (tcp_md5_find(tp.auth.get(), key.scope.peer, key.scope.dev) != nullptr) {
      return fail(errc::inval);
    }
    // RFC 5925 §3.1: identifiers of keys for one peer must not overlap.
    for (const tcp_ao_key& other : tp.auth->ao.keys) {
      const bool meet = other.scope.covers(key.scope.peer, key.scope.dev) ||
                        key.scope.covers(other.scope.peer, other.scope.dev);
      if (meet && (other.sndid == key.sndid || other.rcvid == key.rcvid)) {
        return fail(errc::exist);
      }
    }
  } else {
    // A connection that began without keys cannot be signed half-way.
    if (connected(tp)) return fail(errc::inval);
    tp.auth = std::make_unique<tcp_auth>();
  }
  TRY_VOID(tp.charge_omem(tcp_ao_key_cost));
  tp.auth->ao.keys.push_back(key);
  if (in.set_current != 0) tp.auth->ao.current = key.sndid;
  if (in.set_rnext != 0) tp.auth->ao.rnext = key.rcvid;
  return {};
}

/// Changes which keys are in use, both or none. Errors: inval on listeners, noent.
result<void> choose(tcp_sock& tp, bool set_current, u8 current, bool set_rnext, u8 rnext) {
  tcp_ao_state& ao = tp.auth->ao;
  if (!set_current && !set_rnext) return {};
  if (tp.state == tcp_state::listen) return fail(errc::inval);
  const auto has = [&](auto member, u8 id) {
    return std::ranges::any_of(ao.keys, [&](const tcp_ao_key& k) { return k.*member == id; });
  };
  if (set_current && !has(&tcp_ao_key::sndid, current)) return fail(errc::noent);
  if (set_rnext && !has(&tcp_ao_key::rcvid, rnext)) return fail(errc::noent);
  if (set_current) ao.current = current;
  if (set_rnext) ao.rnext = rnext;
  return {};
}

result<void> del_key(tcp_sock& tp, byte_view value) {
  TRY(const auto in, read_value<uapi::tcp_ao_del>(value));
  if (in.reserved != 0 || in.reserved2 != 0) return fail(errc::inval);
  if (!tp.auth) return fail(errc::noent);
  TRY(const tcp_key_scope scope, read_scope(tp, in.addr, in.prefix, in.keyflags, in.ifindex));
  tcp_ao_state& ao = tp.auth->ao;
  const auto found = std::ranges::find_if(ao.keys, [&](const tcp_ao_key& key) {
    return key.scope == scope && key.sndid == in.sndid && key.rcvid == in.rcvid;
  });
  if (found == ao.keys.end()) return fail(errc::noent);
  TRY_VOID(choose(tp, in.set_current != 0, in.current_key, in.set_rnext != 0, in.rnext));
  // What is in use stays (RFC 5925 §3.3: keys in use are not removed).
  if (tp.state != tcp_state::listen && (ao.current == in.sndid || ao.rnext == in.rcvid)) {
    return fail(errc::busy);
  }
  ao.keys.erase(found);
  tp.release_omem(tcp_ao_key_cost);
  return {};
}

result<void> set_info(tcp_sock& tp, byte_view value) {
  TRY(const auto in, read_value<uapi::tcp_ao_info_opt>(value));
  if (in.reserved != 0 || in.reserved2 != 0) return fail(errc::inval);
  if (!tp.auth) {
    if (connected(tp)) return fail(errc::inval);
    tp.auth = std::make_unique<tcp_auth>();
  }
  if (in.ao_required != 0 && !tp.auth->md5.empty()) return fail(errc::inval);
  TRY_VOID(choose(tp, in.set_current != 0, in.current_key, in.set_rnext != 0, in.rnext));
  tcp_ao_state& ao = tp.auth->ao;
  ao.required = in.ao_required != 0;
  ao.accept_icmps = in.accept_icmps != 0;
  if (in.set_counters != 0) {
    ao.good = in.pkt_good;
    ao.bad = in.pkt_bad;
    ao.key_not_found = in.pkt_key_not_found;
    ao.missing = in.pkt_ao_required;
    ao.dropped_icmps = in.pkt_dropped_icmp;
  }
  return {};
}

/// TCP_AO_REPAIR: the numbers that keys are made of, for a connection that another host began.
result<void> set_repair(tcp_sock& tp, byte_view value) {
  TRY(const auto in, read_value<uapi::tcp_ao_repair>(value));
  if (!tp.repair) return fail(errc::perm);
  if (!has_ao(tp)) return fail(errc::noent);
  tp.iss = seq32(in.snt_isn.value());
  tp.irs = seq32(in.rcv_isn.value());
  tp.auth->ao.snd.resume(tp.snd_una, in.snd_sne);
  tp.auth->ao.rcv.resume(tp.rcv_nxt, in.rcv_sne);
  return {};
}

result<std::size_t> get_repair(const tcp_sock& tp, byte_span out) {
  if (!tp.repair) return fail(errc::perm);
  if (!has_ao(tp)) return fail(errc::noent);
  uapi::tcp_ao_repair now;
  now.snt_isn.set(tp.iss.raw);
  now.rcv_isn.set(tp.irs.raw);
  now.snd_sne = tp.auth->ao.snd.of(tp.snd_una);
  now.rcv_sne = tp.auth->ao.rcv.of(tp.rcv_nxt);
  return copy_bytes(out, bytes_of(now));
}

uapi::tcp_ao_info_opt info_of(const tcp_ao_state& ao) {
  uapi::tcp_ao_info_opt out;
  out.ao_required = ao.required ? 1 : 0;
  out.accept_icmps = ao.accept_icmps ? 1 : 0;
  out.set_current = ao.current ? 1 : 0;
  out.set_rnext = ao.rnext ? 1 : 0;
  out.current_key = ao.current.value_or(0);
  out.rnext = ao.rnext.value_or(0);
  out.pkt_good = ao.good;
  out.pkt_bad = ao.bad;
  out.pkt_key_not_found = ao.key_not_found;
  out.pkt_ao_required = ao.missing;
  out.pkt_dropped_icmp = ao.dropped_icmps;
  return out;
}

uapi::tcp_ao_getsockopt describe(const tcp_sock& tp, const tcp_ao_key& key) {
  const tcp_ao_state& ao = tp.auth->ao;
  uapi::tcp_ao_getsockopt out;
  const sockaddr_buf addr = tp.af_ops->make_sockaddr(key.scope.peer, {});
  copy_bytes(out.addr.bytes, addr.view());
  const std::string_view name =
      key.algorithm == tcp_ao_algorithm::hmac_sha1 ? "hmac(sha1)" : "cmac(aes128)";
  std::ranges::copy(name, out.alg_name.begin());
  copy_bytes(out.key, key.bytes());
  out.nkeys = static_cast<u32>(ao.keys.size());
  out.is_current = ao.current == key.sndid ? 1 : 0;
  out.is_rnext = ao.rnext == key.rcvid ? 1 : 0;
  out.sndid = key.sndid;
  out.rcvid = key.rcvid;
  out.prefix = static_cast<u8>(key.scope.prefix - (key.scope.peer.is_ipv4() ? 96 : 0));
  out.maclen = key.maclen;
  out.keyflags = key.flags;
  out.keylen = key.len;
  out.ifindex = static_cast<s32>(key.scope.dev.value);
  out.pkt_good = key.good;
  out.pkt_bad = key.bad;
  return out;
}

/// The first element of `out` says which keys are wanted and how many have room.
result<std::size_t> get_keys(const tcp_sock& tp, byte_span out) {
  TRY(const auto want, read_value<uapi::tcp_ao_getsockopt>(out));
  if (want.reserved != 0) return fail(errc::inval);
  const bool one = want.get_all == 0;
  tcp_key_scope scope;
  if (one && want.is_current == 0 && want.is_rnext == 0) {
    TRY(scope, read_scope(tp, want.addr, want.prefix, want.keyflags, want.ifindex));
  }
  std::size_t at = 0;
  u32 matched = 0;
  for (const tcp_ao_key& key : tp.auth->ao.keys) {
    if (one) {
      const bool wanted =
          want.is_current != 0 ? tp.auth->ao.current == key.sndid
          : want.is_rnext != 0 ? tp.auth->ao.rnext == key.rcvid
                               : key.scope == scope && key.sndid == want.sndid &&
                                     key.rcvid == want.rcvid;
      if (!wanted) continue;
    }
    ++matched;
    if (out.size() < at + sizeof want || (matched > want.nkeys && !one)) continue;
    at += copy_bytes(out.subspan(at), bytes_of(describe(tp, key)));
  }
  if (matched == 0) return fail(errc::noent);
  // How many there are, whatever fits.
  uapi::tcp_ao_getsockopt first;
  std::memcpy(&first, out.data(), sizeof first);
  first.nkeys = matched;
  copy_bytes(out, bytes_of(first));
  return at;
}

}  // namespace

result<void> tcp_ao_setsockopt(tcp_sock& tp, int name, byte_view value) {
  switch (name) {
    case uapi::tcp_ao_add_key: return add_key(tp, value);
    case uapi::tcp_ao_del_key: return del_key(tp, value);
    case uapi::tcp_ao_repair_opt: return set_repair(tp, value);
    default: return set_info(tp, value);
  }
}

result<std::size_t> tcp_ao_getsockopt(tcp_sock& tp, int name, byte_span out) {
  if (name == uapi::tcp_ao_repair_opt) return get_repair(tp, out);
  if (!tp.auth) return fail(errc::noent);
  if (name == uapi::tcp_ao_get_keys) return get_keys(tp, out);
  return copy_bytes(out, bytes_of(info_of(tp.auth->ao)));
}

}  // namespace ph
