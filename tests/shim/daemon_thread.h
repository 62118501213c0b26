// A daemon in the process of a test, whose stack is the machine's own kernel.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/drop_in.h"
#include "tests/shim/kernel_sockets.h"

namespace ph::dropin {

/// A daemon on a thread of its own.
class daemon_thread {
 public:
  daemon_thread() : stop_(::eventfd(0, EFD_CLOEXEC)) {
    auto made = drop_in::create({}, [this](std::string_view name) -> host_sockets* {
      return name == "h1" ? &host_ : nullptr;
    });
    drop_ = std::move(*made);
    thread_ = std::thread([this] { serve(); });
  }
  ~daemon_thread() {
    const u64 one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> environment() const {
    return drop_->environment("h1");
  }
  /// Waits until no program holds a socket; false if that does not come.
  [[nodiscard]] bool sockets_gone() const {
    for (int i = 0; i < 5000 && sockets_.load() != 0; ++i) ::usleep(1000);
    return sockets_.load() == 0;
  }

 private:
  void serve() {
    for (bool more = false;;) {
      pollfd wait[3] = {
          {drop_->fd(), POLLIN, 0}, {host_.fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      ::poll(wait, 3, more ? 0 : -1);
      if (wait[2].revents != 0) return;
      host_.wake_ready();
      more = drop_->process();
      sockets_.store(drop_->socket_count());
    }
  }
  unique_fd stop_;
  kernel_sockets host_;
  std::unique_ptr<drop_in> drop_;
  std::atomic<std::size_t> sockets_{0};
  std::thread thread_;
};

}  // namespace ph::dropin
