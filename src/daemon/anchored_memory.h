// How much memory the datagrams take that wait for programs in their anchors. It is the kernel's,
// which counts it against the control group of the sender, and that is the daemon: a group at its
// limit loses its largest process. Each socket has its SO_RCVBUF, which a program may choose; this
// bounds the sum. What finds no room waits in the stack, under its limits and counters.
//
// Half of all is divided evenly among the hosts, the other half is for whoever comes first.
#pragma once

#include <chrono>
#include <map>

#include "net/core/sock.h"

namespace ph::dropin {

class host_sockets;

class anchored_memory {
 public:
  /// An eighth of what this process may have (platform/memory_limit.h), among so many hosts.
  explicit anchored_memory(std::size_t hosts);
  anchored_memory(u64 all, std::size_t hosts);

  /// False: nothing may be added now to what this host's programs have not read. Nothing tells when
  /// they have.
  bool has_room(const host_sockets& host);
  /// A datagram of this host's was handed on.
  void grew(const host_sockets& host, handed_on& queue);
  /// The queue ends.
  void forget(handed_on& queue);

 private:
  struct share {
    const host_sockets* host = nullptr;
    u64 bytes = 0;
  };
  using clock = std::chrono::steady_clock;
  [[nodiscard]] bool fits(const host_sockets& host) const;
  /// What a host that holds so much has of the half that is for all.
  [[nodiscard]] u64 common_part(u64 held) const { return held > per_host_ ? held - per_host_ : 0; }
  void set(share& of, u64 bytes);
  void recount();

  u64 per_host_;
  u64 common_;
  u64 common_used_ = 0;
  std::map<handed_on*, share> queues_;
  std::map<const host_sockets*, u64> hosts_;
  clock::time_point recounted_{};
};

}  // namespace ph::dropin
