// Lets a low layer own what it may not name: an array of destructible objects, one typed key per
// subsystem (the idea of Linux's net_generic, made typed and per machine).
#pragma once

#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"

namespace ph {

/// Every subsystem that keeps per-kernel, per-namespace or per-device state.
enum class slot_id : unsigned {
  net_namespaces,   // kernel
  net_families,     // kernel
  softnet,          // kernel
  congestion,       // kernel: registry of congestion controls
  task_table,       // kernel
  ipv4,             // namespace and device (in_device)
  ipv6,
  arp,
  icmp,
  raw,
  ping,
  tcp,
  udp,
  sctp,
  packet,
  netlink,
  netfilter,
  conntrack,
  bpf,
  bridge,
  wireless,
  socket_limits,    // namespace: net.core.*
  user,             // for the embedding program
  count,
};

class slot_object {
 public:
  virtual ~slot_object() = default;
};

/// Binds a slot to the type kept there:
/// `inline constexpr slot_key<ipv4_net> ipv4_key{slot_id::ipv4};`
template <class T>
struct slot_key {
  slot_id id;
};

/// Owns the objects and destroys them in the reverse order of their arrival.
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
    auto& place = objects_[index(key.id)];
    ph_check(place == nullptr);
    place = std::move(object);
    order_.push_back(key.id);
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
    return static_cast<T*>(objects_[index(key.id)].get());
  }
  template <class T>
  void reset(slot_key<T> key) {
    destroy(key.id);
    std::erase(order_, key.id);
  }
  void clear() {
    while (!order_.empty()) {
      destroy(order_.back());
      order_.pop_back();
    }
  }

 private:
  /// An object is found in its slot until its destructor has ended: what it owns may look it up.
  void destroy(slot_id id) {
    auto& place = objects_[index(id)];
    place.get_deleter()(place.get());
    static_cast<void>(place.release());
  }
  static constexpr std::size_t index(slot_id id) { return static_cast<std::size_t>(id); }
  std::array<std::unique_ptr<slot_object>, static_cast<std::size_t>(slot_id::count)> objects_;
  std::vector<slot_id> order_;
};

}  // namespace ph
