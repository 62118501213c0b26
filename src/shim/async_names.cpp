// Hook of getaddrinfo_a(3): libc's own looks names up from inside libc, in threads of its own. The
// daemon knows its answer at once, so that all are there when the call returns, also with
// GAI_NOWAIT; libc's gai_error(), gai_suspend() and gai_cancel() look at the result alone.
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdlib>

#include "shim/config.h"
#include "shim/hook.h"
#include "shim/raw.h"

namespace {

using namespace ph::shim;

constinit next_function<int(int, gaicb**, int, sigevent*)> next_getaddrinfo_a{"getaddrinfo_a"};

void send_signal(const sigevent& how) {
  siginfo_t info{};
  info.si_signo = how.sigev_signo;
  info.si_code = SI_ASYNCNL;
  info.si_pid = raw::getpid();
  info.si_uid = static_cast<uid_t>(raw::call(SYS_getuid));
  info.si_value = how.sigev_value;
  raw::call(SYS_rt_sigqueueinfo, info.si_pid, info.si_signo, raw::arg(&info));
}

void* run_notice(void* of) {
  const sigevent how = *static_cast<sigevent*>(of);
  std::free(of);
  how.sigev_notify_function(how.sigev_value);
  return nullptr;
}

/// False when no thread can be had.
bool start_notice(const sigevent& how) {
  auto* const own = static_cast<sigevent*>(std::malloc(sizeof(sigevent)));
  if (own == nullptr) return false;
  *own = how;
  pthread_t thread;
  if (pthread_create(&thread, how.sigev_notify_attributes, run_notice, own) != 0) {
    std::free(own);
    return false;
  }
  pthread_detach(thread);  // one that is made so already says EINVAL, and nothing is changed
  return true;
}

void look_up(gaicb& asked) {
  asked.__return = getaddrinfo(asked.ar_name, asked.ar_service, asked.ar_request, &asked.ar_result);
}

}  // namespace

PH_HOOK(int, getaddrinfo_a, int mode, gaicb** list, int count, sigevent* how) {
  if (!config().active) return next_getaddrinfo_a(mode, list, count, how);
  if (mode != GAI_WAIT && mode != GAI_NOWAIT) {
    errno = EINVAL;
    return EAI_SYSTEM;
  }
  for (int i = 0; i < count; ++i) {
    if (list[i] != nullptr) look_up(*list[i]);
  }
  if (mode == GAI_WAIT || how == nullptr) return 0;
  if (how->sigev_notify == SIGEV_SIGNAL) send_signal(*how);
  if (how->sigev_notify == SIGEV_THREAD && !start_notice(*how)) return EAI_AGAIN;
  return 0;
}
