// A callable of fixed size that never allocates: what timers, wakeups and packet handlers hold.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace ph {

template <class Signature, std::size_t Size = 32>
class inline_fn;

/// Holds any trivially copyable callable of at most Size bytes (a lambda capturing pointers).
template <class R, class... Args, std::size_t Size>
class inline_fn<R(Args...), Size> {
 public:
  constexpr inline_fn() = default;
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, inline_fn> &&
             std::is_invocable_r_v<R, F&, Args...>)
  inline_fn(F f) {  // implicit, as std::function's is
    static_assert(sizeof(F) <= Size && alignof(F) <= alignof(std::max_align_t));
    static_assert(std::is_trivially_copyable_v<F>, "capture pointers and values only");
    ::new (static_cast<void*>(storage_)) F(f);
    call_ = [](void* object, Args... args) -> R {
      return (*static_cast<F*>(object))(std::forward<Args>(args)...);
    };
  }
  R operator()(Args... args) const {
    return call_(const_cast<std::byte*>(storage_), std::forward<Args>(args)...);
  }
  explicit operator bool() const { return call_ != nullptr; }

 private:
  alignas(std::max_align_t) std::byte storage_[Size]{};
  R (*call_)(void*, Args...) = nullptr;
};

}  // namespace ph
