// System calls of a script: arguments made ready, the call, and the comparison of its result.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>

#include "sim/packetdrill/machine.h"
#include "sim/packetdrill/script.h"

namespace ph::packetdrill {

/// What a call gave: its value or its error.
using call_result = result<s64>;

/// Thrown when a script asks for something unknown; call_runner::attempt reports it.
struct unknown_thing {
  std::string what;
};

/// Remembers which live descriptor stands behind each of the script's.
class call_runner {
 public:
  call_runner(machine& host, const run_options& options, ipv4_addr local, ipv4_addr remote)
      : host_(host), options_(options), local_(local), remote_(remote) {}

  /// Tries the call once. nullopt: it would block and may be tried again. On success compares
  /// out-parameters; a difference is in *difference.
  std::optional<call_result> attempt(const syscall_spec& call, std::string* difference);
  /// Compares the result with the script's; empty when it agrees.
  std::string check(const syscall_spec& call, const call_result& got) const;
  /// The live descriptor of a script's, -1 if none.
  [[nodiscard]] int live_fd(int script_fd) const;
  /// Another call: nothing of it is done yet.
  void begin() {
    progress_ = 0;
    begun_ = host_.now();
    gives_up_ = never;
  }
  /// When the call that waits gives up by itself (a time-out of poll(), SO_RCVTIMEO).
  [[nodiscard]] instant gives_up() const { return gives_up_; }

  static constexpr u16 default_port = 8080;
  /// The port that `bind(fd, ..., ...)` and `connect(fd, ..., ...)` mean.
  u16 bind_port = default_port;
  bool bad_script = false;  ///< the last attempt met a call or constant we do not know
  duration tolerance{};     ///< how far times in control messages may be off
  /// A lenient run's sendto() that opens a connection: FreeBSD's returns at once, ours when the
  /// handshake is over.
  [[nodiscard]] bool opens_early(const syscall_spec& call) const;

 private:
  using arguments = std::vector<expression>;
  std::optional<call_result> dispatch(const syscall_spec& call, std::string* difference);
  call_result open_socket(const syscall_spec& call);
  std::optional<call_result> accept_call(const syscall_spec& call);
  std::optional<call_result> connect_call(const syscall_spec& call);
  std::optional<call_result> send_call(const syscall_spec& call);
  std::optional<call_result> receive_call(const syscall_spec& call, std::string* difference);
  std::optional<call_result> fast_open_done(int fd);
  [[nodiscard]] std::string message_difference(const expression& want, const recv_msg& got) const;
  std::optional<errc> bad_buffer(const syscall_spec& call, int fd) const;
  static sockaddr_buf address_of(const expression& e, ipv4_addr addr, u16 port);
  /// One call, of buffers of these lengths.
  std::optional<call_result> send_bytes(int fd, std::span<const std::size_t> lengths, u32 flags,
                                        byte_view name);
  call_result set_option(const arguments& a);
  call_result get_option(const arguments& a, std::string* difference);
  call_result open_call(const syscall_spec& call);
  call_result pipe_call(const arguments& a);
  std::optional<call_result> sendfile_call(const arguments& a);
  std::optional<call_result> splice_call(const arguments& a);
  call_result close_call(const arguments& a);
  call_result fcntl_call(const arguments& a);
  call_result ioctl_call(const arguments& a, std::string* difference);
  std::optional<call_result> poll_call(const syscall_spec& call, std::string* difference);
  call_result epoll_control(const arguments& a);
  std::optional<call_result> epoll_wait_call(const arguments& a, std::string* difference);
  [[nodiscard]] bool blocking(int fd, wait_for what, u32 flags);
  /// May a call with this time-out (in ms, negative: none) wait longer?
  bool may_wait(s64 timeout_ms);
  s64 number(const expression& e);
  int fd_of(const arguments& a);
  int fd_at(const expression& e);
  void remember(const syscall_spec& call, int live);

  machine& host_;
  const run_options& options_;
  ipv4_addr local_, remote_;
  std::map<int, int> fds_;
  std::set<int> zeros_;       ///< files, by the script's descriptors
  std::map<int, std::shared_ptr<std::size_t>> pipes_;  ///< both ends; the bytes in between
  std::size_t progress_ = 0;  ///< bytes that a blocking write has brought under
  instant begun_, gives_up_ = never;
  bool waiting_for_connect_ = false;
  std::set<int> fast_open_;  ///< FreeBSD's TCP_FASTOPEN was set, and no sendto() came yet
};

}  // namespace ph::packetdrill
