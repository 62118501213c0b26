// An open file description: what a descriptor refers to. Sockets and epoll instances are files.
#pragma once

#include "base/intrusive.h"
#include "base/result.h"
#include "kernel/wait_queue.h"

namespace ph {

class cpu;
class epoll;
class socket;

/// Somebody who watches a file without keeping it open. Ends by itself when destroyed.
class file_watch : public list_hook<struct file_watch_tag> {
 public:
  virtual ~file_watch() = default;
  /// The file's last descriptor is gone, or the file itself. May destroy this watch.
  virtual void file_closed() = 0;
  /// The epoll instance that watches.
  [[nodiscard]] virtual epoll& watcher() = 0;
};

class file : public counted {
 public:
  using watch_list = intrusive_list<file_watch, file_watch_tag>;
  virtual ~file() { end_watches(); }
  /// Ready events (POLLIN ... of uapi/socket.h).
  [[nodiscard]] virtual u32 poll() = 0;
  /// Called when the last descriptor goes, before the last reference.
  virtual void release() {}
  /// This file as an epoll instance, or nullptr.
  [[nodiscard]] virtual epoll* as_epoll() { return nullptr; }
  /// This file as a socket (net/socket), or nullptr.
  [[nodiscard]] virtual socket* as_socket() { return nullptr; }
  [[nodiscard]] wait_queue& waiters() { return waiters_; }
  [[nodiscard]] watch_list& watches() { return watches_; }
  [[nodiscard]] bool nonblocking() const { return nonblocking_; }
  void set_nonblocking(bool on) { nonblocking_ = on; }

 private:
  friend class task;
  /// The last descriptor is closed: watches end first, as epoll(7) Q6 says.
  void last_close() {
    end_watches();
    release();
  }
  void end_watches() {
    while (!watches_.empty()) {
      file_watch& watch = watches_.front();
      watches_.pop_front();
      watch.file_closed();
    }
  }
  wait_queue waiters_;
  watch_list watches_;
  bool nonblocking_ = false;
  u32 descriptors_ = 0;  ///< how many descriptor slots, over all tasks, refer to it
};

}  // namespace ph
