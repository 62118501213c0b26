// One capture: what passes some devices of the lab, as pcapng, into an AF_UNIX stream whose other
// end a client has. The daemon made both ends and only ever sends: that waits for no lock which a
// reader can hold, as a write to a pipe does. What does not fit in the buffer is left out and
// counted.
#pragma once

#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "base/time.h"
#include "daemon/memory_reserve.h"
#include "kernel/pcapng_writer.h"
#include "net/core/net_namespace.h"
#include "platform/unique_fd.h"

namespace ph {

/// A device to listen at, under the name that the file gives it ("alice:eth0").
struct capture_place {
  net_device* dev;
  std::string name;
};

struct capture_limits {
  u32 snaplen = 0;  ///< bytes kept of each packet; 0: all
  u64 packets = 0;  ///< end after so many; 0: until told
};

/// What all captures of a daemon may keep for readers that are slow.
struct capture_budget {
  std::size_t all = 64 << 20;
  std::size_t used = 0;
  const memory_reserve* reserve = nullptr;  ///< without memory nothing is kept
  /// A capture that keeps `own` bytes may keep more: each may have as much as all leave free, so
  /// however many stall, there is room for one that does not.
  [[nodiscard]] bool lets_grow(std::size_t own) const {
    return own + used < all && (reserve == nullptr || !reserve->low());
  }
};

class capture final : private pcapng_output {
 public:
  /// Starts. `out`: an AF_UNIX stream. `epoch`: the wall-clock time at which the lab's clock was 0.
  /// The devices and the budget must outlive the capture.
  capture(unique_fd out, const std::vector<capture_place>& places, capture_limits limits,
          instant epoch, capture_budget& budget);
  capture(const capture&) = delete;
  capture& operator=(const capture&) = delete;
  ~capture() override;

  /// Where it goes: writable when flush() can do more.
  [[nodiscard]] int fd() const { return out_.get(); }
  /// Packets taken down.
  [[nodiscard]] u64 packets() const { return packets_; }
  /// Packets left out because the reader was too slow, or for want of memory.
  [[nodiscard]] u64 left_out() const { return left_out_; }
  /// It takes no more: the asked number is reached, or the output is broken.
  [[nodiscard]] bool over() const { return !error_.empty() || reached_limit(); }
  void stop();
  /// Sends what the reader takes at once.
  void flush();
  [[nodiscard]] bool flushed() const { return written_ == backlog_.size() || !error_.empty(); }
  /// Why the output is broken; empty when it is not.
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  struct place {
    packet_tap tap;
    u32 interface = 0;
  };
  void write(byte_view block) override;
  void drop_written();
  void take(cpu& cx, const sk_buff& skb, u32 interface, bool outgoing);
  [[nodiscard]] bool reached_limit() const {
    return limits_.packets != 0 && packets_ >= limits_.packets;
  }

  unique_fd out_;
  capture_budget& budget_;
  capture_limits limits_;
  instant epoch_;
  std::vector<u8> backlog_;
  std::size_t written_ = 0;  ///< of backlog_, at its head
  std::vector<u8> bytes_;
  u64 packets_ = 0;
  u64 left_out_ = 0;
  std::string error_;
  pcapng_writer writer_;
  std::vector<std::unique_ptr<place>> places_;
};

}  // namespace ph
