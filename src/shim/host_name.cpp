// Hooks of what says and sets the machine's name: a program's machine is its host of the lab. Who
// calls uname(2) itself sees the real one. Files that tell it are in lab_files.h.
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "shim/config.h"
#include "shim/hook.h"
#include "shim/own_caller.h"

namespace {

using namespace ph::shim;

constinit next_function<int(char*, size_t)> next_gethostname{"gethostname"};
constinit next_function<int(utsname*)> next_uname{"uname"};
constinit next_function<int(const char*, size_t)> next_sethostname{"sethostname"};

bool has_name() { return config().active && config().host[0] != 0; }

/// As libc has it: what fits, and an error when the end does not.
int give_name(char* out, size_t room) {
  const std::size_t len = std::strlen(config().host) + 1;
  std::memcpy(out, config().host, len < room ? len : room);
  return len <= room ? 0 : finish(-ENAMETOOLONG);
}

}  // namespace

PH_HOOK(int, gethostname, char* name, size_t room) {
  return has_name() ? give_name(name, room) : next_gethostname(name, room);
}

PH_HOOK(int, __gethostname_chk, char* name, size_t room, size_t buffer) {
  if (room > buffer) __builtin_trap();  // what a fortified program asks for
  return has_name() ? give_name(name, room) : next_gethostname(name, room);
}

PH_HOOK(int, uname, utsname* out) {
  const int result = next_uname(out);
  if (result != 0 || !has_name()) return result;
  static_assert(sizeof(ph::shim::settings::host) <= sizeof out->nodename);
  std::memset(out->nodename, 0, sizeof out->nodename);
  std::memcpy(out->nodename, config().host, std::strlen(config().host));
  return 0;
}

/// The name of a host is in the lab file; the real machine's is none of the program's business.
PH_HOOK(int, sethostname, const char* name, size_t len) {
  return has_name() ? finish(-EPERM) : next_sethostname(name, len);
}
