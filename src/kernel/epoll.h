// An epoll instance, epoll(7): which of many files are ready. Level and edge triggered, one-shot,
// exclusive, nested. It never blocks: whoever wants to wait puts a wait_entry on waiters().
//
// It knows nothing of descriptors beyond the number that names an interest together with its
// file. The instance and all files it watches belong to one thread.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <utility>

#include "kernel/file.h"

namespace ph {

/// One result of epoll::wait.
struct epoll_ready {
  u32 events = 0;  ///< EPOLLIN ... of uapi/socket.h
  u64 data = 0;    ///< as registered
};

class epoll final : public file {
 public:
  epoll();
  ~epoll() override;
  /// EPOLL_CTL_ADD. Errors: exist (this fd and file is registered), inval (the instance itself,
  /// or EPOLLEXCLUSIVE on an epoll instance or with flags it excludes), loop (instances would
  /// watch each other in a circle, or nest deeper than 5).
  result<void> add(int fd, file& target, u32 events, u64 data);
  /// EPOLL_CTL_MOD. Errors: noent, inval (the old or the new interest is exclusive).
  result<void> mod(int fd, file& target, u32 events, u64 data);
  /// EPOLL_CTL_DEL. Errors: noent.
  result<void> del(int fd, file& target);
  /// Fills `out` with ready files and returns how many. Level-triggered ones go to the end of
  /// the line, so that with a small `out` all get their turn. Errors: inval (`out` is empty).
  result<std::size_t> wait(std::span<epoll_ready> out);
  /// How many interests are registered.
  [[nodiscard]] std::size_t size() const { return interests_.size(); }

  [[nodiscard]] u32 poll() override;
  /// Nobody can ask any more: all interests end.
  void release() override;
  [[nodiscard]] epoll* as_epoll() override { return this; }

 private:
  class interest;
  using key = std::pair<int, const file*>;
  using heights = std::map<const epoll*, u32>;
  void on_wake(interest& i, u32 events);
  void queue_if_ready(interest& i);
  result<void> check_nesting(epoll& target);
  u32 height_below(heights& known);
  u32 height_above(heights& known);

  std::map<key, std::unique_ptr<interest>> interests_;
  intrusive_list<interest, struct epoll_ready_tag> ready_;
};

}  // namespace ph
