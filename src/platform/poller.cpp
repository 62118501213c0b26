// epoll_pwait2(2) sleeps to the nanosecond (Linux 5.11); where it is missing or forbidden, a
// timerfd(2) among the watched descriptors ends the sleep instead.
#include "platform/poller.h"

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include <cerrno>
#include <ctime>
#include <new>
#include <utility>

#include "base/check.h"

namespace ph {
namespace {

constexpr s64 ns_per_s = 1'000'000'000;

timespec to_timespec(duration d) {
  timespec out{};
  out.tv_sec = d.ns / ns_per_s;
  out.tv_nsec = d.ns % ns_per_s;
  return out;
}

result<void> from_return(int returned) {
  return returned == 0 ? result<void>{} : fail(static_cast<errc>(errno));
}

}  // namespace

poller::poller(alarm kind)
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)), bell_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  ph_check(epoll_ && bell_);
  watch_own(bell_);
  if (kind == alarm::timerfd) make_timer();
}

/// A descriptor of the poller's own only ends the sleep; its event carries its address here.
void poller::watch_own(const unique_fd& fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = const_cast<unique_fd*>(&fd);
  ph_check(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) == 0);
}

void poller::make_timer() {
  timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  ph_check(static_cast<bool>(timer_));
  watch_own(timer_);
}

result<void> poller::add(int fd, u32 events, callback fn) {
  if (watches_.contains(fd)) return fail(errc::exist);
  auto made = std::make_unique<watch>(watch{fd, fn});
  epoll_event event{};
  event.events = events;
  event.data.ptr = made.get();
  removed_.reserve(watches_.size() + 1);  // remove() needs no memory
  const auto at = watches_.emplace(fd, std::move(made)).first;
  const auto added = from_return(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event));
  if (!added) watches_.erase(at);
  return added;
}

result<void> poller::mod(int fd, u32 events) {
  const auto found = watches_.find(fd);
  if (found == watches_.end()) return fail(errc::noent);
  epoll_event event{};
  event.events = events;
  event.data.ptr = found->second.get();
  return from_return(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event));
}

result<void> poller::remove(int fd) {
  const auto found = watches_.find(fd);
  if (found == watches_.end()) return fail(errc::noent);
  found->second->removed = true;
  removed_.push_back(std::move(found->second));
  watches_.erase(found);
  return from_return(::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr));
}

int poller::wait(duration timeout) {
  const int ready = sleep(timeout);
  int ran = 0;
  bool no_memory = false;
  for (int i = 0; i < ready; ++i) {
    const epoll_event& event = events_[static_cast<std::size_t>(i)];
    if (event.data.ptr == &bell_) answer_bell();
    if (event.data.ptr == &bell_ || event.data.ptr == &timer_) continue;
    const auto* const w = static_cast<const watch*>(event.data.ptr);
    if (w->removed) continue;
    try {
      w->fn(event.events);
    } catch (const std::bad_alloc&) {
      no_memory = true;  // an edge among the others is told once
    }
    ++ran;
  }
  removed_.clear();
  if (no_memory) throw std::bad_alloc();
  return ran;
}

/// Silences the bell, then allows the next ring: in the other order a ring between the two would
/// be swallowed, and a bell that nobody owns up to would never fall silent.
void poller::answer_bell() {
  u64 rings = 0;
  ph_check(::read(bell_.get(), &rings, sizeof rings) == sizeof rings || errno == EAGAIN);
  rung_.store(false);
}

int poller::sleep(duration timeout) {
  const int room = static_cast<int>(events_.size());
  if (timeout == forever || timeout.ns <= 0) {
    return ::epoll_wait(epoll_.get(), events_.data(), room, timeout == forever ? -1 : 0);
  }
#ifdef SYS_epoll_pwait2
  if (!timer_) {
    const timespec limit = to_timespec(timeout);
    const long ready = ::syscall(SYS_epoll_pwait2, epoll_.get(), events_.data(), room, &limit,
                                 nullptr, std::size_t{0});
    if (ready >= 0 || (errno != ENOSYS && errno != EPERM)) return static_cast<int>(ready);
  }
#endif
  return sleep_with_timer(timeout);
}

int poller::sleep_with_timer(duration timeout) {
  if (!timer_) make_timer();
  itimerspec when{};
  when.it_value = to_timespec(timeout);
  ph_check(::timerfd_settime(timer_.get(), 0, &when, nullptr) == 0);
  const int room = static_cast<int>(events_.size());
  const int ready = ::epoll_wait(epoll_.get(), events_.data(), room, -1);
  when.it_value = {};
  ph_check(::timerfd_settime(timer_.get(), 0, &when, nullptr) == 0);  // also forgets its expiry
  return ready;
}

void poller::wake() {
  if (rung_.exchange(true)) return;
  const int saved = errno;
  const u64 one = 1;
  ph_check(::write(bell_.get(), &one, sizeof one) == sizeof one || errno == EAGAIN);
  errno = saved;
}

}  // namespace ph
