// A caller of a test: asks a real daemon on a channel of its own, and moves bytes by way of its own
// memory, as whoever serves another process must. Where the program's memory and descriptors are is
// for its heirs to say.
#pragma once

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "calls/caller.h"
#include "calls/datagram_tag.h"
#include "calls/exchange.h"
#include "calls/message.h"
#include "daemon/anchor_name.h"
#include "platform/unique_fd.h"
#include "tests/shim/daemon_thread.h"

namespace ph::calls {

class lab_caller : public caller {
 public:
  explicit lab_caller(const dropin::daemon_thread& daemon)
      : channel_(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    dropin::hello_data hello;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socklen_t len = 0;
    for (const auto& [key, value] : daemon.environment()) {
      if (key == dropin::env_host) value.copy(hello.host, sizeof hello.host - 1);
      if (key == dropin::env_token) value.copy(hello.token, sizeof hello.token - 1);
      if (key != dropin::env_socket) continue;
      value.copy(address.sun_path, sizeof address.sun_path);
      address.sun_path[0] = 0;  // of an abstract name, as tests have it
      len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + value.size());
    }
    ::connect(channel_.get(), reinterpret_cast<const sockaddr*>(&address), len);
    const iovec data{&hello, sizeof hello};
    dropin::welcome_data welcome;
    exchange x;
    x.kind = dropin::request_kind::hello;
    x.arg[0] = ::getpid();
    x.data = &data;
    x.data_pieces = 1;
    x.out = &welcome;
    x.out_room = sizeof welcome;
    works_ = ask(x) >= 0;
  }
  /// Every request had its reply, on the one channel.
  [[nodiscard]] bool works() const { return works_; }
  [[nodiscard]] int raised() const { return raised_; }
  /// The time limit of each request so far, in microseconds.
  [[nodiscard]] const std::vector<long>& asked() const { return asked_; }
  /// The next accept() finds a refusal of the daemon's in front of what waits.
  void have_refusal_waiting() { refusal_waits_ = true; }
  /// From now on the daemon answers with this error; 0: as it does.
  void have_refused(int error) { refused_ = error; }

  long kernel(long call, long a, long b, long c, long d, long e) override {
    return result_of(::syscall(call, a, b, c, d, e));
  }

  long send(int held, const buffers& bytes, int flags) override {
    piece_list pieces;
    if (const int error = pieces.read(*this, bytes); error != 0) return error;
    std::vector<u8> own(pieces.total());
    if (!gather(*this, pieces, own.data())) return -EFAULT;
    return result_of(::send(held, own.data(), own.size(), flags));
  }

  long receive(int held, const buffers& room, int flags, int& came) override {
    msghdr whole{};
    return receive_whole(held, room, flags, whole, came);
  }

  long discard(int held, std::size_t len, int flags) override {
    std::vector<u8> own(len);
    return result_of(::recv(held, own.data(), own.size(), flags));
  }

  long receive_tagged(int held, const buffers& room, int flags, int& came,
                      received_tag& tag) override {
    control_room control;
    msghdr whole{};
    control.offer(whole);
    const long got = receive_whole(held, room, flags | MSG_CMSG_CLOEXEC, whole, came);
    if (whole.msg_controllen != 0) read_beside(*this, whole, tag);
    return got;
  }

  int accept(int held, sockaddr_storage& from, socklen_t& len, int flags) override {
    if (std::exchange(refusal_waits_, false)) {
      dropin::anchor_name refusal;
      refusal.kind = dropin::name_kind::refusal;
      sockaddr_un named{};
      named.sun_family = AF_UNIX;
      u8 path[dropin::max_name_len];
      const std::size_t used = dropin::encode_name(refusal, path);
      std::memcpy(named.sun_path, path, used);
      std::memcpy(&from, &named, sizeof named);
      len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + used);
      return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    }
    auto* const name = reinterpret_cast<sockaddr*>(&from);
    return static_cast<int>(result_of(::accept4(held, name, &len, flags)));
  }

  int ask(exchange& x) override {
    asked_.push_back(x.timeout_us);
    if (refused_ != 0) return -refused_;
    exchange own = x;
    std::vector<std::vector<u8>> copies;
    std::vector<iovec> data(x.data, x.data + x.data_pieces);
    for (std::size_t i = 0; i < x.payload_pieces; ++i) {
      copies.emplace_back(x.payload[i].len);
      if (!read(x.payload[i].at, copies.back().data(), copies.back().size())) return -EFAULT;
      data.push_back({copies.back().data(), copies.back().size()});
    }
    own.data = data.data();
    own.data_pieces = data.size();
    own.payload_pieces = 0;
    const int result = converse(own);
    x.out_len = own.out_len;
    x.reply_flags = own.reply_flags;
    x.reply_fd = own.reply_fd;
    return result;
  }

  void raise(int signal) override { raised_ = signal; }
  void note_connecting(int held, bool connecting) override {
    connecting_ = connecting ? held : -1;
  }
  bool may_be_connecting(int held) override { return held == connecting_; }
  void expect(habit what) override { expected_[static_cast<std::size_t>(what)] = true; }
  bool expects(habit what) override { return expected_[static_cast<std::size_t>(what)]; }
  void follow_errors(int) override {}
  bool follows_errors(int) override { return false; }

 protected:
  ~lab_caller() = default;
  static long result_of(long result) { return result < 0 ? -errno : result; }

 private:
  int converse(exchange& x) {
    request_frame request;
    if (const int error = request.build(x); error != 0) return error;
    reply_frame reply(x);
    const bool asked = ::sendmsg(channel_.get(), &request.message(), MSG_NOSIGNAL) >= 0;
    if (asked && reply.take(::recvmsg(channel_.get(), &reply.message(), reply.flags()))) {
      return reply.result();
    }
    works_ = false;
    return -ECONNRESET;
  }

  long receive_whole(int held, const buffers& room, int flags, msghdr& whole, int& came) {
    piece_list pieces;
    const int error = pieces.read(*this, room);
    if (error != 0) whole.msg_controllen = 0;
    if (error != 0) return error;
    std::vector<u8> own(pieces.total());
    iovec all{own.data(), own.size()};
    whole.msg_iov = &all;
    whole.msg_iovlen = 1;
    const long got = result_of(::recvmsg(held, &whole, flags));
    if (got < 0) whole.msg_controllen = 0;
    if (got < 0) return got;
    came = whole.msg_flags;
    const auto len = static_cast<std::size_t>(got);
    const long given = scatter(*this, own.data(), len < own.size() ? len : own.size(), pieces);
    return given < 0 ? given : got;
  }

  unique_fd channel_;
  bool works_ = false;
  bool expected_[habits] = {};
  std::vector<long> asked_;
  int refused_ = 0;
  bool refusal_waits_ = false;
  int raised_ = 0;
  int connecting_ = -1;
};

}  // namespace ph::calls
