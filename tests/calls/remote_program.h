// A program that is another process: a child that only waits, whose memory and descriptors are
// reached from here (process_vm_readv(2), pidfd_getfd(2)). It takes descriptors from a socket, in
// place of a supervisor's SECCOMP_ADDFD.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <utility>
#include <vector>

#include "platform/passed_fd.h"
#include "tests/calls/lab_caller.h"
#include "tests/calls/test_program.h"

namespace ph::calls {

/// What the child is told: to put the descriptor that comes along anywhere (-1), or at a number.
struct child_order {
  int number = -1;
  int flags = 0;
};

class child_process {
 public:
  child_process() {
    arena_ =
        ::mmap(nullptr, arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int ends[2];
    ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
    pid_ = ::fork();
    if (pid_ == 0) obey(ends[1]);
    orders_.reset(ends[0]);
    ::close(ends[1]);
    self_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;
  ~child_process() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::munmap(arena_, arena_size);
  }

  [[nodiscard]] bool reach(u64 at, void* own, std::size_t len, bool write) const {
    const iovec here{own, len};
    const iovec there{reinterpret_cast<void*>(static_cast<std::uintptr_t>(at)), len};
    const ssize_t n = write ? ::process_vm_writev(pid_, &here, 1, &there, 1, 0)
                            : ::process_vm_readv(pid_, &here, 1, &there, 1, 0);
    return n == static_cast<ssize_t>(len);
  }
  /// A copy of one of its descriptors, or -1.
  [[nodiscard]] int copy_of(int number) const {
    return static_cast<int>(::syscall(SYS_pidfd_getfd, self_.get(), number, 0));
  }
  /// Gives it one; its number there.
  int give(int fd, child_order order) const {
    iovec piece{&order, sizeof order};
    passed_fd_room room;
    msghdr m{};
    m.msg_iov = &piece;
    m.msg_iovlen = 1;
    room.put(m, fd);
    int number = -1;
    if (::sendmsg(orders_.get(), &m, 0) < 0) return -errno;
    return ::recv(orders_.get(), &number, sizeof number, 0) > 0 ? number : -ECHILD;
  }
  [[nodiscard]] u64 arena() const { return reinterpret_cast<std::uintptr_t>(arena_); }
  static constexpr std::size_t arena_size = 1 << 20;

 private:
  [[noreturn]] static void obey(int orders) {
    ::dup3(orders, 3, 0);
    ::syscall(SYS_close_range, 4, ~0u, 0);
    for (;;) {
      child_order order;
      iovec piece{&order, sizeof order};
      passed_fd_room room;
      msghdr m{};
      m.msg_iov = &piece;
      m.msg_iovlen = 1;
      room.put(m, -1);
      if (::recvmsg(3, &m, 0) <= 0) ::_exit(0);
      int number = -1;
      for_each_passed_fd(m, [&](int fd) { number = fd; });
      if (order.number >= 0) {
        ::dup3(number, order.number, order.flags);
        ::close(number);
        number = order.number;
      } else {
        ::fcntl(number, F_SETFD, order.flags != 0 ? FD_CLOEXEC : 0);
      }
      ::send(3, &number, sizeof number, 0);
    }
  }

  void* arena_;
  pid_t pid_ = -1;
  unique_fd orders_, self_;
};

class remote_caller final : public lab_caller {
 public:
  remote_caller(const dropin::daemon_thread& daemon, const child_process& child)
      : lab_caller(daemon), child_(child) {}

  bool read(u64 at, void* to, std::size_t len) override {
    return len == 0 || child_.reach(at, to, len, false);
  }
  bool write(u64 at, const void* from, std::size_t len) override {
    return len == 0 || child_.reach(at, const_cast<void*>(from), len, true);
  }
  int hold(int number) override {
    for (const auto& [known, fd] : held_) {
      if (known == number) return fd.get();
    }
    unique_fd copy(child_.copy_of(number));
    if (copy.get() < 0) return -EBADF;
    held_.emplace_back(number, std::move(copy));
    return held_.back().second.get();
  }
  int give(int fd, bool cloexec) override {
    const unique_fd own(fd);
    return child_.give(own.get(), {-1, cloexec ? O_CLOEXEC : 0});
  }
  void replace(int held, int with) override {
    for (const auto& [number, fd] : held_) {
      if (fd.get() == held) child_.give(with, {number, 0});
    }
    ::dup3(with, held, O_CLOEXEC);
  }
  void release() { held_.clear(); }

 private:
  const child_process& child_;
  std::vector<std::pair<int, unique_fd>> held_;
};

class remote_program final : public test_program {
 public:
  explicit remote_program(const dropin::daemon_thread& daemon) : caller_(daemon, child_) {}
  using test_program::get;
  using test_program::put;
  u64 put(const void* from, std::size_t len) override {
    const u64 at = child_.arena() + used_;
    used_ = (used_ + len + 15) & ~std::size_t{15};
    if (from != nullptr) caller_.write(at, from, len);
    return at;
  }
  void get(u64 at, void* to, std::size_t len) override { caller_.read(at, to, len); }
  remote_caller& whose() override { return caller_; }
  void over() override { caller_.release(); }
  /// False where the system does not let this process look into others.
  [[nodiscard]] bool reachable() const { return unique_fd(child_.copy_of(3)).get() >= 0; }

 private:
  child_process child_;
  remote_caller caller_;
  std::size_t used_ = 0;
};

}  // namespace ph::calls
