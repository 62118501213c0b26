// One capture: what passes some devices of the lab, as pcapng, into a descriptor that a client has
// opened. The descriptor may be a file, a pipe to a reader who stalls, or a terminal: the daemon
// never waits for it. What does not fit in the buffer is left out and counted.
#pragma once

#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "base/time.h"
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
  u32 snaplen = 0;   ///< bytes kept of each packet; 0: all
  u64 packets = 0;   ///< end after so many; 0: until told
};

class capture final : private pcapng_output {
 public:
  static constexpr std::size_t longest_backlog = 32 << 20;

  /// What the daemon may write to without ever waiting: an open file of its own for a pipe, or a
  /// copy of an AF_UNIX stream socket. Empty for anything else: a file may be on a disk that is
  /// slow or not be there at all.
  static unique_fd output_of(int passed);

  /// Starts. `out`: of output_of(). `epoch`: the wall-clock time at which the lab's clock was 0.
  /// The devices must outlive the capture.
  capture(unique_fd out, const std::vector<capture_place>& places, capture_limits limits,
          instant epoch);
  capture(const capture&) = delete;
  capture& operator=(const capture&) = delete;
  ~capture() override;

  /// Packets taken down.
  [[nodiscard]] u64 packets() const { return packets_; }
  /// Packets left out because the reader was too slow.
  [[nodiscard]] u64 left_out() const { return left_out_; }
  /// It takes no more: the asked number is reached, or the output is broken.
  [[nodiscard]] bool over() const { return !error_.empty() || reached_limit(); }
  void stop();
  /// Writes what the descriptor takes at once.
  void flush();
  [[nodiscard]] bool flushed() const { return written_ == backlog_.size() || !error_.empty(); }
  /// Why the output is broken; empty when it is not.
  [[nodiscard]] const std::string& error() const { return error_; }
  [[nodiscard]] int fd() const { return out_.get(); }
  /// Gives the descriptor away, for whoever closes it; nothing more is written.
  unique_fd take_output() {
    stop();
    backlog_.clear();
    written_ = 0;
    return std::move(out_);
  }

 private:
  struct place {
    packet_tap tap;
    u32 interface = 0;
  };
  void write(byte_view block) override;
  void take(cpu& cx, const sk_buff& skb, u32 interface, bool outgoing);
  [[nodiscard]] bool reached_limit() const {
    return limits_.packets != 0 && packets_ >= limits_.packets;
  }

  unique_fd out_;
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
