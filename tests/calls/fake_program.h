// A program whose memory is an array, of which one access can be made to fail. Its descriptors are
// the test's.
#pragma once

#include <fcntl.h>

#include <vector>

#include "tests/calls/lab_caller.h"
#include "tests/calls/test_program.h"

namespace ph::calls {

class fake_caller final : public lab_caller {
 public:
  using lab_caller::lab_caller;

  bool read(u64 at, void* to, std::size_t len) override {
    if (len == 0) return true;
    if (!reaches(at, len)) return false;
    std::memcpy(to, memory_.data() + (at - first), len);
    return true;
  }
  bool write(u64 at, const void* from, std::size_t len) override {
    if (len == 0) return true;
    if (!reaches(at, len)) return false;
    std::memcpy(memory_.data() + (at - first), from, len);
    return true;
  }
  int hold(int number) override { return number >= 0 ? number : -EBADF; }
  int give(int fd, bool cloexec) override {
    ::fcntl(fd, F_SETFD, cloexec ? FD_CLOEXEC : 0);
    given_.emplace_back(fd);
    return fd;
  }
  /// Closes all that it was given.
  void close_all() { given_.clear(); }
  void replace(int held, int with) override { ::dup3(with, held, 0); }

  /// From now on the access with this number, from 1, fails; 0: none.
  void fail_at(unsigned access) {
    fails_at_ = access;
    accesses_ = 0;
  }
  [[nodiscard]] bool failed() const { return fails_at_ != 0 && accesses_ >= fails_at_; }

  u64 put(const void* from, std::size_t len) {
    const std::size_t at = (used_ + 15) & ~std::size_t{15};
    used_ = at + len;
    if (used_ > memory_.size()) memory_.resize(used_);
    if (from != nullptr) std::memcpy(memory_.data() + at, from, len);
    return first + at;
  }
  void get(u64 at, void* to, std::size_t len) const {
    std::memcpy(to, memory_.data() + (at - first), len);
  }

 private:
  static constexpr u64 first = 0x10000;

  bool reaches(u64 at, std::size_t len) {
    if (++accesses_ == fails_at_) return false;
    return at >= first && at - first <= used_ && len <= used_ - (at - first);
  }

  std::vector<u8> memory_;
  std::vector<unique_fd> given_;
  std::size_t used_ = 0;
  unsigned accesses_ = 0, fails_at_ = 0;
};

class fake_program final : public test_program {
 public:
  explicit fake_program(const dropin::daemon_thread& daemon) : caller_(daemon) {}
  using test_program::get;
  using test_program::put;
  u64 put(const void* from, std::size_t len) override { return caller_.put(from, len); }
  void get(u64 at, void* to, std::size_t len) override { caller_.get(at, to, len); }
  fake_caller& whose() override { return caller_; }

 private:
  fake_caller caller_;
};

}  // namespace ph::calls
