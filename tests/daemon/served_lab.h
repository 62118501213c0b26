// A daemon on a thread of the test's process, and those who speak to it: a control client, raw
// bytes, and a program without a shim.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <sstream>
#include <thread>

#include "daemon/control_client.h"
#include "daemon/protocol.h"
#include "daemon/serve.h"
#include "platform/fd_message.h"
#include "tests/support/temp_folder.h"
#include "uapi/inet.h"
#include "uapi/socket.h"
#include "wire/inet_addr.h"

namespace ph {

using nlohmann::json;

inline constexpr const char* two_hosts = R"(
hosts: { alice: {}, bob: {} }
links:
  - ends: [ "alice:eth0 10.0.1.1/24", "bob:eth0 10.0.1.2/24" ]
    delay: 1ms
)";

inline lab lab_of(const char* text) {
  auto read = parse_lab(text, "test.yaml");
  EXPECT_TRUE(read) << read.error().to_string();
  return *read;
}

/// serve() on a thread; ended by `down` unless it has ended before.
class served_lab {
 public:
  /// `on_thread` is called there.
  explicit served_lab(const char* text = two_hosts, serve_options options = {},
                      std::function<void()> on_thread = [] {}) {
    options.socket_path = folder.socket();
    options.lab_name = "test.yaml";
    options.on_ready = [this, on_thread = std::move(on_thread)] {
      on_thread();
      ready_.set_value();
    };
    thread_ = std::thread([this, what = lab_of(text), options] { end_ = serve(what, options); });
    ready_.get_future().wait();
  }
  ~served_lab() {
    if (thread_.joinable()) {
      EXPECT_TRUE(client().down());
      join();
    }
  }
  tl::expected<void, std::string> join() {
    thread_.join();
    return end_;
  }
  [[nodiscard]] control_client client() const {
    auto c = control_client::connect(folder.socket());
    EXPECT_TRUE(c) << c.error();
    return std::move(*c);
  }
  /// A signal for the thread that serves, as one that the terminal sends to a daemon in front.
  void signal(int number) { ::pthread_kill(thread_.native_handle(), number); }
  temp_folder folder;

 private:
  std::promise<void> ready_;
  tl::expected<void, std::string> end_;
  std::thread thread_;
};

inline unique_fd raw_connection(const std::string& path) {
  unique_fd out(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.sun_path);
  EXPECT_EQ(::connect(out.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const timeval patience{30, 0};
  ::setsockopt(out.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return out;
}

inline void send_text(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

/// Everything up to the end.
inline std::string read_to_end(int fd) {
  std::string out;
  std::array<char, 65536> buffer;
  for (ssize_t n = 0; (n = ::recv(fd, buffer.data(), buffer.size(), 0)) > 0;) {
    out.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return out;
}

/// The answers to some bytes; the sending side is shut down behind them.
inline std::vector<json> answers_to(const served_lab& lab, std::string_view bytes) {
  const unique_fd fd = raw_connection(lab.folder.socket());
  send_text(fd.get(), bytes);
  ::shutdown(fd.get(), SHUT_WR);
  std::vector<json> out;
  std::istringstream lines(read_to_end(fd.get()));
  for (std::string line; std::getline(lines, line);) out.push_back(json::parse(line));
  return out;
}

/// A program of a host, without a shim: speaks the protocol of daemon/protocol.h.
class raw_program {
 public:
  raw_program(const served_lab& lab, const std::string& host) {
    const auto environment = *lab.client().run_env(host);
    const std::map<std::string, std::string> env(environment.begin(), environment.end());
    channel_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const timeval patience{30, 0};  // a daemon that never answers fails the test
    ::setsockopt(channel_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const std::string& at = env.at(dropin::env_socket);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(at.begin(), at.end(), address.sun_path);
    if (at[0] == '@') address.sun_path[0] = 0;
    const auto len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + at.size());
    EXPECT_EQ(::connect(channel_.get(), reinterpret_cast<sockaddr*>(&address), len), 0);
    dropin::hello_data hello;
    env.at(dropin::env_host).copy(hello.host, sizeof hello.host - 1);
    env.at(dropin::env_token).copy(hello.token, sizeof hello.token - 1);
    EXPECT_EQ(ask(dropin::request_kind::hello, {::getpid(), 1}, bytes_of(hello), -1), 0);
    page = std::move(passed);
  }
  /// Sends a request and returns the result, or no_answer; a passed descriptor is kept in `passed`.
  static constexpr int no_answer = -1000;
  int ask(dropin::request_kind kind, std::array<s32, 3> args, byte_view data, int fd) {
    dropin::request_head head;
    head.kind = static_cast<u16>(kind);
    head.sequence = ++sequence_;
    std::copy(args.begin(), args.end(), head.arg);
    head.data_len = static_cast<u32>(data.size());
    head.flags = flags;
    send(head, data, fd);
    return receive();
  }
  /// Sends a request that nobody waits for.
  void send(const dropin::request_head& head, byte_view data, int fd) {
    std::array<iovec, 2> parts{iovec{const_cast<dropin::request_head*>(&head), sizeof head},
                               iovec{const_cast<u8*>(data.data()), data.size()}};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    if (fd >= 0) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    EXPECT_GT(::sendmsg(channel_.get(), &message, MSG_NOSIGNAL), 0);
  }
  /// Waits until the daemon has closed the channel.
  bool hung_up() {
    pollfd channel{channel_.get(), 0, 0};
    return ::poll(&channel, 1, 30'000) == 1 && (channel.revents & POLLHUP) != 0;
  }
  int socket(int type) {
    EXPECT_EQ(ask(dropin::request_kind::socket, {uapi::af_inet, type, 0}, {}, -1), 0);
    return passed.release();
  }
  int bind(int anchor, const char* addr, u16 port) {
    const uapi::sockaddr_in in = sockaddr_of(addr, port);
    return ask(dropin::request_kind::bind, {}, bytes_of(in), anchor);
  }
  int connect(int anchor, const char* addr, u16 port) {
    const uapi::sockaddr_in in = sockaddr_of(addr, port);
    return ask(dropin::request_kind::connect, {}, bytes_of(in), anchor);
  }
  int send_to(int anchor, const char* addr, u16 port, std::string_view text) {
    const uapi::sockaddr_in in = sockaddr_of(addr, port);
    dropin::message_head head;
    head.name_len = sizeof in;
    head.payload_len = static_cast<u32>(text.size());
    std::vector<u8> data;
    for (const byte_view piece : {bytes_of(head), bytes_of(in), bytes_of(text)}) {
      data.insert(data.end(), piece.begin(), piece.end());
    }
    return ask(dropin::request_kind::sendmsg, {}, data, anchor);
  }
  u32 flags = 0;  ///< of the next requests
  std::vector<u8> reply_data;
  unique_fd passed;
  unique_fd page;  ///< of daemon/settling_page.h

 private:
  static uapi::sockaddr_in sockaddr_of(const char* addr, u16 port) {
    uapi::sockaddr_in in{};
    in.sin_family = le16(uapi::af_inet);
    in.sin_port = be16(port);
    in.sin_addr = ipv4_addr::parse(addr)->raw;
    return in;
  }
  int receive() {
    std::vector<char> buffer(dropin::max_message);
    const ssize_t n = receive_with_fd(channel_.get(), buffer, passed);
    const auto* const bytes = reinterpret_cast<const u8*>(buffer.data());
    dropin::reply r;
    if (n <= 0 || !dropin::parse_reply(bytes, static_cast<std::size_t>(n), r)) return no_answer;
    reply_data.assign(r.data, r.data + r.head.data_len);
    return r.head.result;
  }
  unique_fd channel_;
  u32 sequence_ = 0;
};

}  // namespace ph
