// The swarm: each seed is a little network with faults and conversations of its own (swarm_plan),
// run in virtual time and held against what must always be true (checkers, and below). The same
// seed gives the same run, to the byte.
//
// Besides the rules of the wire:
//   bytes      what a program reads is what the other wrote, in order; the end of the stream comes
//              after all of it
//   outcome    an error is one that the plan allows; without faults there is none
//   stuck      every conversation ends, well or with an error, once the faults are over
//   memory     after all is closed no packet, socket, connection or TIME-WAIT entry is left
//   drop       every packet that died had a reason
//   cwnd       a congestion window is between 1 and its clamp; the counts of a connection agree
//              with its queues (tcp_check_invariants)
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernel/kernel.h"
#include "sim/checkers.h"
#include "sim/swarm_plan.h"

namespace ph::sim {

struct swarm_result {
  u64 seed = 0;
  u64 digest = 0;                ///< of everything that crossed a wire and every outcome
  u64 frames = 0;
  instant end{};                 ///< virtual
  u32 connections = 0, failed_connections = 0;
  std::vector<violation> violations;
  std::map<std::string, kernel::sometimes_count> branches;  ///< rare branches (cpu::sometimes)
};

class swarm {
 public:
  swarm();
  /// Runs one seed. What a program throws is a violation, too ("exception").
  swarm_result run(u64 seed);
  [[nodiscard]] swarm_plan plan(u64 seed) const { return draw_swarm_plan(seed, congestion_); }
  /// Runs a seed again: every TCP segment of the connection at fault in its first violation, and of
  /// those between the same ports, a line each; those that were lost on the way, too.
  std::vector<std::string> dialogue(u64 seed);
  /// Runs a seed again, watching every packet: the story of the packet behind its first violation
  /// (or of the last packet before it), a line per event. Empty: nothing is wrong.
  std::vector<std::string> journey(u64 seed);

 private:
  std::vector<std::string> congestion_;  ///< what a host knows
};

}  // namespace ph::sim
