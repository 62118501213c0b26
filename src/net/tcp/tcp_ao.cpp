// RFC 5925 §5 (keys and codes), RFC 5926 §3 (algorithms).
#include "net/tcp/tcp_ao.h"

#include <algorithm>

#include "base/aes_cmac.h"
#include "base/sha1.h"
#include "uapi/tcp_auth.h"

namespace ph {
namespace {

aes128::block aes_key(byte_view bytes) {
  aes128::block out{};
  copy_bytes(out, bytes);
  return out;
}

/// RFC 5926 §3.1.1.2: master keys of any length become one of 16 bytes.
aes128::block aes_master(byte_view master) {
  if (master.size() == 16) return aes_key(master);
  aes_cmac mac{aes128::block{}};
  mac.update(master);
  return mac.finish();
}

template <class Mac>
void feed(Mac& mac, const tcp_ao_key& key, u32 sne, byte_view pseudo, byte_view header,
          std::size_t mac_at, const sk_buff& skb, u32 payload_at) {
  mac.update(bytes_of(be32(sne)));
  mac.update(pseudo);
  std::array<u8, 60> copy{};
  const byte_span h = byte_span(copy).first(copy_bytes(copy, header));
  view_as<tcphdr>(h)->check = be16(0);
  std::fill_n(h.begin() + static_cast<std::ptrdiff_t>(mac_at), key.maclen, u8{0});
  if ((key.flags & uapi::tcp_ao_keyf_exclude_opt) != 0) {
    // RFC 5925 §5.1: of the options only this one, from its kind on.
    mac.update(h.first(sizeof(tcphdr)));
    mac.update(h.subspan(mac_at - 4, 4 + std::size_t{key.maclen}));
  } else {
    mac.update(h);
  }
  skb.for_pieces(payload_at, skb.len() - payload_at, [&](byte_view piece) { mac.update(piece); });
}

template <class Mac>
void feed_kdf(Mac& mac, const tcp_ao_context& c, u16 bits) {
  // RFC 5926 §3.1.1: counter, label, context, length of the output in bits.
  mac.update(bytes_of(u8{1}));
  mac.update(bytes_of(std::string_view("TCP-AO")));
  const std::size_t address = c.src.is_ipv4() ? 4 : 16;
  mac.update(byte_view(c.src.bytes).last(address));
  mac.update(byte_view(c.dst.bytes).last(address));
  mac.update(bytes_of(be16(c.sport)));
  mac.update(bytes_of(be16(c.dport)));
  mac.update(bytes_of(be32(c.sisn)));
  mac.update(bytes_of(be32(c.disn)));
  mac.update(bytes_of(be16(bits)));
}

}  // namespace

tcp_traffic_key tcp_ao_derive(const tcp_ao_key& key, const tcp_ao_context& context) {
  tcp_traffic_key out;
  if (key.algorithm == tcp_ao_algorithm::hmac_sha1) {
    hmac_sha1 mac(key.bytes());
    feed_kdf(mac, context, 160);
    out.len = static_cast<u8>(copy_bytes(out.bytes, mac.finish()));
  } else {
    aes_cmac mac(aes_master(key.bytes()));
    feed_kdf(mac, context, 128);
    out.len = static_cast<u8>(copy_bytes(out.bytes, mac.finish()));
  }
  return out;
}

std::array<u8, 20> tcp_ao_mac(const tcp_ao_key& key, const tcp_traffic_key& traffic, u32 sne,
                              byte_view pseudo, byte_view header, std::size_t mac_at,
                              const sk_buff& skb, u32 payload_at) {
  std::array<u8, 20> out{};
  if (key.algorithm == tcp_ao_algorithm::hmac_sha1) {
    hmac_sha1 mac(traffic.view());
    feed(mac, key, sne, pseudo, header, mac_at, skb, payload_at);
    copy_bytes(out, mac.finish());
  } else {
    aes_cmac mac(aes_key(traffic.view()));
    feed(mac, key, sne, pseudo, header, mac_at, skb, payload_at);
    copy_bytes(out, mac.finish());
  }
  return out;
}

tcp_ao_key* tcp_ao_by_rcvid(tcp_ao_state& ao, const inet_addr& peer, ifindex dev, u8 id) {
  for (tcp_ao_key& key : ao.keys) {
    if (key.rcvid == id && key.scope.covers(peer, dev)) return &key;
  }
  return nullptr;
}

const tcp_ao_key* tcp_ao_by_sndid(const tcp_ao_state& ao, const inet_addr& peer, ifindex dev,
                                  u8 id) {
  for (const tcp_ao_key& key : ao.keys) {
    if (key.sndid == id && key.scope.covers(peer, dev)) return &key;
  }
  return nullptr;
}

const tcp_ao_key* tcp_ao_any(const tcp_ao_state& ao, const inet_addr& peer, ifindex dev) {
  const auto found = std::ranges::find_if(
      ao.keys, [&](const tcp_ao_key& key) { return key.scope.covers(peer, dev); });
  return found == ao.keys.end() ? nullptr : &*found;
}

}  // namespace ph
