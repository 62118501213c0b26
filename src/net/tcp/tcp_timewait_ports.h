// The ports that connections in TIME-WAIT hold: counted by what decides whether bind() may have
// one, so that it asks the same few numbers at any number of them.
#pragma once

#include <compare>
#include <functional>
#include <map>

#include "base/slab_pool.h"
#include "net/inet/inet_addr.h"

namespace ph {

class tcp_timewait_ports {
 public:
  struct place {
    port_no port;
    inet_addr addr;
    ifindex dev{};
    bool reuseaddr = false, reuseport = false;  ///< of the socket that was
    auto operator<=>(const place&) const = default;
  };
  void add(const place& at);
  void remove(const place& at);
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  /// Is there a connection whose socket does not share the port with a socket for `wanted`?
  [[nodiscard]] bool blocks(const place& wanted) const;

 private:
  static constexpr std::size_t node_bytes = 64;
  using node_allocator = slab_allocator<std::pair<const place, u32>, node_bytes>;
  slab_pool nodes_{node_bytes};
  /// Of each place, and of all addresses together.
  std::map<place, u32, std::less<>, node_allocator> counts_{node_allocator(nodes_)};
  std::size_t size_ = 0;
};

}  // namespace ph
