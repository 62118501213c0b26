// An open file description: what a descriptor refers to. Sockets and epoll instances are files.
#pragma once

#include "base/intrusive.h"
#include "base/result.h"
#include "kernel/wait_queue.h"

namespace ph {

class cpu;

class file : public counted {
 public:
  virtual ~file() = default;
  /// Ready events (POLLIN ... of uapi/socket.h).
  [[nodiscard]] virtual u32 poll() = 0;
  /// Called when the last descriptor goes, before the last reference.
  virtual void release() {}
  [[nodiscard]] wait_queue& waiters() { return waiters_; }
  [[nodiscard]] bool nonblocking() const { return nonblocking_; }
  void set_nonblocking(bool on) { nonblocking_ = on; }

 private:
  friend class task;
  wait_queue waiters_;
  bool nonblocking_ = false;
  u32 descriptors_ = 0;  ///< how many descriptor slots, over all tasks, refer to it
};

}  // namespace ph
