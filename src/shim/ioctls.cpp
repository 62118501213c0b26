// Hook of ioctl: what it means about the network and our sockets is in calls/ioctl.h.
#include "calls/ioctl.h"

#include <sys/ioctl.h>

#include <cstdarg>

#include "shim/next.h"
#include "shim/own_caller.h"
#include "shim/settling.h"

using namespace ph::shim;

PH_HOOK(int, ioctl, int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void* const argument = va_arg(list, void*);
  va_end(list);
  if (request == FIONREAD && anything_on_its_way()) settle();
  own_caller c(fd);
  return finish_or(do_ioctl(c, fd, request, address_of(argument)),
                   [=] { return next::ioctl(fd, request, argument); });
}
