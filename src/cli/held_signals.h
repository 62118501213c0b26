// Holds back the signals by which a user ends a command, while half of something is done: whoever
// holds them looks whether one has come, and it takes effect when they are held no more.
#pragma once

#include <signal.h>
#include <sys/signalfd.h>

#include "platform/unique_fd.h"

namespace ph::cli {

class held_signals {
 public:
  held_signals() {
    sigset_t held;
    ::sigemptyset(&held);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
      struct sigaction now {};
      // One that is ignored, as nohup(1) does, would be kept.
      if (::sigaction(signal, nullptr, &now) == 0 && now.sa_handler != SIG_IGN) {
        ::sigaddset(&held, signal);
      }
    }
    ::sigprocmask(SIG_BLOCK, &held, &before_);
    fd_.reset(::signalfd(-1, &held, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  held_signals(const held_signals&) = delete;
  held_signals& operator=(const held_signals&) = delete;
  ~held_signals() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  /// Readable when one has come, which nobody need read.
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  sigset_t before_{};
  unique_fd fd_;
};

}  // namespace ph::cli
