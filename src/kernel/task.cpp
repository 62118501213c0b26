// Descriptor tables.
#include "kernel/task.h"

namespace ph {

task::task(kernel& machine, net_namespace& net, std::string name)
    : machine_(machine), net_(net), name_(std::move(name)) {}

task::~task() {
  for (std::size_t fd = 0; fd < files_.size(); ++fd) {
    if (files_[fd]) static_cast<void>(close(static_cast<int>(fd)));
  }
}

result<int> task::install(ref<file> f) {
  std::size_t fd = 0;
  while (fd < files_.size() && files_[fd]) ++fd;
  if (fd >= limit_) return fail(errc::mfile);
  if (fd == files_.size()) files_.emplace_back();
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
  if (--f->descriptors_ == 0) f->last_close();
  return {};
}

result<int> task::dup(int fd) {
  TRY(ref<file> f, get(fd));
  return install(std::move(f));
}

std::size_t task::open_files() const {
  std::size_t out = 0;
  for (const auto& f : files_) out += f ? 1 : 0;
  return out;
}

}  // namespace ph
