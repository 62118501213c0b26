// The cache of tag files.
#include "daemon/datagram_tags.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "platform/memory_file.h"

namespace ph::dropin {
namespace {

errc last_error() { return static_cast<errc>(errno); }

}  // namespace

result<int> datagram_tags::find(byte_view tag) {
  std::vector<u8> bytes(tag.begin(), tag.end());
  if (const auto found = by_tag_.find(bytes); found != by_tag_.end()) {
    newest_first_.splice(newest_first_.begin(), newest_first_, found->second);
    return found->second->file.get();
  }
  unique_fd file = memory_file("ph-datagram");
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
