// The TCP header and its options (RFC 9293 §3.1; window scale and timestamps: RFC 7323;
// SACK: RFC 2018; Fast Open: RFC 7413; MD5: RFC 2385).
//
//   0               8               16                             31
//   |            source             |             dest              |
//   |                              seq                              |
//   |                            ack_seq                            |
//   | doff  | res |A|C|E|U|A|P|R|S|F|            window             |
//   |             check             |            urg_ptr            |
//   |                   options, 0 to 40 bytes                      |
//
// Does not know: connections. Whether an option is wanted is decided by net/tcp.
#pragma once

#include "base/result.h"
#include "base/seq.h"
#include "uapi/inet.h"
#include "wire/checksum.h"

namespace ph {

// Flag bits of the octet after the data offset.
inline constexpr u8 tcphdr_fin = 0x01;
inline constexpr u8 tcphdr_syn = 0x02;
inline constexpr u8 tcphdr_rst = 0x04;
inline constexpr u8 tcphdr_psh = 0x08;
inline constexpr u8 tcphdr_ack = 0x10;
inline constexpr u8 tcphdr_urg = 0x20;
inline constexpr u8 tcphdr_ece = 0x40;
inline constexpr u8 tcphdr_cwr = 0x80;

struct tcphdr {
  be16 source;
  be16 dest;
  be32 seq;
  be32 ack_seq;
  u8 doff_res = 0;  ///< data offset (4 bits), reserved (3), AE (1)
  u8 flags = 0;     ///< tcphdr_* bits
  be16 window;
  be16 check;
  be16 urg_ptr;

  /// Header length in 32-bit words, as on the wire.
  [[nodiscard]] constexpr unsigned doff() const { return doff_res >> 4; }
  [[nodiscard]] constexpr std::size_t header_bytes() const { return std::size_t{doff()} * 4; }
  /// A header of `bytes` (a multiple of 4, 20 to 60); clears the reserved bits.
  constexpr void set_header_bytes(std::size_t bytes) { doff_res = static_cast<u8>(bytes << 2); }
  [[nodiscard]] constexpr bool fin() const { return (flags & tcphdr_fin) != 0; }
  [[nodiscard]] constexpr bool syn() const { return (flags & tcphdr_syn) != 0; }
  [[nodiscard]] constexpr bool rst() const { return (flags & tcphdr_rst) != 0; }
  [[nodiscard]] constexpr bool psh() const { return (flags & tcphdr_psh) != 0; }
  [[nodiscard]] constexpr bool ack() const { return (flags & tcphdr_ack) != 0; }
  [[nodiscard]] constexpr bool urg() const { return (flags & tcphdr_urg) != 0; }
  [[nodiscard]] constexpr bool ece() const { return (flags & tcphdr_ece) != 0; }
  [[nodiscard]] constexpr bool cwr() const { return (flags & tcphdr_cwr) != 0; }
  /// Accurate ECN (RFC 9768), once the nonce sum.
  [[nodiscard]] constexpr bool ae() const { return (doff_res & 1) != 0; }
};
static_assert(sizeof(tcphdr) == 20 && overlay<tcphdr>);

// Option kinds and lengths (IANA).
inline constexpr u8 tcpopt_eol = 0;
inline constexpr u8 tcpopt_nop = 1;
inline constexpr u8 tcpopt_mss = 2;
inline constexpr u8 tcpopt_window = 3;
inline constexpr u8 tcpopt_sack_perm = 4;
inline constexpr u8 tcpopt_sack = 5;
inline constexpr u8 tcpopt_timestamp = 8;
inline constexpr u8 tcpopt_md5sig = 19;
inline constexpr u8 tcpopt_ao = 29;       ///< RFC 5925
inline constexpr u8 tcpopt_fastopen = 34;
inline constexpr u8 tcpopt_accecn0 = 172;  ///< RFC 9768: ECT(0) first
inline constexpr u8 tcpopt_accecn1 = 174;  ///< ECT(1) first
inline constexpr u8 tcpopt_exp = 254;  ///< shared experimental kind (RFC 6994)
inline constexpr u16 tcpopt_fastopen_magic = 0xf989;

inline constexpr std::size_t tcp_max_option_space = 40;
inline constexpr std::size_t tcp_max_sacks = 4;
inline constexpr std::size_t tcpolen_mss = 4;
inline constexpr std::size_t tcpolen_window = 3;
inline constexpr std::size_t tcpolen_sack_perm = 2;
inline constexpr std::size_t tcpolen_timestamp = 10;
inline constexpr std::size_t tcpolen_md5sig = 18;
inline constexpr std::size_t tcpolen_tstamp_aligned = 12;  ///< NOP NOP TS
inline constexpr std::size_t tcpolen_sack_base_aligned = 4;
inline constexpr std::size_t tcpolen_sack_perblock = 8;
inline constexpr std::size_t tcpolen_accecn_base = 2;
inline constexpr std::size_t tcpolen_accecn_perfield = 3;

/// Bytes from start_seq to end_seq (exclusive) have arrived.
struct tcp_sack_block {
  seq32 start_seq;
  seq32 end_seq;
  friend constexpr bool operator==(const tcp_sack_block&, const tcp_sack_block&) = default;
};

/// A Fast Open cookie (RFC 7413 §4.1.1): 4 to 16 bytes; 0 bytes ask for one.
struct tcp_fastopen_cookie {
  s8 len = -1;              ///< -1: the option is absent
  bool exp = false;         ///< in the experimental form (kind 254)
  std::array<u8, 16> val{};
  [[nodiscard]] bool present() const { return len >= 0; }
  [[nodiscard]] byte_view bytes() const {
    return byte_view(val).first(len > 0 ? static_cast<std::size_t>(len) : 0);
  }
  friend bool operator==(const tcp_fastopen_cookie&, const tcp_fastopen_cookie&) = default;
};

/// The Accurate ECN option (RFC 9768 §3.2.3): byte counters modulo 2^24, as many as fit.
struct tcp_accecn_option {
  bool present = false;
  u8 fields = 0;            ///< 0 to 3, in the order of `ect1_first`
  bool ect1_first = false;  ///< EE1B, ECEB, EE0B (kind 174), else EE0B, ECEB, EE1B (kind 172)
  u32 e0b = 0, ceb = 0, e1b = 0;
  [[nodiscard]] bool has_ceb() const { return present && fields >= 2; }
  [[nodiscard]] bool has_e0b() const { return present && fields >= (ect1_first ? 3 : 1); }
  [[nodiscard]] bool has_e1b() const { return present && fields >= (ect1_first ? 1 : 3); }
  friend bool operator==(const tcp_accecn_option&, const tcp_accecn_option&) = default;
};

/// The options of one segment in host order.
struct tcp_options_received {
  u16 mss = 0;             ///< 0: absent (an MSS of zero counts as absent)
  bool wscale_ok = false;  ///< window scale present
  u8 snd_wscale = 0;       ///< limited to 14 (RFC 7323 §2.3)
  bool sack_ok = false;    ///< SACK permitted present
  bool saw_tstamp = false;
  u32 rcv_tsval = 0;
  u32 rcv_tsecr = 0;
  u8 num_sacks = 0;
  std::array<tcp_sack_block, tcp_max_sacks> sacks{};
  u8 md5_offset = 0;  ///< where the 16 digest bytes begin, from the header's first byte; 0: absent
  u8 ao_offset = 0;   ///< where KeyID, RNextKeyID and MAC begin, likewise
  u8 ao_bytes = 0;    ///< of all three
  tcp_accecn_option accecn;
  tcp_fastopen_cookie fastopen;
  friend bool operator==(const tcp_options_received&, const tcp_options_received&) = default;
};

/// One option as it lies in the header.
struct tcp_option {
  u8 kind = 0;
  byte_view data;      ///< after kind and length; empty for NOP
  std::size_t at = 0;  ///< where data begin, from the header's first byte
};

/// Walks the option bytes of a segment, NOPs included, until EOL or the end. A length octet below
/// 2 or beyond the header ends the walk (RFC 9293 §3.1, MUST-7) and is remembered.
class tcp_option_reader {
 public:
  explicit tcp_option_reader(byte_view options) : options_(options) {}
  /// The next option; false at the end.
  bool next(tcp_option& out) {
    if (at_ >= options_.size() || options_[at_] == tcpopt_eol) return false;
    const u8 kind = options_[at_];
    const std::size_t rest = options_.size() - at_;
    std::size_t length = 1;
    if (kind != tcpopt_nop) {
      length = rest < 2 ? 0 : options_[at_ + 1];
      malformed_ = length < 2 || length > rest;
      if (malformed_) return false;
    }
    const std::size_t head = kind == tcpopt_nop ? 1 : 2;
    out = {kind, options_.subspan(at_ + head, length - head), sizeof(tcphdr) + at_ + head};
    at_ += length;
    return true;
  }
  [[nodiscard]] bool malformed() const { return malformed_; }

 private:
  byte_view options_;
  std::size_t at_ = 0;
  bool malformed_ = false;
};

/// Reads the option bytes of a segment. `syn`: options that only mean something on SYN segments
/// (MSS, window scale, SACK permitted, Fast Open) are read; elsewhere they are passed over.
/// Options of unknown kind or wrong length are passed over by their length octet; a length below
/// 2 or beyond the header ends the reading, and what was read before stays.
tcp_options_received tcp_parse_options(byte_view options, bool syn);

/// HOT: true when the options begin with the recommended NOP NOP TS (RFC 7323 appendix A) and
/// hold nothing else; then the timestamps are stored.
inline bool tcp_parse_aligned_timestamp(byte_view options, u32& tsval, u32& tsecr) {
  constexpr u32 nop_nop_ts = (u32{tcpopt_nop} << 24) | (u32{tcpopt_nop} << 16) |
                             (u32{tcpopt_timestamp} << 8) | tcpolen_timestamp;
  if (options.size() != tcpolen_tstamp_aligned) return false;
  const auto& words = *view_as<std::array<be32, 3>>(options);
  if (words[0].value() != nop_nop_ts) return false;
  tsval = words[1].value();
  tsecr = words[2].value();
  return true;
}

/// The options to send with one segment.
struct tcp_out_options {
  u16 mss = 0;                  ///< 0: none
  bool wscale_ok = false;
  u8 wscale = 0;
  bool sack_permitted = false;
  bool timestamps = false;
  u32 tsval = 0;
  u32 tsecr = 0;
  u8 num_sacks = 0;
  std::array<tcp_sack_block, tcp_max_sacks> sacks{};
  tcp_fastopen_cookie fastopen;
  bool md5 = false;             ///< room for a digest (zeros), to be filled by the caller
  u8 ao_mac_bytes = 0;          ///< room for a MAC behind both identifiers; 0: no TCP-AO
  u8 ao_keyid = 0, ao_rnextkeyid = 0;
  tcp_accecn_option accecn;
};

/// The bytes that tcp_options_write will take: a multiple of 4.
std::size_t tcp_options_size(const tcp_out_options& options);

/// Writes the options in the order and with the padding that Linux uses:
/// MD5 or AO · MSS · SACK permitted with TS, or NOP NOP TS · AccECN (padded behind) ·
/// NOP NOP SACK permitted without TS · NOP WS · NOP NOP SACK · Fast Open (padded behind). Returns
/// the bytes; `to` must have room for tcp_options_size().
std::size_t tcp_options_write(byte_span to, const tcp_out_options& options);

/// A segment in host order.
struct tcp_segment {
  u16 source = 0;
  u16 dest = 0;
  seq32 seq;
  seq32 ack_seq;
  u8 flags = 0;  ///< tcphdr_* bits
  bool ae = false;
  u16 window = 0;  ///< as on the wire, unscaled
  u16 urg_ptr = 0;
  byte_view options;
  byte_view payload;

  [[nodiscard]] bool fin() const { return (flags & tcphdr_fin) != 0; }
  [[nodiscard]] bool syn() const { return (flags & tcphdr_syn) != 0; }
  [[nodiscard]] bool rst() const { return (flags & tcphdr_rst) != 0; }
  [[nodiscard]] bool ack() const { return (flags & tcphdr_ack) != 0; }
  /// Sequence numbers it takes: payload, SYN and FIN count (RFC 9293 §3.4, SEG.LEN).
  [[nodiscard]] u32 seq_len() const {
    return static_cast<u32>(payload.size()) + (syn() ? 1u : 0u) + (fin() ? 1u : 0u);
  }
  /// The sequence number after it.
  [[nodiscard]] seq32 end_seq() const { return seq + seq_len(); }
};

struct tcp_view {
  const tcphdr* th = nullptr;
  byte_view bytes;  ///< header and payload
  byte_view options;
  byte_view payload;

  /// errc::badmsg: header incomplete or data offset impossible.
  static result<tcp_view> parse(byte_view bytes) {
    const tcphdr* th = view_as<tcphdr>(bytes);
    if (th == nullptr) return fail(errc::badmsg);
    const std::size_t header = th->header_bytes();
    if (header < sizeof(tcphdr) || header > bytes.size()) return fail(errc::badmsg);
    return tcp_view{th, bytes, bytes.subspan(sizeof(tcphdr), header - sizeof(tcphdr)),
                    bytes.subspan(header)};
  }
  [[nodiscard]] bool checksum_ok(ipv4_addr saddr, ipv4_addr daddr) const {
    const auto pseudo =
        csum_pseudo_ipv4(saddr, daddr, uapi::ipproto_tcp, static_cast<u16>(bytes.size()));
    return csum_ok(csum_add_bytes(bytes, pseudo));
  }
  [[nodiscard]] tcp_segment segment() const {
    return {th->source.value(), th->dest.value(), seq32(th->seq.value()),
            seq32(th->ack_seq.value()), th->flags, th->ae(), th->window.value(),
            th->urg_ptr.value(), options, payload};
  }
};

/// Writes header, options (padded with EOL to a multiple of 4), payload and checksum; returns the
/// bytes, 0 when `to` is too short or the options too long.
std::size_t emit(byte_span to, const tcp_segment& segment, ipv4_addr saddr, ipv4_addr daddr);

}  // namespace ph
