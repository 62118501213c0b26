// Signed segments: the keys of a socket, how what leaves is signed and what arrives is judged. The
// two kinds of signature are in tcp_md5 (RFC 2385) and tcp_ao (RFC 5925).
//
// A signature covers one segment as it is on the wire, so signed connections send no super-packets.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "net/inet/inet_protocol.h"
#include "net/tcp/tcp_sock.h"

namespace ph {

struct tcp_request;

/// Whose segments a key is for: peers that share the first bits of an address.
struct tcp_key_scope {
  inet_addr peer;
  u8 prefix = 128;        ///< bits of the 16-byte form
  ifindex dev{};          ///< only over that device; none: all
  [[nodiscard]] bool covers(const inet_addr& addr, ifindex over) const;
  friend bool operator==(const tcp_key_scope&, const tcp_key_scope&) = default;
};

struct tcp_md5_key {
  tcp_key_scope scope;
  u8 len = 0;
  std::array<u8, 80> key{};
  [[nodiscard]] byte_view bytes() const { return byte_view(key).first(len); }
};

enum class tcp_ao_algorithm : u8 { hmac_sha1, cmac_aes128 };

/// A master key tuple (RFC 5925 §3.1).
struct tcp_ao_key {
  tcp_key_scope scope;
  u8 sndid = 0, rcvid = 0;
  u8 maclen = 12;
  u8 flags = 0;           ///< uapi::tcp_ao_keyf_*
  tcp_ao_algorithm algorithm = tcp_ao_algorithm::hmac_sha1;
  u8 len = 0;
  std::array<u8, 80> key{};
  u64 good = 0, bad = 0;  ///< segments that it judged
  [[nodiscard]] byte_view bytes() const { return byte_view(key).first(len); }
};

/// RFC 5925 §6.2: how often the sequence numbers of one direction have wrapped.
class tcp_sne {
 public:
  void start(seq32 isn) { resume(isn, 0); }
  /// As TCP_AO_REPAIR says.
  void resume(seq32 last, u32 wraps) {
    last_ = last;
    wraps_ = wraps;
  }
  /// The extension of a number near those seen before.
  [[nodiscard]] u32 of(seq32 seq) const { return static_cast<u32>(extended(seq) >> 32); }
  /// A number was used or verified.
  void note(seq32 seq) {
    if (seq <= last_) return;
    wraps_ = of(seq);
    last_ = seq;
  }

 private:
  [[nodiscard]] u64 extended(seq32 seq) const {
    return (u64{wraps_} << 32 | last_.raw) + static_cast<u64>(s64{seq - last_});
  }
  seq32 last_;
  u32 wraps_ = 0;
};

/// TCP-AO of a socket.
struct tcp_ao_state {
  std::vector<tcp_ao_key> keys;
  std::optional<u8> current;  ///< SendID of the key that signs
  std::optional<u8> rnext;    ///< RecvID of the key that the peer shall use
  bool required = false;
  bool accept_icmps = false;
  tcp_sne snd, rcv;
  u64 good = 0, bad = 0, key_not_found = 0, missing = 0, dropped_icmps = 0;
};

/// What a key counts for against net.core.optmem_max: as on Linux, where 963 MD5 keys fit.
inline constexpr u32 tcp_md5_key_cost = 136;
inline constexpr u32 tcp_ao_key_cost = 256;

struct tcp_auth {
  std::vector<tcp_md5_key> md5;
  tcp_ao_state ao;
};

/// A key of one connection and direction (RFC 5925 §5.2).
struct tcp_traffic_key {
  u8 len = 0;
  std::array<u8, 20> bytes{};
  [[nodiscard]] byte_view view() const { return byte_view(bytes).first(len); }
};

/// How one segment is signed; used at once, the keys belong to the socket.
struct tcp_signer {
  const tcp_md5_key* md5 = nullptr;
  const tcp_ao_key* ao = nullptr;
  tcp_traffic_key traffic;
  u32 sne = 0;
  u8 keyid = 0, rnextkeyid = 0;
};

/// The ends of a connection as keys need them. Local is ours.
struct tcp_auth_ends {
  inet_tuple tuple;
  ifindex dev{};
  seq32 local_isn, remote_isn;
  bool isns_known = true;     ///< else the segment's own numbers tell
  bool wraps_known = false;   ///< a connection, which has counted them
};
tcp_auth_ends tcp_ends_of(const tcp_sock& tp);

/// The signer of a segment of a socket, of an answer of a half-open connection or of TIME-WAIT.
tcp_signer tcp_signer_of(tcp_sock& tp, seq32 seq, u8 flags);
tcp_signer tcp_signer_of(const tcp_request& req, seq32 seq);
tcp_signer tcp_signer_for(const tcp_auth* auth, const tcp_auth_ends& ends, seq32 seq);
/// Reserves the option.
void tcp_sign_options(const tcp_signer& signer, tcp_out_options& options);
/// Fills the option of a segment whose header is at data.
void tcp_sign(const tcp_signer& signer, sk_buff& skb, const inet_addr& saddr,
              const inet_addr& daddr);
/// Bytes of the option on each segment of a connection; 0: not signed.
u32 tcp_auth_option_bytes(const tcp_sock& tp);
/// The same for a peer of a listener.
u32 tcp_auth_option_bytes(const tcp_auth* auth, const inet_addr& peer, ifindex dev);

/// Judges a segment (payload at data, header before it). none: go on.
skb_drop_reason tcp_auth_inbound(tcp_auth* auth, const tcp_auth_ends& ends, const sk_buff& skb,
                                 const tcp_seg& seg);

/// A SYN was accepted: which keys its sender named.
void tcp_auth_note_syn(tcp_request& req, const tcp_seg& seg);
/// A child has the keys of its listener that are for its peer.
void tcp_auth_inherit(tcp_sock& child, const tcp_request& req);
/// The connection begins: wraps are counted from its first numbers.
void tcp_auth_start(tcp_sock& tp);
/// An ICMP error of a kind that signed connections do not believe.
bool tcp_auth_ignores_icmp(const tcp_sock& tp, const icmp_error& error);

/// TCP_MD5SIG, TCP_MD5SIG_EXT, TCP_AO_*. Errors: inval, noent, exist, keyrejected, nokey.
result<void> tcp_auth_setsockopt(tcp_sock& tp, int name, byte_view value);
result<std::size_t> tcp_auth_getsockopt(tcp_sock& tp, int name, byte_span out);

}  // namespace ph
