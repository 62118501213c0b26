// How long a call may still wait, where it does so more than once: a time limit is one of the whole
// call.
#pragma once

#include <time.h>

#include <algorithm>

namespace ph::calls {

/// In nanoseconds.
inline constexpr long one_second = 1'000'000'000;

inline timespec clock_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now;
}

/// What is left of `limit` since `begin`; zero when it is over.
inline timespec left_of(const timespec& limit, const timespec& begin) {
  const timespec now = clock_now();
  timespec out{limit.tv_sec - (now.tv_sec - begin.tv_sec),
               limit.tv_nsec - (now.tv_nsec - begin.tv_nsec)};
  while (out.tv_nsec < 0) {
    out.tv_nsec += one_second;
    --out.tv_sec;
  }
  while (out.tv_nsec >= one_second) {
    out.tv_nsec -= one_second;
    ++out.tv_sec;
  }
  return out.tv_sec < 0 ? timespec{} : out;
}

/// SO_SNDTIMEO or SO_RCVTIMEO, from now on.
class deadline {
 public:
  /// In microseconds; 0: never.
  explicit deadline(long limit) : limit_{limit / 1'000'000, limit % 1'000'000 * 1000} {
    if (limits()) begin_ = clock_now();
  }
  /// What is left of it, at least 1, in microseconds; 0: for ever.
  [[nodiscard]] long left() const {
    if (!limits()) return 0;
    const timespec left = left_of(limit_, begin_);
    return std::max(left.tv_sec * 1'000'000 + left.tv_nsec / 1000, 1L);
  }

 private:
  [[nodiscard]] bool limits() const { return limit_.tv_sec != 0 || limit_.tv_nsec != 0; }

  timespec limit_;
  timespec begin_{};
};

}  // namespace ph::calls
