// UDP-Lite (RFC 3828): how much the checksum covers, and what a receiver demands.
#include "tests/support/craft.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using namespace std::literals;

struct udplite : ::testing::Test {
  two_hosts lab;
  task& a = lab.a.app();
  task& b = lab.b.app();
  int sender = *sys_socket(a, af_inet, sock_dgram, ipproto_udplite);
  int receiver = *sys_socket(b, af_inet, sock_dgram, ipproto_udplite);

  udplite() { EXPECT_TRUE(sys_bind(b, receiver, addr4("10.0.0.2", 7))); }
  void cover(task& t, int fd, int option, int value) {
    EXPECT_TRUE(sys_setsockopt_int(t, fd, sol_udplite, option, value));
  }
  void send(std::string_view text) {
    EXPECT_TRUE(sys_sendto(a, sender, bytes_of(text), 0, addr4("10.0.0.2", 7)));
    lab.settle();
  }
  std::string text() {
    std::vector<u8> room(2000);
    const auto n = sys_recv(b, receiver, room);
    return n ? std::string(text_of(byte_view(room).first(*n))) : std::string(errc_name(n.error()));
  }
  /// The header of the last UDP-Lite packet on the wire.
  const udphdr& on_wire() {
    const ipv4_view ip = lab.frames.back().ip();
    EXPECT_EQ(ip.header().protocol, ipproto_udplite);
    return *view_as<udphdr>(ip.payload);
  }
};

TEST_F(udplite, covers_everything_unless_told_otherwise) {
  send("whole");
  EXPECT_EQ(on_wire().len.value(), sizeof(udphdr) + 5);
  EXPECT_EQ(text(), "whole");
  EXPECT_EQ(lab.a.mib(mib::udplite_out_datagrams), 1u);
  EXPECT_EQ(lab.b.mib(mib::udplite_in_datagrams), 1u);
  EXPECT_EQ(lab.b.mib(mib::udp_in_datagrams), 0u);
}

TEST_F(udplite, damage_outside_the_coverage_is_let_through) {
  cover(a, sender, udplite_send_cscov, 12);
  bool spoil_covered = false;
  lab.filter = [&](test_frame& frame) {
    if (!frame.is_ip(ipproto_udplite)) return true;
    const std::size_t at = frame.bytes.size() - frame.ip().payload.size();
    frame.bytes[at + sizeof(udphdr) + (spoil_covered ? 0 : 6)] ^= 1;
    return true;
  };
  send("abcdefgh");
  EXPECT_EQ(on_wire().len.value(), 12);
  EXPECT_EQ(text(), "abcdeffh");  // 'g' ^ 1
  spoil_covered = true;
  send("abcdefgh");
  EXPECT_EQ(text(), "EAGAIN");
  EXPECT_EQ(lab.b.mib(mib::udplite_in_csum_errors), 1u);
  EXPECT_EQ(lab.b.drops(drop_reason::udplite_csum), 1u);
}

TEST_F(udplite, a_receiver_may_demand_coverage) {
  cover(b, receiver, udplite_recv_cscov, 12);
  cover(a, sender, udplite_send_cscov, 11);
  send("too little");
  EXPECT_EQ(text(), "EAGAIN");
  EXPECT_EQ(lab.b.drops(drop_reason::udplite_coverage), 1u);
  cover(a, sender, udplite_send_cscov, 12);
  send("enough");
  EXPECT_EQ(text(), "enough");
  cover(b, receiver, udplite_recv_cscov, 0);
  send("not all");
  EXPECT_EQ(text(), "EAGAIN");
  cover(a, sender, udplite_send_cscov, 0);
  send("all");
  EXPECT_EQ(text(), "all");
}

TEST_F(udplite, malformed_and_unsummed_packets_are_dropped) {
  const ipv4_addr from(10, 0, 0, 1), to(10, 0, 0, 2);
  const auto packet = [&](u16 coverage, u16 check) {
    std::vector<u8> bytes(sizeof(udphdr) + 4);
    udphdr& uh = *view_as<udphdr>(byte_span(bytes));
    uh.source.set(9);
    uh.dest.set(7);
    uh.len.set(coverage);
    uh.check.set(check);
    return craft_ip(craft_header(from, to, ipproto_udplite), bytes);
  };
  for (const u16 coverage : {u16{7}, u16{13}}) lab.inject(lab.b, packet(coverage, 1));
  lab.settle();
  EXPECT_EQ(lab.b.drops(drop_reason::udplite_malformed), 2u);
  lab.inject(lab.b, packet(8, 0));
  lab.settle();
  EXPECT_EQ(lab.b.drops(drop_reason::udplite_csum), 1u);
}

TEST_F(udplite, ports_are_its_own) {
  const int plain = *sys_socket(b, af_inet, sock_dgram, 0);
  EXPECT_TRUE(sys_bind(b, plain, addr4("10.0.0.2", 7)));
  EXPECT_TRUE(sys_close(b, receiver));
  EXPECT_TRUE(sys_connect(a, sender, addr4("10.0.0.2", 7)));
  EXPECT_TRUE(sys_send(a, sender, bytes_of("x"sv)));
  lab.settle();
  EXPECT_EQ(lab.b.drops(drop_reason::udplite_no_port), 1u);
  EXPECT_EQ(lab.b.mib(mib::udplite_no_ports), 1u);
  std::array<u8, 8> room;
  EXPECT_EQ(sys_recv(a, sender, room).error(), errc::connrefused);
}

TEST_F(udplite, options_as_linux_takes_them) {
  constexpr std::pair<int, int> values[] = {{0, 0},   {1, 8},         {8, 8},
                                            {20, 20}, {70000, 65535}, {-1, 8}};
  for (const auto& [set, seen] : values) {
    cover(a, sender, udplite_send_cscov, set);
    EXPECT_EQ(*sys_getsockopt_int(a, sender, sol_udplite, udplite_send_cscov), seen);
    EXPECT_EQ(*sys_getsockopt_int(a, sender, sol_udp, udplite_send_cscov), seen);
  }
  const int plain = *sys_socket(b, af_inet, sock_dgram, 0);
  EXPECT_EQ(sys_setsockopt_int(b, plain, sol_udplite, udplite_send_cscov, 8).error(),
            errc::noprotoopt);
  EXPECT_EQ(sys_setsockopt_int(b, plain, sol_udp, udplite_send_cscov, 8).error(),
            errc::noprotoopt);
}

}  // namespace
}  // namespace ph
