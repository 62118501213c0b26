// Which local ports are taken, and the choice of ephemeral ones (RFC 6056). Shared by TCP and UDP,
// each with a table of its own. Every step costs the same at any number of sockets; only the search
// for one of the last free ports looks at many.
#pragma once

#include "base/hash_table.h"
#include "net/inet/inet_sock.h"

namespace ph {

/// May `sk` share a port with `other`, both wanting overlapping addresses? The protocol decides
/// (TCP: SO_REUSEADDR and no listener; UDP: both SO_REUSEADDR; both: SO_REUSEPORT and same uid).
using port_share_fn = bool (*)(const inet_sock& sk, const inet_sock& other);

/// The sockets that hold a port, oldest first.
using inet_port_owners = intrusive_list<inet_sock, inet_port_tag>;

/// One port in use.
struct inet_bind_bucket final : counted, hash_hook<struct inet_bind_tag> {
  explicit inet_bind_bucket(port_no p) : port(p) {}
  ref<inet_bind_bucket> self;  ///< held while somebody owns the port
  port_no port;
  inet_port_owners owners;
  bool connecting_only = true;  ///< connect() chose it, each time
  u32 unwilling = 0;            ///< owners without SO_REUSEADDR, as far as they were counted
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
  /// One more (or less) of the port's owners has no SO_REUSEADDR.
  void count_unwilling(port_no port, bool more);
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
  /// nullptr: nobody.
  [[nodiscard]] inet_port_owners* owners(port_no port) const;

 private:
  template <class Take>
  result<port_no> search(u16 low, u16 high, rng& random, Take&& take);
  [[nodiscard]] inet_bind_bucket* find(port_no port) const;
  inet_bind_bucket& bucket(port_no port);
  void own(inet_bind_bucket& tb, inet_sock& sk);
  hash_table<inet_bind_bucket, inet_bind_tag> buckets_;
  u32 releases_ = 0;
  u32 searched_ = 0;  ///< offset in the range at which the last search one by one ended
};

}  // namespace ph
