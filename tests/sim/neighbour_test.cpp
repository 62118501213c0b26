// What upper layers tell neighbours (RFC 4861 §7.3.1): while a connection goes forward, or a
// program vouches for its peer, nobody is asked for an address again.
#include <gtest/gtest.h>

#include "scenario.h"
#include "wire/arp.h"
#include "wire/ethernet.h"

namespace ph::sim {
namespace {

/// Two hosts; counts their ARP requests.
struct watched_pair {
  explicit watched_pair(const link_config& config) {
    w.add_host("a");
    w.add_host("b");
    auto& l = w.connect("a", "eth0", "10.0.0.1/24", "b", "eth0", "10.0.0.2/24", config);
    l.set_observer([this](const link::frame_seen& f) {
      if (view_as<ethhdr>(f.bytes)->h_proto.value() != uapi::eth_p_arp) return;
      const auto* arp = view_as<arphdr>(f.bytes.subspan(sizeof(ethhdr)));
      if (arp != nullptr && arp->ar_op.value() == uapi::arpop_request) ++requests;
    });
  }
  world w;
  u32 requests = 0;
};

TEST(neighbours, are_confirmed_by_the_progress_of_a_connection) {
  watched_pair p({.rate = 1_mbit, .delay = 5_ms, .loss = 0.1});
  p.w.spawn("b", "checker", stream_checker(80, 20'000'000));
  p.w.spawn("a", "sender", stream_sender("10.0.0.2:80", 20'000'000));
  p.w.run_for(100_s);
  // The first may be lost; reachable times are 15 to 45 seconds, and the transfer lasts longer.
  EXPECT_LE(p.requests, 4u);
  const u32 at_first = p.requests;
  p.w.run_for(100_s);
  EXPECT_EQ(p.requests, at_first);
}

TEST(neighbours, are_confirmed_by_msg_confirm) {
  for (const u32 flags : {u32{0}, u32{uapi::msg_confirm}}) {
    watched_pair p({.delay = 1_ms});
    p.w.spawn("b", "receiver", [](app& a) -> co<> {
      const int fd = a.udp();
      a.bind(fd, "0.0.0.0:9");
      co_await a.sleep(300_s);
    });
    p.w.spawn("a", "sender", [flags](app& a) -> co<> {
      const int fd = a.udp();
      for (int i = 0; i < 200; ++i) {
        EXPECT_TRUE(a.call([&](task& t) {
          return sys_sendto(t, fd, bytes_of(std::string_view("x")), flags,
                            endpoint("10.0.0.2:9").sockaddr().view());
        }));
        co_await a.sleep(1_s);
      }
    });
    p.w.run_for(201_s);
    if (flags != 0) {
      EXPECT_EQ(p.requests, 1u);
    } else {
      EXPECT_GT(p.requests, 2u);
    }
  }
}

}  // namespace
}  // namespace ph::sim
