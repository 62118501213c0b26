// One stack behind the table: a machine on a virtual clock that several threads may call. Every
// call holds one lock; who must wait lets it go, and is asked again whenever something happened.
//
// Time: each look at the clock takes a microsecond, usleep() jumps, and so does whoever waits for
// a packet or, when nobody else moves the clock, for anything else.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "judge/settings_folder.h"
#include "judge/table.h"
#include "platform/unique_fd.h"
#include "sim/packetdrill/machine.h"

namespace ph::judge {

struct stack_config {
  ipv4_addr local{192, 168, 0, 1};
  u32 mtu = 1500;
  std::string settings;               ///< see settings_folder.h
  duration patience = seconds(600);   ///< how long netdev_receive waits, on the virtual clock
};
/// "local=192.168.0.1,mtu=1500,settings=/path,patience_ms=1000"; the folder may also come from
/// PH_PACKETDRILL_SYSCTLS. Words that are unknown are ignored.
stack_config read_flags(const char* flags);

class judged_stack {
 public:
  explicit judged_stack(stack_config config);

  // Results: as result<T>, errors are the calls' errno values.
  result<s64> socket(int domain, int type, int protocol);
  result<s64> bind(int fd, byte_view addr);
  result<s64> listen(int fd, int backlog);
  result<s64> accept(int fd, sockaddr_buf* peer);
  result<s64> connect(int fd, byte_view addr);
  result<s64> receive(int fd, recv_msg& msg);
  result<s64> send(int fd, const send_msg& msg);
  result<s64> get_flags(int fd);
  result<s64> set_flags(int fd, int flags);
  result<s64> ioctl(int fd, u32 command, byte_span argument);
  result<s64> close(int fd);
  result<s64> shutdown(int fd, int how);
  result<s64> getsockopt(int fd, int level, int name, byte_span out);
  result<s64> setsockopt(int fd, int level, int name, byte_view value);
  result<s64> poll(std::span<pollfd> fds, int timeout_ms);
  result<s64> epoll_create();
  result<s64> epoll_ctl(int epfd, int operation, int fd, u32 events, u64 data);
  result<s64> epoll_wait(int epfd, std::span<epoll_event> out, int timeout_ms);
  /// A datagram reaches the host.
  void inject(byte_view datagram);
  /// The next datagram that the host sends. Errors: timedout (nothing within the patience of the
  /// configuration), msgsize.
  result<s64> next_packet(byte_span out, instant* when);
  void sleep(duration d);
  instant look_at_clock();
  /// Lets another thread make its call: returns once one waits in a call, or ended one since the
  /// last time. Only then is it the caller's turn to move the clock.
  void yield();
  /// As splice(2) between one of our sockets and a pipe of the system, and as sendfile(2).
  result<s64> receive_into(int fd, int pipe, std::size_t len, u32 flags);
  result<s64> send_from(int fd, int file, s64* offset, std::size_t len, u32 flags);
  /// Is this one of our descriptors?
  bool owns(int fd);

 private:
  using guard = std::unique_lock<std::mutex>;
  /// Tries until `attempt` gives something; nullopt asks to be tried again later, until `limit`.
  template <class Attempt>
  std::optional<result<s64>> wait_until(guard& held, instant limit, Attempt&& attempt);
  template <class Attempt>
  result<s64> blocking(int fd, wait_for what, u32 flags, Attempt&& attempt);
  result<int> live(int fd) const;
  result<s64> adopt(result<int> file);
  result<s64> connected(int file);
  result<s64> nothing_comes();
  void pass_time(guard& held, instant t);
  void let_waiters_try(guard& held);
  void know_address(byte_view sockaddr);
  void know_address(ipv4_addr addr);
  [[nodiscard]] instant limit_of(int timeout_ms) const;

  std::mutex lock_;
  std::condition_variable changed_, tried_;
  u64 round_ = 0;               ///< rises when waiters should try again
  std::list<u64> waiters_;      ///< the round each has tried in
  stack_config config_;
  packetdrill::machine host_;
  settings_folder settings_;
  bool silent_ = false;         ///< the last wait for a packet was in vain
  u64 calls_ended_ = 0;         ///< of those that may block
  u64 calls_seen_ = 0;          ///< at the last yield()
  std::thread::id last_caller_; ///< who ended one last
  u64 calls_slept_ = 0;         ///< at the last sleep()
  struct open_file {
    int file = -1;              ///< the task's descriptor
    unique_fd place;            ///< keeps the number taken in this process
  };
  std::map<int, open_file> files_;
};

}  // namespace ph::judge
