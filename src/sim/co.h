// co<T>: a coroutine that another coroutine awaits; the bodies of simulated programs are co<void>.
// Lazy: it starts when awaited. What it throws comes out of the co_await. One thread only.
//
// A co that ends without ever waiting does not suspend its caller, so that a loop over such calls
// needs no stack: GCC before 13 does not always turn the transfer into a jump.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include "base/check.h"

namespace ph::sim {

template <class T = void>
class co;

namespace detail {

/// What co<T> and co<void> share: who waits for the end, and with what exception it came.
struct co_promise_base {
  std::coroutine_handle<> waiter;
  std::exception_ptr thrown;
  bool in_first_step = false;  ///< still below the caller's await_suspend

  struct final_step {
    bool await_ready() noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
      const co_promise_base& promise = self.promise();
      if (promise.in_first_step || !promise.waiter) return std::noop_coroutine();
      return promise.waiter;
    }
    void await_resume() noexcept {}
  };
  std::suspend_always initial_suspend() noexcept { return {}; }
  final_step final_suspend() noexcept { return {}; }
  void unhandled_exception() { thrown = std::current_exception(); }
  void rethrow() {
    if (thrown) std::rethrow_exception(std::exchange(thrown, nullptr));
  }
};

template <class T>
struct co_promise : co_promise_base {
  std::optional<T> value;
  co<T> get_return_object();
  template <class U>
  void return_value(U&& v) { value.emplace(std::forward<U>(v)); }
  T take() {
    rethrow();
    return std::move(*value);
  }
};

template <>
struct co_promise<void> : co_promise_base {
  co<void> get_return_object();
  void return_void() {}
  void take() { rethrow(); }
};

}  // namespace detail

template <class T>
class [[nodiscard]] co {
 public:
  using promise_type = detail::co_promise<T>;
  using handle = std::coroutine_handle<promise_type>;

  co() = default;
  explicit co(handle h) : handle_(h) {}
  co(co&& o) noexcept : handle_(std::exchange(o.handle_, nullptr)) {}
  co& operator=(co&& o) noexcept {
    std::swap(handle_, o.handle_);
    return *this;
  }
  ~co() {
    if (handle_) handle_.destroy();
  }

  // --- for the coroutine that awaits it ---------------------------------------------------------
  [[nodiscard]] bool await_ready() const { return false; }
  bool await_suspend(std::coroutine_handle<> waiter) {
    promise_type& promise = handle_.promise();
    promise.waiter = waiter;
    promise.in_first_step = true;
    handle_.resume();
    promise.in_first_step = false;
    return !handle_.done();
  }
  T await_resume() { return handle_.promise().take(); }

  // --- for the owner of an outermost coroutine --------------------------------------------------
  /// Runs it up to its first wait or its end.
  void start() { handle_.resume(); }
  [[nodiscard]] bool done() const { return handle_.done(); }
  /// After the end: the value, or the exception.
  T result() { return handle_.promise().take(); }

 private:
  handle handle_;
};

template <class T>
co<T> detail::co_promise<T>::get_return_object() {
  return co<T>(std::coroutine_handle<co_promise<T>>::from_promise(*this));
}
inline co<void> detail::co_promise<void>::get_return_object() {
  return co<void>(std::coroutine_handle<co_promise<void>>::from_promise(*this));
}

}  // namespace ph::sim
