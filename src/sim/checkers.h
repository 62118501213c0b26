// Passive checkers of TCP: they watch the frames that hosts send and get, at both ends of every
// wire, and know only what lies in them. For each end of each connection they keep what that host
// can know by now, and hold its next segment against the rules:
//
//   checksum   what a host sends has right IP and TCP checksums (RFC 9293 §3.1)
//   ack        it acknowledges nothing that did not arrive (§3.10.7.4), and never less than before
//   window     no data beyond the right edge that the peer offered (§3.8.6)
//   shrink     the right edge that it offers does not move to the left (§3.8.6)
//   sequence   no gap after what it sent before; nothing after its FIN (§3.4, §3.10.4)
//   mss        payload and options fit the peer's MSS option (§3.7.1)
//   option     SACK and timestamps only as agreed, timestamps always if agreed, and not running
//              back (RFC 7323 §3.2, RFC 2018 §2)
//   sack       SACK blocks cover only bytes that arrived (RFC 2018 §4, RFC 2883)
//   bare       the number of a segment without data lies in the window that its sender knows, so
//              that the peer takes it (§3.10.7.4)
//   probe      a closed window is probed by the timer alone: neither as an answer to what arrives
//              nor twice within a millisecond (§3.8.6.1); a silent peer after whole seconds
//
// What arrives with numbers that RFC 9293 §3.10.7.4 and RFC 5961 §5.2 tell a host to refuse (an
// attacker's) counts for nothing.
//
// They do not check timing, congestion control or what the programs get; resets are passed over.
// A checker that knows less than the host (a frame it delivered may still be dropped there) is
// lenient, never wrong. Fragments and IPv6 are not looked at.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include "base/hash.h"
#include "base/seq.h"
#include "sim/link.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace ph::sim {

/// A rule was broken.
struct violation {
  instant when;
  std::string rule;     ///< "window"
  std::string where;    ///< host and addresses
  std::string what;     ///< one sentence
  u64 journey = 0;      ///< of the packet at fault; 0: none, or nobody watches
  u16 port = 0, peer_port = 0;  ///< of the connection; 0: of none
};
using violation_report = std::function<void(violation)>;

/// The bytes of a stream that arrived, by sequence number relative to its begin.
class arrived_bytes {
 public:
  void add(u32 from, u32 to);
  /// All before this have arrived.
  [[nodiscard]] u32 contiguous() const { return contiguous_; }
  [[nodiscard]] bool covers(u32 from, u32 to) const;

 private:
  u32 contiguous_ = 0;
  std::map<u32, u32> beyond_;  ///< begin and end of what arrived out of order
};

/// One end of one connection, as seen from its wire.
class tcp_end_checker {
 public:
  struct fault {
    const char* rule;
    std::string what;
  };
  /// A segment arrives. `header`: its parsed form with `payload` bytes behind it.
  void received(instant when, const tcp_segment& seg, u32 payload);
  /// The host sends a segment; the first rule that it breaks, if any. `whole`: it goes out as it
  /// is, so sizes mean something.
  std::optional<fault> sent(instant when, const tcp_segment& seg, u32 payload, bool whole);
  /// Segments before this one may have died inside the host, before the wire. A reset tells
  /// nothing: it has the number that the segment which it answers asks for (RFC 9293 §3.10.7.1).
  void forgive_gap_before(const tcp_segment& seg) {
    if (known_ && !seg.rst()) snd_max_ = seq_max(snd_max_, seg.seq);
  }
  /// What this end sends now may have been made earlier, and its probes further apart.
  void forgive_late_probes() { last_probe_ = instant{-1}; }

 private:
  struct offer {
    u16 mss = 536;
    u8 wscale = 0;
    bool wscale_ok = false, sack_ok = false, tstamp = false;
  };
  static offer offer_of(const tcp_options_received& options);
  void opened(const tcp_segment& seg, const tcp_options_received& options);
  void adopt_peer(seq32 irs);
  std::optional<fault> check_ack(const tcp_segment& seg) const;
  std::optional<fault> check_sequence(const tcp_segment& seg, u32 payload);
  std::optional<fault> check_sizes(const tcp_segment& seg, u32 payload) const;
  std::optional<fault> check_options(const tcp_segment& seg, const tcp_options_received& options);
  std::optional<fault> check_sacks(const tcp_segment& seg,
                                   const tcp_options_received& options) const;
  std::optional<fault> check_offered_edge(const tcp_segment& seg);
  [[nodiscard]] bool believable(const tcp_segment& seg) const;
  [[nodiscard]] bool keepalive_due(instant when) const;
  std::optional<fault> check_bare(instant when, const tcp_segment& seg);

  bool known_ = false;                 ///< this end sent a SYN
  bool peer_known_ = false;
  seq32 iss_, irs_;
  seq32 snd_max_;                      ///< after the last number it sent
  seq32 syn_end_;                      ///< after the data of its SYNs
  std::optional<seq32> fin_end_;
  seq32 send_edge_;                    ///< right edge that the peer offered
  std::optional<seq32> last_ack_, offered_edge_;
  std::optional<u32> last_tsval_;
  offer ours_, theirs_;
  bool peer_syn_seen_ = false;         ///< theirs_ holds the peer's offer
  arrived_bytes arrived_;
  std::optional<seq32> peer_ack_;      ///< the highest that arrived
  instant last_arrival_{-1}, last_probe_{-1};
  instant earlier_arrival_{-1};        ///< the last one at another instant than last_arrival_
  struct syn {
    offer options;
    u32 payload = 0;
    u16 window = 0;
  };
  std::map<u32, syn> syns_;            ///< SYNs that arrived, by their numbers
};

/// Watches every wire of a world.
class wire_checker {
 public:
  explicit wire_checker(violation_report report) : report_(std::move(report)) {}
  /// The host has the address. Tell all of them, then attach the links.
  void owns(std::string host_name, ipv4_addr addr) { owners_[addr.value()] = std::move(host_name); }
  /// `offload`: super-packets without checksums cross it. `verify`: bits may turn on the way.
  void attach(link& wire, bool offload, bool verify);
  /// Tells whether a host threw packets away on their way out, which no wire shows.
  void set_lost_inside(std::function<bool(const std::string& host)> lost) {
    lost_inside_ = std::move(lost);
  }
  /// A number that two runs of the same seed share: of all frames sent, their times and headers.
  [[nodiscard]] u64 digest() const { return digest_; }
  /// Also told of each frame that a host hands to a wire.
  using witness = std::function<void(link& wire, const link::frame_seen&)>;
  void set_witness(witness w) { witness_ = std::move(w); }
  [[nodiscard]] u64 frames() const { return frames_; }

 private:
  struct frame;
  using key = std::tuple<u32, u32, u32>;  ///< own and other address, ports
  std::optional<frame> parse(const link::frame_seen& seen) const;
  void on_sent(const link::frame_seen& seen, link_end from, const std::string& host, bool offload);
  void on_arrival(const link::frame_seen& seen, const std::string& host, mac_addr mac, bool verify);
  void absorb(u64 word) { digest_ = mix64(digest_ + word); }

  violation_report report_;
  std::function<bool(const std::string&)> lost_inside_;
  witness witness_;
  std::map<u32, std::string> owners_;
  std::map<std::string, instant> resolved_;  ///< by host: when the last ARP packet arrived
  std::map<key, tcp_end_checker> ends_;
  u64 digest_ = 0;
  u64 frames_ = 0;
};

}  // namespace ph::sim
