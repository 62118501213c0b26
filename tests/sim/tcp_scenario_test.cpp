// Whole TCP conversations between programs: transfers, windows, closes, resets, limits, and what
// happens when the path breaks.
#include <gmock/gmock.h>

#include "scenario.h"

namespace ph::sim {
namespace {

using testing::Each;
using testing::SizeIs;

/// After every program has ended and TIME-WAIT is over, nothing is left.
void expect_all_gone(world& w) {
  w.run_for(200_s);
  for (const auto& h : w.hosts()) EXPECT_EQ(h->net().sockets, 0u) << h->name();
  expect_no_leaks(w);
}

u64 counter_sum(world& w, std::string_view name) {
  u64 out = 0;
  for (const auto& h : w.hosts()) out += h->counter(name);
  return out;
}

TEST(tcp_scenario, a_transfer_arrives_whole_and_leaves_nothing_behind) {
  world w;
  make_pair_of_hosts(w, {.delay = 1_ms});
  w.spawn("b", "checker", stream_checker(80, 5'000'000));
  w.spawn("a", "sender", stream_sender("10.0.0.2:80", 5'000'000));
  w.run_apps();
  EXPECT_EQ(counter_sum(w, "TcpRetransSegs"), 0u) << "nothing was lost";
  expect_all_gone(w);
}

TEST(tcp_scenario, a_rate_is_used_fully_and_not_exceeded) {
  world w;
  make_pair_of_hosts(w, {.rate = 10_mbit, .delay = 5_ms, .queue_packets = 100});
  instant done;
  w.spawn("b", "checker", stream_checker(80, 5'000'000, &done));
  w.spawn("a", "sender", stream_sender("10.0.0.2:80", 5'000'000));
  w.run_apps();
  EXPECT_GE(done.ms(), 4'000) << "40 Mbit at 10 Mbit/s";
  EXPECT_LE(done.ms(), 5'200);
}

TEST(tcp_scenario, both_directions_at_once) {
  world w;
  make_pair_of_hosts(w, {.rate = 50_mbit, .delay = 2_ms});
  constexpr std::size_t n = 2'000'000;
  const auto talker = [&](app& a, int fd) -> co<> {
    a.spawn("writer", [fd](app& t) -> co<> {
      const std::vector<u8> bytes = stream_bytes(0, n);
      co_await t.send_all(fd, bytes);
      t.shutdown(fd, shut_wr);
    });
    const std::vector<u8> got = co_await a.recv_to_end(fd);
    EXPECT_EQ(got.size(), n);
    EXPECT_EQ(first_difference(got), n);
  };
  w.spawn("b", "server", [&](app& a) -> co<> {
    const int listener = a.listener(80);
    const int fd = co_await a.accept(listener);
    co_await talker(a, fd);
  });
  w.spawn("a", "client", [&](app& a) -> co<> {
    const int fd = co_await a.connect("10.0.0.2:80");
    co_await talker(a, fd);
  });
  w.run_apps();
  expect_all_gone(w);
}

TEST(tcp_scenario, a_reader_who_stops_stops_the_writer_and_probes_keep_asking) {
  world w;
  make_pair_of_hosts(w, {.delay = 1_ms});
  std::size_t sent_while_asleep = 0;
  w.spawn("b", "sleeper", [](app& a) -> co<> {
    const int listener = a.listener(80);
    const int fd = co_await a.accept(listener);
    co_await a.sleep(60_s);
    const std::vector<u8> got = co_await a.recv_to_end(fd);
    EXPECT_EQ(got.size(), 20'000'000u);
    EXPECT_EQ(first_difference(got), got.size());
  });
  w.spawn("a", "writer", [&](app& a) -> co<> {
    const int fd = co_await a.connect("10.0.0.2:80");
    for (std::size_t at = 0; at < 20'000'000;) {
      const std::vector<u8> piece = stream_bytes(at, 100'000);
      co_await a.send_all(fd, piece);
      at += piece.size();
      if (a.now() < instant{} + 59_s) sent_while_asleep = at;
    }
    a.close(fd);
  });
  w.run_apps();
  EXPECT_LT(sent_while_asleep, 12'000'000u) << "buffers are limited";
  EXPECT_GT(w.host_at("a").counter("TcpExtTCPWinProbe"), 3u);
  expect_all_gone(w);
}

TEST(tcp_scenario, half_a_connection_closes_and_the_other_goes_on) {
  world w;
  make_pair_of_hosts(w, {.delay = 5_ms});
  w.spawn("b", "server", [](app& a) -> co<> {
    const int listener = a.listener(80);
    const int fd = co_await a.accept(listener);
    const std::vector<u8> request = co_await a.recv_to_end(fd);
    EXPECT_EQ(text_of(request), "all of it");
    EXPECT_NE(a.poll_now(fd) & pollrdhup, 0u);
    EXPECT_EQ(a.poll_now(fd) & pollhup, 0u);
    const std::vector<u8> page = stream_bytes(0, 1'000'000);
    co_await a.send_all(fd, page);
    a.close(fd);
  });
  w.spawn("a", "client", [](app& a) -> co<> {
    const int fd = co_await a.connect("10.0.0.2:80");
    co_await a.send_all(fd, bytes_of(std::string_view("all of it")));
    a.shutdown(fd, shut_wr);
    EXPECT_EQ(co_await a.try_send(fd, bytes_of(std::string_view("x")), msg_nosignal),
              fail(errc::pipe));
    const std::vector<u8> page = co_await a.recv_to_end(fd);
    EXPECT_EQ(first_difference(page), 1'000'000u);
  });
  w.run_apps();
  expect_all_gone(w);
}

TEST(tcp_scenario, closing_with_unread_data_resets) {
  world w;
  make_pair_of_hosts(w, {.delay = 5_ms});
  w.spawn("b", "rude", [](app& a) -> co<> {
    const int listener = a.listener(80);
    const int fd = co_await a.accept(listener);
    co_await a.sleep(100_ms);
    a.close(fd);
  });
  w.spawn("a", "client", [](app& a) -> co<> {
    const int fd = co_await a.connect("10.0.0.2:80");
    co_await a.send_all(fd, bytes_of(std::string_view("never read")));
    std::vector<u8> buffer(10);
    EXPECT_EQ(co_await a.try_recv(fd, buffer), fail(errc::connreset));
    EXPECT_EQ(co_await a.try_recv(fd, buffer), result<std::size_t>(0));
  });
  w.run_apps();
  EXPECT_GE(w.host_at("b").counter("TcpOutRsts"), 1u);
  expect_all_gone(w);
}

TEST(tcp_scenario, linger_of_zero_resets) {
  world w;
  make_pair_of_hosts(w, {.delay = 5_ms});
  w.spawn("b", "server", [](app& a) -> co<> {
    const int listener = a.listener(80);
    const int fd = co_await a.accept(listener);
    std::vector<u8> buffer(10);
    EXPECT_EQ(co_await a.try_recv(fd, buffer), fail(errc::connreset));
  });
  w.spawn("a", "client", [](app& a) -> co<> {
    const int fd = co_await a.connect("10.0.0.2:80");
    a.set_linger(fd, true, 0);
    a.close(fd);
  });
  w.run_apps();
  w.run_for(1_s);
  for (const auto& h : w.hosts()) EXPECT_EQ(h->net().sockets, 0u) << "no TIME-WAIT after a reset";
}

TEST(tcp_scenario, a_port_where_nobody_listens_refuses) {
  world w;
  make_pair_of_hosts(w, {.delay = 5_ms});
  w.spawn("a", "client", [](app& a) -> co<> {
    const int fd = a.tcp();
    const instant before = a.now();
    EXPECT_EQ(co_await a.try_connect(fd, "10.0.0.2:81"), fail(errc::connrefused));
    EXPECT_LE((a.now() - before).ms(), 25);
  });
  w.run_apps();
  expect_all_gone(w);
}

TEST(tcp_scenario, nobody_at_the_address_is_no_route_to_host) {
  world w;
  make_pair_of_hosts(w);
  w.spawn("a", "client", [](app& a) -> co<> {
    const int fd = a.tcp();
    EXPECT_EQ(co_await a.try_connect(fd, "10.0.0.77:80"), fail(errc::hostunreach));
    EXPECT_NEAR(static_cast<double>(a.now().ms()), 3'000, 200) << "three questions, 1 s each";
    const int other = a.tcp();
    EXPECT_EQ(co_await a.try_connect(other, "192.168.9.9:80"), fail(errc::netunreach));
  });
  w.run_apps();
}

TEST(tcp_scenario, a_lost_syn_is_sent_again) {
  world w;
  const pair_shape net = make_pair_of_hosts(w, {.delay = 5_ms});
  w.spawn("b", "server", [](app& a) -> co<> {
    const int listener = a.listener(80);
    static_cast<void>(co_await a.accept(listener));
  });
  w.run_for(1_s);
  net.wire.set_config({.delay = 5_ms, .loss = 1});
  const instant begin = w.now();
  w.spawn("a", "client", [&](app& a) -> co<> {
    // The address is not known yet either: ask for it while the wire still works.
    net.wire.set_config({.delay = 5_ms});
    const int warm = a.udp();
    co_await a.sendto(warm, bytes_of(std::string_view("x")), "10.0.0.2:9");
    co_await a.sleep(100_ms);
    net.wire.set_config({.delay = 5_ms, .loss = 1});
    static_cast<void>(co_await a.connect("10.0.0.2:80"));
    EXPECT_NEAR(static_cast<double>((a.now() - begin).ms()), 3'110, 60) << "after a second each";
  });
  w.run_for(2'500_ms);
  net.wire.set_config({.delay = 5_ms});
  w.run_apps();
  EXPECT_EQ(w.host_at("a").counter("TcpRetransSegs"), 3u);
}

TEST(tcp_scenario, a_full_accept_queue_makes_clients_wait_and_loses_none) {
  world w;
  make_pair_of_hosts(w, {.delay = 1_ms});
  constexpr int clients = 12;
  int served = 0;
  w.spawn("b", "slow", [&](app& a) -> co<> {
    const int listener = a.listener(80, 2);
    co_await a.sleep(2_s);
    for (int i = 0; i < clients; ++i) {
      const int fd = co_await a.accept(listener);
      const std::vector<u8> word = co_await a.recv_exactly(fd, 5);
      EXPECT_EQ(text_of(word), "hello");
      ++served;
      a.close(fd);
    }
  });
  for (int i = 0; i < clients; ++i) {
    w.spawn("a", "client", [](app& a) -> co<> {
      const int fd = co_await a.connect("10.0.0.2:80");
      co_await a.send_all(fd, bytes_of(std::string_view("hello")));
      std::vector<u8> buffer(1);
      EXPECT_EQ(co_await a.recv(fd, buffer), 0u);
    });
  }
  w.run_apps();
  EXPECT_EQ(served, clients);
  EXPECT_GT(w.host_at("b").counter("TcpExtListenOverflows"), 0u);
  expect_all_gone(w);
}

TEST(tcp_scenario, a_client_runs_out_of_ports_and_gets_them_back) {
  world w;
  make_pair_of_hosts(w, {.delay = 1_ms});
  w.host_at("a").set_sysctl("net.ipv4.ip_local_port_range", "40000 40009");
  w.spawn("b", "server", [](app& a) -> co<> {
    const int listener = a.listener(80);
    for (int i = 0; i < 11; ++i) static_cast<void>(co_await a.accept(listener));
    co_await a.sleep(100_s);
  });
  w.spawn("a", "client", [](app& a) -> co<> {
    std::vector<int> open;
    std::set<u16> ports;
    for (int i = 0; i < 10; ++i) {
      open.push_back(co_await a.connect("10.0.0.2:80"));
      ports.insert(a.getsockname(open.back()).port);
    }
    EXPECT_THAT(ports, SizeIs(10));
    EXPECT_GE(*ports.begin(), 40000);
    EXPECT_LE(*ports.rbegin(), 40009);
    const int extra = a.tcp();
    EXPECT_EQ(co_await a.try_connect(extra, "10.0.0.2:80"), fail(errc::addrnotavail));
    a.set_linger(open[3], true, 0);
    const u16 freed = a.getsockname(open[3]).port;
    a.close(open[3]);
    co_await a.sleep(1_s);
    co_await a.connect(extra, "10.0.0.2:80");
    EXPECT_EQ(a.getsockname(extra).port, freed);
  });
  w.run_apps();
}

TEST(tcp_scenario, many_short_connections_leave_nothing) {
  world w;
  make_pair_of_hosts(w, {.delay = 100_us});
  constexpr int rounds = 300;
  w.spawn("b", "server", [](app& a) -> co<> {
    const int listener = a.listener(80);
    for (int i = 0; i < rounds; ++i) {
      const int fd = co_await a.accept(listener);
      const std::vector<u8> got = co_await a.recv_to_end(fd);
      co_await a.send_all(fd, got);
      a.close(fd);
    }
  });
  w.spawn("a", "client", [](app& a) -> co<> {
    for (int i = 0; i < rounds; ++i) {
      const int fd = co_await a.connect("10.0.0.2:80");
      const std::vector<u8> bytes = stream_bytes(static_cast<u64>(i), 2'000);
      co_await a.send_all(fd, bytes);
      a.shutdown(fd, shut_wr);
      const std::vector<u8> back = co_await a.recv_to_end(fd);
      EXPECT_EQ(back, bytes);
      a.close(fd);
    }
  });
  w.run_apps();
  expect_all_gone(w);
}

TEST(tcp_scenario, a_cut_wire_is_survived) {
  world w;
  const pair_shape net = make_pair_of_hosts(w, {.rate = 10_mbit, .delay = 5_ms});
  w.spawn("b", "checker", stream_checker(80, 3'000'000));
  w.spawn("a", "sender", stream_sender("10.0.0.2:80", 3'000'000));
  w.run_for(1_s);
  net.wire.set_config({.rate = 10_mbit, .delay = 5_ms, .loss = 1});
  w.run_for(20_s);
  net.wire.set_config({.rate = 10_mbit, .delay = 5_ms});
  w.run_apps();
  EXPECT_GT(w.host_at("a").counter("TcpExtTCPTimeouts"), 2u);
  expect_all_gone(w);
}

TEST(tcp_scenario, a_wire_cut_for_ever_ends_in_a_time_out) {
  world w;
  const pair_shape net = make_pair_of_hosts(w, {.delay = 5_ms});
  w.spawn("b", "server", [](app& a) -> co<> {
    const int listener = a.listener(80);
    static_cast<void>(co_await a.accept(listener));
    co_await a.sleep(3600_s);
  });
  w.spawn("a", "client", [&](app& a) -> co<> {
    const int fd = co_await a.connect("10.0.0.2:80");
    net.wire.set_config({.loss = 1});
    const instant cut = a.now();
    co_await a.send_all(fd, bytes_of(std::string_view("lost")));
    std::vector<u8> buffer(10);
    const auto end = co_await a.try_recv(fd, buffer);
    // The neighbour is unreachable too; which of the two is told depends on who gives up first.
    EXPECT_TRUE(end == fail(errc::timedout) || end == fail(errc::hostunreach));
    // tcp_retries2 = 15 is 924.6 s with the smallest time-out of 200 ms (ip-sysctl).
    EXPECT_GT((a.now() - cut).ms(), 900'000);
    EXPECT_LT((a.now() - cut).ms(), 1'100'000);
  });
  w.run_apps(seconds(7200));
}

/// How long a transfer takes over faulty wires does not matter here; that all arrives does.
struct fault_case {
  const char* name;
  link_config wire;
};

class faulty_wire : public testing::TestWithParam<fault_case> {};

TEST_P(faulty_wire, everything_arrives_whole_in_both_directions) {
  for (const u64 seed : {1, 2, 3}) {
    world w({.seed = seed});
    make_pair_of_hosts(w, GetParam().wire);
    w.spawn("b", "checker", stream_checker(80, 400'000));
    w.spawn("a", "sender", stream_sender("10.0.0.2:80", 400'000));
    w.spawn("a", "checker", stream_checker(81, 200'000));
    w.spawn("b", "sender", stream_sender("10.0.0.1:81", 200'000));
    w.run_apps();
    expect_all_gone(w);
  }
}

INSTANTIATE_TEST_SUITE_P(
    tcp_scenario, faulty_wire,
    testing::Values(fault_case{"loss_1", {.rate = 50_mbit, .delay = 5_ms, .loss = 0.01}},
                    fault_case{"loss_10", {.rate = 50_mbit, .delay = 5_ms, .loss = 0.1}},
                    fault_case{"loss_20", {.rate = 50_mbit, .delay = 1_ms, .loss = 0.2}},
                    fault_case{"reorder", {.rate = 50_mbit, .delay = 5_ms, .reorder = 0.1}},
                    fault_case{"duplicate", {.rate = 50_mbit, .delay = 5_ms, .duplicate = 0.2}},
                    fault_case{"corrupt", {.rate = 50_mbit, .delay = 5_ms, .corrupt = 0.05}},
                    fault_case{"tiny_queue", {.rate = 20_mbit, .delay = 5_ms, .queue_packets = 4}},
                    fault_case{"all", {.rate = 20_mbit, .delay = 8_ms, .jitter = 6_ms,
                                       .loss = 0.03, .reorder = 0.03, .duplicate = 0.03,
                                       .corrupt = 0.03, .queue_packets = 30}}),
    [](const auto& tested) { return tested.param.name; });

TEST(tcp_scenario, flows_share_a_bottleneck_fairly) {
  world w;
  constexpr std::size_t flows = 4;
  const dumbbell_shape net =
      make_dumbbell(w, flows, {.rate = 10_mbit, .delay = 10_ms, .queue_packets = 50});
  std::vector<u64> received(flows, 0);
  for (std::size_t i = 0; i < flows; ++i) {
    w.spawn(*net.right[i], "sink", [&received, i](app& a) -> co<> {
      const int listener = a.listener(80);
      const int fd = co_await a.accept(listener);
      std::vector<u8> buffer(64 * 1024);
      for (;;) received[i] += co_await a.recv(fd, buffer);
    });
    w.spawn(*net.left[i], "source", [i](app& a) -> co<> {
      const int fd = co_await a.connect(endpoint(dumbbell_shape::right_addr(i), 80));
      const std::vector<u8> bytes = stream_bytes(0, 64 * 1024);
      for (;;) co_await a.send_all(fd, bytes);
    });
  }
  w.run_for(5_s);  // slow start is over
  std::fill(received.begin(), received.end(), 0);
  w.run_for(20_s);
  double sum = 0, squares = 0;
  for (const u64 n : received) {
    sum += static_cast<double>(n);
    squares += static_cast<double>(n) * static_cast<double>(n);
  }
  const double fairness = sum * sum / (squares * flows);  // Jain: 1 is equal, 1/4 is one for all
  EXPECT_GT(fairness, 0.8);
  EXPECT_GT(sum * 8 / 20, 10e6 * 0.85) << "the wire is not left idle";
  EXPECT_GT(net.bottleneck.stats(link_end::a).queue_full, 0u);
}

TEST(tcp_scenario, a_narrow_wire_in_the_middle_is_discovered) {
  world w;
  w.add_host("a");
  w.add_host("b");
  w.add_host("r1", {.sysctls = {{"net.ipv4.ip_forward", "1"}}});
  w.add_host("r2", {.sysctls = {{"net.ipv4.ip_forward", "1"}}});
  w.connect("a", "eth0", "10.0.0.1/24", "r1", "eth0", "10.0.0.2/24", {.delay = 1_ms});
  w.connect({.host = "r1", .device = "eth1", .addresses = {"10.0.1.1/24"}, .mtu = 1000},
            {.host = "r2", .device = "eth0", .addresses = {"10.0.1.2/24"}, .mtu = 1000});
  w.connect("r2", "eth1", "10.0.2.1/24", "b", "eth0", "10.0.2.2/24", {.delay = 1_ms});
  w.host_at("a").add_route("default via 10.0.0.2");
  w.host_at("b").add_route("default via 10.0.2.1");
  w.host_at("r1").add_route("10.0.2.0/24 via 10.0.1.2");
  w.host_at("r2").add_route("10.0.0.0/24 via 10.0.1.1");
  w.spawn("b", "checker", stream_checker(80, 1'000'000));
  w.spawn("a", "sender", stream_sender("10.0.2.2:80", 1'000'000));
  w.run_apps();
  EXPECT_GE(w.host_at("r1").drops(drop_reason::pkt_too_big), 1u);
  EXPECT_LT(w.host_at("r1").drops(drop_reason::pkt_too_big), 50u);
  expect_all_gone(w);
}

}  // namespace
}  // namespace ph::sim
