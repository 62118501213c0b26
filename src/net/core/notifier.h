// Typed events of the control plane: a device or address came, changed or went.
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
  void tell(const Event& event) { fn_(event); }

 private:
  inline_fn<void(const Event&), 16> fn_;
};

template <class Event>
class notifier_chain {
 public:
  void add(notifier<Event>& listener) { listeners_.push_back(listener); }
  void tell(const Event& event) {
    for (auto it = listeners_.begin(); it != listeners_.end();) (it++)->tell(event);
  }

 private:
  intrusive_list<notifier<Event>, notifier_tag> listeners_;
};

class net_device;
class cpu;
class rtnl_held;

enum class netdev_event_kind : u8 { registered, up, going_down, down, change_mtu, change_addr,
                                    unregister };
struct netdev_event {
  netdev_event_kind kind;
  const rtnl_held* rtnl;
  cpu* cx;
  net_device* dev;
};

}  // namespace ph
