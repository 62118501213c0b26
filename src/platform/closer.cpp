// The threads take what was given last first: nobody waits for an order among closes, and a vector
// that only shrinks at its end needs no memory of theirs.
#include "platform/closer.h"

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <vector>

#include "platform/detached_thread.h"

namespace ph {
namespace {

/// So many closes may hang before the next one waits for one of them.
constexpr std::size_t most_threads = 128;
constexpr std::chrono::milliseconds last_patience{200};

}  // namespace

struct closer::work {
  std::mutex mutex;
  std::condition_variable more;   ///< waiting grew, or it ends
  std::condition_variable ended;  ///< a thread has
  std::vector<int> waiting;       ///< descriptors that nobody is closing yet
  std::size_t threads = 0, idle = 0;
  bool ending = false;
};

closer::closer() : work_(std::make_shared<work>()) {}

closer::~closer() {
  std::unique_lock lock(work_->mutex);
  work_->ending = true;
  work_->more.notify_all();
  work_->ended.wait_for(lock, last_patience, [this] { return work_->threads == 0; });
}

void closer::close_for_ever(const std::shared_ptr<work>& w) {
  ::pthread_setname_np(::pthread_self(), "ph-closer");
  std::unique_lock lock(w->mutex);
  for (;; ++w->idle) {
    w->more.wait(lock, [&] { return !w->waiting.empty() || w->ending; });
    --w->idle;
    if (w->waiting.empty()) break;
    const int fd = w->waiting.back();
    w->waiting.pop_back();
    lock.unlock();
    ::close(fd);
    lock.lock();
  }
  --w->threads;
  w->ended.notify_all();
}

void closer::close(unique_fd fd) {
  if (!fd) return;
  const std::lock_guard lock(work_->mutex);
  if (work_->idle <= work_->waiting.size() && work_->threads < most_threads) {
    if (start_detached([w = work_] { close_for_ever(w); })) {
      ++work_->threads;
      ++work_->idle;
    }  // else those that there are will do it
  }
  if (work_->threads == 0) return;  // what may wait is closed here
  try {
    work_->waiting.push_back(fd.get());
  } catch (const std::bad_alloc&) {
    return;  // here, too
  }
  static_cast<void>(fd.release());
  work_->more.notify_one();
}

}  // namespace ph
