// A few failures are told as fast as any: a program looks at some of its sockets before it gives
// up.
#include "shim/orphaned.h"

#include <time.h>

#include <atomic>

#include "shim/raw.h"
#include "shim/sandbox.h"
#include "shim/standard_error.h"

namespace ph::shim {
namespace {

using dropin::request_kind;

constexpr unsigned patience = 64;
constexpr timespec moment{0, 50'000'000};

constinit std::atomic<unsigned> failures{0};  // since an answer

/// What programs do in a loop: new sockets, connect(), sends and receives, polls (settle). The
/// kernel does receives and accept(): those only ask why they failed (take_error, as SO_ERROR
/// does), and whether there is a daemon still (getsockname).
bool may_be_tried_again(request_kind kind) {
  switch (kind) {
    case request_kind::socket:
    case request_kind::connect:
    case request_kind::take_error:
    case request_kind::getsockname:
    case request_kind::settle:
    case request_kind::sendmsg:
    case request_kind::recvmsg:
    case request_kind::resolve: return true;
    default: return false;
  }
}

}  // namespace

void daemon_answered() {
  if (failures.load(std::memory_order_relaxed) != 0) failures.store(0, std::memory_order_relaxed);
}

void daemon_missing(const calls::exchange& x) {
  if (!may_be_tried_again(x.kind)) return;
  const unsigned before = failures.fetch_add(1, std::memory_order_relaxed);
  if (before < patience || in_own_sandbox()) return;
  if (before == patience) {
    constexpr char line[] =
        "ph: this program's lab has ended, so it has no network any more; start it again in a "
        "lab\n";
    say_on_standard_error(line, sizeof line - 1);
  }
  raw::call(SYS_nanosleep, raw::arg(&moment), 0);
}

}  // namespace ph::shim
