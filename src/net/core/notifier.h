// Events of the control plane: whoever changes something tells a chain, and does not know who
// listens. Each event is a type of its own, where what it tells of is: a device's here, an
// address's in net/ipv4/devinet.h, a route's in net/ipv4/fib.h, a neighbour's in neighbour.h.
#pragma once

#include "base/inline_fn.h"
#include "base/intrusive.h"

namespace ph {

/// One listener; leaves by itself when destroyed.
template <class Event>
class notifier : public list_hook<struct notifier_tag> {
 public:
  notifier() = default;
  explicit notifier(inline_fn<void(const Event&), 16> fn) : fn_(fn) {}
  notifier(const notifier&) = delete;
  notifier& operator=(const notifier&) = delete;
  void set_callback(inline_fn<void(const Event&), 16> fn) { fn_ = fn; }
  void tell(const Event& event) {
    if (fn_) fn_(event);
  }

 private:
  inline_fn<void(const Event&), 16> fn_;
};

template <class Event>
class notifier_chain {
 public:
  /// Listeners hear in the order in which they came.
  void add(notifier<Event>& listener) { listeners_.push_back(listener); }
  /// A listener may tell of something else, add listeners (they hear this one too) and end any.
  void tell(const Event& event) {
    notifier<Event> here;  // goes behind each listener before it is told
    listeners_.push_front(here);
    for (;;) {
      auto after = std::next(listeners_.iterator_to(here));
      if (after == listeners_.end()) return;
      notifier<Event>& listener = *after;
      listeners_.splice(++after, listeners_, listeners_.iterator_to(here));
      listener.tell(event);
    }
  }

 private:
  intrusive_list<notifier<Event>, notifier_tag> listeners_;
};

class net_device;
class cpu;
class rtnl_held;

/// `change`: its carrier came or went.
enum class netdev_event_kind : u8 { registered, up, going_down, down, change, change_mtu,
                                    change_addr, unregister };
struct netdev_event {
  netdev_event_kind kind;
  const rtnl_held* rtnl;  ///< nullptr for `change`: a driver tells of it
  cpu* cx;
  net_device* dev;
};

}  // namespace ph
