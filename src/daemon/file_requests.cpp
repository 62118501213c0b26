// Files that a host has of its own (host_sockets::read_file): programs read them whole, and write
// to them through a channel that has become the file, so that whatever writes to the descriptor, a
// shim in it or not, sets what it would on Linux.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>

#include "daemon/drop_in_state.h"

namespace ph::dropin {
namespace {

/// What one write(2) to a file of proc(5) may bring: less than a page.
constexpr std::size_t most_written = 4095;
constexpr int writes_a_turn = 64;
constexpr int rounds_of_files = 4;  // who writes without end does not hold up the others

/// The address of the other end of a channel, if it has one.
std::string name_of_peer(int fd) {
  sockaddr_un program{};
  socklen_t len = sizeof program;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&program), &len) != 0) return {};
  if (len <= offsetof(sockaddr_un, sun_path) || len > sizeof program) return {};
  return {reinterpret_cast<const char*>(&program), len};
}

}  // namespace

answer_data drop_in_state::read_file(channel& ch, const request& r) {
  const auto text = ch.host->read_file(text_of({r.data, r.head.data_len}));
  if (!text) return refusal(text.error());
  const auto offset = static_cast<std::size_t>(std::max(r.head.arg[0], 0));
  answer_data a;
  a.result = static_cast<int>(text->size());
  if (offset >= text->size()) return a;
  const std::string_view rest = std::string_view(*text).substr(offset, max_data);
  a.data.assign(rest.begin(), rest.end());
  return a;
}

/// Nothing is answered on the channel after this, but who reads the file gets its content first.
std::optional<answer_data> drop_in_state::open_file(u64 id, channel& ch, const request& r) {
  // Elsewhere, too, only who administers a host may change its settings.
  if (ch.who.user != ::geteuid() && ch.who.user != 0) return refusal(errc::acces);
  std::string path(text_of({r.data, r.head.data_len}));
  const auto text = ch.host->read_file(path);
  if (!text) return refusal(text.error());
  if (!reply(ch, r.head, {})) {
    drop_channel(id);
    return std::nullopt;
  }
  if ((r.head.arg[0] & O_ACCMODE) == O_RDWR) {
    static_cast<void>(::send(ch.fd.get(), text->data(), text->size(), MSG_DONTWAIT | MSG_NOSIGNAL));
  }
  ::shutdown(ch.fd.get(), SHUT_WR);
  take_descriptors(ch.fd.get(), false);
  ch.file = open_lab_file{std::move(path), name_of_peer(ch.fd.get())};
  epoll_event readable{};
  readable.events = EPOLLIN;
  readable.data.u64 = id;
  ::epoll_ctl(files_.get(), EPOLL_CTL_ADD, ch.fd.get(), &readable);
  ++file_count_;
  if (!ch.file->name.empty()) file_names_.emplace(ch.file->name, id);
  return std::nullopt;
}

void drop_in_state::forget_file(u64 id, const open_lab_file& file, int fd) {
  ::epoll_ctl(files_.get(), EPOLL_CTL_DEL, fd, nullptr);
  --file_count_;
  const auto named = file_names_.find(file.name);
  if (named != file_names_.end() && named->second == id) file_names_.erase(named);
}

/// Takes one write out of the channel; false when there is none or the file is closed.
bool drop_in_state::write_one(channel& ch) {
  passing_message message;
  const ssize_t got = message.receive(ch.fd.get(), buffer_);
  if (got < 0) return false;
  static_cast<void>(take_passed(ch, message.header));
  if (got == 0) errno = EPIPE;
  if (got == 0) return false;
  result<void> done = fail(errc::inval);
  if (static_cast<std::size_t>(got) <= most_written) {
    done = ch.host->write_file(ch.file->path, text_of({buffer_.data(), static_cast<u64>(got)}));
  }
  if (!done && ch.file->error == 0) ch.file->error = -static_cast<int>(done.error());
  return true;
}

void drop_in_state::serve_file(u64 id, channel& ch) {
  for (int i = 0; i < writes_a_turn; ++i) {
    if (write_one(ch)) continue;
    if (errno != EAGAIN && errno != EINTR) drop_channel(id);
    return;
  }
}

void drop_in_state::serve_files() {
  if (file_count_ == 0) return;
  epoll_event ready[64];
  for (int round = 0; round < rounds_of_files; ++round) {
    const int n = ::epoll_wait(files_.get(), ready, static_cast<int>(std::size(ready)), 0);
    if (n <= 0) return;
    for (int i = 0; i < n; ++i) {
      const auto at = channels_.find(ready[i].data.u64);
      if (at != channels_.end()) serve_file(at->first, at->second);
    }
  }
}

answer_data drop_in_state::file_error(channel& ch, const request& r) {
  const std::string_view asked(reinterpret_cast<const char*>(r.data), r.head.data_len);
  const auto named = file_names_.find(asked);
  if (named == file_names_.end()) return refusal(errc::badf);
  channel& other = channels_.at(named->second);
  if (other.host != ch.host) return refusal(errc::badf);
  answer_data a;
  a.result = std::exchange(other.file->error, 0);
  return a;
}

}  // namespace ph::dropin
