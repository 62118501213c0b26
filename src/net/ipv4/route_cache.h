// Recent answers of the routing tables, and what routers told about paths (RFC 1191).
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
  [[nodiscard]] ref<rtable> find(const route_key& key) const;
  void store(const route_key& key, ref<rtable> rt);
  void clear();

  struct path {
    u32 mtu = 0;           ///< 0: nothing
    ipv4_addr gateway;     ///< where a redirect sent us; any: nowhere
    bool locked = false;   ///< below min_pmtu: let the path fragment
    instant expires{};
  };
  /// What is known of the path to an address, nullptr when nothing (any more).
  [[nodiscard]] const path* find_path(ipv4_addr daddr, instant now) const;
  /// Returns whether it is news.
  bool learn_path(ipv4_addr daddr, const path& what, instant now);

 private:
  static constexpr std::size_t slots = 64;
  static constexpr std::size_t most_paths = 2048;
  struct entry {
    route_key key;
    ref<rtable> rt;
  };
  static std::size_t slot_of(const route_key& key);
  std::array<entry, slots> entries_;
  std::map<ipv4_addr, path> paths_;
};

}  // namespace ph
