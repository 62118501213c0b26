// Sleeping until a descriptor is ready, a deadline comes or another thread rings: epoll(7) with
// an eventfd(2) for the bell. One thread waits; any thread wakes.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <vector>

#include "base/inline_fn.h"
#include "base/result.h"
#include "base/time.h"
#include "platform/unique_fd.h"

namespace ph {

class poller {
 public:
  using callback = inline_fn<void(u32 events), 32>;
  /// How a sleep ends on time: `best` uses epoll_pwait2(2) where the system has it.
  enum class alarm { best, timerfd };
  /// Aborts when the system has no descriptors left.
  explicit poller(alarm kind = alarm::best);
  poller(const poller&) = delete;
  poller& operator=(const poller&) = delete;

  /// Calls `fn` with EPOLL* bits when `fd` is ready; level-triggered unless `events` says
  /// EPOLLET. The poller does not own the descriptor: remove it before closing. Errors: those of
  /// epoll_ctl(2).
  result<void> add(int fd, u32 events, callback fn);
  result<void> mod(int fd, u32 events);
  /// Also from inside a callback, also of another descriptor that is ready in the same round.
  result<void> remove(int fd);

  /// Sleeps until something is ready, wake() is called, or `timeout` is over (not at all when it
  /// is 0 or less, for ever when it is `forever`), then calls the callbacks. Returns how many
  /// ran. A signal ends the sleep early.
  int wait(duration timeout);
  static constexpr duration forever{never.ns};
  /// Ends the present or the next wait, from any thread or a signal handler.
  void wake();

 private:
  struct watch {
    int fd;
    callback fn;
    bool removed = false;
  };
  int sleep(duration timeout);
  int sleep_with_timer(duration timeout);
  void make_timer();
  void watch_own(const unique_fd& fd);
  void answer_bell();

  unique_fd epoll_;
  unique_fd bell_;
  unique_fd timer_;  ///< made when the system has no epoll_pwait2(2)
  std::atomic<bool> rung_{false};
  std::map<int, std::unique_ptr<watch>> watches_;
  std::vector<std::unique_ptr<watch>> removed_;  ///< kept alive until the round is over
  std::array<epoll_event, 64> events_{};
};

/// The time left until `deadline`, as wait() wants it.
[[nodiscard]] constexpr duration time_until(instant deadline, instant now) {
  if (deadline == never) return poller::forever;
  return deadline <= now ? duration{0} : deadline - now;
}

}  // namespace ph
