// Files that a host has of its own (host_sockets::read_file): programs read them whole, and write
// to them through a channel that has become the file, so that whatever writes to the descriptor, a
// shim in it or not, sets what it would on Linux.
#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "daemon/drop_in_state.h"

namespace ph::dropin {
namespace {

/// What one write(2) to a file of proc(5) may bring: less than a page.
constexpr std::size_t most_written = 4095;
constexpr int writes_a_turn = 64;

answer_data refuse(errc e) { return {-static_cast<int>(e), {}, {}, 0}; }

bool same_address(const sockaddr_storage& a, socklen_t len, byte_view b) {
  const byte_view mine{reinterpret_cast<const u8*>(&a), len};
  return std::equal(mine.begin(), mine.end(), b.begin(), b.end());
}

}  // namespace

answer_data drop_in_state::read_file(channel& ch, const request& r) {
  const auto text = ch.host->read_file(text_of({r.data, r.head.data_len}));
  if (!text) return refuse(text.error());
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
  if (ch.who.user != ::geteuid() && ch.who.user != 0) return refuse(errc::acces);
  std::string path(text_of({r.data, r.head.data_len}));
  const auto text = ch.host->read_file(path);
  if (!text) return refuse(text.error());
  if (!reply(ch, r.head, {})) {
    drop_channel(id);
    return std::nullopt;
  }
  if ((r.head.arg[0] & O_ACCMODE) == O_RDWR) {
    static_cast<void>(::send(ch.fd.get(), text->data(), text->size(), MSG_DONTWAIT | MSG_NOSIGNAL));
  }
  ::shutdown(ch.fd.get(), SHUT_WR);
  ch.file = open_lab_file{std::move(path)};
  files_.insert(id);
  return std::nullopt;
}

/// Takes one write out of the channel; false when there is none or the file is closed.
bool drop_in_state::write_one(channel& ch) {
  iovec piece{buffer_.data(), buffer_.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))];
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(ch.fd.get(), &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
  if (got < 0) return false;
  static_cast<void>(take_passed(ch, message));
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
  for (auto at = files_.begin(); at != files_.end();) {
    const u64 id = *at++;  // it may be closed, and then be no longer one of them
    serve_file(id, channels_.at(id));
  }
}

answer_data drop_in_state::file_error(channel& ch, const request& r) {
  const byte_view asked{r.data, r.head.data_len};
  for (const u64 id : files_) {
    channel& other = channels_.at(id);
    sockaddr_storage program{};
    socklen_t len = sizeof program;
    if (other.host != ch.host ||
        ::getpeername(other.fd.get(), reinterpret_cast<sockaddr*>(&program), &len) != 0 ||
        !same_address(program, len, asked)) {
      continue;
    }
    answer_data a;
    a.result = std::exchange(other.file->error, 0);
    return a;
  }
  return refuse(errc::badf);
}

}  // namespace ph::dropin
