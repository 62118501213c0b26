// Hooks of the calls that wait for readiness. A stream anchor is asked by the kernel; these hooks
// add the two things that AF_UNIX does not know about TCP: POLLERR while the error queue is not
// empty (shim/error_flags.h), and that POLLWRBAND is never shown. A call that concerns neither goes
// to the kernel unchanged; one that does not wait is asked again where something was on its way
// (shim/settling.h).
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "calls/anchor.h"
#include "calls/deadline.h"
#include "calls/scratch.h"
#include "shim/config.h"
#include "shim/error_flags.h"
#include "shim/hook.h"
#include "shim/next.h"
#include "shim/own_caller.h"
#include "shim/program_memory.h"
#include "shim/raw.h"
#include "shim/settling.h"

namespace {

using namespace ph;
using namespace ph::shim;

bool is_stream(int fd) {
  own_caller c(fd);
  anchor a;
  return find_anchor(c, fd, a) && a.stream();
}

/// Takes POLLWRBAND of streams out of what was found; how many show nothing then.
int hide_wrband(pollfd* found, nfds_t count) {
  int emptied = 0;
  for (nfds_t i = 0; i < count; ++i) {
    if ((found[i].revents & POLLWRBAND) == 0 || !is_stream(found[i].fd)) continue;
    found[i].revents = static_cast<short>(found[i].revents & ~POLLWRBAND);
    if (found[i].revents == 0) ++emptied;
  }
  return emptied;
}

/// What poll() is asked with in place of the program's own list.
class poll_list {
 public:
  poll_list(const pollfd* asked, nfds_t count) : asked_(asked), count_(count) {
    const bool flags = error_flags_in_use();
    for (nfds_t i = 0; i < count; ++i) {
      if ((asked[i].events & POLLWRBAND) != 0 && is_stream(asked[i].fd)) differs_ = true;
      if (flags && error_flag_of(asked[i].fd) >= 0) ++extra_;
      if (socket_ < 0 && (differs_ || extra_ != 0)) socket_ = asked[i].fd;
    }
    differs_ = differs_ || extra_ != 0;
  }
  /// False when the program's list will do.
  [[nodiscard]] bool differs() const { return differs_; }
  [[nodiscard]] std::size_t size() const { return count_ + extra_; }
  /// A socket of it, when it differs.
  [[nodiscard]] int socket() const { return socket_; }

  /// Writes the list: the program's, and behind it the error flags.
  void write(pollfd* to) const {
    nfds_t next = count_;
    for (nfds_t i = 0; i < count_; ++i) {
      to[i] = asked_[i];
      if ((to[i].events & POLLWRBAND) != 0 && is_stream(to[i].fd)) {
        to[i].events = static_cast<short>(to[i].events & ~POLLWRBAND);
      }
      const int flag = next < size() ? error_flag_of(asked_[i].fd) : -1;
      if (flag >= 0) to[next++] = {flag, 0, 0};
    }
    while (next < size()) to[next++] = {-1, 0, 0};
  }
  /// Brings what was found into the order of the program's list; how many there are of it.
  int fold(pollfd* found) const {
    int ready = 0;
    for (nfds_t i = 0, next = count_; i < count_; ++i) {
      if (next < size() && error_flag_of(found[i].fd) == found[next].fd) {
        found[i].revents = static_cast<short>(found[i].revents | (found[next++].revents & POLLERR));
      }
      if (found[i].revents != 0) ++ready;
    }
    return ready;
  }

 private:
  const pollfd* asked_;
  nfds_t count_;
  std::size_t extra_ = 0;
  int socket_ = -1;
  bool differs_ = false;
};

/// wait(list, count) is the kernel's call.
template <class Wait>
int poll_with(pollfd* asked, nfds_t count, Wait wait) {
  count = static_cast<unsigned>(count);  // the kernel looks at no more of it
  if (!config().active || count == 0) return wait(asked, count);
  if (!error_flags_in_use()) {
    const int ready = wait(asked, count);
    if (ready <= 0) return ready;
    const int shown = ready - hide_wrband(asked, count);
    if (shown != 0) return shown;
    // Nothing but what is never shown: it must wait without that.
  } else if (!readable(asked, count * sizeof *asked)) {
    return wait(asked, count);
  }
  const poll_list list(asked, count);
  if (!list.differs()) return wait(asked, count);
  const scratch memory(list.size() * sizeof(pollfd));
  if (memory.bytes() == nullptr) return finish(-ENOMEM);
  auto* const own = reinterpret_cast<pollfd*>(memory.bytes());
  list.write(own);
  int ready = wait(own, list.size());
  if (ready < 0) return ready;
  int found = list.fold(own);
  if (ready > 0 && found == 0) {  // a flag that was closed meanwhile: it waits without them
    ready = wait(own, count);
    if (ready < 0) return ready;
    found = ready;
  }
  for (nfds_t i = 0; i < count; ++i) {
    if (asked[i].revents == own[i].revents) continue;
    if (!copy_out(list.socket(), &asked[i].revents, &own[i].revents, sizeof own[i].revents)) {
      return finish(-EFAULT);
    }
  }
  return found;
}

/// select() by poll(), where a set has a socket with an error flag.
class select_sets {
 public:
  select_sets(int count, fd_set* read, fd_set* write, fd_set* except)
      : count_(count), sets_{read, write, except} {}

  /// A socket with an error flag that is asked for reading or writing, or -1. Exceptional
  /// conditions are urgent data, which no flag tells.
  [[nodiscard]] int concerned() const {
    if (!config().active || !error_flags_in_use() || count_ > FD_SETSIZE) return -1;
    for (const fd_set* set : sets_) {
      if (set != nullptr && !readable(set, bytes())) return -1;
    }
    for (int fd = 0; fd < count_; ++fd) {
      if ((wanted(fd) & (POLLIN | POLLOUT)) != 0 && error_flag_of(fd) >= 0) return fd;
    }
    return -1;
  }
  nfds_t write(pollfd* to) const {
    nfds_t n = 0;
    for (int fd = 0; fd < count_; ++fd) {
      if (const short events = wanted(fd); events != 0) to[n++] = {fd, events, 0};
    }
    return n;
  }
  /// How many bits will be set; EBADF is an error of the whole call.
  int count(const pollfd* found, nfds_t n) const {
    int bits = 0;
    for (nfds_t i = 0; i < n; ++i) {
      if ((found[i].revents & POLLNVAL) != 0) return -EBADF;
      for (int kind = 0; kind < 3; ++kind) bits += is_ready(found[i], kind) ? 1 : 0;
    }
    return bits;
  }
  /// 0, or -EFAULT.
  int answer(const pollfd* found, nfds_t n, int socket) const {
    for (int kind = 0; kind < 3; ++kind) {
      if (sets_[kind] == nullptr) continue;
      fd_set own;
      std::memcpy(&own, sets_[kind], bytes());
      for (nfds_t i = 0; i < n; ++i) {
        if (!is_ready(found[i], kind)) FD_CLR(number(found[i]), &own);
      }
      if (!copy_out(socket, sets_[kind], &own, bytes())) return -EFAULT;
    }
    return 0;
  }
  /// Those that show only what no set of theirs is about are looked at no more: that would go on.
  static void forget_shown(pollfd* found, nfds_t n) {
    for (nfds_t i = 0; i < n; ++i) {
      if (found[i].revents != 0) found[i].fd = ~found[i].fd;
    }
  }

 private:
  /// That the kernel looks at in a set.
  [[nodiscard]] std::size_t bytes() const {
    constexpr int word = sizeof(long) * 8;
    return static_cast<std::size_t>((count_ + word - 1) / word) * sizeof(long);
  }
  /// Of an element, also of a forgotten one.
  static int number(const pollfd& found) { return found.fd >= 0 ? found.fd : ~found.fd; }
  [[nodiscard]] bool is_ready(const pollfd& found, int kind) const {
    constexpr short ready[3] = {POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR,
                                POLLOUT | POLLWRNORM | POLLERR, POLLPRI};
    return found.fd >= 0 && sets_[kind] != nullptr && FD_ISSET(found.fd, sets_[kind]) &&
           (found.revents & ready[kind]) != 0;
  }
  [[nodiscard]] short wanted(int fd) const {
    constexpr short events[3] = {POLLIN, POLLOUT, POLLPRI};
    short out = 0;
    for (int kind = 0; kind < 3; ++kind) {
      if (sets_[kind] != nullptr && FD_ISSET(fd, sets_[kind])) {
        out = static_cast<short>(out | events[kind]);
      }
    }
    return out;
  }

  int count_;
  fd_set* sets_[3];
};

/// `concerned`: a socket of the sets.
int select_by_poll(const select_sets& sets, int concerned, const timespec* limit,
                   const sigset_t* mask) {
  const scratch memory(FD_SETSIZE * sizeof(pollfd));
  if (memory.bytes() == nullptr) return finish(-ENOMEM);
  auto* const list = reinterpret_cast<pollfd*>(memory.bytes());
  const nfds_t n = sets.write(list);
  const timespec begin = clock_now();
  for (;;) {
    const timespec left = limit != nullptr ? left_of(*limit, begin) : timespec{};
    const int ready = ppoll(list, n, limit != nullptr ? &left : nullptr, mask);
    const int bits = ready < 0 ? -errno : sets.count(list, n);
    if (bits < 0) return finish(bits);
    if (bits != 0 || ready == 0) {
      const int error = sets.answer(list, n, concerned);
      return error != 0 ? finish(error) : bits;
    }
    select_sets::forget_shown(list, n);
  }
}

bool is_zero(const timespec& t) { return t.tv_sec == 0 && t.tv_nsec == 0; }
bool is_zero(const timeval& t) { return t.tv_sec == 0 && t.tv_usec == 0; }

/// True for a time limit of nothing, which says not to wait.
template <class Time>
bool is_at_once(const Time* limit) {
  Time asked{};
  return limit != nullptr && anything_on_its_way() && copy_in(asked, limit) && is_zero(asked);
}

/// A select() that finds nothing has emptied its sets: it is not asked twice.
void settle_before_select(bool at_once) {
  if (at_once) settle();
}

/// wait() is an event loop's.
template <class Wait>
int loop_wait(bool at_once, Wait wait) {
  const int ready = ready_after_settling(at_once, wait);
  if (!at_once) own_was_waited_for();
  return ready;
}

/// Does for the error flag of `fd` what was done for `fd` itself.
void follow(int epoll, int operation, int fd, const epoll_event* event) {
  const int flag = error_flag_of(fd);
  if (flag < 0) return;
  epoll_event own{};
  if (event != nullptr) {
    own.events = event->events & (EPOLLET | EPOLLONESHOT);
    own.data = event->data;
  }
  raw::call(SYS_epoll_ctl, epoll, operation, flag, raw::arg(&own));
}

}  // namespace

PH_HOOK(int, poll, pollfd* list, nfds_t count, int ms) {
  return ready_after_settling(ms == 0, [=] {
    return poll_with(list, count, [ms](pollfd* l, nfds_t n) { return next::poll(l, n, ms); });
  });
}

PH_HOOK(int, __poll_chk, pollfd* list, nfds_t count, int ms, size_t room) {
  if (room / sizeof(pollfd) < count) __builtin_trap();
  return poll(list, count, ms);
}

PH_HOOK(int, ppoll, pollfd* list, nfds_t count, const timespec* limit, const sigset_t* mask) {
  return ready_after_settling(is_at_once(limit), [=] {
    return poll_with(list, count,
                     [=](pollfd* l, nfds_t n) { return next::ppoll(l, n, limit, mask); });
  });
}

PH_HOOK(int, __ppoll_chk, pollfd* list, nfds_t count, const timespec* limit, const sigset_t* mask,
        size_t room) {
  if (room / sizeof(pollfd) < count) __builtin_trap();
  return ppoll(list, count, limit, mask);
}

PH_HOOK(int, select, int count, fd_set* read, fd_set* write, fd_set* except, timeval* limit) {
  settle_before_select(is_at_once(limit));
  const select_sets sets(count, read, write, except);
  const int concerned = sets.concerned();
  if (concerned < 0) return next::select(count, read, write, except, limit);
  if (limit == nullptr) return select_by_poll(sets, concerned, nullptr, nullptr);
  timeval asked{};
  if (!copy_in(asked, limit)) return finish(-EFAULT);
  if (asked.tv_sec < 0 || asked.tv_usec < 0) return finish(-EINVAL);
  constexpr long second_us = 1'000'000;
  constexpr long for_ever = std::numeric_limits<long>::max() / 2;
  const timespec patience{std::min(asked.tv_sec, for_ever) + asked.tv_usec / second_us,
                          asked.tv_usec % second_us * 1000};
  const timespec begin = clock_now();
  const int ready = select_by_poll(sets, concerned, &patience, nullptr);
  const timespec left = left_of(patience, begin);  // as Linux, it tells what is left of the time
  const timeval rest{left.tv_sec, left.tv_nsec / 1000};
  static_cast<void>(copy_out(concerned, limit, &rest, sizeof rest));
  return ready;
}

PH_HOOK(int, pselect, int count, fd_set* read, fd_set* write, fd_set* except, const timespec* limit,
        const sigset_t* mask) {
  settle_before_select(is_at_once(limit));
  const select_sets sets(count, read, write, except);
  const int concerned = sets.concerned();
  if (concerned < 0) return next::pselect(count, read, write, except, limit, mask);
  timespec patience{};
  if (limit != nullptr && !copy_in(patience, limit)) return finish(-EFAULT);
  const bool valid = patience.tv_sec >= 0 && patience.tv_nsec >= 0 && patience.tv_nsec < one_second;
  if (!valid) return finish(-EINVAL);
  return select_by_poll(sets, concerned, limit != nullptr ? &patience : nullptr, mask);
}

PH_HOOK(int, epoll_ctl, int epoll, int operation, int fd, epoll_event* event) {
  const int result = next::epoll_ctl(epoll, operation, fd, event);
  if (result != 0 || !config().active) return result;
  epoll_event* const wanted = operation != EPOLL_CTL_DEL ? event : nullptr;  // the kernel read it
  if (wanted != nullptr && (wanted->events & EPOLLWRBAND) != 0 && is_stream(fd)) {
    epoll_event own = *wanted;
    own.events &= ~static_cast<unsigned>(EPOLLWRBAND);
    raw::call(SYS_epoll_ctl, epoll, EPOLL_CTL_MOD, fd, raw::arg(&own));
  }
  if (error_flags_in_use()) follow(epoll, operation, fd, wanted);
  return result;
}

PH_HOOK(int, epoll_wait, int epoll, epoll_event* found, int room, int ms) {
  return loop_wait(ms == 0, [=] { return next::epoll_wait(epoll, found, room, ms); });
}

PH_HOOK(int, epoll_pwait, int epoll, epoll_event* found, int room, int ms, const sigset_t* mask) {
  return loop_wait(ms == 0, [=] { return next::epoll_pwait(epoll, found, room, ms, mask); });
}

PH_HOOK(int, epoll_pwait2, int epoll, epoll_event* found, int room, const timespec* limit,
        const sigset_t* mask) {
  if (!next::epoll_pwait2.exists()) return finish(-ENOSYS);  // before glibc 2.35
  return loop_wait(is_at_once(limit),
                   [=] { return next::epoll_pwait2(epoll, found, room, limit, mask); });
}
