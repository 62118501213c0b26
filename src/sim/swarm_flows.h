// The programs of the swarm: both sides of a conversation as its plan says, and what came of it.
#pragma once

#include <memory>
#include <vector>

#include "sim/swarm_plan.h"
#include "sim/world.h"

namespace ph::sim {

/// What one side of one connection saw.
struct side_outcome {
  u16 client_port = 0;           ///< tells the connections of a flow apart
  u64 sent = 0;                  ///< bytes that the stack took
  u64 received = 0;              ///< bytes that came, all of them checked
  bool saw_end = false;          ///< the peer's FIN
  bool connected = false;
  bool finished_writing = false;
  bool done = false;
  errc error = errc::ok;         ///< the first that a call returned
  const char* failed_call = "";
  u64 wrong_byte = ~u64{0};      ///< offset of the first byte that was not what the peer sent
};

/// One flow's results, alive as long as its programs.
struct flow_outcome {
  std::vector<std::shared_ptr<side_outcome>> clients, servers;
  bool client_over = false;
};

/// Starts the programs of a flow; `to` is where its server listens, `back` the client's address.
std::shared_ptr<flow_outcome> spawn_flow(world& w, const flow_plan& plan, ipv4_addr to,
                                         ipv4_addr back);

}  // namespace ph::sim
