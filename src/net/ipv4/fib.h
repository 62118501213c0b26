// Routing tables: longest-prefix match with metrics, scopes and types; next hops and their
// devices. Control functions demand rtnl_held; lookups are read-only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/core/flow.h"
#include "net/core/net_device.h"
#include "net/core/notifier.h"

namespace ph {

class net_namespace;

/// RTN_* with Linux's values.
enum class route_type : u8 { unspec, unicast, local, broadcast, anycast, multicast, blackhole,
                             unreachable, prohibit, throw_ };
/// RT_SCOPE_* with Linux's values.
enum class route_scope : u8 { universe = 0, site = 200, link = 253, host = 254, nowhere = 255 };
/// RT_TABLE_*.
enum class route_table : u32 { unspec = 0, default_ = 253, main = 254, local = 255 };

/// RTA_METRICS of a route; 0: not set.
struct route_metrics {
  u32 mtu = 0, window = 0, rtt_ms = 0, advmss = 0, initcwnd = 0, initrwnd = 0, rto_min_ms = 0;
  u32 cwnd = 0, ssthresh = 0, reordering = 0, quickack = 0;
  bool lock_mtu = false, lock_cwnd = false, ecn = false;
  std::string congestion;
  friend bool operator==(const route_metrics&, const route_metrics&) = default;
};

/// One next hop.
struct fib_nh {
  ifindex oif{};
  ipv4_addr gateway;          ///< any: on link
  u8 weight = 1;
  bool onlink = false;
};

/// A route as the control plane states it (what `ip route` shows).
struct fib_route {
  ipv4_prefix dst;
  u8 tos = 0;
  u32 priority = 0;           ///< metric: smaller wins
  route_type type = route_type::unicast;
  route_scope scope = route_scope::universe;
  u8 protocol = 3;            ///< RTPROT_BOOT; kernel: 2
  route_table table = route_table::main;
  ipv4_addr prefsrc;
  route_metrics metrics;
  std::vector<fib_nh> nexthops;
};

struct fib_result {
  const fib_route* route = nullptr;
  const fib_nh* nh = nullptr;   ///< chosen next hop; nullptr for types without
};

enum class fib_event_kind : u8 { added, replaced, removed };
/// A route came, took another's place, or is about to be freed (Linux's fib notifier).
struct fib_event {
  fib_event_kind kind;
  const fib_route* route;
};

class fib_trie;

class fib_tables {
 public:
  explicit fib_tables(net_namespace& net);
  ~fib_tables();
  /// The route for a flow through the rules (local, main, default). Errors: netunreach (none),
  /// hostunreach / acces / inval for unreachable, prohibit and blackhole routes.
  result<fib_result> lookup(const flowi4& flow) const;
  /// Errors: exist (same prefix, tos, priority), netunreach (gateway not on a link), inval,
  /// nodev, netdown.
  result<void> add(const rtnl_held&, fib_route route, bool replace = false);
  /// Errors: srch → noent when nothing matches.
  result<void> erase(const rtnl_held&, const fib_route& route);
  /// Removes routes through a device. One that went down keeps its local addresses reachable, as
  /// on Linux; one that goes away keeps nothing.
  void flush_dev(const rtnl_held&, const net_device& dev, bool unregister = false);
  /// Removes the routes that the addresses of a device brought (protocol kernel).
  void flush_kernel(const rtnl_held&, const net_device& dev);
  /// Removes routes with a source address that is gone.
  void flush_prefsrc(const rtnl_held&, ipv4_addr addr);
  /// RTN_LOCAL, RTN_BROADCAST … for an address as this host sees it.
  [[nodiscard]] route_type addr_type(ipv4_addr addr, const net_device* dev = nullptr) const;
  /// Source address for a next hop: prefsrc, or the device's best address.
  [[nodiscard]] ipv4_addr select_source(const fib_result& found, ipv4_addr daddr) const;
  [[nodiscard]] std::vector<const fib_route*> routes() const;
  /// Rises with every change: cached routes with another number are stale.
  [[nodiscard]] u64 generation() const { return generation_; }
  void bump_generation() { ++generation_; }
  notifier_chain<fib_event> events;

 private:
  net_namespace& net_;
  u64 generation_ = 1;
  std::unique_ptr<fib_trie> local_, main_, default_;
  template <class Pred>
  void erase_if(Pred&& pred);
  result<void> check_nexthop(const fib_route& route, fib_nh& nh) const;
  result<void> check(fib_route& route) const;
  result<fib_result> resolve(const fib_route& route, const flowi4& flow) const;
  fib_trie* table(route_table id) const;
};

/// "default via 10.0.1.1 dev eth0 metric 5", "blackhole 10.9.9.0/24", "10.1.0.0/16 dev eth1 src …":
/// the words of `ip route`. Errors: inval with a sentence in *why.
result<fib_route> fib_route_parse(net_namespace& net, std::string_view text, std::string* why);

}  // namespace ph
