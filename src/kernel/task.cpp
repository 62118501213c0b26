// Descriptor tables.
#include "kernel/task.h"

#include <algorithm>
#include <functional>

namespace ph {

task::task(kernel& machine, net_namespace& net, std::string name)
    : machine_(machine), net_(net), name_(std::move(name)) {}

task::~task() {
  for (std::size_t fd = 0; fd < files_.size(); ++fd) {
    if (files_[fd]) static_cast<void>(close(static_cast<int>(fd)));
  }
}

/// POSIX promises the lowest free number. The heap finds it in O(log n) however many are open.
result<int> task::install(ref<file> f) {
  const std::size_t fd = lowest_free();
  if (fd >= limit_) return fail(errc::mfile);
  if (fd == files_.size()) {
    files_.emplace_back();
  } else {
    std::pop_heap(free_.begin(), free_.end(), std::greater<>());
    free_.pop_back();
  }
  ++f->descriptors_;
  files_[fd] = std::move(f);
  return static_cast<int>(fd);
}

result<ref<file>> task::get(int fd) const {
  const auto index = static_cast<std::size_t>(fd);
  if (fd < 0 || index >= files_.size() || !files_[index]) return fail(errc::badf);
  return files_[index];
}

result<void> task::close(int fd) {
  TRY(const ref<file> f, get(fd));
  files_[static_cast<std::size_t>(fd)].reset();
  free_.push_back(fd);
  std::push_heap(free_.begin(), free_.end(), std::greater<>());
  if (--f->descriptors_ == 0) f->last_close();
  return {};
}

result<int> task::dup(int fd) {
  TRY(ref<file> f, get(fd));
  return install(std::move(f));
}

}  // namespace ph
