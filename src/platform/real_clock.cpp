// clock_gettime(2); it cannot fail for these clocks.
#include "platform/real_clock.h"

#include <ctime>

#include "base/check.h"

namespace ph {
namespace {

instant read_clock(clockid_t id) {
  timespec t{};
  ph_check(::clock_gettime(id, &t) == 0);
  return instant{t.tv_sec * s64{1'000'000'000} + t.tv_nsec};
}

}  // namespace

instant real_clock::now() { return read_clock(CLOCK_MONOTONIC); }

instant wall_clock_now() { return read_clock(CLOCK_REALTIME); }

}  // namespace ph
