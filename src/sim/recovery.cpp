// One chain of recovery points a thread: worlds may run on threads of their own.
#include "sim/recovery.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <csetjmp>

#include "base/check_hook.h"

namespace ph::sim {
namespace {

struct recovery_point {
  std::jmp_buf where;
  recovery_point* outer = nullptr;
  std::array<char, 400> said{};
};

thread_local recovery_point* innermost = nullptr;

/// The recovery point is the innermost one as long as this lives.
class entered {
 public:
  explicit entered(recovery_point& point) : point_(point) {
    point_.outer = innermost;
    innermost = &point_;
  }
  entered(const entered&) = delete;
  entered& operator=(const entered&) = delete;
  ~entered() { innermost = point_.outer; }

 private:
  recovery_point& point_;
};

struct kept {
  std::shared_ptr<void> object;
  kept* next = nullptr;
};
std::atomic<kept*> all_kept{nullptr};

}  // namespace

std::string run_recoverable(void (*call)(void*), void* argument) {
  recovery_point here;
  const entered scope(here);
  if (setjmp(here.where) == 0) call(argument);
  return here.said.data();
}

bool in_a_machine() { return innermost != nullptr; }

void leave_machine(const char* why) {
  if (innermost == nullptr) return;
  const auto said = fmt::format_to_n(innermost->said.data(), innermost->said.size() - 1, "{}", why);
  *said.out = '\0';
  std::longjmp(innermost->where, 1);
}

void keep_forever(std::shared_ptr<void> object) {
  kept* const node = std::make_unique<kept>(kept{std::move(object)}).release();
  node->next = all_kept.load();
  while (!all_kept.compare_exchange_weak(node->next, node)) {}
}

}  // namespace ph::sim

namespace ph {

void on_check_failed(const char* expression, const char* file, int line) {
  std::array<char, 400> why{};
  fmt::format_to_n(why.data(), why.size() - 1, "check failed: {} ({}:{})", expression, file, line);
  sim::leave_machine(why.data());
}

}  // namespace ph
