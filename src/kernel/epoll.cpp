// Interests, the list of those that may be ready, and the rules of nesting.
#include "kernel/epoll.h"

#include <algorithm>

#include "uapi/socket.h"

namespace ph {

using namespace uapi;

namespace {

constexpr u32 flag_bits = epollet | epolloneshot | epollexclusive | epollwakeup;
constexpr u32 always_wanted = epollerr | epollhup;
/// What EPOLLEXCLUSIVE may be combined with, epoll_ctl(2).
constexpr u32 exclusive_allows =
    epollin | epollout | epollerr | epollhup | epollwakeup | epollet | epollexclusive;
constexpr u32 deepest_nesting = 5;

}  // namespace

/// One registered (fd, file). It is on the ready list while its file may be ready; wait() and
/// poll() ask the file itself and take it off if it is not.
class epoll::interest final : public file_watch, public list_hook<epoll_ready_tag> {
 public:
  using ready_hook = list_hook<epoll_ready_tag>;
  interest(epoll& by, int fd, file& target)
      : by_(by), fd_(fd), target_(target),
        entry_([this](u32 happened) { by_.on_wake(*this, happened); }) {}
  void file_closed() override { by_.interests_.erase(key(fd_, &target_)); }  // destroys this
  epoll& watcher() override { return by_; }

  void want(u32 wanted, u64 cookie) {
    events = wanted | always_wanted;
    data = cookie;
  }
  void watch() {
    target_.watches().push_back(*this);
    if (exclusive()) target_.waiters().add_exclusive(entry_);
    else target_.waiters().add(entry_);
  }
  [[nodiscard]] bool exclusive() const { return (events & epollexclusive) != 0; }
  /// An EPOLLONESHOT that fired keeps only its flags.
  [[nodiscard]] bool disarmed() const { return (events & ~flag_bits) == 0; }
  [[nodiscard]] u32 ready_events() const {
    return disarmed() ? 0 : target_.poll() & events & ~flag_bits;
  }
  [[nodiscard]] file& target() const { return target_; }
  [[nodiscard]] bool queued() const { return ready_hook::is_linked(); }
  void unqueue() {
    if (queued()) ready_hook::unlink();
  }

  u32 events = 0;
  u64 data = 0;

 private:
  epoll& by_;
  int fd_;
  file& target_;
  wait_entry entry_;
};

epoll::epoll() = default;
epoll::~epoll() = default;

void epoll::release() { interests_.clear(); }

result<void> epoll::add(int fd, file& target, u32 events, u64 data) {
  if (&target == this) return fail(errc::inval);
  epoll* const nested = target.as_epoll();
  if ((events & epollexclusive) != 0) {
    if (nested != nullptr || (events & ~exclusive_allows) != 0) return fail(errc::inval);
  }
  if (interests_.contains(key(fd, &target))) return fail(errc::exist);
  if (nested != nullptr) TRY_VOID(check_nesting(*nested));
  auto& made = interests_[key(fd, &target)];
  made = std::make_unique<interest>(*this, fd, target);
  made->want(events, data);
  made->watch();
  queue_if_ready(*made);
  return {};
}

result<void> epoll::mod(int fd, file& target, u32 events, u64 data) {
  const auto found = interests_.find(key(fd, &target));
  if (found == interests_.end()) return fail(errc::noent);
  interest& i = *found->second;
  if (i.exclusive() || (events & epollexclusive) != 0) return fail(errc::inval);
  i.want(events, data);
  queue_if_ready(i);
  return {};
}

result<void> epoll::del(int fd, file& target) {
  return interests_.erase(key(fd, &target)) != 0 ? result<void>{} : fail(errc::noent);
}

void epoll::queue_if_ready(interest& i) {
  if (i.ready_events() == 0) return;
  if (!i.queued()) ready_.push_back(i);
  waiters().wake(pollin);
}

void epoll::on_wake(interest& i, u32 events) {
  if (i.disarmed()) return;
  if (events != 0 && (events & i.events & ~flag_bits) == 0) return;
  if (!i.queued()) ready_.push_back(i);
  if (i.exclusive() && !waiters().empty()) i.target().waiters().claim();
  waiters().wake(pollin);
}

result<std::size_t> epoll::wait(std::span<epoll_ready> out) {
  if (out.empty()) return fail(errc::inval);
  intrusive_list<interest, epoll_ready_tag> round;
  round.splice(round.end(), ready_);
  std::size_t filled = 0;
  while (!round.empty() && filled < out.size()) {
    interest& i = round.front();
    round.pop_front();
    const u32 events = i.ready_events();
    if (events == 0) continue;
    out[filled++] = {events, i.data};
    if ((i.events & epolloneshot) != 0) {
      i.events &= flag_bits;
    } else if ((i.events & epollet) == 0) {
      ready_.push_back(i);  // level: asked again next time, after those that did not fit
    }
  }
  ready_.splice(ready_.begin(), round);
  return filled;
}

u32 epoll::poll() {
  while (!ready_.empty()) {
    if (ready_.front().ready_events() != 0) return pollin | pollrdnorm;
    ready_.front().unqueue();
  }
  return 0;
}

/// A chain of instances that watch each other has at most five links and no end in itself.
result<void> epoll::check_nesting(epoll& target) {
  heights below;
  heights above;
  const u32 depth = target.height_below(below) + height_above(above);
  const bool circle = below.contains(this);
  return circle || depth > deepest_nesting ? fail(errc::loop) : result<void>{};
}

u32 epoll::height_below(heights& known) {
  if (const auto found = known.find(this); found != known.end()) return found->second;
  u32 height = 0;
  for (const auto& [name, i] : interests_) {
    epoll* const nested = i->target().as_epoll();
    if (nested != nullptr) height = std::max(height, nested->height_below(known));
  }
  return known[this] = height + 1;
}

u32 epoll::height_above(heights& known) {
  if (const auto found = known.find(this); found != known.end()) return found->second;
  u32 height = 0;
  for (file_watch& watch : watches()) {
    height = std::max(height, watch.watcher().height_above(known));
  }
  return known[this] = height + 1;
}

}  // namespace ph
