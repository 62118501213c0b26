// fork without exec: the child keeps one end of a pipe and nothing else of the daemon.
#include "daemon/last_words.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/drop_in.h"

namespace ph::dropin {
namespace {

[[noreturn]] void wait_and_speak(int alive, u64 instance) {
  ::setsid();
  ::prctl(PR_SET_NAME, "ph-last-words");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(signal, SIG_IGN);
  constexpr int kept = 3;
  ::dup2(alive, kept);
  ::close_range(kept + 1, ~0u, 0);
  for (int fd = 0; fd < kept; ++fd) ::close(fd);
  char byte;
  while (::read(kept, &byte, 1) < 0 && errno == EINTR) {
  }
  send_tombstones(instance);
  ::_exit(0);
}

}  // namespace

last_words::last_words(u64 instance) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return;
  alive_.reset(ends[1]);
  const unique_fd other(ends[0]);
  process_ = ::fork();
  if (process_ == 0) {
    alive_.reset();
    wait_and_speak(other.get(), instance);
  }
}

last_words::~last_words() {
  alive_.reset();
  while (process_ > 0 && ::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace ph::dropin
