// Our names for Boost.Intrusive's containers, and ref<T>, a non-atomic counted reference
// (objects do not change their home CPU).
#pragma once

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>
#include <concepts>
#include <memory>
#include <utility>

#include "base/byteorder.h"
#include "base/check.h"

namespace ph {

namespace bi = boost::intrusive;

/// A list hook that leaves its list by itself when destroyed; is_linked() tells.
template <class Tag = void>
using list_hook = bi::list_base_hook<bi::tag<Tag>, bi::link_mode<bi::auto_unlink>>;
template <class T, class Tag = void>
using intrusive_list =
    bi::list<T, bi::base_hook<list_hook<Tag>>, bi::constant_time_size<false>>;
/// A tree hook that leaves its tree by itself when destroyed.
template <class Tag = void>
using tree_hook = bi::set_base_hook<bi::tag<Tag>, bi::link_mode<bi::auto_unlink>>;
template <class T, class Less, class Tag = void>
using intrusive_set = bi::set<T, bi::base_hook<tree_hook<Tag>>, bi::compare<Less>,
                              bi::constant_time_size<false>>;
template <class T, class Less, class Tag = void>
using intrusive_multiset = bi::multiset<T, bi::base_hook<tree_hook<Tag>>, bi::compare<Less>,
                                        bi::constant_time_size<false>>;

/// Base of reference-counted objects. The last ref calls T::release_last(T*) if T declares it,
/// else deletes.
class counted {
 public:
  counted() = default;
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  [[nodiscard]] u32 use_count() const { return refs_; }

 protected:
  ~counted() = default;

 private:
  template <class T>
  friend class ref;
  u32 refs_ = 0;
};

template <class T>
class ref {
 public:
  constexpr ref() = default;
  constexpr ref(std::nullptr_t) {}
  explicit ref(T* object) : object_(object) { grab(); }
  ref(const ref& o) : object_(o.object_) { grab(); }
  ref(ref&& o) noexcept : object_(std::exchange(o.object_, nullptr)) {}
  template <class U>
    requires std::derived_from<U, T>
  ref(const ref<U>& o) : object_(o.get()) { grab(); }
  ref& operator=(ref o) noexcept {
    std::swap(object_, o.object_);
    return *this;
  }
  ~ref() { reset(); }
  void reset() {
    T* object = std::exchange(object_, nullptr);
    if (object == nullptr) return;
    ph_check(object->counted::refs_ > 0);
    if (--object->counted::refs_ != 0) return;
    if constexpr (requires { T::release_last(object); }) {
      T::release_last(object);
    } else {
      delete object;
    }
  }
  [[nodiscard]] T* get() const { return object_; }
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }
  friend bool operator==(const ref& a, const ref& b) { return a.object_ == b.object_; }

 private:
  void grab() {
    if (object_ != nullptr) ++object_->counted::refs_;
  }
  T* object_ = nullptr;
};

/// Makes a counted object and the first reference to it.
template <class T, class... Args>
ref<T> make_ref(Args&&... args) {
  return ref<T>(std::make_unique<T>(std::forward<Args>(args)...).release());
}

}  // namespace ph
