// Lines in, lines out, without blocking and without exceptions from the parser.
#include "daemon/control.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "platform/fd_message.h"

namespace ph {
namespace {

using nlohmann::json;

constexpr std::size_t most_passed = 253;  ///< in one message: SCM_MAX_FD

}  // namespace

control_connection::~control_connection() {
  // What nobody has read may hold descriptors.
  if (!drained_) closes_.close(std::move(socket_));
}

pid_t control_connection::peer() const {
  ucred who{};
  socklen_t len = sizeof who;
  return ::getsockopt(fd(), SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 ? who.pid : 0;
}

bool control_connection::read() {
  std::array<char, 16 * 1024> buffer;
  for (;;) {
    if (!has_room() && !closing_) return true;
    iovec part{buffer.data(), buffer.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(most_passed * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    bool passed = false;
    for_each_passed_fd(message, [&](int fd) {
      closes_.close(unique_fd(fd));
      passed = true;
    });
    if (passed) return false;
    if (n == 0) {
      at_end_ = drained_ = true;
      return true;
    }
    if (closing_) return true;  // the rest of a line that was refused
    in_.append(buffer.data(), static_cast<std::size_t>(n));
    if (has_room() || find_end() != std::string::npos) return true;
    refuse(fmt::format("a request is longer than {} bytes", longest_line));
    closing_ = true;
    in_.clear();
    in_at_ = in_seen_ = 0;
  }
}

/// The end of the first line that is not served yet.
std::size_t control_connection::find_end() {
  const std::size_t end = in_.find('\n', in_seen_);
  in_seen_ = end == std::string::npos ? in_.size() : end;
  return end;
}

bool control_connection::has_line() { return !closing_ && find_end() != std::string::npos; }

bool control_connection::has_next() {
  return out_.size() - out_at_ <= longest_backlog && has_line();
}

std::optional<control_request> control_connection::next() {
  while (has_next()) {
    const std::string line = in_.substr(in_at_, in_seen_ - in_at_);
    in_at_ = ++in_seen_;
    if (in_at_ * 2 > in_.size()) {  // each byte moves once on the average
      in_.erase(0, in_at_);
      in_at_ = in_seen_ = 0;
    }
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (auto what = control_request::parse(line)) return what;
    refuse("a request is one JSON object on one line");
  }
  return std::nullopt;
}

void control_connection::answer(const json& reply) {
  out_ += reply.dump(-1, ' ', false, json::error_handler_t::replace);
  out_ += '\n';
}

void control_connection::answer(const json& reply, unique_fd passed) {
  passed_ = std::move(passed);
  passed_at_ = out_.size();
  answer(reply);
}

/// Said where there is no memory, too: an object needs some even for its end, a text does not.
void control_connection::refuse(const std::string& why) {
  const std::string quoted = json(why).dump(-1, ' ', false, json::error_handler_t::replace);
  out_ += fmt::format("{{\"error\":{},\"ok\":false}}\n", quoted);
}

/// One message: what stands before a descriptor is sent before it.
ssize_t control_connection::send_some() {
  const bool before = passed_ && out_at_ < passed_at_;
  const std::size_t end = before ? passed_at_ : out_.size();
  const ssize_t n = send_with_fd(socket_.get(), std::span(out_).subspan(out_at_, end - out_at_),
                                 before ? -1 : passed_.get(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n >= 0 && !before) passed_.reset();
  return n;
}

bool control_connection::flush() {
  while (out_at_ < out_.size()) {
    const ssize_t n = send_some();
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == ETOOMANYREFS) {  // too many descriptors of this user are on their way
      out_.resize(passed_at_);
      passed_.reset();
      refuse("the kernel lets the lab pass no descriptor now");
      closing_ = true;
      continue;
    }
    if (n < 0 && errno != EAGAIN) return false;
    if (n < 0) break;
    out_at_ += static_cast<std::size_t>(n);
  }
  if (out_at_ * 2 > out_.size()) {
    out_.erase(0, out_at_);
    passed_at_ -= std::min(passed_at_, out_at_);
    out_at_ = 0;
  }
  return true;
}

}  // namespace ph
