// What the daemon tells of a host that died of a failed check, and what the sockets of its programs
// answer.
#include <gtest/gtest.h>

#include "daemon/stack_sockets.h"
#include "daemon/status.h"
#include "net/core/nf_hook.h"
#include "tests/support/two_hosts.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph {
namespace {

using namespace uapi;

lab two_hosts_lab() {
  return *parse_lab(R"(
hosts: { alice: {}, bob: {} }
links:
  - ends: [ "alice:eth0 10.0.1.1/24", "bob:eth0 10.0.1.2/24" ]
)",
                    "lab.yaml");
}

struct dying_host : ::testing::Test {
  seeded_entropy secrets{7};
  std::unique_ptr<running_lab> lab_up = *running_lab::build(two_hosts_lab(), secrets);
  sim::host& bob = *lab_up->find_host("bob");
  dropin::stack_sockets of_bob{*lab_up, bob};
  void die() {
    bob.net().hooks().add(nf_family::ipv4, nf_hooknum::output,
                          {0, [](cpu&, net_namespace&, skb_ptr&, const nf_state&) -> nf_verdict {
                             ph_unreachable("provoked");
                           }});
    const int s = *of_bob.open(af_inet, sock_dgram, 0);
    const addr4 to(ipv4_addr(10, 0, 1, 1), 9);
    const u8 byte = 0;
    const byte_view payload{&byte, 1};
    send_msg msg;
    msg.name = to;
    msg.iov = {&payload, 1};
    EXPECT_EQ(of_bob.sendmsg(s, msg).error(), errc::connreset);
  }
};

TEST_F(dying_host, its_sockets_are_reset) {
  const int s = *of_bob.open(af_inet, sock_stream, 0);
  const addr4 any(ipv4_addr(), 80);
  ASSERT_TRUE(of_bob.bind(s, any));
  ASSERT_TRUE(of_bob.listen(s, 5));
  int woken = 0;
  wait_entry entry([&woken](u32) { ++woken; });
  of_bob.watch(s, entry);
  EXPECT_EQ(of_bob.poll(s), 0u);
  die();
  EXPECT_EQ(woken, 1);
  EXPECT_NE(of_bob.poll(s) & (pollerr | pollhup), 0u);
  std::vector<u8> room(10);
  const byte_span span{room};
  recv_msg msg;
  msg.iov = {&span, 1};
  EXPECT_EQ(of_bob.recvmsg(s, msg).error(), errc::connreset);
  EXPECT_EQ(of_bob.accept(s).error(), errc::netdown);
  EXPECT_EQ(of_bob.open(af_inet, sock_stream, 0).error(), errc::netdown);
  le32 error;
  ASSERT_TRUE(
      of_bob.getsockopt(s, sol_socket, so_error, {reinterpret_cast<u8*>(&error), sizeof error}));
  EXPECT_EQ(error.value(), static_cast<u32>(errc::connreset));
  EXPECT_TRUE(of_bob.interfaces().empty());
  of_bob.close(s);
}

TEST_F(dying_host, status_says_which_and_why) {
  die();
  lab_up->world().run_for(seconds(10));
  const nlohmann::json status = lab_status(*lab_up);
  const nlohmann::json& dead = status["hosts"][1];
  EXPECT_EQ(dead["name"], "bob");
  EXPECT_NE(dead["dead"].get<std::string>().find("unreachable: provoked"), std::string::npos);
  EXPECT_FALSE(status["hosts"][0].contains("dead"));
  EXPECT_EQ(status["links"][0]["ends"][1], "bob:eth0");
  EXPECT_TRUE(lab_up->resolve(*lab_up->find_host("alice"), "bob").empty());
  EXPECT_NE(running_lab::dead_host(bob).find("bob has died"), std::string::npos);
}

}  // namespace
}  // namespace ph
