// A connection from its first SYN to its last ACK between two hosts.
#include <gtest/gtest.h>

#include "net/tcp/tcp_sock.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;

struct connection : two_hosts {
  int listener = -1, client = -1, server = -1;
  explicit connection(link_config config = {}) : two_hosts(config) {
    listener = *sys_socket(b.app(), af_inet, sock_stream, 0);
    EXPECT_TRUE(sys_bind(b.app(), listener, addr4("0.0.0.0", 80)));
    EXPECT_TRUE(sys_listen(b.app(), listener, 8));
    client = *sys_socket(a.app(), af_inet, sock_stream, 0);
    EXPECT_EQ(sys_connect(a.app(), client, addr4("10.0.0.2", 80)).error(), errc::inprogress);
    settle();
    server = sys_accept4(b.app(), listener, nullptr, 0).value_or(-1);
    EXPECT_GE(server, 0);
  }
};

TEST(tcp_connect, data_both_ways_and_close) {
  connection c;
  EXPECT_TRUE(sys_connect(c.a.app(), c.client, addr4("10.0.0.2", 80)));
  std::array<u8, 100> buf{};
  EXPECT_EQ(sys_recv(c.b.app(), c.server, buf).error(), errc::again);
  EXPECT_EQ(sys_send(c.a.app(), c.client, bytes_of(std::string_view("hello"))).value(), 5u);
  c.settle();
  ASSERT_EQ(sys_recv(c.b.app(), c.server, buf).value(), 5u);
  EXPECT_EQ(text_of(byte_view(buf).first(5)), "hello");
  EXPECT_EQ(sys_send(c.b.app(), c.server, bytes_of(std::string_view("world!"))).value(), 6u);
  c.settle();
  ASSERT_EQ(sys_recv(c.a.app(), c.client, buf).value(), 6u);
  EXPECT_EQ(text_of(byte_view(buf).first(6)), "world!");
  EXPECT_TRUE(sys_close(c.a.app(), c.client));
  c.settle();
  EXPECT_EQ(sys_recv(c.b.app(), c.server, buf).value(), 0u);
  EXPECT_TRUE(sys_close(c.b.app(), c.server));
  c.settle();
  EXPECT_EQ(tcp_of(c.a.net()).timewaits.size(), 1u);
  c.advance(seconds(61));
  EXPECT_EQ(tcp_of(c.a.net()).ehash.size(), 0u);
  EXPECT_EQ(tcp_of(c.b.net()).ehash.size(), 0u);
  EXPECT_TRUE(sys_close(c.b.app(), c.listener));
  EXPECT_EQ(c.a.net().sockets, 0u);
  EXPECT_EQ(c.b.net().sockets, 0u);
  EXPECT_EQ(c.memory.live_packets(), 0u);
}

}  // namespace
}  // namespace ph
