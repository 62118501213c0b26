// udp_sock: a UDP socket over either family, the table of a namespace's sockets, and what a
// family must do for it (udp_af_ops; udp_ipv4.cpp).
#pragma once

#include "base/hash.h"
#include "net/core/datagram.h"
#include "net/inet/inet_ports.h"
#include "net/inet/inet_protocol.h"
#include "net/udp/udp.h"

namespace ph {

class udp_sock;

/// One namespace's UDP sockets by local port.
struct udp_table : slot_object {
  inet_ports ports;
  siphash_key key;
};
inline constexpr slot_key<udp_table> udp_key{"udp"};

/// A received datagram as lookups see it.
struct udp_flow {
  inet_addr saddr, daddr;
  port_no sport{}, dport{};
  u32 iif = 0;
};
/// The socket for a unicast datagram, or nullptr.
udp_sock* udp_lookup(net_namespace& net, const udp_flow& flow);
/// Does the socket take this datagram (addresses, ports, device)?
bool udp_matches(const udp_sock& sk, const udp_flow& flow);
/// Queues a datagram (data behind the UDP header), counting what is lost.
void udp_queue_rcv(cpu& cx, udp_sock& sk, skb_ptr skb);

/// What differs between IPv4 and IPv6.
class udp_af_ops {
 public:
  virtual ~udp_af_ops() = default;
  /// Sends one datagram whose payload is msg.iov.
  virtual result<std::size_t> send(cpu& cx, udp_sock& sk, const send_msg& msg) const = 0;
  virtual result<void> connect(cpu& cx, udp_sock& sk, byte_view addr) const = 0;
  virtual void disconnect(udp_sock& sk) const = 0;
  /// Is it an address of this host alone, so that it may be a source?
  virtual bool is_own_unicast(const udp_sock& sk, const inet_addr& addr) const = 0;
  /// Source address and control messages of a received datagram.
  virtual void received(udp_sock& sk, const sk_buff& skb, recv_msg& msg) const = 0;
  virtual result<std::size_t> recv_error(cpu& cx, udp_sock& sk, recv_msg& msg) const = 0;
  virtual void closed(cpu& cx, udp_sock& sk) const = 0;
  virtual result<sockaddr_buf> getname(udp_sock& sk, bool peer) const = 0;
  virtual result<void> shutdown(udp_sock& sk, u8 how) const = 0;
};
const udp_af_ops& udp_v4_ops();

class udp_sock final : public inet_sock {
 public:
  udp_sock(net_namespace& net, cpu& home, const inet_af_ops& af);
  result<void> bind(cpu& cx, byte_view addr) override;
  result<void> connect(cpu& cx, byte_view addr) override;
  result<std::size_t> sendmsg(cpu& cx, const send_msg& msg) override;
  result<std::size_t> recvmsg(cpu& cx, recv_msg& msg) override;
  [[nodiscard]] u32 poll() override { return datagram_poll(*this); }
  result<void> shutdown(cpu& cx, u8 how) override;
  void close(cpu& cx) override;
  result<void> setsockopt(cpu& cx, int level, int name, byte_view value) override;
  result<std::size_t> getsockopt(cpu& cx, int level, int name, byte_span out) override;
  result<sockaddr_buf> getname(bool peer) override { return udp_->getname(*this, peer); }
  result<int> ioctl(cpu& cx, u32 command, byte_span arg) override;

  /// Takes an ephemeral port if there is none yet. Errors: again (none free).
  result<void> autobind(cpu& cx);

 private:
  [[nodiscard]] udp_table& table() const { return net().slots().get(udp_key); }
  result<std::size_t> cork(const send_msg& msg);
  result<std::size_t> push_pending(cpu& cx);

  const udp_af_ops* udp_;
  bool corked_ = false;            ///< UDP_CORK
  bool pending_ = false;           ///< bytes wait for the rest of their datagram
  std::vector<u8> pending_bytes_;
  sockaddr_buf pending_name_;
};

}  // namespace ph
