// The routing tables: longest-prefix match against a naive model, what is a route, and the
// routes that come and go with addresses and devices.
#include <random>

#include "net/ipv4/fib_trie.h"
#include "net/ipv4/route.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace std::literals;

fib_route route_to(ipv4_prefix dst, u32 metric) {
  fib_route out;
  out.dst = dst;
  out.priority = metric;
  return out;
}

/// The best route by looking at all of them.
const fib_route* naive(const std::vector<fib_route>& all, ipv4_addr addr) {
  const fib_route* best = nullptr;
  for (const fib_route& r : all) {
    if (!r.dst.contains(addr)) continue;
    if (best == nullptr || r.dst.len > best->dst.len) best = &r;
  }
  return best;
}

TEST(fib_trie, agrees_with_a_linear_search_while_routes_come_and_go) {
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    fib_trie trie;
    std::vector<fib_route> all;
    for (int step = 0; step < 400; ++step) {
      const auto len = static_cast<u8>(random() % 33);
      // Few distinct high bits, so that prefixes nest and share ancestors.
      const u32 bits = ((random() & 3) << 30) | (random() & 0x00ff00ff);
      const ipv4_prefix p{ipv4_addr(bits & ipv4_mask(len).value()), len};
      const auto same = std::find_if(all.begin(), all.end(), [&](auto& r) { return r.dst == p; });
      if (same == all.end()) {
        all.push_back(route_to(p, static_cast<u32>(step)));
        trie.at(p).push_back(std::make_unique<fib_route>(all.back()));
      } else if (random() % 2 == 0) {
        all.erase(same);
        trie.find(p)->clear();
        trie.prune(p);
        EXPECT_EQ(trie.find(p) == nullptr || trie.find(p)->empty(), true);
      }
      if (!all.empty() && random() % 4 == 0) {  // take one away
        const auto gone = all.begin() + static_cast<std::ptrdiff_t>(random() % all.size());
        const ipv4_prefix prefix = gone->dst;
        all.erase(gone);
        trie.find(prefix)->clear();
        trie.prune(prefix);
      }
      const ipv4_addr probe(((random() & 3) << 30) | (random() & 0x00ff00ff));
      const fib_route* found = nullptr;
      trie.match(probe, [&](const fib_route& r) {
        found = &r;
        return true;
      });
      const fib_route* expected = naive(all, probe);
      ASSERT_EQ(found == nullptr, expected == nullptr);
      if (found != nullptr) {
        ASSERT_EQ(found->priority, expected->priority);
      }
    }
    std::size_t listed = 0;
    trie.for_each([&](fib_trie::route_list& routes) { listed += routes.size(); });
    EXPECT_EQ(listed, all.size());
  }
}

TEST(fib_trie, match_goes_on_to_shorter_prefixes_when_refused) {
  fib_trie trie;
  for (const char* p : {"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32"}) {
    const auto prefix = *ipv4_prefix::parse(p);
    trie.at(prefix).push_back(std::make_unique<fib_route>(route_to(prefix, prefix.len)));
  }
  std::vector<u32> seen;
  trie.match(ipv4_addr(10, 1, 2, 3), [&](const fib_route& r) {
    seen.push_back(r.priority);
    return false;
  });
  EXPECT_EQ(seen, (std::vector<u32>{32, 24, 16, 8, 0}));
}

struct fib : ::testing::Test {
  two_hosts lab;
  test_host& a = lab.a;
  errc try_add(std::string_view words) {
    std::string why;
    const auto route = fib_route_parse(a.net(), words, &why);
    if (!route) return route.error();
    const rtnl_guard rtnl(a.machine.rtnl());
    const auto done = a.ipv4().fib.add(rtnl.held(), *route);
    return done ? errc::ok : done.error();
  }
  errc try_del(std::string_view words) {
    const auto route = fib_route_parse(a.net(), words, nullptr);
    const rtnl_guard rtnl(a.machine.rtnl());
    const auto done = a.ipv4().fib.erase(rtnl.held(), *route);
    return done ? errc::ok : done.error();
  }
  /// "via 10.0.0.2 src 10.0.0.1", "lo", or the error.
  std::string way(const char* to, const char* from = nullptr) {
    flowi4 flow;
    flow.daddr = *ipv4_addr::parse(to);
    if (from != nullptr) flow.saddr = *ipv4_addr::parse(from);
    const auto rt = ip_route_output(a.cx(), a.net(), flow);
    if (!rt) return std::string(errc_name(rt.error()));
    std::string out = (*rt)->dev->name();
    if (!(*rt)->gateway.is_any()) out += " via " + (*rt)->gateway.to_string();
    return out + " src " + (*rt)->saddr.to_string();
  }
  bool listed(std::string_view prefix, route_type type) {
    for (const fib_route* r : a.ipv4().fib.routes()) {
      if (r->dst.to_string() == prefix && r->type == type) return true;
    }
    return false;
  }
};

TEST_F(fib, routes_of_an_address) {
  EXPECT_TRUE(listed("10.0.0.1/32", route_type::local));
  EXPECT_TRUE(listed("10.0.0.0/24", route_type::unicast));
  EXPECT_TRUE(listed("10.0.0.255/32", route_type::broadcast));
  EXPECT_TRUE(listed("127.0.0.0/8", route_type::local));
  EXPECT_EQ(way("10.0.0.2"), "eth0 src 10.0.0.1");
  EXPECT_EQ(way("10.0.0.1"), "lo src 10.0.0.1");
  EXPECT_EQ(way("127.1.2.3"), "lo src 127.0.0.1");
  EXPECT_EQ(way("10.1.0.1"), "ENETUNREACH");
  EXPECT_EQ(way("255.255.255.255"), "ENETUNREACH");
}

TEST_F(fib, the_smaller_metric_and_the_longer_prefix_win) {
  EXPECT_EQ(try_add("default via 10.0.0.2 metric 10"), errc::ok);
  EXPECT_EQ(try_add("default via 10.0.0.3 metric 5"), errc::ok);
  EXPECT_EQ(try_add("10.9.0.0/16 via 10.0.0.4"), errc::ok);
  EXPECT_EQ(way("8.8.8.8"), "eth0 via 10.0.0.3 src 10.0.0.1");
  EXPECT_EQ(way("10.9.1.1"), "eth0 via 10.0.0.4 src 10.0.0.1");
  EXPECT_EQ(try_del("default via 10.0.0.3"), errc::ok);
  EXPECT_EQ(way("8.8.8.8"), "eth0 via 10.0.0.2 src 10.0.0.1");
}

TEST_F(fib, what_is_not_a_route) {
  EXPECT_EQ(try_add("10.9.0.0/16 via 192.168.7.1"), errc::netunreach);
  EXPECT_EQ(try_add("10.9.0.0/16 via 10.0.0.255"), errc::inval);    // a broadcast is no gateway
  EXPECT_EQ(try_add("10.9.0.1/16 via 10.0.0.2"), errc::inval);      // host bits set
  EXPECT_EQ(try_add("10.9.0.0/16 dev eth7"), errc::inval);
  EXPECT_EQ(try_add("10.9.0.0/16"), errc::nodev);
  EXPECT_EQ(try_add("10.9.0.0/16 via 10.0.0.2 src 10.0.0.9"), errc::inval);
  EXPECT_EQ(try_add("blackhole 10.9.0.0/16 dev eth0"), errc::inval);
  EXPECT_EQ(try_add("10.9.0.0/16 via 10.0.0.2"), errc::ok);
  EXPECT_EQ(try_add("10.9.0.0/16 via 10.0.0.3"), errc::exist);
  EXPECT_EQ(try_del("10.8.0.0/16"), errc::noent);
}

TEST_F(fib, an_onlink_gateway_needs_no_route) {
  EXPECT_EQ(try_add("10.9.0.0/16 via 192.168.7.1 dev eth0 onlink"), errc::ok);
  EXPECT_EQ(way("10.9.0.1"), "eth0 via 192.168.7.1 src 10.0.0.1");
}

TEST_F(fib, routes_that_refuse_say_why) {
  EXPECT_EQ(try_add("unreachable 10.9.1.0/24"), errc::ok);
  EXPECT_EQ(try_add("prohibit 10.9.2.0/24"), errc::ok);
  EXPECT_EQ(try_add("blackhole 10.9.3.0/24"), errc::ok);
  EXPECT_EQ(try_add("throw 10.9.4.0/24"), errc::ok);
  EXPECT_EQ(way("10.9.1.1"), "EHOSTUNREACH");
  EXPECT_EQ(way("10.9.2.1"), "EACCES");
  EXPECT_EQ(way("10.9.3.1"), "EINVAL");
  EXPECT_EQ(way("10.9.4.1"), "ENETUNREACH");
}

TEST_F(fib, sources) {
  EXPECT_EQ(way("10.0.0.2", "10.0.0.9"), "ENETUNREACH");  // not ours
  EXPECT_EQ(way("10.0.0.2", "224.0.0.1"), "EINVAL");
  EXPECT_EQ(way("10.0.0.2", "127.0.0.1"), "EINVAL");
  a.add_address(a.dev(), "172.16.0.1/24");
  EXPECT_EQ(way("172.16.0.5"), "eth0 src 172.16.0.1");
  EXPECT_EQ(try_add("10.9.0.0/16 via 10.0.0.2 src 172.16.0.1"), errc::ok);
  EXPECT_EQ(way("10.9.0.1"), "eth0 via 10.0.0.2 src 172.16.0.1");
}

TEST_F(fib, several_next_hops_share_the_flows_by_weight) {
  EXPECT_EQ(try_add("10.9.0.0/16 nexthop via 10.0.0.2 weight 1 nexthop via 10.0.0.3 weight 3"),
            errc::ok);
  int second = 0;
  for (u32 i = 0; i < 4000; ++i) {
    flowi4 flow;
    flow.daddr = ipv4_addr(0x0a090000 + i);
    const auto rt = ip_route_output(a.cx(), a.net(), flow);
    ASSERT_TRUE(rt);
    second += (*rt)->gateway == ipv4_addr(10, 0, 0, 3) ? 1 : 0;
  }
  EXPECT_GT(second, 2800);
  EXPECT_LT(second, 3200);
}

TEST_F(fib, a_device_that_goes_down_takes_its_routes_but_not_its_address) {
  EXPECT_EQ(try_add("default via 10.0.0.2"), errc::ok);
  {
    const rtnl_guard rtnl(a.machine.rtnl());
    a.dev().close(rtnl.held(), a.cx());
  }
  EXPECT_EQ(way("10.0.0.2"), "ENETUNREACH");
  EXPECT_EQ(way("10.0.0.1"), "lo src 10.0.0.1");
  EXPECT_FALSE(listed("0.0.0.0/0", route_type::unicast));
  {
    const rtnl_guard rtnl(a.machine.rtnl());
    ASSERT_TRUE(a.dev().open(rtnl.held(), a.cx()));
  }
  EXPECT_EQ(way("10.0.0.2"), "eth0 src 10.0.0.1");
  EXPECT_EQ(way("8.8.8.8"), "ENETUNREACH");  // what was configured by hand is gone
}

TEST_F(fib, a_primary_address_takes_its_secondaries_along) {
  a.add_address(a.dev(), "10.0.0.7/24");
  EXPECT_EQ(in_dev_of(a.dev())->addrs.size(), 2u);
  EXPECT_TRUE(in_dev_of(a.dev())->addrs[1].secondary);
  EXPECT_EQ(way("10.0.0.7"), "lo src 10.0.0.7");
  EXPECT_EQ(way("10.0.0.2"), "eth0 src 10.0.0.1");
  const rtnl_guard rtnl(a.machine.rtnl());
  EXPECT_TRUE(inet_addr_del(rtnl.held(), a.cx(), a.dev(), ipv4_addr(10, 0, 0, 1), 24));
  EXPECT_EQ(way("10.0.0.7"), "ENETUNREACH");
  EXPECT_EQ(way("10.0.0.2"), "ENETUNREACH");
  EXPECT_EQ(inet_addr_del(rtnl.held(), a.cx(), a.dev(), ipv4_addr(10, 0, 0, 1), 24).error(),
            errc::addrnotavail);
}

TEST_F(fib, adding_an_address_twice_is_refused) {
  in_ifaddr ifa;
  ifa.local = ipv4_addr(10, 0, 0, 1);
  ifa.prefix_len = 24;
  const rtnl_guard rtnl(a.machine.rtnl());
  EXPECT_EQ(inet_addr_add(rtnl.held(), a.cx(), a.dev(), ifa).error(), errc::exist);
}

TEST_F(fib, twenty_thousand_routes) {
  for (u32 i = 0; i < 20000; ++i) {
    fib_route r;
    r.dst = {ipv4_addr(0x14000000 + (i << 8)), 24};
    r.nexthops.push_back({a.dev().index(), ipv4_addr(10, 0, 0, 2), 1, false});
    const rtnl_guard rtnl(a.machine.rtnl());
    ASSERT_TRUE(a.ipv4().fib.add(rtnl.held(), r));
  }
  EXPECT_EQ(way("20.0.77.1"), "eth0 via 10.0.0.2 src 10.0.0.1");
  EXPECT_EQ(way("20.200.77.1"), "ENETUNREACH");
}

}  // namespace
}  // namespace ph
