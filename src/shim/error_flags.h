// Error flags: beside a stream anchor with an error queue (MSG_ZEROCOPY, transmit time stamps) a
// process has a descriptor that polls POLLERR while something waits there (daemon/error_flag.h).
// Which anchor has which flag is told by a small table of the process; a fork child inherits both.
#pragma once

namespace ph::shim {

/// True once this process has a flag: only then the waiting calls need a look.
bool error_flags_in_use();

/// The flag of the stream anchor `fd`, or -1.
int error_flag_of(int fd);

/// Gets the flag of a stream anchor, unless this process has it.
void want_error_flag(int fd);

/// `fd` is about to be closed. When it is the last copy in this process, its flag goes with it.
class closing_flag {
 public:
  explicit closing_flag(int fd);
  /// It was closed.
  void closed();

 private:
  unsigned long inode_ = 0;
};

}  // namespace ph::shim
