// How much memory it takes that datagrams and bytes of streams wait for programs in their anchors.
// It is the kernel's, which counts it against the control group of the sender, and that is the
// daemon: a group at its limit loses its largest process. Each socket has its SO_RCVBUF, which a
// program may choose; this bounds the sum. What finds no room waits in the stack, under its limits
// and counters.
//
// Half of all is divided evenly among the hosts, the other half is for whoever comes first.
#pragma once

#include <chrono>
#include <map>

#include "base/intrusive.h"
#include "net/core/sock.h"

namespace ph::dropin {

class anchored_queue;
class host_sockets;

class anchored_memory {
 public:
  /// An eighth of what this process may have (platform/memory_limit.h), among so many hosts.
  explicit anchored_memory(std::size_t hosts);
  /// `pause`: the queues are asked no more often than that.
  anchored_memory(u64 all, std::size_t hosts, std::chrono::milliseconds pause);
  anchored_memory(const anchored_memory&) = delete;
  anchored_memory& operator=(const anchored_memory&) = delete;

 private:
  friend class anchored_queue;
  using clock = std::chrono::steady_clock;
  [[nodiscard]] bool fits(u64 held) const { return held < per_host_ || common_used_ < common_; }
  /// What a host that holds so much has of the half that is for all.
  [[nodiscard]] u64 common_part(u64 held) const { return held > per_host_ ? held - per_host_ : 0; }
  void recount();

  u64 per_host_;
  u64 common_;
  u64 common_used_ = 0;
  std::map<const host_sockets*, u64> hosts_;  ///< what each holds
  intrusive_list<anchored_queue> queues_;
  std::chrono::milliseconds pause_;
  clock::time_point recounted_{};
};

/// What waits for one socket in that sum, as long as this lives.
class anchored_queue : public list_hook<> {
 public:
  anchored_queue(anchored_memory& all, const host_sockets& host, handed_on& queue);
  ~anchored_queue() { set(0); }

  /// False: nothing may be added now to what this host's programs have not read. Nothing tells when
  /// they have.
  bool has_room();
  [[nodiscard]] anchored_memory& all() const { return all_; }
  /// Something was handed on.
  void grew() { set(queue_.most()); }

 private:
  friend class anchored_memory;
  void set(u64 bytes);

  anchored_memory& all_;
  u64& held_;  ///< by the host
  handed_on& queue_;
  u64 bytes_ = 0;
};

/// Bytes in that sum of which nothing tells when they have been read: whoever holds this says how
/// many there are.
class anchored_rest final : private handed_on {
 public:
  anchored_rest(anchored_memory& all, const host_sockets& host) : queue_(all, host, *this) {}
  [[nodiscard]] bool has_room() { return queue_.has_room(); }
  void set(u32 bytes) {
    bytes_ = bytes;
    (void)ask();
    queue_.grew();
  }

 private:
  [[nodiscard]] u32 bytes() const override { return bytes_; }

  u32 bytes_ = 0;
  anchored_queue queue_;
};

}  // namespace ph::dropin
