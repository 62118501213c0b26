// What a host sends to itself over lo keeps the route by which it was sent: the checks that a
// stranger's packets meet (martian sources, groups of the interface) do not apply.
#include "tests/support/craft.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using namespace std::literals;

struct loopback : ::testing::Test {
  test_lab lab;
  test_host& host = lab.add_host("alone");  // has nothing but lo
  task& app = host.app();
  int receiver = 0;

  void SetUp() override {
    receiver = *sys_socket(app, af_inet, sock_dgram, 0);
    ASSERT_TRUE(sys_bind(app, receiver, addr4("0.0.0.0", 5000)));
  }
  /// The sender's address as the receiver sees it; empty: nothing came.
  std::string received() {
    lab.settle();
    std::vector<u8> got(100);
    sockaddr_buf from;
    if (!sys_recvfrom(app, receiver, got, msg_dontwait, &from)) return {};
    return addr_of(from).to_string();
  }
  static ip_mreqn by_index(const char* group) {
    ip_mreqn out;
    out.imr_multiaddr = ipv4_addr::parse(group)->raw;
    out.imr_ifindex = 1;
    return out;
  }
};

TEST_F(loopback, a_group_by_the_interface_s_index) {
  const int sender = *sys_socket(app, af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_setsockopt(app, sender, sol_ip, ip_multicast_if, bytes_of(by_index("0.0.0.0"))));
  ASSERT_TRUE(sys_sendto(app, sender, bytes_of("x"sv), 0, addr4("239.1.1.1", 5000)));
  EXPECT_EQ(received(), "");
  EXPECT_EQ(host.drops(drop_reason::dst_discard), 1u);
  const ip_mreqn join = by_index("239.1.1.1");
  ASSERT_TRUE(sys_setsockopt(app, receiver, sol_ip, ip_add_membership, bytes_of(join)));
  ASSERT_TRUE(sys_sendto(app, sender, bytes_of("x"sv), 0, addr4("239.1.1.1", 5000)));
  EXPECT_EQ(received(), "0.0.0.0");  // lo has no address that the world may see
  EXPECT_EQ(received(), "");
}

TEST_F(loopback, a_header_of_the_program_s_own_may_name_any_source) {
  const int raw = *sys_socket(app, af_inet, sock_raw, ipproto_raw);
  const ipv4_addr to(127, 0, 0, 1);
  for (const char* source : {"9.9.9.9", "224.1.1.1", "255.255.255.255", "0.1.2.3", "127.0.0.9"}) {
    const auto packet = craft_udp(*ipv4_addr::parse(source), 7, to, 5000, bytes_of("x"sv));
    ASSERT_TRUE(sys_sendto(app, raw, packet, 0, addr4(to, 0)));
    EXPECT_EQ(received(), source);
  }
}

TEST_F(loopback, bound_to_lo_every_address_is_the_host_itself) {
  const int sender = *sys_socket(app, af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_setsockopt(app, sender, sol_socket, so_bindtodevice, bytes_of("lo"sv)));
  ASSERT_TRUE(sys_setsockopt_int(app, sender, sol_socket, so_broadcast, 1));
  for (const char* to : {"10.77.0.1", "255.255.255.255", "127.255.255.255"}) {
    ASSERT_TRUE(sys_sendto(app, sender, bytes_of("x"sv), 0, addr4(to, 5000))) << to;
    EXPECT_NE(received(), "") << to;
  }
}

// RFC 791 §3.2: the last of 65,515 bytes; lo's MTU is larger than any packet.
TEST_F(loopback, the_longest_datagram) {
  const int sender = *sys_socket(app, af_inet, sock_dgram, 0);
  const std::vector<u8> longest(65507), longer(65508);
  ASSERT_TRUE(sys_sendto(app, sender, longest, 0, addr4("127.0.0.1", 5000)));
  EXPECT_EQ(received(), "127.0.0.1");
  EXPECT_EQ(sys_sendto(app, sender, longer, 0, addr4("127.0.0.1", 5000)).error(), errc::msgsize);
}

}  // namespace
}  // namespace ph
