// Keeps other processes of the same user out of this one.
#pragma once

#include <sys/prctl.h>

namespace ph {

/// While it lives, nobody but root can trace this process, read its memory or open its descriptors
/// by /proc/PID/fd: with those a program of one host would reach the sockets of another. There are
/// no core dumps either, so it ends before a sanitizer looks for leaks.
class private_process {
 public:
  private_process() : before_(::prctl(PR_GET_DUMPABLE)) { ::prctl(PR_SET_DUMPABLE, 0); }
  private_process(const private_process&) = delete;
  private_process& operator=(const private_process&) = delete;
  ~private_process() {
    if (before_ == 1) ::prctl(PR_SET_DUMPABLE, 1);
  }

 private:
  int before_;
};

}  // namespace ph
