// UDP from outside: sockets on two hosts, and the datagrams between them.
#include <numeric>

#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using namespace std::literals;

std::vector<u8> pattern(std::size_t n) {
  std::vector<u8> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<u8>(i * 7 + i / 251);
  return out;
}

struct udp : ::testing::Test {
  two_hosts lab;
  task& a = lab.a.app();
  task& b = lab.b.app();
  int socket_on(task& t) { return *sys_socket(t, af_inet, sock_dgram, 0); }
  /// A socket of b bound to 10.0.0.2:port.
  int server(u16 port = 7, const char* addr = "10.0.0.2") {
    const int fd = socket_on(b);
    EXPECT_TRUE(sys_bind(b, fd, addr4(addr, port)));
    return fd;
  }
  std::string text(task& t, int fd, sockaddr_buf* from = nullptr, u32 flags = 0) {
    std::vector<u8> room(66000);
    const auto n = sys_recvfrom(t, fd, room, flags, from);
    return n ? std::string(text_of(byte_view(room).first(*n))) : std::string(errc_name(n.error()));
  }
};

TEST_F(udp, a_datagram_arrives_with_its_source_and_is_answered) {
  const int s = server();
  const int c = socket_on(a);
  EXPECT_EQ(*sys_sendto(a, c, bytes_of("hello"sv), 0, addr4("10.0.0.2", 7)), 5u);
  lab.settle();
  EXPECT_EQ(sys_poll(b, s) & pollin, pollin);
  sockaddr_buf from;
  EXPECT_EQ(text(b, s, &from), "hello");
  EXPECT_EQ(addr_of(from), ipv4_addr(10, 0, 0, 1));
  EXPECT_GE(port_of(from), 32768);
  EXPECT_EQ(*sys_sendto(b, s, bytes_of("back"sv), 0, from.view()), 4u);
  lab.settle();
  EXPECT_EQ(text(a, c, &from), "back");
  EXPECT_EQ(port_of(from), 7);
  EXPECT_EQ(text(a, c), "EAGAIN");
  EXPECT_EQ(lab.a.mib(mib::udp_out_datagrams), 1u);
  EXPECT_EQ(lab.b.mib(mib::udp_in_datagrams), 1u);
}

TEST_F(udp, every_size_up_to_the_limit_survives_fragmentation) {
  const int s = server();
  const int c = socket_on(a);
  ASSERT_TRUE(sys_connect(a, c, addr4("10.0.0.2", 7)));
  for (const std::size_t n : {0u, 1u, 1471u, 1472u, 1473u, 2952u, 9000u, 30000u, 65506u, 65507u}) {
    const auto bytes = pattern(n);
    ASSERT_EQ(sys_send(a, c, bytes).value_or(~std::size_t{0}), n);
    lab.settle();
    std::vector<u8> got(66000);
    const auto len = sys_recv(b, s, got);
    ASSERT_TRUE(len) << n;
    got.resize(*len);
    EXPECT_EQ(got, bytes) << n;
  }
  const auto too_long = pattern(65508);
  EXPECT_EQ(sys_send(a, c, too_long).error(), errc::msgsize);
}

}  // namespace
}  // namespace ph
