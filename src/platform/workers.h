// Threads that run a kernel's cpus: named, pinned to a processor if wished, stopped together with
// their owner.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/byteorder.h"

namespace ph {

class worker {
 public:
  /// The loop of the thread. It returns when `stop` is requested; one that sleeps in a poller
  /// registers `std::stop_callback(stop, [&] { poller.wake(); })`.
  using body = std::function<void(const std::stop_token& stop)>;
  /// Starts a thread. `name` is cut to 15 characters, as the system shows no more; `processor`
  /// is a number of the system's, absent: wherever the system likes.
  worker(std::string name, std::optional<u32> processor, body run);
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;
  /// Stops and waits for the end.
  ~worker() { stop(); }
  /// Asks the loop to end and waits until it did. Not from the worker itself.
  void stop();
  /// Whether the system granted the wanted processor.
  [[nodiscard]] bool pinned() const { return pinned_; }

 private:
  bool pinned_ = false;
  std::jthread thread_;
};

/// The processors this process may run on, in ascending order: what workers can be pinned to.
[[nodiscard]] std::vector<u32> usable_processors();

}  // namespace ph
