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

 private:
  ref<sock> sk_;
  wait_entry sock_wait_;  ///< passes the sock's wake-ups on to the file's waiters
};

/// Makes a sock. Errors: socktnosupport, protonosupport, acces, nobufs.
using socket_create_fn = result<ref<sock>> (*)(task& who, cpu& home, u16 type, u8 protocol);

struct net_families : slot_object {
  std::map<u16, socket_create_fn> create;
};
inline constexpr slot_key<net_families> net_families_key{slot_id::net_families};

/// SOL_SOCKET. Errors: noprotoopt, inval, perm, dom.
result<void> sock_setsockopt(task& who, sock& sk, int name, byte_view value);
result<std::size_t> sock_getsockopt(sock& sk, int name, byte_span out);

}  // namespace ph
