// Which local ports are taken, and the choice of ephemeral ones (RFC 6056). Shared by TCP and UDP,
// each with a table of its own. A step costs the same at any number of ports and of owners, and the
// logarithm of the number of addresses that hold one: TCP's owners are compared by kind, of which
// there are few, and UDP's are counted. Only the search for one of the last free ports looks at
// many, and a datagram socket that shares by SO_REUSEPORT alone may look at many owners; one of any
// address looks at all addresses then.
#pragma once

#include <compare>
#include <map>
#include <optional>

#include "base/hash_table.h"
#include "net/inet/inet_sock.h"

namespace ph {

/// What decides with whom an owner shares a port: owners of one kind are alike to all others.
struct inet_port_kind {
  ifindex dev{};
  u32 uid = 0;
  bool reuseaddr = false;  ///< SO_REUSEADDR, and it does not listen
  bool reuseport = false;
  auto operator<=>(const inet_port_kind&) const = default;
};

/// The sockets that hold a port on one address, oldest first.
using inet_port_owners = intrusive_list<inet_sock, inet_port_tag>;

/// Where in a port's set a bucket is.
struct inet_bind2_place {
  inet_addr addr;
  inet_port_kind kind;
  auto operator<=>(const inet_bind2_place&) const = default;
};

/// One port in use on one address by owners of one kind. A datagram socket of any address to which
/// connect() gave a narrower one stays here with that.
struct inet_bind2_bucket final : tree_hook<struct inet_bind2_tag> {
  inet_bind2_bucket(struct inet_bind_bucket& tb, const inet_bind2_place& at)
      : port(tb), place(at) {}
  inet_bind_bucket& port;
  inet_bind2_place place;
  inet_port_owners owners;
  u32 unwilling = 0;  ///< owners without SO_REUSEADDR, as far as they were counted
};
struct inet_bind2_before {
  bool operator()(const auto& a, const auto& b) const { return of(a) < of(b); }
  static const inet_bind2_place& of(const inet_bind2_bucket& tb) { return tb.place; }
  static const inet_bind2_place& of(const inet_bind2_place& place) { return place; }
};

/// One port in use.
struct inet_bind_bucket final : hash_hook<struct inet_bind_tag> {
  explicit inet_bind_bucket(port_no p) : port(p) {}
  port_no port;
  intrusive_set<inet_bind2_bucket, inet_bind2_before, inet_bind2_tag> addresses;
  /// On how many addresses there are owners of it; datagram sockets are not counted.
  std::map<inet_port_kind, u32> kinds;
  bool connecting_only = true;  ///< connect() chose it, each time
  u32 unwilling = 0;            ///< on all addresses together
  /// As on Linux, the last to take the port, if it did with SO_REUSEPORT: others of its user with
  /// that option follow without a look at who else has the port.
  struct reuseport_taker {
    inet_addr addr;
    u32 uid = 0;
  };
  std::optional<reuseport_taker> last;
};

class inet_ports {
 public:
  ~inet_ports();
  /// Takes `port` for sk, which is of that kind, on sk.rcv_saddr: shared with owners that all have
  /// SO_REUSEADDR and do not listen, or SO_REUSEPORT and the same user. Errors: addrinuse.
  result<void> bind(inet_sock& sk, port_no port, const inet_port_kind& kind);
  /// Its owner `sk` wants the port for itself and those who share it with a `kind`: asks the others
  /// as bind() does. Errors: addrinuse.
  static result<void> bind_again(inet_sock& sk, const inet_port_kind& kind);
  /// The address or the kind of `sk`, which holds a port, may have changed.
  static void moved(inet_sock& sk, const inet_port_kind& kind);
  /// The same for datagrams, as Linux decides: all with SO_REUSEADDR share, and else the youngest
  /// socket in the way shares by SO_REUSEPORT, for all, or refuses. Who calls it counts with
  /// count_unwilling(). Errors: addrinuse.
  result<void> bind_datagram(inet_sock& sk, port_no port) { return bind_datagram(sk, port, false); }
  /// `sk`, an owner of its port, has no SO_REUSEADDR (any more), or has it again.
  static void count_unwilling(inet_sock& sk, bool more);
  /// Takes a free port of [low, high], from a random place on; `usable(port)` may refuse. It is
  /// shared with nobody. Errors: addrinuse when all are taken.
  result<port_no> bind_ephemeral(inet_sock& sk, u16 low, u16 high, rng& random,
                                 const inet_port_kind& kind, inline_fn<bool(port_no)> usable);
  /// The same for connect(): ports that nobody bound may be shared, as long as `usable(port)` finds
  /// the four-tuple free.
  result<port_no> connect_ephemeral(inet_sock& sk, u16 low, u16 high, rng& random,
                                    const inet_port_kind& kind, inline_fn<bool(port_no)> usable);
  /// A free port or one whose owners all share it with `sk`. Errors: addrinuse.
  result<port_no> bind_datagram_ephemeral(inet_sock& sk, u16 low, u16 high, rng& random);
  /// Adds another socket to the port of one that has it (accept; a connection's children).
  void inherit(inet_sock& child, port_no port, const inet_port_kind& kind);
  void release(inet_sock& sk);
  /// How often a port that somebody had bound became free.
  [[nodiscard]] u32 releases() const { return releases_; }
  [[nodiscard]] bool in_use(port_no port) const { return find(port) != nullptr; }
  /// Calls f(owner) for those who hold `port` on `addr` or on any address (for any address: for all
  /// who hold it), until it returns true; returns whether it did.
  template <class F>
  bool find_owner(port_no port, const inet_addr& addr, F&& f) const;

 private:
  result<void> bind_datagram(inet_sock& sk, port_no port, bool chosen);
  template <class Take>
  result<port_no> search(u16 low, u16 high, rng& random, Take&& take);
  [[nodiscard]] inet_bind_bucket* find(port_no port) const;
  inet_bind_bucket& bucket(port_no port);
  static inet_bind2_bucket& bucket_at(inet_bind_bucket& tb, const inet_bind2_place& place);
  static void own(inet_bind2_bucket& at, inet_sock& sk);
  static void own(inet_bind_bucket& tb, inet_sock& sk, const inet_port_kind& kind);
  /// Ends the bucket if that was its last owner.
  static void leave(inet_bind2_bucket& at, inet_sock& sk);
  static bool conflict(inet_bind_bucket& tb, const inet_sock& sk, const inet_port_kind& kind,
                       bool shared);
  static void note_taker(inet_bind_bucket& tb, const inet_sock& sk, const inet_port_kind& kind);
  /// Calls f(bucket) for the addresses that overlap `addr`, until it returns true.
  template <class F>
  static bool find_address(inet_bind_bucket& tb, const inet_addr& addr, F&& f);
  static bool refuses(inet_bind_bucket& taken, const inet_sock& sk, bool chosen);
  hash_table<inet_bind_bucket, inet_bind_tag> buckets_;
  u64 last_age_ = 0;
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
    auto at = tb.addresses.lower_bound(inet_bind2_place{wanted, {}}, inet_bind2_before{});
    for (; at != tb.addresses.end() && at->place.addr == wanted; ++at) {
      if (f(*at)) return true;
    }
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
