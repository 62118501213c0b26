// host_sockets over a host of a world: the system calls of net/socket/syscall.h, made by one task
// that owns every socket of the host's programs, however many processes share them.
#pragma once

#include <map>

#include "daemon/host_sockets.h"
#include "sim/host.h"

namespace ph::dropin {

/// Host names of a lab and their addresses, for programs that resolve names.
using host_table = std::multimap<std::string, ipv4_addr, std::less<>>;

class stack_sockets final : public host_sockets {
 public:
  /// `where` and `names` outlive this.
  stack_sockets(sim::host& where, const host_table& names);

  result<int> open(int domain, int type, int protocol) override;
  void close(int s) override;
  result<void> bind(int s, byte_view addr) override;
  result<void> listen(int s, int backlog) override;
  result<int> accept(int s) override;
  result<void> connect(int s, byte_view addr) override;
  result<void> shutdown(int s, int how) override;
  result<std::size_t> sendmsg(int s, const send_msg& msg) override;
  result<std::size_t> recvmsg(int s, recv_msg& msg) override;
  result<void> setsockopt(int s, int level, int name, byte_view value) override;
  result<std::size_t> getsockopt(int s, int level, int name, byte_span out) override;
  result<sockaddr_buf> name(int s, bool peer) override;
  result<int> ioctl(int s, u32 command, byte_span arg) override;
  u32 poll(int s) override;
  void watch(int s, wait_entry& entry) override;
  std::vector<sockaddr_buf> resolve(std::string_view name) override;
  std::string name_of(byte_view addr) override;
  std::vector<interface_record> interfaces() override;

 private:
  sim::host& host_;
  const host_table& names_;
  task task_;
  int control_ = -1;  ///< the socket on which interface ioctls are made
};

}  // namespace ph::dropin
