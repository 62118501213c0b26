// Recent answers of the routing tables, and what routers told about paths (RFC 1191) and about
// better gateways (RFC 1122 §3.2.2.2).
#pragma once

#include <map>

#include "net/ipv4/route.h"

namespace ph {

/// What a lookup was asked; direction is told by iif or oif and `input`.
struct route_key {
  ipv4_addr daddr, saddr;
  u32 device = 0;     ///< iif for input; oif for output
  u8 tos = 0;
  bool input = false;
  u8 policy = 0;      ///< the settings that took part in the answer: ip_forward, rp_filter
  friend bool operator==(const route_key&, const route_key&) = default;
};

class route_cache {
 public:
  /// A still valid answer, or empty.
  [[nodiscard]] ref<rtable> find(const route_key& key, instant now) const;
  void store(const route_key& key, ref<rtable> rt);
  void clear();

  struct path {
    u32 mtu = 0;           ///< 0: nothing
    bool locked = false;   ///< below min_pmtu: let the path fragment
    instant expires{};
  };
  /// What is known of the path to an address, nullptr when nothing (any more).
  [[nodiscard]] const path* find_path(ipv4_addr daddr, instant now) const;
  /// Returns whether it is news.
  bool learn_path(ipv4_addr daddr, const path& what, instant now);

  /// What a redirect speaks of: a destination by the gateway and device that the tables say. It
  /// touches no other way there, nor one that the tables say later.
  struct way {
    ipv4_addr daddr, gateway;
    u32 device = 0;
    friend auto operator<=>(const way&, const way&) = default;
  };
  struct redirect {
    ipv4_addr gateway;
    instant expires{};
  };
  /// Where a redirect sends such packets, nullptr: nowhere (any more).
  [[nodiscard]] const redirect* find_redirect(const way& of, instant now) const;
  /// Returns whether it is news.
  bool learn_redirect(const way& of, const redirect& what, instant now);

 private:
  static constexpr std::size_t slots = 64;
  static constexpr std::size_t most_paths = 2048;  ///< and redirects
  struct entry {
    route_key key;
    ref<rtable> rt;
  };
  static std::size_t slot_of(const route_key& key);
  std::array<entry, slots> entries_;
  std::map<ipv4_addr, path> paths_;
  std::map<way, redirect> redirects_;
};

}  // namespace ph
