// What sockets over IPv4 and IPv6 share: addresses, ports, IP-level options, the cached route;
// and inet_af_ops, how a transport speaks to either family.
#pragma once

#include "net/core/sock.h"
#include "net/inet/inet_addr.h"

namespace ph {

class inet_sock;

/// A multicast membership, and the sources that it is about (RFC 3376 §3.2): only those when
/// `include`, else all but those.
struct mc_membership {
  inet_addr group;
  ifindex dev{};
  bool include = false;
  std::vector<inet_addr> sources;
};

/// Options of SOL_IP / SOL_IPV6.
struct inet_options {
  s32 uc_ttl = -1;              ///< -1: the namespace's default
  u8 mc_ttl = 1;
  u8 tos = 0;
  u8 pmtudisc = 1;              ///< IP_PMTUDISC_WANT
  bool mc_loop = true;
  bool mc_all = true;
  bool hdrincl = false;
  bool recverr = false;
  bool recverr_rfc4884 = false;  ///< reports say where ICMP extensions begin
  bool pktinfo = false, recvttl = false, recvtos = false, recvopts = false, retopts = false;
  bool recvorigdstaddr = false, recvfragsize = false;
  bool checksum = false, passsec = false, nodefrag = false;
  bool freebind = false, transparent = false, bind_address_no_port = false;
  u8 min_ttl = 0;
  u16 local_port_low = 0, local_port_high = 0;
  ifindex uc_index{}, mc_index{};
  inet_addr mc_addr;
  std::vector<mc_membership> memberships;
  std::vector<u8> ip_options;   ///< as set by IP_OPTIONS, at most 40 bytes
};

/// How a transport protocol (TCP, SCTP) reaches its IP family, so that it names neither.
class inet_af_ops {
 public:
  virtual ~inet_af_ops() = default;
  [[nodiscard]] virtual u16 family() const = 0;
  /// Bytes of the network header without options.
  [[nodiscard]] virtual u32 net_header_len() const = 0;
  /// Reads a sockaddr of the family into address and port. Errors: inval (length), afnosupport.
  virtual result<std::pair<inet_addr, port_no>> parse_sockaddr(byte_view addr) const = 0;
  virtual sockaddr_buf make_sockaddr(const inet_addr& addr, port_no port) const = 0;
  /// Checks that the socket may bind `addr` and `port` (0: an ephemeral one). Errors: addrnotavail,
  /// acces (a port below ip_unprivileged_port_start without net_admin).
  virtual result<void> check_bind(inet_sock& sk, const inet_addr& addr, port_no port) const = 0;
  /// First and last ephemeral port for the socket: its own range, or ip_local_port_range.
  [[nodiscard]] virtual std::pair<u16, u16> local_port_range(const inet_sock& sk) const = 0;
  /// Looks up the route to sk.daddr (source address chosen when unset), and caches it in sk.
  /// Errors: netunreach, hostunreach, acces (broadcast), inval.
  virtual result<void> connect_route(cpu& cx, inet_sock& sk) const = 0;
  /// The MSS to announce where the route has none of its own: what a path MTU leaves behind the
  /// network header and `transport` bytes, but not less than the host takes in any case.
  [[nodiscard]] virtual u32 default_advmss(net_namespace& net, u32 mtu, u32 transport) const = 0;
  /// A router said that the path to `daddr` takes packets of at most `mtu` bytes.
  virtual void update_pmtu(cpu& cx, net_namespace& net, const inet_addr& daddr, u32 mtu) const = 0;
  /// The peer answered something that left by the cached route: its next hop is reachable
  /// (RFC 4861 §7.3.1, MSG_CONFIRM).
  virtual void confirm_neigh(cpu& cx, inet_sock& sk) const = 0;
  /// Sends a transport segment (transport header at data; checksum field holding the pseudo
  /// header's sum, ip_summed partial) over sk's cached route, looking it up again when stale.
  virtual xmit_result queue_xmit(cpu& cx, inet_sock& sk, skb_ptr skb) const = 0;
  /// Sends a segment that no full socket owns (RST, SYN+ACK, time-wait ACK): from tuple.laddr to
  /// tuple.raddr; transport header at data, checksum partial as above.
  struct reply_info {
    inet_tuple tuple;
    u8 protocol = 0;
    u8 tos = 0;
    s32 ttl = -1;
    u32 mark = 0;
    u32 priority = 0;
    ifindex oif{};
    sock* sk = nullptr;  ///< listener: whose IP options and freebind apply; may be nullptr
  };
  virtual xmit_result send_reply(cpu& cx, net_namespace& net, skb_ptr skb,
                                 const reply_info& info) const = 0;
  /// The route to a peer for a request (SYN received): its dst gives MTU and metrics.
  virtual result<ref<dst_entry>> route_to(cpu& cx, net_namespace& net,
                                          const reply_info& info) const = 0;
  /// The pseudo-header sum (unfolded) of a segment.
  [[nodiscard]] virtual csum_partial pseudo(const inet_addr& saddr, const inet_addr& daddr,
                                            u8 protocol, u32 len) const = 0;
  virtual result<void> setsockopt(cpu& cx, inet_sock& sk, int name, byte_view value) const = 0;
  virtual result<std::size_t> getsockopt(cpu& cx, inet_sock& sk, int name,
                                         byte_span out) const = 0;
  /// Adds the control messages that the socket asked for of a report whose network header is set.
  virtual void recv_cmsgs(inet_sock& sk, const sk_buff& skb, recv_msg& msg) const = 0;
};

/// In the list of its port's owners (inet_ports).
struct inet_port_tag;
struct inet_bind2_bucket;

class inet_sock : public sock, public list_hook<inet_port_tag> {
 public:
  inet_sock(net_namespace& net, cpu& home, u16 family, u16 type, u8 protocol,
            const inet_af_ops& af)
      : sock(net, home, family, type, protocol), af_ops(&af) {}

  const inet_af_ops* af_ops;
  inet_addr saddr;       ///< source of packets sent (any: choose)
  inet_addr rcv_saddr;   ///< bound local address; any: all
  inet_addr daddr;       ///< connected peer
  port_no sport{};       ///< local port
  port_no dport{};       ///< peer's port
  bool addr_bound = false;  ///< bind gave an address: keep it over disconnect
  bool port_bound = false;
  u16 id_counter = 0;    ///< IPv4 identification of the next packet
  inet_options inet;
  ref<dst_entry> dst;    ///< cached route; see dst_valid
  inet_bind2_bucket* bind2 = nullptr;  ///< where inet_ports keeps it; nullptr: it holds no port
  u64 port_age = 0;                    ///< the greater, the later it took its port (datagrams)
  void tx_timestamp(cpu& cx, const sk_buff& skb, u8 kind) override;
  /// Does it share what comes for it by SO_REUSEPORT, or is it made up to?
  [[nodiscard]] virtual bool in_reuseport_group() const { return false; }
  [[nodiscard]] inet_tuple tuple() const { return {rcv_saddr, daddr, sport, dport}; }
};

}  // namespace ph
