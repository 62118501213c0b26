// Which local ports are taken, and the choice of ephemeral ones (RFC 6056). Shared by TCP and UDP,
// each with a table of its own.
#pragma once

#include <map>
#include <vector>

#include "net/inet/inet_sock.h"

namespace ph {

/// May `sk` share a port with `other`, both wanting overlapping addresses? The protocol decides
/// (TCP: SO_REUSEADDR and no listener; UDP: both SO_REUSEADDR; both: SO_REUSEPORT and same uid).
using port_share_fn = bool (*)(const inet_sock& sk, const inet_sock& other);

class inet_ports {
 public:
  /// Takes `port` for sk on sk.rcv_saddr. Errors: addrinuse.
  result<void> bind(inet_sock& sk, port_no port, port_share_fn may_share);
  /// Takes a free port of the range (sk's own IP_LOCAL_PORT_RANGE or [low, high]), starting at a
  /// random place; `usable(port)` may refuse (four-tuple in use, wrong cpu). Errors:
  /// addrinuse when all are taken (addrnotavail is connect's business).
  result<port_no> bind_ephemeral(inet_sock& sk, u16 low, u16 high, rng& random,
                                 port_share_fn may_share, inline_fn<bool(port_no)> usable);
  /// Adds another socket to the port of one that has it (accept; a connection's children).
  void inherit(inet_sock& child, port_no port);
  void release(inet_sock& sk);
  [[nodiscard]] bool in_use(port_no port) const { return owners_.contains(port); }
  [[nodiscard]] const std::vector<inet_sock*>* owners(port_no port) const;

 private:
  std::map<port_no, std::vector<inet_sock*>> owners_;
};

}  // namespace ph
