// socket: the API half — a file with generic options over a sock (the network half). Families
// register how they make a sock; nothing here names one.
#pragma once

#include <map>

#include "kernel/file.h"
#include "kernel/task.h"
#include "net/core/sock.h"

namespace ph {

class socket final : public file {
 public:
  explicit socket(ref<sock> sk);
  ~socket() override;
  [[nodiscard]] sock& sk() const { return *sk_; }
  [[nodiscard]] u32 poll() override;
  void release() override;
  [[nodiscard]] socket* as_socket() override { return this; }

 private:
  ref<sock> sk_;
  wait_entry sock_wait_;  ///< passes the sock's wake-ups on to the file's waiters
};

/// Makes a sock. Errors: socktnosupport, protonosupport, perm, nobufs.
using socket_create_fn = result<ref<sock>> (*)(task& who, cpu& home, u16 type, int protocol);
/// SIOC* about addresses of interfaces, answered on sockets of every family. Errors: notty for
/// commands it does not know.
using family_ioctl_fn = result<int> (*)(task& who, u32 command, byte_span arg);

struct net_families : slot_object {
  std::map<u16, socket_create_fn> create;
  std::vector<family_ioctl_fn> ioctls;
  u64 last_cookie = 0;
  u64 netns_cookie = 0;  ///< 0: nobody asked yet
};
inline constexpr slot_key<net_families> net_families_key{"net families"};

/// net.core.* limits of a namespace.
struct socket_limits : slot_object {
  s32 rmem_default = 212992, wmem_default = 212992;
  s32 rmem_max = 4 << 20, wmem_max = 4 << 20;
  s32 somaxconn = 4096;
};
inline constexpr slot_key<socket_limits> socket_limits_key{"socket limits"};

/// Furnishes a namespace with the limits and their sysctls.
void socket_init(net_namespace& net);

/// SOL_SOCKET. Errors: noprotoopt, inval, perm, dom, nodev.
result<void> sock_setsockopt(task& who, sock& sk, int name, byte_view value);
result<std::size_t> sock_getsockopt(sock& sk, int name, byte_span out);

/// SIOCGIF* that concern the interface itself. Errors: notty for other commands, nodev.
result<int> netdev_ioctl(task& who, u32 command, byte_span arg);

}  // namespace ph
