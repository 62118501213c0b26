// A page of memory that does not come (userfaultfd(2)): a system call that copies to or from it
// waits, with whatever locks it holds. A file of a dead FUSE or NFS server, mapped, is the same for
// those who may not use userfaultfd.
#pragma once

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "platform/unique_fd.h"

namespace ph {

class absent_page {
 public:
  absent_page() : fd_(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC))) {
    if (!reserve()) {
      fd_.reset();
      return;
    }
    rescue_ = std::thread([this] {
      std::unique_lock<std::mutex> lock(mutex_);
      if (done_.wait_for(lock, patience, [this] { return !fd_; })) return;
      rescued_ = true;
      fd_.reset();
    });
  }
  absent_page(const absent_page&) = delete;
  absent_page& operator=(const absent_page&) = delete;
  ~absent_page() {
    come();
    if (rescue_.joinable()) rescue_.join();
    if (page_ != nullptr) ::munmap(page_, size);
  }
  /// False where there is no such thing.
  [[nodiscard]] bool works() const { return page_ != nullptr && rescue_.joinable(); }
  [[nodiscard]] void* data() const { return page_; }
  /// Returns when a call waits for the page.
  void wait_for_waiter() const {
    pollfd p{fd_.get(), POLLIN, 0};
    ::poll(&p, 1, 30'000);
  }
  /// It comes, and who waits goes on.
  void come() {
    const std::lock_guard<std::mutex> lock(mutex_);
    fd_.reset();
    done_.notify_all();
  }
  /// It came by itself, after a long time, so that no test hangs for ever.
  [[nodiscard]] bool came_by_itself() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return rescued_;
  }

 private:
  bool reserve() {
    uffdio_api api{};
    api.api = UFFD_API;
    if (!fd_ || ::ioctl(fd_.get(), UFFDIO_API, &api) != 0) return false;
    page_ = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uffdio_register range{};
    range.range = {reinterpret_cast<u64>(page_), size};
    range.mode = UFFDIO_REGISTER_MODE_MISSING;
    return ::ioctl(fd_.get(), UFFDIO_REGISTER, &range) == 0;
  }

  static constexpr std::size_t size = 4096;
  static constexpr std::chrono::seconds patience{20};
  std::mutex mutex_;
  std::condition_variable done_;
  unique_fd fd_;
  void* page_ = nullptr;
  bool rescued_ = false;
  std::thread rescue_;
};

}  // namespace ph
