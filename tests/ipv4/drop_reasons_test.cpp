// Drop reasons of IPv4 and UDP that no other test meets: the smallest event that tells each.
#include <gtest/gtest.h>

#include "net/core/nf_hook.h"
#include "tests/support/craft.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;

const ipv4_addr near(10, 0, 0, 1), far(10, 0, 0, 2);

TEST(ipv4_drop_reasons, no_memory_for_fragments) {
  two_hosts lab;
  lab.a.sysctl("net.ipv4.ipfrag_high_thresh", "0");
  ipv4_header h = craft_header(far, near, ipproto_udp);
  h.more_fragments = true;
  lab.inject(lab.a, craft_ip(h, std::vector<u8>(64)));
  EXPECT_EQ(lab.a.drops(drop_reason::frag_memory), 1u);
}

TEST(ipv4_drop_reasons, a_broadcast_that_nobody_wants) {
  two_hosts lab;
  lab.inject(lab.a,
             craft_udp(far, 5, ipv4_addr(10, 0, 0, 255), 9, bytes_of(std::string_view("x"))));
  EXPECT_EQ(lab.a.drops(drop_reason::no_socket), 1u);
}

TEST(ipv4_drop_reasons, a_hook_that_refuses) {
  two_hosts lab;
  lab.a.net().hooks().add(
      nf_family::ipv4, nf_hooknum::input,
      {0, [](cpu&, net_namespace&, skb_ptr&, const nf_state&) { return nf_verdict::drop; }});
  lab.inject(lab.a, craft_icmp(far, near, icmp_echo, 0, 0, {}));
  EXPECT_EQ(lab.a.drops(drop_reason::netfilter_drop), 1u);
}

TEST(ipv4_drop_reasons, no_room_for_a_neighbour) {
  two_hosts lab;
  lab.a.sysctl("net.ipv4.neigh.default.gc_thresh3", "0");
  const int fd = *sys_socket(lab.a.app(), af_inet, sock_dgram, 0);
  static_cast<void>(
      sys_sendto(lab.a.app(), fd, bytes_of(std::string_view("x")), 0, addr4("10.0.0.77", 9)));
  lab.settle();
  EXPECT_EQ(lab.a.drops(drop_reason::neigh_create_fail), 1u);
}

}  // namespace
}  // namespace ph
