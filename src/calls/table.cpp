// One row for each system call: how its registers become arguments.
#include "calls/table.h"

#include <sys/syscall.h>

#include <cerrno>

#include "calls/io.h"
#include "calls/ioctl.h"
#include "calls/sockets.h"

namespace ph::calls {
namespace {

int number(s64 value) { return static_cast<int>(value); }
u32 length(s64 value) { return static_cast<u32>(value); }
u64 at(s64 value) { return static_cast<u64>(value); }

struct row {
  long call;
  meaning does;
};

#define PH_ROW(name, ...)                                                                       \
  {                                                                                             \
    SYS_##name, [](caller& c, const arguments& a) -> long { return do_##name(c, __VA_ARGS__); } \
  }

constexpr row table[] = {
    PH_ROW(socket, number(a[0]), number(a[1]), number(a[2])),
    PH_ROW(bind, number(a[0]), at(a[1]), length(a[2])),
    PH_ROW(connect, number(a[0]), at(a[1]), length(a[2])),
    PH_ROW(listen, number(a[0]), number(a[1])),
    {SYS_accept,
     [](caller& c, const arguments& a) {
       return do_accept4(c, number(a[0]), at(a[1]), at(a[2]), 0);
     }},
    PH_ROW(accept4, number(a[0]), at(a[1]), at(a[2]), number(a[3])),
    PH_ROW(shutdown, number(a[0]), number(a[1])),
    PH_ROW(getsockname, number(a[0]), at(a[1]), at(a[2])),
    PH_ROW(getpeername, number(a[0]), at(a[1]), at(a[2])),
    PH_ROW(setsockopt, number(a[0]), number(a[1]), number(a[2]), at(a[3]), length(a[4])),
    PH_ROW(getsockopt, number(a[0]), number(a[1]), number(a[2]), at(a[3]), at(a[4])),
    PH_ROW(sendto, number(a[0]), at(a[1]), at(a[2]), number(a[3]), at(a[4]), length(a[5])),
    PH_ROW(sendmsg, number(a[0]), at(a[1]), number(a[2])),
    PH_ROW(sendmmsg, number(a[0]), at(a[1]), length(a[2]), number(a[3])),
    PH_ROW(recvfrom, number(a[0]), at(a[1]), at(a[2]), number(a[3]), at(a[4]), at(a[5])),
    PH_ROW(recvmsg, number(a[0]), at(a[1]), number(a[2])),
    PH_ROW(recvmmsg, number(a[0]), at(a[1]), length(a[2]), number(a[3]), at(a[4])),
    PH_ROW(ioctl, number(a[0]), at(a[1]), at(a[2])),
};

#undef PH_ROW

}  // namespace

meaning meaning_of(long call) {
  for (const row& r : table) {
    if (r.call == call) return r.does;
  }
  return nullptr;
}

}  // namespace ph::calls
