// Lines in, lines out, without blocking and without exceptions from the parser.
#include "daemon/control.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace ph {
namespace {

using nlohmann::json;

/// Deeper requests are refused before a parser sees them: no request needs more than three.
constexpr int deepest_nesting = 16;

bool too_deep(std::string_view line) {
  int depth = 0;
  for (const char c : line) {
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > deepest_nesting) return true;
  }
  return false;
}

void take_fds(msghdr& message, std::vector<unique_fd>& to) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      to.emplace_back(fd);
    }
  }
}

}  // namespace

bool control_connection::read() {
  std::array<char, 16 * 1024> buffer;
  for (;;) {
    iovec part{buffer.data(), buffer.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(most_fds * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    take_fds(message, fds_);
    if (n == 0) {
      at_end_ = true;
      return true;
    }
    if (closing_) continue;
    in_.append(buffer.data(), static_cast<std::size_t>(n));
    if (fds_.size() > most_fds) return false;
    if (in_.size() <= longest_line || in_.find('\n') != std::string::npos) return true;
    refuse(fmt::format("a request is longer than {} bytes", longest_line));
    closing_ = true;
    in_.clear();
  }
}

std::optional<control_request> control_connection::next() {
  for (;;) {
    const std::size_t end = in_.find('\n');
    if (end == std::string::npos || closing_) return std::nullopt;
    const std::string line = in_.substr(0, end);
    in_.erase(0, end + 1);
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    json what = too_deep(line) ? json() : json::parse(line, nullptr, false);
    if (what.is_object()) return control_request{std::move(what), std::exchange(fds_, {})};
    fds_.clear();
    refuse("a request is one JSON object on one line");
  }
}

void control_connection::answer(const json& reply) {
  out_ += reply.dump(-1, ' ', false, json::error_handler_t::replace);
  out_ += '\n';
}

void control_connection::refuse(const std::string& why) {
  answer({{"ok", false}, {"error", why}});
}

bool control_connection::flush() {
  std::size_t sent = 0;
  while (sent < out_.size()) {
    const ssize_t n = ::send(socket_.get(), out_.data() + sent, out_.size() - sent,
                             MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) return false;
    if (n < 0) break;
    sent += static_cast<std::size_t>(n);
  }
  out_.erase(0, sent);
  return out_.size() <= longest_backlog;
}

}  // namespace ph
