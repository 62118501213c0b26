// Programs on datagram sockets across a world: echo, time-outs, routes over many hops and what
// comes back when a hop limit ends, poll, threads, errors.
#include <gmock/gmock.h>

#include "scenario.h"

namespace ph::sim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(udp_scenario, echo_takes_two_delays_once_the_address_is_known) {
  world w;
  make_pair_of_hosts(w, {.delay = 10_ms});
  w.run_for(1_s);  // the hosts announce their addresses
  w.spawn("b", "echo", udp_echo(7));
  std::vector<s64> round_trips;
  bool finished = false;
  w.spawn("a", "ping", [&](app& a) -> co<> {
    const int fd = a.udp();
    for (int i = 0; i < 3; ++i) {
      const instant sent = a.now();
      co_await a.sendto(fd, bytes_of(std::string_view("hello")), "10.0.0.2:7");
      std::vector<u8> buffer(100);
      const received_from got = co_await a.recvfrom(fd, buffer);
      EXPECT_EQ(text_of(byte_view(buffer).first(got.len)), "hello");
      EXPECT_EQ(got.from, endpoint("10.0.0.2:7"));
      round_trips.push_back((a.now() - sent).ms());
    }
    finished = true;
  });
  w.run_for(1_s);
  EXPECT_TRUE(finished);
  EXPECT_THAT(round_trips, ElementsAre(40, 20, 20));  // the first asks for the MAC address
  expect_no_leaks(w);
}

/// ifconfig DEVICE up, or down.
void set_up(host& h, bool up) {
  ASSERT_TRUE(h.call([&] {
    const rtnl_guard rtnl(h.machine().rtnl());
    net_device& dev = h.device("eth0");
    if (!up) return dev.close(rtnl.held(), h.machine().boot_cpu());
    ASSERT_TRUE(dev.open(rtnl.held(), h.machine().boot_cpu()));
  }));
}

TEST(udp_scenario, an_end_that_is_down_takes_the_carrier_from_the_other) {
  world w;
  const pair_shape pair = make_pair_of_hosts(w, {.delay = 10_ms});
  w.spawn("b", "echo", udp_echo(7));
  net_device& dev = pair.a.device("eth0");
  std::vector<std::string> got;
  w.spawn("a", "talker", [&](app& a) -> co<> {
    const int fd = a.udp();
    a.setsockopt(fd, sol_ip, ip_recverr, 1);
    a.set_timeout(fd, so_rcvtimeo, 10_s);
    for (int i = 0; i < 3; ++i) {
      co_await a.sendto(fd, bytes_of(std::string_view("hello")), "10.0.0.2:7");
      std::vector<u8> buffer(100);
      const instant sent = a.now();
      const auto answer = co_await a.try_recv(fd, buffer);
      got.push_back(answer ? "answer" : std::string(errc_name(answer.error())));
      EXPECT_EQ((a.now() - sent).ms() / 1000, answer ? 0 : 3) << "the neighbour is asked thrice";
      if (i < 2) set_up(pair.b, i == 1);
      co_await a.sleep(1_s);
      EXPECT_EQ(dev.carrier(), i != 0);
    }
  });
  w.run_for(20_s);
  EXPECT_THAT(got, ElementsAre("answer", "EHOSTUNREACH", "answer"));
  expect_no_leaks(w);
}

TEST(udp_scenario, a_receive_times_out_in_virtual_time) {
  world w;
  make_pair_of_hosts(w);
  w.spawn("a", "waiter", [](app& a) -> co<> {
    const int fd = a.udp();
    a.bind(fd, "10.0.0.1:5000");
    a.set_timeout(fd, so_rcvtimeo, 250_ms);
    const instant before = a.now();
    std::vector<u8> buffer(10);
    EXPECT_EQ(co_await a.try_recv(fd, buffer), fail(errc::again));
    EXPECT_EQ((a.now() - before).ms(), 250);
    EXPECT_EQ(co_await a.try_recv(fd, buffer, msg_dontwait), fail(errc::again));
    EXPECT_EQ((a.now() - before).ms(), 250);
    a.set_nonblock(fd, true);
    EXPECT_EQ(co_await a.try_recv(fd, buffer), fail(errc::again));
  });
  w.run_apps();
}

TEST(udp_scenario, a_closed_port_answers_connected_sockets_with_refused) {
  world w;
  make_pair_of_hosts(w, {.delay = 1_ms});
  w.spawn("a", "knock", [](app& a) -> co<> {
    const int fd = a.udp();
    co_await a.connect(fd, "10.0.0.2:9");
    co_await a.send(fd, bytes_of(std::string_view("x")));
    std::vector<u8> buffer(10);
    EXPECT_EQ(co_await a.try_recv(fd, buffer), fail(errc::connrefused));
  });
  w.run_apps();
  EXPECT_EQ(w.host_at("b").drops(drop_reason::udp_no_port), 1u);
  EXPECT_EQ(w.host_at("b").counter("UdpNoPorts"), 1u);
}

TEST(udp_scenario, a_chain_of_routers_is_walked_hop_by_hop) {
  world w;
  const line_shape line = make_line(w, 4, {.delay = 1_ms});
  std::vector<std::string> hops;
  w.spawn("client", "traceroute", [&](app& a) -> co<> {
    const int fd = a.udp();
    a.setsockopt(fd, sol_ip, ip_recverr, 1);
    co_await a.connect(fd, {line.server_addr(), 33434});
    for (int ttl = 1; ttl <= 10; ++ttl) {
      a.setsockopt(fd, sol_ip, ip_ttl, ttl);
      co_await a.send(fd, bytes_of(std::string_view("probe")));
      std::vector<poll_item> items{{fd, 0, 0}};
      EXPECT_EQ(co_await a.poll(items, a.now() + 5_s), 1u) << "ttl " << ttl;
      std::vector<u8> data(512), control(512);
      sockaddr_buf name;
      byte_span room(data);
      recv_msg msg;
      msg.name = &name;
      msg.iov = {&room, 1};
      msg.control = control;
      msg.flags = msg_errqueue;
      const auto got = a.call([&](task& t) { return sys_recvmsg(t, fd, msg); });
      if (!got) throw call_error("recvmsg", got.error());
      bool arrived = false;
      const auto read = for_each_cmsg(
          byte_view(control).first(msg.control_len), [&](int level, int type, byte_view value) {
            if (level != sol_ip || type != ip_recverr) return result<void>{};
            byte_reader r(value);
            const auto error = r.take<sock_extended_err>();
            const auto offender = r.take<sockaddr_in>();
            hops.push_back(ipv4_addr(offender.sin_addr.value()).to_string());
            arrived = error.ee_type == icmp_dest_unreach;
            return result<void>{};
          });
      EXPECT_TRUE(read);
      static_cast<void>(a.getsockopt(fd, sol_socket, so_error));
      if (arrived) break;
    }
  });
  w.run_apps();
  EXPECT_THAT(hops, ElementsAre("10.0.0.2", "10.0.1.2", "10.0.2.2", "10.0.3.2", "10.0.4.2"));
  for (const host* router : line.routers) {
    EXPECT_EQ(const_cast<host*>(router)->drops(drop_reason::ttl_expired), 1u) << router->name();
  }
}

TEST(udp_scenario, an_exception_of_a_program_reaches_the_test) {
  world w;
  make_pair_of_hosts(w);
  w.spawn("a", "thrower", [](app& a) -> co<> {
    co_await a.sleep(10_ms);
    static_cast<void>(co_await a.recv(77, {}));
  });
  try {
    w.run_apps();
    FAIL() << "nothing was thrown";
  } catch (const call_error& e) {
    EXPECT_EQ(e.code, errc::badf);
    EXPECT_THAT(e.what(), HasSubstr("recv"));
  }
  EXPECT_EQ(w.now(), instant{} + 10_ms);
}

TEST(udp_scenario, programs_that_wait_for_ever_are_named) {
  world w;
  make_pair_of_hosts(w);
  w.spawn("a", "patient", [](app& a) -> co<> {
    const int fd = a.udp();
    a.bind(fd, "0.0.0.0:1");
    std::vector<u8> buffer(10);
    co_await a.recv(fd, buffer);
  });
  try {
    w.run_apps();
    FAIL() << "nothing was thrown";
  } catch (const stuck_error& e) {
    EXPECT_THAT(e.what(), HasSubstr("patient on a waits in recv(0)"));
  }
}

TEST(udp_scenario, threads_share_descriptors_and_a_close_reaches_them) {
  world w;
  make_pair_of_hosts(w);
  std::string log;
  w.spawn("a", "main", [&](app& a) -> co<> {
    const int fd = a.udp();
    a.bind(fd, "10.0.0.1:5000");
    a.spawn("thread", [&log, fd](app& t) -> co<> {
      std::vector<u8> buffer(10);
      const std::size_t n = co_await t.recv(fd, buffer);
      log += "got " + std::string(text_of(byte_view(buffer).first(n)));
    });
    co_await a.sleep(1_ms);
    const int other = a.udp();
    co_await a.sendto(other, bytes_of(std::string_view("hi")), "10.0.0.1:5000");
  });
  w.run_apps();
  EXPECT_EQ(log, "got hi");
}

TEST(udp_scenario, poll_waits_for_the_first_of_several) {
  world w;
  make_pair_of_hosts(w, {.delay = 5_ms});
  w.spawn("a", "poller", [](app& a) -> co<> {
    const int one = a.udp();
    const int two = a.udp();
    a.bind(one, "0.0.0.0:1000");
    a.bind(two, "0.0.0.0:2000");
    std::vector<poll_item> items{{one, pollin, 0}, {two, pollin, 0}};
    EXPECT_EQ(co_await a.poll(items, a.now() + 1_ms), 0u);
    EXPECT_EQ(co_await a.poll(items), 1u);
    EXPECT_EQ(items[0].revents, 0u);
    EXPECT_EQ(items[1].revents, u32{pollin});
  });
  w.spawn("b", "sender", [](app& a) -> co<> {
    const int fd = a.udp();
    co_await a.sleep(50_ms);
    co_await a.sendto(fd, bytes_of(std::string_view("x")), "10.0.0.1:2000");
  });
  w.run_apps();
}

TEST(udp_scenario, unknown_names_are_refused_with_a_sentence) {
  world w;
  make_pair_of_hosts(w);
  EXPECT_THROW(static_cast<void>(w.host_at("nobody")), setup_error);
  EXPECT_THROW(w.add_host("a"), setup_error);
  EXPECT_THROW(w.host_at("a").add_route("10.9.0.0/16 via 192.168.7.7"), setup_error);
  EXPECT_THROW(w.host_at("a").add_address("eth0", "10.0.0.300/24"), setup_error);
  EXPECT_THROW(w.host_at("a").set_sysctl("net.ipv4.no_such_thing", "1"), setup_error);
  EXPECT_THROW(static_cast<void>(w.host_at("a").counter("NoSuchCounter")), setup_error);
}

}  // namespace
}  // namespace ph::sim
