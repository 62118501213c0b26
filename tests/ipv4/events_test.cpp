// What the control plane tells: devices, addresses, routes and neighbours, as a listener outside of
// IPv4 hears of them, and what IPv4's own listeners do then.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/core/neighbour.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using testing::ElementsAre;

struct control_events : testing::Test {
  control_events() {
    links.set_callback([this](const netdev_event& e) { on_link(e); });
    addrs.set_callback([this](const inetaddr_event& e) { on_addr(e); });
    routes.set_callback([this](const fib_event& e) { on_route(e); });
    neighbours.set_callback([this](const neigh_event& e) { on_neighbour(e); });
    lab.a.net().netdev_events().add(links);
    lab.a.ipv4().inetaddr_events.add(addrs);
    lab.a.ipv4().fib.events.add(routes);
    lab.a.ipv4().arp_table->events.add(neighbours);
  }
  void on_link(const netdev_event& e) {
    if (e.kind == netdev_event_kind::up) told.push_back(e.dev->name() + " up");
    if (e.kind == netdev_event_kind::down) told.push_back(e.dev->name() + " down");
    if (e.kind == netdev_event_kind::change) {
      told.push_back(e.dev->name() + (e.dev->carrier() ? " has" : " lost") + " carrier");
    }
  }
  void on_addr(const inetaddr_event& e) {
    for (const in_ifaddr& ifa : e.addrs) {
      const bool added = e.kind == inetaddr_event_kind::added;
      told.push_back((added ? "+ " : "- ") + ifa.local.to_string());
    }
  }
  void on_route(const fib_event& e) {
    if (e.route->table != route_table::main) return;
    const char* what = e.kind == fib_event_kind::added     ? "route + "
                       : e.kind == fib_event_kind::removed ? "route - "
                                                           : "route = ";
    told.push_back(what + e.route->dst.to_string());
  }
  void on_neighbour(const neigh_event& e) {
    const u8 state = e.neigh->state();
    told.push_back(e.neigh->key().ipv4().to_string() + (e.neigh->dead()            ? " gone"
                                                        : state == nud_incomplete ? " asked"
                                                        : state == nud_reachable  ? " reachable"
                                                                                  : " else"));
  }
  std::vector<std::string> take() { return std::exchange(told, {}); }

  two_hosts lab;
  std::vector<std::string> told;
  notifier<netdev_event> links;
  notifier<inetaddr_event> addrs;
  notifier<fib_event> routes;
  notifier<neigh_event> neighbours;
};

TEST_F(control_events, an_address_brings_and_takes_its_route) {
  lab.a.add_address(lab.a.dev(), "10.7.0.1/24");
  EXPECT_THAT(take(), ElementsAre("route + 10.7.0.0/24", "+ 10.7.0.1"));
  const rtnl_guard rtnl(lab.a.machine.rtnl());
  EXPECT_TRUE(
      inet_addr_del(rtnl.held(), lab.a.cx(), lab.a.dev(), ipv4_addr(10, 7, 0, 1), 24));
  EXPECT_THAT(take(), testing::IsSupersetOf({"route - 10.7.0.0/24", "- 10.7.0.1"}));
  EXPECT_EQ(lab.a.ipv4().fib.addr_type(ipv4_addr(10, 7, 0, 1)), route_type::unicast);
}

TEST_F(control_events, secondary_addresses_go_with_their_primary_in_one_event) {
  lab.a.add_address(lab.a.dev(), "10.7.0.1/24");
  lab.a.add_address(lab.a.dev(), "10.7.0.2/24");
  lab.a.add_address(lab.a.dev(), "10.7.0.3/24");
  int events = 0;
  notifier<inetaddr_event> counts;
  counts.set_callback([&events](const inetaddr_event& e) {
    ++events;
    EXPECT_EQ(e.addrs.size(), 3u);
  });
  lab.a.ipv4().inetaddr_events.add(counts);
  const rtnl_guard rtnl(lab.a.machine.rtnl());
  EXPECT_TRUE(
      inet_addr_del(rtnl.held(), lab.a.cx(), lab.a.dev(), ipv4_addr(10, 7, 0, 1), 24));
  EXPECT_EQ(events, 1);
}

TEST_F(control_events, a_neighbour_is_asked_answers_and_goes_with_its_device) {
  const int fd = *sys_socket(lab.a.app(), af_inet, sock_dgram, 0);
  static_cast<void>(
      sys_sendto(lab.a.app(), fd, bytes_of(std::string_view("x")), 0, addr4("10.0.0.2", 9)));
  lab.settle();
  EXPECT_THAT(take(), ElementsAre("10.0.0.2 asked", "10.0.0.2 reachable"));
  {
    const rtnl_guard rtnl(lab.a.machine.rtnl());
    lab.a.dev().close(rtnl.held(), lab.a.cx());
  }
  EXPECT_THAT(take(), ElementsAre("route - 10.0.0.0/24", "10.0.0.2 gone", "eth0 down"));
  EXPECT_EQ(lab.a.ipv4().arp_table->size(), 0u);
  {
    const rtnl_guard rtnl(lab.a.machine.rtnl());
    EXPECT_TRUE(lab.a.dev().open(rtnl.held(), lab.a.cx()));
  }
  EXPECT_THAT(take(), ElementsAre("route + 10.0.0.0/24", "eth0 up"));
}

TEST_F(control_events, a_device_without_cable_forgets_its_neighbours) {
  const int fd = *sys_socket(lab.a.app(), af_inet, sock_dgram, 0);
  static_cast<void>(
      sys_sendto(lab.a.app(), fd, bytes_of(std::string_view("x")), 0, addr4("10.0.0.2", 9)));
  lab.settle();
  take();
  lab.a.dev().set_carrier(lab.a.cx(), false);
  EXPECT_THAT(take(), ElementsAre("10.0.0.2 gone", "eth0 lost carrier"));
  lab.a.dev().set_carrier(lab.a.cx(), false);
  EXPECT_THAT(take(), ElementsAre()) << "no news";
  lab.a.dev().set_carrier(lab.a.cx(), true);
  EXPECT_THAT(take(), ElementsAre("eth0 has carrier"));
}

TEST_F(control_events, routes_of_programs_are_told_when_they_come_change_and_go) {
  lab.a.add_route("10.9.0.0/16 via 10.0.0.2");
  EXPECT_THAT(take(), ElementsAre("route + 10.9.0.0/16"));
  std::string why;
  const auto route = fib_route_parse(lab.a.net(), "10.9.0.0/16 via 10.0.0.3", &why);
  ASSERT_TRUE(route.has_value()) << why;
  const rtnl_guard rtnl(lab.a.machine.rtnl());
  EXPECT_TRUE(lab.a.ipv4().fib.add(rtnl.held(), *route, true));
  EXPECT_THAT(take(), ElementsAre("route = 10.9.0.0/16"));
  EXPECT_TRUE(lab.a.ipv4().fib.erase(rtnl.held(), *route));
  EXPECT_THAT(take(), ElementsAre("route - 10.9.0.0/16"));
}

TEST_F(control_events, each_protocol_knows_its_sockets) {
  const auto sizes = [&] {
    std::map<std::string, std::size_t> out;
    for (const sock_list& of : lab.a.net().sock_lists()) out[std::string(of.name())] = of.size();
    return out;
  };
  task& app = lab.a.app();
  const int tcp = *sys_socket(app, af_inet, sock_stream, 0);
  const int udp = *sys_socket(app, af_inet, sock_dgram, 0);
  const int lite = *sys_socket(app, af_inet, sock_dgram, ipproto_udplite);
  const int raw = *sys_socket(app, af_inet, sock_raw, ipproto_icmp);
  const int ping = *sys_socket(app, af_inet, sock_dgram, ipproto_icmp);
  using counts = std::map<std::string, std::size_t>;
  EXPECT_EQ(sizes(), (counts{{"icmp", 1}, {"raw", 1}, {"tcp", 1}, {"udp", 1}, {"udplite", 1}}));
  for (const int fd : {tcp, udp, lite, raw, ping}) EXPECT_TRUE(sys_close(app, fd));
  EXPECT_EQ(sizes(), (counts{{"icmp", 0}, {"raw", 0}, {"tcp", 0}, {"udp", 0}, {"udplite", 0}}));
}

}  // namespace
}  // namespace ph
