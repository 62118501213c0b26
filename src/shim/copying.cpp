// Hooks of what makes another number for a descriptor and closes none: what is known by number
// (shim/connecting.h) is known of the copy, too. dup2(2) and dup3(2) are in closing.cpp.
#include <fcntl.h>

#include <cstdarg>

#include "shim/connecting.h"
#include "shim/hook.h"

namespace {

using namespace ph::shim;

constinit next_function<int(int)> next_dup{"dup"};
constinit next_function<int(int, int, void*)> next_fcntl{"fcntl64"};

/// A vfork child cannot look functions up: dlsym(3) takes locks that its parent may hold.
[[gnu::constructor]] void look_up() {
  next_dup.look_up();
  next_fcntl.look_up();
}

/// The argument of any command fits a pointer's place.
int do_fcntl(int fd, int command, void* argument) {
  const int result = next_fcntl(fd, command, argument);
  if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) note_copied(fd, result);
  return result;
}

}  // namespace

PH_HOOK(int, dup, int fd) {
  const int copy = next_dup(fd);
  note_copied(fd, copy);
  return copy;
}

PH_HOOK(int, fcntl, int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void* const argument = va_arg(list, void*);
  va_end(list);
  return do_fcntl(fd, command, argument);
}

PH_HOOK(int, fcntl64, int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void* const argument = va_arg(list, void*);
  va_end(list);
  return do_fcntl(fd, command, argument);
}
