// Which listener a connection is for: those of a namespace by address, port and device, and groups
// by SO_REUSEPORT. Not: who may listen (inet_ports). A step costs the logarithm of the places; who
// joins a group passes those of its place that came later and share with nobody (no option).
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <vector>

#include "base/intrusive.h"
#include "net/inet/inet_addr.h"

namespace ph {

class tcp_sock;
struct tcp_listener_tag;
struct tcp_listeners_at;

struct tcp_listening_place {
  port_no port;
  inet_addr addr;  ///< "any" of either family: ::
  ifindex dev{};
  auto operator<=>(const tcp_listening_place&) const = default;
};

/// Listeners that share by SO_REUSEPORT, each its part of the flows.
struct tcp_listener_group : counted {
  std::vector<tcp_sock*> members;
};

/// What the table keeps in a socket.
struct tcp_listener_entry : list_hook<tcp_listener_tag> {
  ref<tcp_listener_group> listener_group;
  std::size_t place_in_group = 0;
  tcp_listeners_at* listens_at = nullptr;
};

class tcp_listeners {
 public:
  tcp_listeners();
  ~tcp_listeners();
  /// `tp` begins to listen. With SO_REUSEPORT it joins those of its user at the same place; as on
  /// Linux, it stays one of them until it stops, whatever becomes of its option and its device.
  void add(tcp_sock& tp);
  void remove(tcp_sock& tp);
  /// A listener was bound to another device, or to none.
  void moved(tcp_sock& tp);
  /// The best listener for a new connection: one bound to the address before one for any, then one
  /// bound to the device, then the youngest; of those that share, the one that `hash` chooses.
  [[nodiscard]] tcp_sock* find(const inet_tuple& tuple, ifindex dev, u64 hash) const;
  [[nodiscard]] bool empty() const { return places_.empty(); }
  [[nodiscard]] tcp_sock* any() const;

 private:
  void enter(tcp_sock& tp);
  void leave(tcp_sock& tp);
  [[nodiscard]] tcp_sock* best_at(const tcp_listening_place& where, u64 hash) const;
  std::map<tcp_listening_place, std::unique_ptr<tcp_listeners_at>> places_;
};

}  // namespace ph
