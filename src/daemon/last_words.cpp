// clone without exec and with CLONE_FILES: memory is the child's own, descriptors are shared. So
// until the daemon is dead the child opens and closes nothing.
#include "daemon/last_words.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/drop_in.h"

namespace ph::dropin {
namespace {

[[noreturn]] void wait_and_speak(int daemon, const std::string& folder) {
  ::setsid();
  ::prctl(PR_SET_NAME, "ph-last-words");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(signal, SIG_IGN);
  pollfd dead{daemon, POLLIN, 0};
  while (::poll(&dead, 1, -1) < 0 && errno == EINTR) {}
  send_tombstones();
  ::rmdir(folder.c_str());
  ::_exit(0);
}

}  // namespace

last_words::last_words(const std::string& folder)
    : daemon_(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0))) {
  if (!daemon_) return;
  process_ = static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
  if (process_ == 0) wait_and_speak(daemon_.get(), folder);
}

last_words::~last_words() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {}
}

}  // namespace ph::dropin
