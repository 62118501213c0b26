// Which of several sockets on a port a datagram is for: Linux's order, as seen in two namespaces of
// Linux 6.18 with the same steps.
#include "net/core/cbpf.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using namespace std::literals;

struct demux : ::testing::Test {
  test_lab lab;
  test_host& host = lab.add_host("a");
  task& app = host.app();
  static constexpr int sends = 48;

  demux() { lab.settle(); }
  int socket(std::initializer_list<int> options = {}) {
    const int fd = *sys_socket(app, af_inet, sock_dgram, 0);
    for (const int option : options) {
      EXPECT_TRUE(sys_setsockopt_int(app, fd, sol_socket, option, 1));
    }
    return fd;
  }
  void bind_to_device(int fd, std::string_view name) {
    EXPECT_TRUE(sys_setsockopt(app, fd, sol_socket, so_bindtodevice, bytes_of(name)));
  }
  result<void> bind(int fd, const char* addr = "0.0.0.0") {
    return sys_bind(app, fd, addr4(addr, 7));
  }
  int server(std::initializer_list<int> options, const char* addr = "0.0.0.0") {
    const int fd = socket(options);
    EXPECT_TRUE(bind(fd, addr));
    return fd;
  }
  /// How many of datagrams from many ports each socket got; empty: the others got none of them.
  std::vector<int> heard(const std::vector<int>& fds) {
    for (int i = 0; i < sends; ++i) {
      const int c = socket();
      EXPECT_TRUE(sys_sendto(app, c, bytes_of("x"sv), 0, addr4("127.0.0.1", 7)));
      EXPECT_TRUE(sys_close(app, c));
    }
    lab.settle();
    std::vector<int> out;
    u8 room[4];
    for (const int fd : fds) {
      out.push_back(0);
      while (sys_recv(app, fd, room, msg_dontwait)) ++out.back();
    }
    return out;
  }
  /// Which sockets got something.
  std::vector<bool> hear(const std::vector<int>& fds) {
    const std::vector<int> counts = heard(fds);
    return {counts.begin(), counts.end()};
  }
  result<void> choose(int fd, u32 number) {
    constexpr u16 give = 0x06;
    return sys_setsockopt(app, fd, sol_socket, so_attach_reuseport_cbpf,
                          bytes_of(cbpf_insn{give, 0, 0, number}));
  }
  errc detach(int fd) {
    const auto done = sys_setsockopt_int(app, fd, sol_socket, so_detach_reuseport_bpf, 0);
    return done ? errc::ok : done.error();
  }
  using yes = std::vector<bool>;
};

TEST_F(demux, a_device_is_worth_more_than_youth_and_costs_none) {
  const std::vector all{server({so_reuseaddr}), server({so_reuseaddr}), server({so_reuseaddr})};
  EXPECT_EQ(hear(all), (yes{0, 0, 1}));
  bind_to_device(all[0], "lo");
  EXPECT_EQ(hear(all), (yes{1, 0, 0}));
  bind_to_device(all[0], "");
  EXPECT_EQ(hear(all), (yes{0, 0, 1})) << "it is no younger than it was";
  bind_to_device(all[1], "");
  EXPECT_EQ(hear(all), (yes{0, 0, 1}));
}

TEST_F(demux, an_address_is_worth_more_than_a_device) {
  const int everywhere = socket({so_reuseaddr});
  bind_to_device(everywhere, "lo");
  ASSERT_TRUE(bind(everywhere));
  const int here = server({so_reuseaddr}, "127.0.0.1");
  EXPECT_EQ(hear({everywhere, here}), (yes{0, 1}));
}

TEST_F(demux, each_device_has_groups_of_its_own) {
  std::vector<int> all{server({so_reuseport}), server({so_reuseport})};
  for (int i = 0; i < 2; ++i) {
    all.push_back(socket({so_reuseport}));
    bind_to_device(all.back(), "lo");
    ASSERT_TRUE(bind(all.back()));
  }
  EXPECT_EQ(hear(all), (yes{0, 0, 1, 1}));
  ASSERT_TRUE(sys_close(app, all[2]));
  ASSERT_TRUE(sys_close(app, all[3]));
  all.resize(2);
  EXPECT_EQ(hear(all), (yes{1, 1}));
}

TEST_F(demux, a_member_that_takes_a_device_leaves_its_group_for_good) {
  const std::vector all{server({so_reuseport}), server({so_reuseport}), server({so_reuseport})};
  EXPECT_EQ(hear(all), (yes{1, 1, 1}));
  bind_to_device(all[0], "lo");
  EXPECT_EQ(hear(all), (yes{0, 1, 1})) << "what the younger ones share is not its own";
  bind_to_device(all[0], "");
  EXPECT_EQ(hear(all), (yes{0, 1, 1}));
  bind_to_device(all[2], "lo");
  EXPECT_EQ(hear(all), (yes{0, 0, 1})) << "the youngest";
}

TEST_F(demux, a_group_keeps_from_older_sockets_what_it_is_given) {
  for (const char* const addr : {"127.0.0.1", "0.0.0.0"}) {
    std::vector<int> all{socket({so_reuseport})};
    bind_to_device(all[0], "lo");
    ASSERT_TRUE(bind(all[0], addr));
    for (int i = 0; i < 2; ++i) all.push_back(server({so_reuseport}, addr));
    EXPECT_EQ(hear(all), (yes{0, 1, 1}));
    // A connection takes its member out. Where one was, Linux looks at the older ones as well; a
    // member that connect() moved to another address was none.
    const bool stays = addr == "127.0.0.1"sv;
    ASSERT_TRUE(sys_connect(app, all[1], addr4("127.0.0.1", 9)));
    EXPECT_EQ(hear(all), stays ? (yes{1, 0, 0}) : (yes{0, 0, 1}));
    ASSERT_TRUE(sys_connect(app, all[1], bytes_of(sockaddr_in{})));
    EXPECT_EQ(hear(all), (yes{1, 0, 0}));
    for (const int fd : all) ASSERT_TRUE(sys_close(app, fd));
  }
}

TEST_F(demux, who_comes_shares_with_the_last_that_came) {
  std::vector<int> all;
  const auto come = [&] { all.push_back(server({so_reuseport}, "127.0.0.1")); };
  for (int i = 0; i < 2; ++i) come();
  ASSERT_TRUE(sys_connect(app, all[1], addr4("127.0.0.1", 9)));
  come();
  EXPECT_EQ(hear(all), (yes{0, 0, 1})) << "with the connected one, which has no part yet";
  ASSERT_TRUE(sys_connect(app, all[1], bytes_of(sockaddr_in{})));
  EXPECT_EQ(hear(all), (yes{0, 1, 1}));
  ASSERT_TRUE(sys_close(app, all[2]));
  ASSERT_TRUE(sys_close(app, all[1]));
  all.resize(1);
  EXPECT_EQ(hear(all), (yes{1}));
}

TEST_F(demux, a_member_that_connect_moved_comes_back_as_the_youngest) {
  std::vector<int> all;
  for (int i = 0; i < 3; ++i) all.push_back(server({so_reuseport}));
  ASSERT_TRUE(sys_connect(app, all[1], addr4("127.0.0.1", 9)));
  EXPECT_EQ(hear(all), (yes{1, 0, 1}));
  ASSERT_TRUE(sys_connect(app, all[1], bytes_of(sockaddr_in{})));
  EXPECT_EQ(hear(all), (yes{0, 1, 0}));
  ASSERT_TRUE(sys_close(app, all[2]));
  all[2] = server({so_reuseport});
  EXPECT_EQ(hear(all), (yes{0, 1, 1})) << "the newcomer found it first";
}

TEST_F(demux, users_do_not_share) {
  std::vector<int> all;
  for (const u32 uid : {0u, 0u, 1000u, 1000u}) {
    app.cred.uid = uid;
    all.push_back(server({so_reuseaddr, so_reuseport}));
  }
  EXPECT_EQ(hear(all), (yes{0, 0, 1, 1}));
}

TEST_F(demux, a_connected_member_gets_its_peers_and_no_share) {
  const std::vector all{server({so_reuseport}, "127.0.0.1"), server({so_reuseport}, "127.0.0.1"),
                        server({so_reuseport}, "127.0.0.1")};
  ASSERT_TRUE(sys_connect(app, all[1], addr4("127.0.0.1", 9)));
  EXPECT_EQ(hear(all), (yes{1, 0, 1}));
  const int peer = socket();
  ASSERT_TRUE(sys_bind(app, peer, addr4("127.0.0.1", 9)));
  ASSERT_TRUE(sys_sendto(app, peer, bytes_of("x"sv), 0, addr4("127.0.0.1", 7)));
  lab.settle();
  u8 room[4];
  EXPECT_TRUE(sys_recv(app, all[1], room));
  sockaddr_in none{};
  ASSERT_TRUE(sys_connect(app, all[1], bytes_of(none)));
  EXPECT_EQ(hear(all), (yes{1, 0, 1})) << "it is out of the group for good";
}

TEST_F(demux, a_peer_without_a_port_is_every_port_of_that_host) {
  const std::vector all{server({so_reuseaddr}), server({so_reuseaddr})};
  ASSERT_TRUE(sys_connect(app, all[0], addr4("127.0.0.1", 0)));
  EXPECT_EQ(hear(all), (yes{1, 0}));
  EXPECT_EQ(sys_getpeername(app, all[0]).error(), errc::notconn);
}

TEST_F(demux, the_cpu_decides_between_equals_and_within_a_group) {
  const auto set_cpu = [&](int fd, int cpu) {
    ASSERT_TRUE(sys_setsockopt_int(app, fd, sol_socket, so_incoming_cpu, cpu));
  };
  std::vector all{server({so_reuseaddr}), server({so_reuseaddr})};
  set_cpu(all[0], 0);
  EXPECT_EQ(hear(all), (yes{1, 0}));
  for (const int fd : all) ASSERT_TRUE(sys_close(app, fd));
  all = {server({so_reuseport}), server({so_reuseport}), server({so_reuseport})};
  set_cpu(all[1], 0);
  EXPECT_EQ(hear(all), (yes{0, 1, 0}));
  set_cpu(all[1], -1);
  EXPECT_EQ(hear(all), (yes{1, 1, 1}));
  set_cpu(all[1], 1000);
  EXPECT_EQ(hear(all), (yes{1, 1, 1}));
  for (const int fd : {all[0], all[2]}) ASSERT_TRUE(sys_close(app, fd));
  EXPECT_EQ(hear({all[1]}), (yes{1})) << "it asks for a cpu, and takes what others bring as well";
}

TEST(demux_cpus, a_socket_of_another_cpu_is_worth_as_much_as_one_of_none) {
  test_lab lab;
  test_host& host = lab.add_host("a", 4);
  lab.settle();
  task& app = host.app();
  const auto server = [&](int cpu) {
    const int fd = *sys_socket(app, af_inet, sock_dgram, 0);
    EXPECT_TRUE(sys_setsockopt_int(app, fd, sol_socket, so_reuseaddr, 1));
    EXPECT_TRUE(sys_setsockopt_int(app, fd, sol_socket, so_incoming_cpu, cpu));
    EXPECT_TRUE(sys_bind(app, fd, addr4("127.0.0.1", 7)));
    return fd;
  };
  const auto hears = [&](int fd) {
    const int c = *sys_socket(app, af_inet, sock_dgram, 0);
    EXPECT_TRUE(sys_sendto(app, c, bytes_of("x"sv), 0, addr4("127.0.0.1", 7)));
    EXPECT_TRUE(sys_close(app, c));
    lab.settle();
    u8 room[4];
    return sys_recv(app, fd, room, msg_dontwait).has_value();
  };
  EXPECT_TRUE(hears(server(3)));
  EXPECT_TRUE(hears(server(-1))) << "the younger";
  EXPECT_TRUE(hears(server(2)));
}

TEST_F(demux, who_brings_a_chooser_begins_a_group_and_joins_none) {
  const int first = socket();
  EXPECT_EQ(choose(first, 1).error(), errc::inval);
  EXPECT_EQ(detach(first), errc::inval);
  ASSERT_TRUE(sys_setsockopt_int(app, first, sol_socket, so_reuseport, 1));
  EXPECT_EQ(detach(first), errc::noent);
  ASSERT_TRUE(choose(first, 1));
  ASSERT_TRUE(bind(first));
  const std::vector all{first, server({so_reuseport}), server({so_reuseport})};
  EXPECT_EQ(heard(all), (std::vector{0, sends, 0}));
  EXPECT_EQ(detach(all[2]), errc::ok) << "any member may";
  EXPECT_EQ(detach(first), errc::noent);
  const int late = socket({so_reuseport});
  ASSERT_TRUE(choose(late, 0));
  EXPECT_EQ(bind(late).error(), errc::addrinuse);
  for (const int fd : all) ASSERT_TRUE(sys_close(app, fd));
  const int bound = server({});
  ASSERT_TRUE(sys_setsockopt_int(app, bound, sol_socket, so_reuseport, 1));
  EXPECT_EQ(choose(bound, 0).error(), errc::inval) << "groups form when ports are bound";
}

TEST_F(demux, who_shares_late_shares_with_the_next_one) {
  const auto willing = [&](int fd) {
    ASSERT_TRUE(sys_setsockopt_int(app, fd, sol_socket, so_reuseport, 1));
  };
  std::vector all{server({})};
  willing(all[0]);
  all.push_back(server({so_reuseport}));
  EXPECT_EQ(hear(all), (yes{1, 1}));
  EXPECT_TRUE(choose(all[0], 0));
  EXPECT_EQ(heard(all), (std::vector{sends, 0})) << "the older one has the first number";
  all.push_back(server({so_reuseport}));
  EXPECT_EQ(detach(all[1]), errc::ok);
  EXPECT_EQ(hear(all), (yes{1, 1, 1}));
  for (const int fd : all) ASSERT_TRUE(sys_close(app, fd));
  all = {server({so_reuseaddr}), server({so_reuseaddr})};
  for (const int fd : all) willing(fd);
  EXPECT_EQ(hear(all), (yes{0, 1}));
  for (int i = 0; i < 2; ++i) all.push_back(server({so_reuseaddr, so_reuseport}));
  EXPECT_EQ(hear(all), (yes{0, 1, 1, 1})) << "the youngest of the older ones, and no other";
  for (const int fd : all) ASSERT_TRUE(sys_close(app, fd));
  all = {server({})};
  willing(all[0]);
  app.cred.uid = 1000;
  const int stranger = socket({so_reuseport});
  EXPECT_EQ(bind(stranger).error(), errc::addrinuse);
}

TEST_F(demux, a_cpu_changes_no_numbers) {
  std::vector<int> all;
  for (int i = 0; i < 4; ++i) all.push_back(server({so_reuseport}));
  for (u32 chosen = 0; chosen < 4; ++chosen) {
    ASSERT_TRUE(choose(all[0], chosen));
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(sys_setsockopt_int(app, all[static_cast<std::size_t>(i)], sol_socket,
                                     so_incoming_cpu, i));
    }
    std::vector<int> expected(4);
    expected[chosen] = sends;
    EXPECT_EQ(heard(all), expected);
  }
}

TEST_F(demux, one_port_on_many_addresses) {
  constexpr u32 many = 2000;
  std::vector<int> all;
  for (u32 i = 0; i < many; ++i) {
    all.push_back(socket());
    ASSERT_TRUE(sys_bind(app, all.back(), addr4(ipv4_addr(0x7f000001u + i), 7)));
  }
  EXPECT_EQ(bind(socket()).error(), errc::addrinuse) << "somebody has it on one";
  EXPECT_EQ(bind(socket(), "127.0.0.77").error(), errc::addrinuse);
  ASSERT_TRUE(sys_sendto(app, socket(), bytes_of("x"sv), 0, addr4("127.0.7.1", 7)));
  lab.settle();
  u8 room[4];
  EXPECT_TRUE(sys_recv(app, all[0x700], room));
  for (const int fd : all) ASSERT_TRUE(sys_close(app, fd));
  EXPECT_TRUE(bind(socket()));
}

}  // namespace
}  // namespace ph
