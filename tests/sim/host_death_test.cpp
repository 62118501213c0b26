// A check that fails in one host's machine ends that host, and only that host.
#include "net/core/net_namespace.h"
#include "tests/sim/scenario.h"
#include "wire/ipv4.h"
#include "wire/udp.h"

namespace ph::sim {
namespace {

/// A datagram to this port brings its receiver down: a hook of the test's own.
constexpr u16 deadly_port = 666;

void set_trap(host& h, nf_hooknum where = nf_hooknum::input) {
  h.net().hooks().add(nf_family::ipv4, where,
                      {0, [](cpu&, net_namespace&, skb_ptr& skb, const nf_state&) {
                         const auto ip = ipv4_view::parse(skb->network_bytes());
                         const auto* uh = ip ? view_as<udphdr>(ip->payload) : nullptr;
                         if (ip && ip->iph->protocol == ipproto_udp && uh != nullptr) {
                           ph_check(uh->dest.value() != deadly_port);
                         }
                         return nf_verdict::accept;
                       }});
}

co<> kill(app& a, endpoint at) {
  const int fd = a.udp();
  const u8 byte = 0;
  co_await a.sendto(fd, {&byte, 1}, at);
}

/// a — r — b in a line, routes everywhere.
struct line : ::testing::Test {
  world w;
  host& a = w.add_host("a", {.mortal = true});
  host& r = w.add_host("r", {.sysctls = {{"net.ipv4.ip_forward", "1"}}, .mortal = true});
  host& b = w.add_host("b", {.mortal = true});
  void SetUp() override {
    w.connect("a", "eth0", "10.0.1.2/24", "r", "eth0", "10.0.1.1/24", {.delay = 1_ms});
    w.connect("r", "eth1", "10.0.2.1/24", "b", "eth0", "10.0.2.2/24", {.delay = 1_ms});
    a.add_route("default via 10.0.1.1");
    b.add_route("default via 10.0.2.1");
    set_trap(r);
  }
};

TEST_F(line, a_packet_ends_its_receiver_and_the_others_go_on) {
  bool stopped = false;
  std::string error;
  w.spawn("r", "server", [&](app& p) -> co<> {
    const int fd = p.listener(80);
    co_await p.accept(fd);
    stopped = true;  // nobody calls
  });
  w.spawn("a", "client", [&](app& p) -> co<> {
    co_await p.sleep(1_s);
    co_await kill(p, "10.0.1.1:666");
    co_await p.sleep(1_s);
    const int fd = p.tcp();
    p.setsockopt(fd, sol_tcp, tcp_user_timeout, 5000);
    const auto connected = co_await p.try_connect(fd, "10.0.1.1:80");
    error = errc_name(connected.error());
    // The machine itself is fine.
    const int own = p.listener(81);
    const int self = co_await p.connect(endpoint("127.0.0.1:81"));
    const int served = co_await p.accept(own);
    co_await p.send_all(self, stream_bytes(0, 100'000));
    p.close(self);
    EXPECT_EQ((co_await p.recv_to_end(served)).size(), 100'000u);
  });
  w.run_apps();
  EXPECT_FALSE(stopped);
  EXPECT_TRUE(r.dead());
  EXPECT_FALSE(a.dead());
  EXPECT_NE(r.death().find("check failed: uh->dest.value() != deadly_port"), std::string::npos);
  EXPECT_EQ(r.died_at(), instant{} + 1_s + 2_ms + 1_ms);  // ARP both ways, then the packet
  EXPECT_TRUE(error == "EHOSTUNREACH" || error == "ETIMEDOUT") << error;
  // As when the other end of a veth pair goes.
  EXPECT_FALSE(a.device("eth0").carrier());
  EXPECT_TRUE(a.device("eth0").is_up());
  EXPECT_GT(a.drops(drop_reason::dev_down), 0u);
  EXPECT_EQ(a.drops(drop_reason::unreasoned), 0u);
  EXPECT_THROW(static_cast<void>(r.cx()), setup_error);
}

TEST_F(line, a_device_that_goes_up_in_the_turn_of_its_death_gives_no_carrier) {
  w.spawn("a", "other", [](app& p) -> co<> { co_await p.sleep(5_s); });
  net_device& dev = r.device("eth0");
  static_cast<void>(r.call([&] {
    const rtnl_guard rtnl(r.machine().rtnl());
    dev.close(rtnl.held(), r.machine().boot_cpu());
    ASSERT_TRUE(dev.open(rtnl.held(), r.machine().boot_cpu()));
    ph_check(!dev.is_up());
  }));
  w.run_apps();
  EXPECT_TRUE(r.dead());
  EXPECT_FALSE(a.device("eth0").carrier());
}

TEST_F(line, what_is_on_the_wire_to_and_from_it) {
  // A transfer across the router; it dies in the middle, with frames under way on both wires.
  w.spawn("b", "server", [](app& p) -> co<> {
    const int fd = co_await p.accept(p.listener(80));
    std::vector<u8> buffer(1 << 16);
    while (co_await p.recv(fd, buffer) != 0) {}
  });
  w.spawn("a", "client", [](app& p) -> co<> {
    const int fd = p.tcp();
    p.setsockopt(fd, sol_tcp, tcp_user_timeout, 3000);
    co_await p.connect(fd, "10.0.2.2:80");
    p.spawn("killer", [](app& k) -> co<> {
      co_await k.sleep(20_ms);
      co_await kill(k, "10.0.1.1:666");
    });
    try {
      co_await p.send_all(fd, stream_bytes(0, 50'000'000));
      ADD_FAILURE() << "all was sent";
    } catch (const call_error& e) {
      EXPECT_TRUE(e.code == errc::timedout || e.code == errc::hostunreach);
    }
  });
  w.run_for(seconds(60));
  EXPECT_TRUE(r.dead());
  EXPECT_EQ(w.links()[0]->in_flight(link_end::a), 0u);
  EXPECT_GT(a.drops(drop_reason::dev_down), 0u);
}

TEST_F(line, a_call_of_a_program_ends_its_host) {
  set_trap(a, nf_hooknum::output);
  std::string first, second;
  bool went_on = false;
  w.spawn("a", "client", [&](app& p) -> co<> {
    const int fd = p.udp();
    const u8 byte = 0;
    const auto sent = co_await p.try_sendto(fd, {&byte, 1}, "10.0.1.1:666");
    first = errc_name(sent.error());
    try {
      p.tcp();
    } catch (const call_error& e) {
      second = errc_name(e.code);
    }
    co_await p.sleep(1_s);
    went_on = true;
  });
  w.spawn("b", "other", [](app& p) -> co<> { co_await p.sleep(5_s); });
  w.run_apps();
  EXPECT_TRUE(a.dead());
  EXPECT_EQ(first, "ENETDOWN");
  EXPECT_EQ(second, "ENETDOWN");
  EXPECT_FALSE(went_on);
  EXPECT_EQ(w.now(), instant{} + 5_s);
  EXPECT_FALSE(r.dead());
}

TEST_F(line, all_of_them) {
  set_trap(a);
  set_trap(b);
  for (const char* to : {"127.0.0.1:666"}) {
    for (const char* on : {"a", "r", "b"}) {
      w.spawn(on, "killer", [to](app& p) -> co<> { co_await kill(p, to); });
    }
  }
  w.run_for(seconds(10));
  EXPECT_TRUE(a.dead() && r.dead() && b.dead());
}

// A simulation is there to find such a check, not to live with it.
TEST(host_death, other_hosts_take_the_process_along) {
  EXPECT_DEATH(
      {
        world w;
        host& h = w.add_host("h");
        set_trap(h);
        w.spawn("h", "killer", [](app& p) -> co<> { co_await kill(p, "127.0.0.1:666"); });
        w.run_for(seconds(1));
      },
      "check failed: uh->dest.value");
}

}  // namespace
}  // namespace ph::sim
