// What a route says about connections over it (ip-route(8)): windows, congestion control, speed of
// acknowledgements.
#include <gtest/gtest.h>

#include "tests/tcp/segment_peer.h"

namespace ph {
namespace {

/// A host whose way to the peer has these metrics.
struct metric_peer : segment_peer {
  explicit metric_peer(std::string_view metrics) {
    a.add_route(std::string(peer) + "/32 dev eth0 " + std::string(metrics));
  }
  std::string congestion(int fd) {
    std::array<u8, 16> name{};
    const auto len = sys_getsockopt(a.app(), fd, uapi::ipproto_tcp, uapi::tcp_congestion, name);
    EXPECT_TRUE(len);
    return std::string(text_of(byte_view(name))).c_str();
  }
};

TEST(tcp_route_metric, congestion_control) {
  metric_peer p("congctl vegas");
  EXPECT_EQ(p.congestion(p.connected()), "vegas");
}

TEST(tcp_route_metric, the_sockets_own_choice_comes_first) {
  metric_peer p("congctl vegas");
  p.listener = p.listening();
  const std::string_view wanted = "reno";
  EXPECT_TRUE(sys_setsockopt(p.a.app(), p.listener, uapi::ipproto_tcp, uapi::tcp_congestion,
                             bytes_of(wanted)));
  EXPECT_EQ(p.congestion(p.accepted()), "reno");
}

TEST(tcp_route_metric, initial_and_largest_congestion_window) {
  metric_peer p("initcwnd 3 cwnd lock 4");
  const int fd = p.accepted();
  p.write(fd, std::string(20'000, 'x'));
  s64 sent = 0;
  for (; !p.sent.empty(); p.sent.pop_front()) sent += static_cast<s64>(p.sent[0].payload.size());
  EXPECT_EQ(sent, 3000);
  p.send(A, 0, sent);
  for (; !p.sent.empty(); p.sent.pop_front()) sent += static_cast<s64>(p.sent[0].payload.size());
  EXPECT_EQ(sent, 3000 + 4000);
}

TEST(tcp_route_metric, first_receive_window) {
  metric_peer p("initrwnd 2");
  p.listener = p.listening();
  EXPECT_EQ(p.begin_passive(segment_peer::plain()).window, 2 * 1460);
}

TEST(tcp_route_metric, largest_receive_window) {
  metric_peer p("window 5000");
  p.listener = p.listening();
  EXPECT_LE(p.begin_passive(segment_peer::plain()).window, 5000);
}

TEST(tcp_route_metric, quickack_never_delays) {
  metric_peer p("quickack 1");
  const int fd = p.accepted();
  p.write(fd, "interactive");
  p.expect(A, 0, 0, 11);
  p.send(A, 0, 11);
  for (s64 at = 0; at < 40; ++at) {
    p.send(A, at, 11, "x");
    p.expect(A, 11, at + 1);
  }
}

TEST(tcp_route_metric, ecn_is_asked_for_where_the_default_does_not) {
  for (const std::string_view metrics : {"initcwnd 10", "features ecn"}) {
    metric_peer p(metrics);
    const int fd = *sys_socket(p.a.app(), uapi::af_inet, uapi::sock_stream, 0);
    EXPECT_EQ(sys_connect(p.a.app(), fd, addr4(p.peer, p.peer_port)).error(), errc::inprogress);
    p.settle();
    const u8 asked = metrics == "features ecn" ? tcphdr_ece | tcphdr_cwr : 0;
    EXPECT_EQ(p.take().flags, S | asked) << metrics;
  }
}

}  // namespace
}  // namespace ph
