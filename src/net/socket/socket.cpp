// The file side of a socket, and the limits of net.core.
#include "net/socket/socket.h"

#include <limits>

namespace ph {

socket::socket(ref<sock> sk)
    : sk_(std::move(sk)), sock_wait_([this](u32 events) { waiters().wake(events); }) {
  sk_->waiters.add(sock_wait_);
}

socket::~socket() {
  if (!sk_->dead) release();
}

u32 socket::poll() { return sk_->poll(); }

void socket::release() {
  if (sk_->dead) return;
  sk_->waiters.remove(sock_wait_);
  sk_->dead = true;
  sk_->close(sk_->home());
}

void socket_init(net_namespace& net) {
  auto& limits = net.slots().set(socket_limits_key, std::make_unique<socket_limits>());
  constexpr s32 most = std::numeric_limits<s32>::max();
  sysctl_table& table = net.sysctls();
  table.add("net.core.rmem_default", limits.rmem_default, 2304, most);
  table.add("net.core.wmem_default", limits.wmem_default, 4608, most);
  table.add("net.core.rmem_max", limits.rmem_max, 2304, most);
  table.add("net.core.wmem_max", limits.wmem_max, 4608, most);
  table.add("net.core.optmem_max", net.optmem_max, 0, most);
  table.add("net.core.somaxconn", limits.somaxconn, 0, most);
}

}  // namespace ph
