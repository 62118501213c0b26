// Lets a low layer own what it may not name: a small table of destructible objects, one typed key a
// subsystem (the idea of Linux's net_generic, made typed and per machine). A key is made where its
// type is: there is no list of all.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/name_id.h"

namespace ph {

class slot_object {
 public:
  virtual ~slot_object() = default;
};

/// Binds a slot to the type kept there; the name is the key's own among those of its table:
/// `inline constexpr slot_key<ipv4_net> ipv4_key{"ipv4"};`
template <class T>
struct slot_key {
  constexpr slot_key(const char* name) : id(name_id(name)) {}
  u64 id;
};

/// Owns the objects and destroys them in the reverse order of their arrival. Looking one up is one
/// comparison as a rule: packets do it.
class slots {
 public:
  slots() = default;
  slots(const slots&) = delete;
  slots& operator=(const slots&) = delete;
  ~slots() { clear(); }

  /// Puts an object in; a slot is filled once.
  template <class T>
  T& set(slot_key<T> key, std::unique_ptr<T> object) {
    T& out = *object;
    ph_check(find(key) == nullptr);
    order_.push_back({key.id, std::move(object)});
    index();
    return out;
  }
  /// The object, which must be there.
  template <class T>
  [[nodiscard]] T& get(slot_key<T> key) const {
    T* out = find(key);
    ph_check(out != nullptr);
    return *out;
  }
  /// The object or nullptr.
  template <class T>
  [[nodiscard]] T* find(slot_key<T> key) const {
    if (places_.empty()) return nullptr;
    const std::size_t mask = places_.size() - 1;
    for (std::size_t at = key.id & mask;; at = (at + 1) & mask) {
      if (places_[at].object == nullptr) return nullptr;
      if (places_[at].id == key.id) return static_cast<T*>(places_[at].object);
    }
  }
  template <class T>
  void reset(slot_key<T> key) {
    for (std::size_t i = 0; i < order_.size(); ++i) {
      if (order_[i].id == key.id) return destroy(i);
    }
  }
  void clear() {
    while (!order_.empty()) destroy(order_.size() - 1);
  }

 private:
  struct owned {
    u64 id;
    std::unique_ptr<slot_object> object;
  };
  struct place {
    u64 id = 0;
    slot_object* object = nullptr;
  };
  /// An object is found in its slot until its destructor has ended: what it owns may look it up.
  void destroy(std::size_t i) {
    const u64 id = order_[i].id;
    std::default_delete<slot_object>()(order_[i].object.get());
    std::erase_if(order_, [id](owned& o) {
      if (o.id == id) static_cast<void>(o.object.release());
      return o.id == id;
    });
    index();
  }
  /// Renews the table: open addressing, at most half full.
  void index() {
    std::size_t size = 2;
    while (size < 2 * order_.size()) size *= 2;
    places_.assign(size, {});
    for (const owned& o : order_) {
      std::size_t at = o.id & (size - 1);
      while (places_[at].object != nullptr) at = (at + 1) & (size - 1);
      places_[at] = {o.id, o.object.get()};
    }
  }
  std::vector<owned> order_;
  std::vector<place> places_;
};

}  // namespace ph
