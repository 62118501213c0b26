// Where two systems may differ in when they acknowledge (RFC 9293 §3.8.6.3 leaves a receiver half a
// second and every second segment), a lenient run keeps books instead of expecting one packet at
// one time: what was acknowledged too early for the script, and what has still to be.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "sim/packetdrill/script.h"

namespace ph::packetdrill {

class ack_ledger {
 public:
  /// RFC 9293 §3.8.6.3: "an ACK … MUST be sent within 0.5 seconds".
  static constexpr duration longest_delay = milliseconds(500);

  /// A segment arrives: its acknowledgement may not exceed what it brought.
  void injected(const packet_spec& spec);
  /// The host sent this (in the script's numbers), and this is how the script expected it.
  void matched(const packet_spec& expected, const packet_spec& live);
  /// May the script go past this packet, which it did not expect? Only a pure acknowledgement of
  /// something that was not acknowledged before; it is noted.
  bool pass_over(const packet_spec& live);
  /// An expected pure acknowledgement that was passed over before; it can be had once.
  bool came_earlier(const packet_spec& expected);
  /// An expected pure acknowledgement of something new may come later, alone or with other things:
  /// notes the debt.
  bool may_come_later(const packet_spec& expected, instant now);
  /// An expected packet that could only tell of a wider window, which a lenient run ignores: ours
  /// may have been wide enough all the time.
  [[nodiscard]] bool only_widens(const packet_spec& expected) const;
  /// The script's receive buffer is this wide, though without scaling it cannot announce that:
  /// FreeBSD rounds it up to segments once a connection is established, and before that not.
  void buffer_is(u32 bytes) { buffer_ = bytes > (1u << 16) ? bytes : 0; }
  /// Where in our window an arriving segment stands that the script puts into the part of its
  /// window that was not announced: at our last number. Others stay where they are.
  [[nodiscard]] u32 place(const packet_spec& spec) const;
  /// Ends the debt if this packet, sent but not expected so far, pays it.
  void settle(const packet_spec& live);
  /// When the oldest debt is due; `never` if there is none.
  [[nodiscard]] instant due() const { return owed_ ? owed_->second : never; }
  /// What is owed, for a message.
  [[nodiscard]] std::string owed() const;

 private:
  void sent(const packet_spec& live);
  [[nodiscard]] bool fresh(u32 ack) const;
  std::optional<u32> acked_;                       ///< the highest number acknowledged
  std::optional<u32> peer_end_;                    ///< behind all that the peer sent
  std::optional<std::pair<u32, instant>> owed_;    ///< what must be acknowledged, and until when
  std::optional<u16> expected_window_, window_;    ///< last ones: the script's, ours
  u32 buffer_ = 0;
  std::vector<u32> passed_;                        ///< acknowledgements passed over, unclaimed
};

/// Neither data nor any flag but ACK.
bool is_pure_ack(const packet_spec& spec);

}  // namespace ph::packetdrill
