// The structures that calls of a script pass: socket addresses and control messages.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/time.h"
#include "sim/packetdrill/script.h"
#include "wire/inet_addr.h"

namespace ph::packetdrill {

/// "{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.1")}" as parts; what it
/// does not say stays as `otherwise`. A bare "AF_UNSPEC" is an address of that family.
struct address {
  u16 family = 0;
  ipv4_addr addr;
  u16 port = 0;
};
address read_address(const expression& e, address otherwise);

/// Compares the control messages of a recvmsg() with "[{cmsg_level=…, cmsg_type=…, cmsg_data=…}]".
/// Times in them are since `start`, and may differ by `tolerance`. Empty when they agree.
std::string control_difference(const expression& want, byte_view control, instant start,
                               duration tolerance);

}  // namespace ph::packetdrill
