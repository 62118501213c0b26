// RFC 2385 §2.0; the socket options as tcp(7) and the structure's comments describe them.
#include "net/tcp/tcp_md5.h"

#include <algorithm>
#include <cstring>

#include "base/md5.h"
#include "uapi/tcp_auth.h"

namespace ph {
namespace {

/// Address and prefix of a request. Errors: inval, afnosupport.
result<tcp_key_scope> read_scope(const tcp_sock& tp, int name, const uapi::tcp_md5sig& in) {
  TRY(const auto peer, tp.af_ops->parse_sockaddr(in.tcpm_addr.bytes));
  tcp_key_scope out{peer.first, 128, {}};
  if (name != uapi::tcp_md5sig_ext) return out;
  if ((in.tcpm_flags & uapi::tcp_md5sig_flag_prefix) != 0) {
    const u8 most = peer.first.is_ipv4() ? 32 : 128;
    if (in.tcpm_prefixlen > most) return fail(errc::inval);
    out.prefix = static_cast<u8>(128 - most + in.tcpm_prefixlen);
  }
  if ((in.tcpm_flags & uapi::tcp_md5sig_flag_ifindex) != 0) {
    out.dev = ifindex(static_cast<u32>(in.tcpm_ifindex));
  }
  return out;
}

}  // namespace

const tcp_md5_key* tcp_md5_find(const tcp_auth* auth, const inet_addr& peer, ifindex dev) {
  if (auth == nullptr) return nullptr;
  const tcp_md5_key* best = nullptr;
  for (const tcp_md5_key& key : auth->md5) {
    if (!key.scope.covers(peer, dev)) continue;
    const bool better = best == nullptr || (key.scope.dev && !best->scope.dev) ||
                        (key.scope.dev == best->scope.dev &&
                         key.scope.prefix > best->scope.prefix);
    if (better) best = &key;
  }
  return best;
}

std::array<u8, 16> tcp_md5_digest(const tcp_md5_key& key, byte_view pseudo, byte_view header,
                                  const sk_buff& skb, u32 payload_at) {
  md5 sum;
  sum.update(pseudo);
  tcphdr th = *view_as<tcphdr>(header);
  th.check = be16(0);
  sum.update(bytes_of(th));
  skb.for_pieces(payload_at, skb.len() - payload_at, [&](byte_view piece) { sum.update(piece); });
  sum.update(key.bytes());
  return sum.finish();
}

result<void> tcp_md5_setsockopt(tcp_sock& tp, int name, byte_view value) {
  uapi::tcp_md5sig in;
  if (value.size() < sizeof in) return fail(errc::inval);
  std::memcpy(&in, value.data(), sizeof in);
  if (in.tcpm_keylen > uapi::tcp_md5sig_maxkeylen) return fail(errc::inval);
  TRY(const tcp_key_scope scope, read_scope(tp, name, in));
  const auto same = [&](const tcp_md5_key& k) { return k.scope == scope; };
  if (in.tcpm_keylen == 0) {
    if (!tp.auth || std::erase_if(tp.auth->md5, same) == 0) return fail(errc::noent);
    tp.release_omem(tcp_md5_key_cost);
    return {};
  }
  // DIFFERS: Linux answers EKEYREJECTED where a peer has keys of the other kind.
  if (tp.auth) {
    for (const tcp_ao_key& ao : tp.auth->ao.keys) {
      if (ao.scope.covers(scope.peer, scope.dev)) return fail(errc::inval);
    }
  }
  if (!tp.auth) tp.auth = std::make_unique<tcp_auth>();
  tcp_md5_key key;
  key.scope = scope;
  key.len = static_cast<u8>(in.tcpm_keylen);
  copy_bytes(key.key, byte_view(in.tcpm_key).first(key.len));
  const auto known = std::ranges::find_if(tp.auth->md5, same);
  if (known != tp.auth->md5.end()) {
    *known = key;
    return {};
  }
  TRY_VOID(tp.charge_omem(tcp_md5_key_cost));
  tp.auth->md5.push_back(key);
  return {};
}

}  // namespace ph
