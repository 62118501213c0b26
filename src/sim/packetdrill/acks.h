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
  /// The host sent this (in the script's numbers) and the script expected it.
  void sent(const packet_spec& live);
  /// May the script go past this packet, which it did not expect? Only a pure acknowledgement of
  /// something that was not acknowledged before; it is noted.
  bool pass_over(const packet_spec& live);
  /// An expected pure acknowledgement that was passed over before; it can be had once.
  bool came_earlier(const packet_spec& expected);
  /// An expected pure acknowledgement of something new may come later, alone or with other things:
  /// notes the debt.
  bool may_come_later(const packet_spec& expected, instant now);
  /// Ends the debt if this packet, sent but not expected so far, pays it.
  void settle(const packet_spec& live);
  /// When the oldest debt is due; `never` if there is none.
  [[nodiscard]] instant due() const { return owed_ ? owed_->second : never; }
  /// What is owed, for a message.
  [[nodiscard]] std::string owed() const;

 private:
  [[nodiscard]] bool fresh(u32 ack) const;
  std::optional<u32> acked_;                       ///< the highest number acknowledged
  std::optional<u32> peer_end_;                    ///< behind all that the peer sent
  std::optional<std::pair<u32, instant>> owed_;    ///< what must be acknowledged, and until when
  std::vector<u32> passed_;                        ///< acknowledgements passed over, unclaimed
};

/// Neither data nor any flag but ACK.
bool is_pure_ack(const packet_spec& spec);

}  // namespace ph::packetdrill
