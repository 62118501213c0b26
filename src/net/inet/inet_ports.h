// Which local ports are taken, and the choice of ephemeral ones (RFC 6056). Shared by TCP and UDP,
// each with a table of its own. A step costs the same at any number of ports, and the logarithm of
// the number of addresses that hold one; only the search for one of the last free ports looks at
// many, and who wants a port on all addresses meets all who have it.
#pragma once

#include "base/hash_table.h"
#include "net/inet/inet_sock.h"

namespace ph {

/// May `sk` share a port with `other`, both wanting overlapping addresses? The protocol decides
/// (TCP: SO_REUSEADDR and no listener; UDP: both SO_REUSEADDR; both: SO_REUSEPORT and same uid).
using port_share_fn = bool (*)(const inet_sock& sk, const inet_sock& other);

/// The sockets that hold a port on one address, oldest first.
using inet_port_owners = intrusive_list<inet_sock, inet_port_tag>;

/// One port in use on one address: that of its owners when they took it. Since then a connect may
/// have given a socket of any address a narrower one, which it stays here with.
struct inet_bind2_bucket final : tree_hook<struct inet_bind2_tag> {
  inet_bind2_bucket(struct inet_bind_bucket& tb, const inet_addr& a) : port(tb), addr(a) {}
  inet_bind_bucket& port;
  inet_addr addr;
  inet_port_owners owners;
  u32 unwilling = 0;  ///< owners without SO_REUSEADDR, as far as they were counted
};
struct inet_bind2_before {
  bool operator()(const auto& a, const auto& b) const { return of(a) < of(b); }
  static const inet_addr& of(const inet_bind2_bucket& tb) { return tb.addr; }
  static const inet_addr& of(const inet_addr& addr) { return addr; }
};

/// One port in use.
struct inet_bind_bucket final : hash_hook<struct inet_bind_tag> {
  explicit inet_bind_bucket(port_no p) : port(p) {}
  port_no port;
  intrusive_set<inet_bind2_bucket, inet_bind2_before, inet_bind2_tag> addresses;
  bool connecting_only = true;  ///< connect() chose it, each time
  u32 unwilling = 0;            ///< on all addresses together
};

class inet_ports {
 public:
  ~inet_ports();
  /// Takes `port` for sk on sk.rcv_saddr. Errors: addrinuse.
  result<void> bind(inet_sock& sk, port_no port, port_share_fn may_share);
  /// The same for datagrams, as Linux decides: all with SO_REUSEADDR share, and else the youngest
  /// socket in the way shares by SO_REUSEPORT, for all, or refuses. Who calls it counts with
  /// count_unwilling(). Errors: addrinuse.
  result<void> bind_datagram(inet_sock& sk, port_no port);
  /// `sk`, an owner of its port, has no SO_REUSEADDR (any more), or has it again.
  static void count_unwilling(inet_sock& sk, bool more);
  /// Takes a free port of [low, high], from a random place on; `usable(port)` may refuse. Errors:
  /// addrinuse when all are taken.
  result<port_no> bind_ephemeral(inet_sock& sk, u16 low, u16 high, rng& random,
                                 port_share_fn may_share, inline_fn<bool(port_no)> usable);
  /// The same for connect(): ports that nobody bound may be shared, as long as `usable(port)` finds
  /// the four-tuple free.
  result<port_no> connect_ephemeral(inet_sock& sk, u16 low, u16 high, rng& random,
                                    inline_fn<bool(port_no)> usable);
  /// Adds another socket to the port of one that has it (accept; a connection's children).
  void inherit(inet_sock& child, port_no port);
  void release(inet_sock& sk);
  /// How often a port that somebody had bound became free.
  [[nodiscard]] u32 releases() const { return releases_; }
  [[nodiscard]] bool in_use(port_no port) const { return find(port) != nullptr; }
  /// Calls f(owner) for those who hold `port` on `addr` or on any address (for any address: for all
  /// who hold it), until it returns true; returns whether it did.
  template <class F>
  bool find_owner(port_no port, const inet_addr& addr, F&& f) const;

 private:
  template <class Take>
  result<port_no> search(u16 low, u16 high, rng& random, Take&& take);
  [[nodiscard]] inet_bind_bucket* find(port_no port) const;
  inet_bind_bucket& bucket(port_no port);
  static void own(inet_bind_bucket& tb, inet_sock& sk);
  /// Calls f(bucket) for the addresses that overlap `addr`, until it returns true.
  template <class F>
  static bool find_address(inet_bind_bucket& tb, const inet_addr& addr, F&& f);
  static bool refuses(inet_bind_bucket& taken, const inet_sock& sk);
  hash_table<inet_bind_bucket, inet_bind_tag> buckets_;
  u32 releases_ = 0;
  u32 searched_ = 0;  ///< offset in the range at which the last search one by one ended
};

template <class F>
bool inet_ports::find_address(inet_bind_bucket& tb, const inet_addr& addr, F&& f) {
  if (addr.is_any()) {
    for (inet_bind2_bucket& at : tb.addresses) {
      if (f(at)) return true;
    }
    return false;
  }
  for (const inet_addr& wanted : {addr, inet_addr::of(ipv4_addr()), inet_addr{}}) {
    const auto at = tb.addresses.find(wanted, inet_bind2_before{});
    if (at != tb.addresses.end() && f(*at)) return true;
  }
  return false;
}

template <class F>
bool inet_ports::find_owner(port_no port, const inet_addr& addr, F&& f) const {
  inet_bind_bucket* const tb = find(port);
  return tb != nullptr && find_address(*tb, addr, [&](inet_bind2_bucket& at) {
           for (inet_sock& owner : at.owners) {
             if (f(owner)) return true;
           }
           return false;
         });
}

}  // namespace ph
