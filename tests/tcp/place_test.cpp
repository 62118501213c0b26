// Where connections run: over loopback, over routers with narrow links, on machines with several
// cpus, and what ICMP does to them (RFC 1191, RFC 5927, RFC 1122 §4.2.3.9).
#include "net/tcp/tcp_sock.h"
#include "tests/sim/scenario.h"

namespace ph::sim {
namespace {

TEST(tcp_place, loopback) {
  world w;
  w.add_host("a");
  w.spawn("a", "server", stream_checker(80, 3'000'000));
  w.spawn("a", "client", stream_sender("127.0.0.1:80", 3'000'000));
  w.run_apps();
  EXPECT_LT(w.host_at("a").counter("TcpOutSegs"), 500u);  // 64 KiB at a time
  w.run_for(100_s);
  EXPECT_EQ(w.memory().live_packets(), 0u);
}

TEST(tcp_place, the_any_address_is_this_host) {
  world w;
  w.add_host("a");
  w.spawn("a", "server", stream_checker(80, 1000));
  w.spawn("a", "client", stream_sender("0.0.0.0:80", 1000));
  w.run_apps();
}

TEST(tcp_place, a_socket_can_connect_to_itself) {
  world w;
  w.add_host("a");
  w.spawn("a", "narcissus", [](app& a) -> co<> {
    const int fd = a.tcp();
    a.bind(fd, "127.0.0.1:5000");
    co_await a.connect(fd, "127.0.0.1:5000");  // RFC 9293 §3.5: a simultaneous open
    co_await a.send_all(fd, bytes_of(std::string_view("hello me")));
    const std::vector<u8> got = co_await a.recv_exactly(fd, 8);
    EXPECT_EQ(text_of(got), "hello me");
    a.close(fd);
  });
  w.run_apps();
}

TEST(tcp_place, several_cpus) {
  for (u32 cpus = 2; cpus <= 4; ++cpus) {
    world w({.seed = cpus});
    w.add_host("a", {.cpus = cpus, .sysctls = {}});
    w.add_host("b", {.cpus = cpus, .sysctls = {}});
    w.connect("a", "eth0", "10.0.0.1/24", "b", "eth0", "10.0.0.2/24",
              {.delay = 1_ms, .loss = 0.01});
    for (u16 port = 80; port < 90; ++port) {
      w.spawn("b", "server", stream_checker(port, 100'000));
      w.spawn("a", "client", stream_sender({*ipv4_addr::parse("10.0.0.2"), port}, 100'000));
    }
    w.run_apps();
    w.run_for(seconds(200));
    EXPECT_EQ(w.memory().live_packets(), 0u);
    expect_no_leaks(w);
  }
}

TEST(tcp_place, a_narrow_link_behind_a_router) {
  world w;
  w.add_host("a");
  w.add_host("r", {.sysctls = {{"net.ipv4.ip_forward", "1"}}});
  w.add_host("b");
  w.connect({.host = "a", .addresses = {"10.0.1.2/24"}},
            {.host = "r", .addresses = {"10.0.1.1/24"}}, {.delay = 1_ms});
  w.connect({.host = "r", .device = "eth1", .addresses = {"10.0.2.1/24"}, .mtu = 600},
            {.host = "b", .addresses = {"10.0.2.2/24"}, .mtu = 600}, {.delay = 1_ms});
  w.host_at("a").add_route("default via 10.0.1.1");
  w.host_at("b").add_route("default via 10.0.2.1");
  w.spawn("b", "server", stream_checker(80, 200'000));
  // b announces 560, so a narrow MTU is only met by lying about it.
  w.spawn("a", "client", stream_sender("10.0.2.2:80", 200'000));
  w.run_apps(seconds(60));
  EXPECT_LT(w.now().ms(), 20'000);
}

TEST(tcp_place, a_narrow_link_in_the_middle) {
  world w;
  for (const char* name : {"a", "b"}) w.add_host(name);
  for (const char* name : {"r", "s"}) w.add_host(name, {.sysctls = {{"net.ipv4.ip_forward", "1"}}});
  w.connect({.host = "a", .addresses = {"10.0.1.2/24"}},
            {.host = "r", .addresses = {"10.0.1.1/24"}}, {.delay = 1_ms});
  w.connect({.host = "r", .device = "eth1", .addresses = {"10.0.2.1/24"}, .mtu = 700},
            {.host = "s", .addresses = {"10.0.2.2/24"}, .mtu = 700}, {.delay = 1_ms});
  w.connect({.host = "s", .device = "eth1", .addresses = {"10.0.3.1/24"}},
            {.host = "b", .addresses = {"10.0.3.2/24"}}, {.delay = 1_ms});
  w.host_at("a").add_route("default via 10.0.1.1");
  w.host_at("b").add_route("default via 10.0.3.1");
  w.host_at("r").add_route("10.0.3.0/24 via 10.0.2.2");
  w.host_at("s").add_route("10.0.1.0/24 via 10.0.2.1");
  w.spawn("b", "server", stream_checker(80, 200'000));
  w.spawn("a", "client", stream_sender("10.0.3.2:80", 200'000));
  w.run_apps(seconds(60));
  // RFC 1191: told once, then every segment fits; nothing waits for a timeout.
  EXPECT_EQ(w.host_at("a").counter("TcpExtTCPTimeouts"), 0u);
  EXPECT_LT(w.now().ms(), 2'000);
}

TEST(tcp_place, nobody_there) {
  world w;
  w.add_host("a");
  w.add_host("b");
  w.connect("a", "eth0", "10.0.0.1/24", "b", "eth0", "10.0.0.2/24");
  w.spawn("a", "client", [](app& a) -> co<> {
    const int fd = a.tcp();
    EXPECT_EQ(co_await a.try_connect(fd, "10.0.0.77:80"), fail(errc::hostunreach));
    const int other = a.tcp();
    EXPECT_EQ(co_await a.try_connect(other, "10.0.0.2:80"), fail(errc::connrefused));
    const int far = a.tcp();
    EXPECT_EQ(co_await a.try_connect(far, "192.168.7.7:80"), fail(errc::netunreach));
  });
  w.run_apps(seconds(200));
  EXPECT_LT(w.now().ms(), 5'000);
}

TEST(tcp_place, many_connections_at_once) {
  world w;
  w.add_host("a");
  w.add_host("b");
  w.connect("a", "eth0", "10.0.0.1/24", "b", "eth0", "10.0.0.2/24",
            {.rate = 1_gbit, .delay = 1_ms});
  constexpr int count = 300;
  w.spawn("b", "server", [](app& a) -> co<> {
    const int listener = a.listener(80, 4096);
    for (int i = 0; i < count; ++i) {
      const int fd = co_await a.accept(listener);
      a.spawn("echo", [fd](app& each) -> co<> {
        std::vector<u8> buffer(4096);
        for (;;) {
          const std::size_t n = co_await each.recv(fd, buffer);
          if (n == 0) break;
          co_await each.send_all(fd, byte_view(buffer).first(n));
        }
        each.close(fd);
      });
    }
  });
  for (int i = 0; i < count; ++i) {
    w.spawn("a", "client", [i](app& a) -> co<> {
      const int fd = co_await a.connect("10.0.0.2:80");
      const auto seed = static_cast<u64>(i) * 1000;
      for (u64 round = 0; round < 5; ++round) {
        co_await a.send_all(fd, stream_bytes(seed + round * 100, 100));
        const std::vector<u8> got = co_await a.recv_exactly(fd, 100);
        EXPECT_EQ(first_difference(got, seed + round * 100), 100u);
      }
      a.close(fd);
    });
  }
  w.run_apps();
  w.run_for(seconds(100));
  EXPECT_EQ(w.memory().live_packets(), 0u);
  for (const char* name : {"a", "b"}) EXPECT_EQ(tcp_of(w.host_at(name).net()).ehash.size(), 0u);
}

}  // namespace
}  // namespace ph::sim
