// The cache of tag files.
#include "daemon/datagram_tags.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>

namespace ph::dropin {
namespace {

errc last_error() { return static_cast<errc>(errno); }

unique_fd memory_file() {
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  constexpr unsigned not_executable = 8;  // MFD_NOEXEC_SEAL, from Linux 6.3
  const int fd = ::memfd_create("ph-datagram", flags | not_executable);
  return unique_fd(fd < 0 && errno == EINVAL ? ::memfd_create("ph-datagram", flags) : fd);
}

}  // namespace

result<int> datagram_tags::find(byte_view tag) {
  std::vector<u8> bytes(tag.begin(), tag.end());
  if (const auto found = by_tag_.find(bytes); found != by_tag_.end()) {
    newest_first_.splice(newest_first_.begin(), newest_first_, found->second);
    return found->second->file.get();
  }
  unique_fd file = memory_file();
  if (!file) return fail(last_error());
  if (::pwrite(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return fail(errc::nomem);
  }
  ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  if (by_tag_.size() >= most_) {
    by_tag_.erase(newest_first_.back().tag);
    newest_first_.pop_back();
  }
  newest_first_.push_front({bytes, std::move(file)});
  by_tag_.emplace(std::move(bytes), newest_first_.begin());
  return newest_first_.front().file.get();
}

}  // namespace ph::dropin
