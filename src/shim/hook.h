// How a libc function is replaced, and how the function that we replaced is reached.
//
// A hook is defined under its own C++ name with the libc name as assembler label, so libc's
// declarations (exception specifications, transparent unions) do not matter. The next definition in
// link order, libc's or another preload's, is looked up at first use.
#pragma once

#include <dlfcn.h>

#include <atomic>
#include <cerrno>

#define PH_HOOK(type, name, ...)                                                               \
  extern "C" [[gnu::visibility("default")]] type ph_hook_##name(__VA_ARGS__) __asm__(#name); \
  extern "C" type ph_hook_##name(__VA_ARGS__)

namespace ph::shim {

template <class Function>
class next_function;

/// The definition of `name` behind ours.
template <class Result, class... Args>
class next_function<Result(Args...)> {
 public:
  constexpr explicit next_function(const char* name) : name_(name) {}
  Result operator()(Args... args) { return get()(args...); }
  /// False of a function that is younger than this libc: our export of its name is all there is.
  [[nodiscard]] bool exists() { return find() != nullptr; }
  /// Finds it now, for calls from where dlsym(3) must not be called.
  void look_up() { get(); }

 private:
  using pointer = Result (*)(Args...);
  pointer get() {
    const pointer found = find();
    if (found == nullptr) __builtin_trap();  // a libc without this function cannot call it either
    return found;
  }
  pointer find() {
    pointer found = found_.load(std::memory_order_relaxed);
    if (found == nullptr) {
      const int saved = errno;
      found = reinterpret_cast<pointer>(dlsym(RTLD_NEXT, name_));
      errno = saved;
      found_.store(found, std::memory_order_relaxed);
    }
    return found;
  }
  const char* name_;
  std::atomic<pointer> found_{nullptr};
};

}  // namespace ph::shim
