// Which addresses sockets of each kind may take, and by which device a host's own packets come.
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using namespace std::literals;

struct kind {
  std::string_view name;
  int type, protocol;
};
constexpr kind tcp{"tcp", sock_stream, 0}, udp{"udp", sock_dgram, 0},
    udplite{"udplite", sock_dgram, ipproto_udplite}, ping{"ping", sock_dgram, ipproto_icmp},
    raw{"raw", sock_raw, 99};

struct bind_addresses : ::testing::Test {
  two_hosts lab;
  task& a = lab.a.app();
  int open(const kind& k) { return *sys_socket(a, af_inet, k.type, k.protocol); }
  errc bind_to(const kind& k, const char* to, int allowing = 0) {
    const int fd = open(k);
    if (allowing != 0) {
      EXPECT_TRUE(sys_setsockopt_int(a, fd, sol_ip, allowing, 1));
    }
    const auto done = sys_bind(a, fd, addr4(to, 0));
    EXPECT_TRUE(sys_close(a, fd));
    return done ? errc::ok : done.error();
  }
};

// Seen on Linux 6.18. Since 5.3 only 0.0.0.0 itself of its net is special.
TEST_F(bind_addresses, as_linux_lets_them) {
  for (const kind& k : {tcp, udp, udplite, ping, raw}) {
    SCOPED_TRACE(k.name);
    for (const char* own : {"0.0.0.0", "127.0.0.1", "127.9.9.9", "10.0.0.1"}) {
      EXPECT_EQ(bind_to(k, own), errc::ok) << own;
    }
    for (const char* other : {"0.0.0.1", "0.1.2.3", "0.255.255.255", "10.0.0.2", "240.0.0.1"}) {
      EXPECT_EQ(bind_to(k, other), errc::addrnotavail) << other;
      EXPECT_EQ(bind_to(k, other, ip_freebind), errc::ok) << other;
      EXPECT_EQ(bind_to(k, other, ip_transparent), errc::ok) << other;
    }
    const errc group = k.name == ping.name ? errc::addrnotavail : errc::ok;
    for (const char* to : {"224.0.0.1", "239.1.2.3", "10.0.0.255", "127.255.255.255",
                           "255.255.255.255"}) {
      EXPECT_EQ(bind_to(k, to), group) << to;
      EXPECT_EQ(bind_to(k, to, ip_freebind), group) << to;
    }
  }
}

TEST_F(bind_addresses, the_net_0_is_a_net_like_others) {
  const int sender = open(udp);
  EXPECT_EQ(sys_sendto(a, sender, bytes_of("x"sv), 0, addr4("0.1.2.3", 9)).error(),
            errc::netunreach);
  lab.a.add_address(lab.a.dev(), "0.1.2.3/24");
  lab.b.add_address(lab.b.dev(), "0.1.2.4/24");
  const int receiver = *sys_socket(lab.b.app(), af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_bind(lab.b.app(), receiver, addr4("0.1.2.4", 7)));
  EXPECT_TRUE(sys_sendto(a, sender, bytes_of("x"sv), 0, addr4("0.1.2.4", 7)));
  lab.settle();
  std::array<u8, 8> got;
  sockaddr_buf from;
  EXPECT_TRUE(sys_recvfrom(lab.b.app(), receiver, got, msg_dontwait, &from));
  EXPECT_EQ(addr_of(from).to_string(), "0.1.2.3");
}

/// Where the kernel chooses the port, TCP shares none, whatever the options; UDP shares as always.
TEST_F(bind_addresses, chosen_ports_are_shared_by_datagrams_only) {
  lab.a.sysctl("net.ipv4.ip_local_port_range", "40000 40003");
  for (const int option : {0, so_reuseaddr, so_reuseport}) {
    for (const kind& k : {tcp, udp}) {
      SCOPED_TRACE(k.name);
      const bool shares = k.name == udp.name && option != 0;
      std::vector<int> holders;
      for (int i = 0; i < 12; ++i) {
        holders.push_back(open(k));
        if (option != 0) {
          ASSERT_TRUE(sys_setsockopt_int(a, holders.back(), sol_socket, option, 1));
        }
        const bool bound = sys_bind(a, holders.back(), addr4("0.0.0.0", 0)).has_value();
        EXPECT_EQ(bound, i < 4 || shares) << i;
      }
      for (const int fd : holders) ASSERT_TRUE(sys_close(a, fd));
    }
  }
}

/// What a host sends to an address of its own comes, as Linux sees it, by the address's device.
struct own_device : bind_addresses {
  int on(const kind& k, const char* device) {
    const int fd = open(k);
    if (device[0] == '\0') return fd;
    EXPECT_TRUE(sys_setsockopt(a, fd, sol_socket, so_bindtodevice,
                               bytes_of(std::string_view(device))));
    return fd;
  }
  bool arrives(const char* at, const char* from, const char* to) {
    const int receiver = on(udp, at), sender = on(udp, from);
    EXPECT_TRUE(sys_bind(a, receiver, addr4("0.0.0.0", 7)));
    EXPECT_TRUE(sys_sendto(a, sender, bytes_of("x"sv), 0, addr4(to, 7)));
    lab.settle();
    std::array<u8, 8> got;
    const bool came = sys_recvfrom(a, receiver, got, msg_dontwait, nullptr).has_value();
    EXPECT_TRUE(sys_close(a, receiver));
    EXPECT_TRUE(sys_close(a, sender));
    return came;
  }
  errc connects(const char* at, const char* from, const char* to) {
    const int listener = on(tcp, at), client = on(tcp, from);
    EXPECT_TRUE(sys_bind(a, listener, addr4("0.0.0.0", 7)));
    EXPECT_TRUE(sys_listen(a, listener, 1));
    EXPECT_EQ(sys_connect(a, client, addr4(to, 7)).error(), errc::inprogress);
    lab.settle();
    const auto done = sys_connect(a, client, addr4(to, 7));
    EXPECT_TRUE(sys_close(a, listener));
    EXPECT_TRUE(sys_close(a, client));
    lab.settle();
    return done ? errc::ok : done.error();
  }
};

TEST_F(own_device, datagrams) {
  const std::string eth = lab.a.dev().name();
  for (const char* from : {"", eth.c_str()}) {
    EXPECT_TRUE(arrives("", from, "10.0.0.1"));
    EXPECT_TRUE(arrives(eth.c_str(), from, "10.0.0.1"));
    EXPECT_FALSE(arrives("lo", from, "10.0.0.1"));
  }
  EXPECT_TRUE(arrives("lo", "lo", "10.0.0.1"));  // the sender says by which
  EXPECT_TRUE(arrives("lo", "", "127.0.0.1"));
  EXPECT_FALSE(arrives(eth.c_str(), "", "127.0.0.1"));
}

TEST_F(own_device, connections) {
  const std::string eth = lab.a.dev().name();
  for (const char* from : {"", eth.c_str()}) {
    EXPECT_EQ(connects("", from, "10.0.0.1"), errc::ok);
    EXPECT_EQ(connects(eth.c_str(), from, "10.0.0.1"), errc::ok);
    EXPECT_EQ(connects("lo", from, "10.0.0.1"), errc::connrefused);
  }
  EXPECT_EQ(connects("lo", "lo", "10.0.0.1"), errc::ok);
  EXPECT_EQ(connects("lo", "", "127.0.0.1"), errc::ok);
  EXPECT_EQ(connects(eth.c_str(), "", "127.0.0.1"), errc::connrefused);
}

}  // namespace
}  // namespace ph
