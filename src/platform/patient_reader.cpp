// One thread reads while its owner waits for a moment. One that hangs is forgotten with what it
// shares with its owner, and the next read starts another.
#include "platform/patient_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "platform/detached_thread.h"
#include "platform/unique_fd.h"

namespace ph {
namespace {

constexpr std::size_t most_read = 4 << 20;
constexpr std::chrono::milliseconds moment{500};
constexpr int most_left_behind = 8;

std::string read_all(const std::string& path) {
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string out;
  std::array<char, 16384> buffer;
  while (file && out.size() < most_read) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got <= 0) break;
    out.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return out;
}

}  // namespace

struct patient_reader::work {
  std::mutex mutex;
  std::condition_variable news;
  std::string path;  ///< to be read; empty: nothing to do
  std::function<bool()> only_if;
  std::string content;
  bool done = false;
  bool ending = false;

  void run() {
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      news.wait(lock, [this] { return ending || (!path.empty() && !done); });
      if (ending) return;
      const std::string from = path;
      const std::function<bool()> wanted = std::move(only_if);
      lock.unlock();
      std::string all;
      try {
        if (!wanted || wanted()) all = read_all(from);
      } catch (const std::bad_alloc&) {
        all.clear();  // as a file that cannot be read
      }
      lock.lock();
      content = std::move(all);
      done = true;
      news.notify_all();
    }
  }
};

patient_reader::~patient_reader() { let_go(); }

void patient_reader::let_go() {
  if (!work_) return;
  const std::lock_guard<std::mutex> lock(work_->mutex);
  work_->ending = true;
  work_->news.notify_all();
}

bool patient_reader::start() {
  if (left_behind_ >= most_left_behind) return false;
  work_ = std::make_shared<work>();
  if (!start_detached([w = work_] { w->run(); })) work_.reset();
  return work_ != nullptr;
}

std::string patient_reader::read(const std::string& path, std::function<bool()> only_if) {
  if (!work_ && !start()) return {};
  std::unique_lock<std::mutex> lock(work_->mutex);
  work_->only_if = std::move(only_if);
  work_->path = path;
  work_->done = false;
  work_->news.notify_all();
  if (work_->news.wait_for(lock, moment, [this] { return work_->done; })) {
    work_->path.clear();
    return std::move(work_->content);
  }
  work_->ending = true;
  lock.unlock();
  work_.reset();
  ++left_behind_;
  return {};
}

}  // namespace ph
