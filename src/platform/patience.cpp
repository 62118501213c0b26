// One thread asks, and whoever waits for it looks every moment whether it has moved. One that hangs
// is forgotten with what it shares with its owner, and another goes on behind what it hangs at.
#include "platform/patience.h"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "platform/detached_thread.h"

namespace ph {
namespace {

constexpr std::chrono::milliseconds moment{500};
constexpr int most_left_behind = 8;

struct questions {
  std::function<bool(std::size_t)> ask;
  std::mutex mutex;
  std::condition_variable news;
  std::vector<std::optional<bool>> answers;
  std::size_t at = 0;  ///< what is asked now
  bool forgotten = false;

  void run() {
    std::unique_lock<std::mutex> lock(mutex);
    while (!forgotten && at < answers.size()) {
      const std::size_t number = at;
      lock.unlock();
      std::optional<bool> yes;
      try {
        yes = ask(number);
      } catch (const std::bad_alloc&) {
        yes = std::nullopt;
      }
      lock.lock();
      if (forgotten) return;
      answers[number] = yes;
      ++at;
    }
    news.notify_all();
  }

  /// False when it hangs.
  bool wait(std::unique_lock<std::mutex>& lock) {
    for (;;) {
      const std::size_t before = at;
      if (news.wait_for(lock, moment, [this] { return at == answers.size(); })) return true;
      if (at == before) return false;
    }
  }
};

}  // namespace

std::vector<std::optional<bool>> ask_patiently(std::size_t count,
                                               const std::function<bool(std::size_t)>& ask) {
  std::vector<std::optional<bool>> answers(count);
  std::size_t at = 0;
  for (int left_behind = 0; left_behind < most_left_behind && at < count; ++left_behind) {
    const auto work = std::make_shared<questions>();
    work->ask = ask;
    work->answers = std::move(answers);
    work->at = at;
    if (!start_detached([work] { work->run(); })) return std::move(work->answers);
    std::unique_lock<std::mutex> lock(work->mutex);
    const bool done = work->wait(lock);
    work->forgotten = true;
    answers = std::move(work->answers);
    at = done ? count : work->at + 1;
  }
  return answers;
}

}  // namespace ph
