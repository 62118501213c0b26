// What all datagram clients of a daemon share.
#pragma once

#include "daemon/anchored_memory.h"
#include "daemon/datagram_end.h"
#include "daemon/datagram_tags.h"
#include "daemon/in_flight_budget.h"

namespace ph::dropin {

/// The longest payload of an IP packet; a program may write more to an anchor.
inline constexpr std::size_t max_datagram_payload = 65535;

struct datagram_shared {
  explicit datagram_shared(std::size_t hosts) : memory(hosts) {}

  closed_door door;
  datagram_tags tags;
  in_flight_budget in_flight;
  anchored_memory memory;
  /// Room for the datagram on its way; nobody keeps anything in it.
  std::vector<u8> buffer = std::vector<u8>(max_datagram_payload);
};

}  // namespace ph::dropin
