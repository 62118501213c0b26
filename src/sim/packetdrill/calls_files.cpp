// Descriptors that are no sockets: files and pipes of a script, and the calls between them and
// sockets. Files are not opened: all are endless zeros, as the data of scripts are.
#include "sim/packetdrill/calls.h"
#include "sim/packetdrill/values.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::packetdrill {

call_result call_runner::open_call(const syscall_spec& call) {
  const s64 fd = number(call.result);
  zeros_.insert(static_cast<int>(fd));
  return fd;
}

call_result call_runner::pipe_call(const arguments& a) {
  const expression& ends = a.at(0);
  if (ends.items.size() != 2) throw unknown_thing{"pipe() needs two descriptors"};
  const int out = static_cast<int>(number(ends.items[0]));
  const int in = static_cast<int>(number(ends.items[1]));
  pipes_[in] = pipes_[out] = std::make_shared<std::size_t>(0);
  return 0;
}

std::optional<call_result> call_runner::sendfile_call(const arguments& a) {
  const int fd = fd_of(a);
  if (!zeros_.contains(static_cast<int>(number(a.at(1))))) return call_result(fail(errc::badf));
  const auto length = static_cast<std::size_t>(number(a.at(3)));
  return send_bytes(fd, {&length, 1}, 0, {});
}

std::optional<call_result> call_runner::splice_call(const arguments& a) {
  constexpr s64 nonblock = 2;  // SPLICE_F_NONBLOCK
  const auto from = pipes_.find(static_cast<int>(number(a.at(0))));
  const auto to = pipes_.find(static_cast<int>(number(a.at(2))));
  const auto length = static_cast<std::size_t>(number(a.at(4)));
  const u32 flags = (number(a.at(5)) & nonblock) != 0 ? uapi::msg_dontwait : 0;
  if (from != pipes_.end()) {
    const std::size_t bytes = std::min(length, *from->second);
    const auto sent = send_bytes(fd_at(a.at(2)), {&bytes, 1}, flags, {});
    if (sent && *sent) *from->second -= static_cast<std::size_t>(**sent);
    return sent;
  }
  if (to == pipes_.end()) return call_result(fail(errc::inval));
  const int fd = fd_of(a);
  // It ends at the urgent byte, which it never passes.
  std::vector<u8> mark(4);
  if (sys_ioctl(host_.program(), fd, uapi::siocatmark, mark) && mark[0] != 0) {
    return call_result(0);
  }
  std::vector<u8> data(length);
  const auto got = sys_recv(host_.program(), fd, data, flags);
  if (!got && got.error() == errc::again && blocking(fd, wait_for::receive, flags)) {
    return std::nullopt;
  }
  if (!got) return call_result(fail(got.error()));
  *to->second += *got;
  return call_result(static_cast<s64>(*got));
}

}  // namespace ph::packetdrill
