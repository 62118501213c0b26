// Leaving a machine whose own check failed (ph_check) or that finds no memory, so that one host's
// end is not the world's.
//
// A call into a machine is made through run_recoverable(). When a check fails in it, control comes
// back here by longjmp: no destructor of the frames in between runs, what they held is lost, and
// the machine is in the middle of something. Whoever called must never touch it again, nor destroy
// it: its objects go to keep_forever(). Checks fail before memory is harmed, so the rest of the
// process is sound; a signal such as SIGSEGV promises no such thing and still ends the process.
#pragma once

#include <memory>
#include <string>
#include <type_traits>

namespace ph::sim {

/// Calls `call(argument)`. The words of the check that failed in it; empty when it returned.
std::string run_recoverable(void (*call)(void*), void* argument);

template <class F>
std::string run_recoverable(F&& f) {
  using callable = std::remove_reference_t<F>;
  return run_recoverable([](void* it) { (*static_cast<callable*>(it))(); }, &f);
}

/// Whether this thread is in a call that leave_machine() ends.
[[nodiscard]] bool in_a_machine();

/// Ends the machine that is being called, for a reason in a few words: does not return then.
/// Returns when none is. Allocates nothing.
void leave_machine(const char* why);

/// Keeps an object that must never be destroyed until the process ends.
void keep_forever(std::shared_ptr<void> object);

}  // namespace ph::sim
