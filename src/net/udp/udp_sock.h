// udp_sock: a UDP or UDP-Lite (RFC 3828) socket over either family, and what a family must do for
// it (udp_af_ops; udp_ipv4.cpp). The table of a namespace's sockets is udp_table.h.
#pragma once

#include <optional>

#include "net/core/datagram.h"
#include "net/inet/inet_protocol.h"
#include "net/udp/udp.h"
#include "net/udp/udp_drop_reasons.h"
#include "net/udp/udp_place.h"
#include "uapi/inet.h"

namespace ph {

struct udp_table;
struct udp_flavour;

/// The socket for a unicast datagram, or nullptr; in a group of SO_REUSEPORT that of the flow, or
/// the choice of the group's program, which looks at `skb` (data at the payload), if given.
udp_sock* udp_lookup(cpu& cx, net_namespace& net, const udp_flavour& flavour, const udp_flow& flow,
                     const sk_buff* skb);
/// Does the socket take this datagram (addresses, ports, device)?
bool udp_matches(const udp_sock& sk, const udp_flow& flow);
/// Queues a datagram (data at the payload), counting what is lost.
void udp_queue_rcv(cpu& cx, udp_sock& sk, skb_ptr skb);

struct udp_send_how {
  u16 segment = 0;        ///< UDP_SEGMENT; 0: none
  bool admitted = false;  ///< it waited: admit() was asked already
};

/// What differs between IPv4 and IPv6.
class udp_af_ops {
 public:
  virtual ~udp_af_ops() = default;
  /// Sends one datagram whose payload is msg.iov, or segments: datagrams of that many bytes each
  /// and one with the rest. The socket has its port.
  virtual result<std::size_t> send(cpu& cx, udp_sock& sk, const send_msg& msg,
                                   udp_send_how how) const = 0;
  /// Is there a way for such a datagram, and may the socket send now? Errors: those of send() that
  /// its payload has no part in.
  virtual result<void> admit(cpu& cx, udp_sock& sk, const send_msg& msg) const = 0;
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

class udp_sock final : public inet_sock, public udp_place {
 public:
  udp_sock(net_namespace& net, cpu& home, const udp_flavour& flavour, const inet_af_ops& af);
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

  [[nodiscard]] const udp_flavour& flavour() const { return flavour_; }
  /// How many of a datagram's bytes, header included, its checksum is to cover (0: all), as
  /// UDPLITE_SEND_CSCOV and UDPLITE_RECV_CSCOV set it; unset: all, and any.
  std::optional<u16> send_coverage, recv_coverage;

  void option_changed(cpu& cx, int name) override;
  result<void> set_chooser(std::shared_ptr<const cbpf_program> program) override;

  [[nodiscard]] bool in_reuseport_group() const override { return static_cast<bool>(group); }
  /// Does what comes for it go to its group?
  [[nodiscard]] bool shares() const { return place_in_group >= 0 && opt.reuseport; }

  /// Takes an ephemeral port if there is none yet. Errors: again (none free).
  result<void> autobind(cpu& cx);

 private:
  /// To be called once the socket has got its port (IP_BIND_ADDRESS_NO_PORT: not by bind()).
  void enter_tables();
  void give_port_back();
  /// Tells the table of ports whether the socket has SO_REUSEADDR.
  void count_willingness();
  [[nodiscard]] udp_table& table() const;
  result<void> begin_pending(cpu& cx, const send_msg& msg);
  void keep_destination();
  result<void> append_pending(const send_msg& msg);
  result<std::size_t> push_pending(cpu& cx);

  [[nodiscard]] static bool is_own_level(int level);
  result<void> set_segment(s32 size);
  result<void> set_coverage(int name, s32 value);

  const udp_flavour& flavour_;
  const udp_af_ops* udp_;
  bool unwilling_ = false;         ///< counted as an owner of its port without SO_REUSEADDR
  bool corked_ = false;            ///< UDP_CORK
  u16 gso_size_ = 0;               ///< UDP_SEGMENT; 0: none
  /// A datagram that waits for the rest of its bytes, as its first piece described it.
  struct pending_datagram {
    std::vector<u8> bytes, control;
    sockaddr_buf name;  ///< empty: the socket's peer
    u32 flags = 0;
    u16 segment = 0;
  };
  std::unique_ptr<pending_datagram> pending_;
};

inline constexpr slot_key<udp_table> udp_key{"udp"}, udplite_key{"udplite"};

/// What UDP and UDP-Lite do not share.
struct udp_flavour {
  u8 protocol;
  std::string_view name;
  const slot_key<udp_table>& key;
  mib_counter in_datagrams, in_errors, out_datagrams, rcvbuf_errors, sndbuf_errors, ignored_multi;
  skb_drop_reason csum, malformed, no_port;
  [[nodiscard]] bool lite() const { return protocol == uapi::ipproto_udplite; }
};
inline constexpr udp_flavour plain_udp{
    uapi::ipproto_udp,         "udp",
    udp_key,
    mib::udp_in_datagrams,     mib::udp_in_errors,
    mib::udp_out_datagrams,    mib::udp_rcvbuf_errors,
    mib::udp_sndbuf_errors,    mib::udp_ignored_multi,
    drop_reason::udp_csum,     drop_reason::udp_malformed,
    drop_reason::udp_no_port,
};
inline constexpr udp_flavour udp_lite{
    uapi::ipproto_udplite,      "udplite",
    udplite_key,
    mib::udplite_in_datagrams,  mib::udplite_in_errors,
    mib::udplite_out_datagrams, mib::udplite_rcvbuf_errors,
    mib::udplite_sndbuf_errors, mib::udplite_ignored_multi,
    drop_reason::udplite_csum,  drop_reason::udplite_malformed,
    drop_reason::udplite_no_port,
};

}  // namespace ph
