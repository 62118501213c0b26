// An attacker of the swarm: off the path, but with the right addresses and ports. It overhears
// segments, and sends forged relatives and late copies of them that a host must survive: RFC 5961
// (resets, SYNs and data blindly in the window), RFC 9293 §3.10.7.4 (outside of it), RFC 7323 §5
// (timestamps of another world must not be believed before the rest of the segment is), old
// duplicates. It guesses no number that would pass for genuine: who can do that owns a connection.
#pragma once

#include <deque>
#include <vector>

#include "base/rng.h"
#include "sim/link.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace ph::sim {

class swarm_attack {
 public:
  explicit swarm_attack(u64 seed) : chance_(rng(seed).fork("attack")) {}
  /// A frame is handed to a wire.
  void overhear(link& wire, const link::frame_seen& seen);
  /// Sends one segment to somebody, if there is anything to go by.
  void strike();

 private:
  struct heard {
    link* wire;
    link_end from;
    std::vector<u8> frame;
  };
  void replay(const heard& from);
  void forge(const heard& from);

  rng chance_;
  std::deque<heard> heard_;  ///< the latest segments
};

}  // namespace ph::sim
