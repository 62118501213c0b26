// A pipe can lose its reader, or its room to another writer, after it was looked at: so the signals
// of a write are held back all the same, and it is made without waiting where the kernel can.
#include "shim/standard_error.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "shim/raw.h"

namespace ph::shim {
namespace {

using signal_bits = std::uint64_t;  // the kernel's set

constexpr signal_bits bit_of(int signal) { return signal_bits{1} << (signal - 1); }

/// A terminal or a pipe; a channel of another kind may be what the program keeps its data in.
bool is_for_people() {
  struct stat st {};
  if (raw::fstat(STDERR_FILENO, st) != 0) return false;
  if (S_ISFIFO(st.st_mode)) return true;
  winsize size{};
  return S_ISCHR(st.st_mode) &&
         raw::call(SYS_ioctl, STDERR_FILENO, TIOCGWINSZ, raw::arg(&size)) == 0;
}

/// Of a pipe: somebody reads it, and it is not full. Of a terminal: it was not stopped (Ctrl-S).
bool takes_a_line() {
  pollfd now{STDERR_FILENO, POLLOUT, 0};
  const timespec at_once{};
  return raw::call(SYS_ppoll, raw::arg(&now), 1, raw::arg(&at_once)) == 1 &&
         (now.revents & (POLLOUT | POLLERR)) == POLLOUT;
}

void write_at_once(const char* line, std::size_t len) {
  const iovec piece{const_cast<char*>(line), len};
  constexpr long no_offset = -1;
  const long written =
      raw::call(SYS_pwritev2, STDERR_FILENO, raw::arg(&piece), 1, no_offset, no_offset, RWF_NOWAIT);
  if (written != -EOPNOTSUPP && written != -ENOSYS) return;
  raw::call(SYS_write, STDERR_FILENO, raw::arg(line), static_cast<long>(len));
}

}  // namespace

void say_on_standard_error(const char* line, std::size_t len) {
  if (!is_for_people() || !takes_a_line()) return;
  // SIGTTOU: a terminal would stop a program in the background (stty tostop).
  const signal_bits held = bit_of(SIGPIPE) | bit_of(SIGTTOU);
  signal_bits before = 0, pending = 0;
  if (raw::call(SYS_rt_sigprocmask, SIG_BLOCK, raw::arg(&held), raw::arg(&before), sizeof before) !=
      0) {
    return;
  }
  raw::call(SYS_rt_sigpending, raw::arg(&pending), sizeof pending);
  write_at_once(line, len);
  const signal_bits broken = bit_of(SIGPIPE);
  const timespec at_once{};
  if ((pending & broken) == 0) {  // else it is the program's own
    raw::call(SYS_rt_sigtimedwait, raw::arg(&broken), 0, raw::arg(&at_once), sizeof broken);
  }
  raw::call(SYS_rt_sigprocmask, SIG_SETMASK, raw::arg(&before), 0, sizeof before);
}

}  // namespace ph::shim
