// Readiness, and what a caller does about a call that would block.
#include "net/socket/syscall_internal.h"

namespace ph {

using namespace uapi;

u32 sys_poll(task& t, int fd) {
  const result<ref<file>> f = t.get(fd);
  return f ? (*f)->poll() : pollnval;
}

result<bool> sys_get_nonblock(task& t, int fd) {
  TRY(const ref<file> f, t.get(fd));
  return f->nonblocking();
}

result<void> sys_set_nonblock(task& t, int fd, bool on) {
  TRY(const ref<file> f, t.get(fd));
  f->set_nonblocking(on);
  return {};
}

wait_policy sys_wait_policy(task& t, int fd, wait_for what, u32 flags) {
  const result<ref<socket>> so = socket_of(t, fd);
  if (!so) return {};
  const bool moves_data = what == wait_for::receive || what == wait_for::send;
  if ((*so)->nonblocking() || (moves_data && (flags & msg_dontwait) != 0)) return {};
  const bool reads_errors = what == wait_for::receive && (flags & msg_errqueue) != 0;
  if (reads_errors) return {};  // recv(2): reading the error queue never blocks
  const sock_options& opt = (*so)->sk().opt;
  const bool inward = what == wait_for::receive || what == wait_for::accept;
  return {true, inward ? opt.rcvtimeo : opt.sndtimeo};
}

}  // namespace ph
