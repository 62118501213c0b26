// A socket of a protocol that does nothing: what tests of net/core hold.
#pragma once

#include "net/core/datagram.h"
#include "uapi/socket.h"

namespace ph::test {

class plain_sock : public sock {
 public:
  plain_sock(net_namespace& net, cpu& home)
      : sock(net, home, uapi::af_inet, uapi::sock_dgram, 0) {}
  result<void> bind(cpu&, byte_view) override { return {}; }
  result<void> connect(cpu&, byte_view) override { return {}; }
  result<std::size_t> sendmsg(cpu&, const send_msg&) override { return 0; }
  result<std::size_t> recvmsg(cpu&, recv_msg&) override { return 0; }
  u32 poll() override { return datagram_poll(*this); }
  result<void> shutdown(cpu&, u8) override { return {}; }
  void close(cpu&) override { dead = true; }
  result<void> setsockopt(cpu&, int, int, byte_view) override { return {}; }
  result<std::size_t> getsockopt(cpu&, int, int, byte_span) override { return 0; }
  result<sockaddr_buf> getname(bool) override { return sockaddr_buf{}; }
};

}  // namespace ph::test
