// The control plane's token. Functions that change configuration demand an rtnl_held, so that
// code which may not change it does not compile.
#pragma once

#include "base/check.h"

namespace ph {

class rtnl_lock;

/// Proof that the control lock of a kernel is held.
class rtnl_held {
 public:
  rtnl_held(const rtnl_held&) = delete;
  rtnl_held& operator=(const rtnl_held&) = delete;

 private:
  friend class rtnl_guard;
  rtnl_held() = default;
};

/// The control lock of one kernel. Control calls run on the thread that runs the kernel, so this
/// only finds wrong nesting.
class rtnl_lock {
 private:
  friend class rtnl_guard;
  bool held_ = false;
};

/// Holds the lock for a scope: `const rtnl_guard rtnl(machine.rtnl()); addr_add(rtnl.held(), …)`.
class rtnl_guard {
 public:
  explicit rtnl_guard(rtnl_lock& lock) : lock_(lock) {
    ph_check(!lock_.held_);
    lock_.held_ = true;
  }
  rtnl_guard(const rtnl_guard&) = delete;
  rtnl_guard& operator=(const rtnl_guard&) = delete;
  ~rtnl_guard() { lock_.held_ = false; }
  [[nodiscard]] const rtnl_held& held() const { return held_; }

 private:
  rtnl_lock& lock_;
  rtnl_held held_;
};

}  // namespace ph
