// What comes with datagrams and with reports of errors: IP options, the reporter's own header,
// extensions of ICMP, time stamps.
#include "tests/support/craft.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using namespace std::literals;

/// One received message and its control messages by level and type.
struct received {
  std::vector<u8> payload;
  std::map<std::pair<int, int>, std::vector<u8>> control;
  [[nodiscard]] const std::vector<u8>* find(int level, int type) const {
    const auto at = control.find({level, type});
    return at != control.end() ? &at->second : nullptr;
  }
};

struct control_messages : ::testing::Test {
  two_hosts lab;
  task& a = lab.a.app();
  task& b = lab.b.app();

  int socket_on(task& t, std::initializer_list<int> ip_flags = {}) {
    const int fd = *sys_socket(t, af_inet, sock_dgram, 0);
    for (const int flag : ip_flags) EXPECT_TRUE(sys_setsockopt_int(t, fd, sol_ip, flag, 1));
    return fd;
  }
  /// A datagram of a's to 10.0.0.2:7, with a control message of so many zero bytes.
  result<std::size_t> send_with(int fd, int level, int type, std::size_t len) {
    std::vector<u8> control(cmsg_space(len));
    cmsghdr head;
    head.cmsg_len = cmsg_len(len);
    head.cmsg_level = level;
    head.cmsg_type = type;
    std::memcpy(control.data(), &head, sizeof head);
    const addr4 to("10.0.0.2", 7);
    const byte_view payload = bytes_of("x"sv);
    send_msg msg;
    msg.name = to;
    msg.iov = {&payload, 1};
    msg.control = control;
    return sys_sendmsg(a, fd, msg);
  }
  received receive(task& t, int fd, u32 flags = 0) {
    std::vector<u8> payload(2000), control(1000);
    const byte_span room(payload);
    recv_msg msg;
    msg.iov = {&room, 1};
    msg.control = control;
    msg.flags = flags;
    received out;
    const auto n = sys_recvmsg(t, fd, msg);
    EXPECT_TRUE(n) << errc_name(n ? errc::ok : n.error());
    if (!n) return out;
    payload.resize(std::min(*n, payload.size()));
    out.payload = std::move(payload);
    EXPECT_TRUE(for_each_cmsg(byte_view(control).first(msg.control_len),
                              [&](int level, int type, byte_view value) -> result<void> {
                                out.control[{level, type}] = {value.begin(), value.end()};
                                return {};
                              }));
    return out;
  }
};

/// A record route option of `slots` addresses behind a no-operation, as ping -R makes it.
std::vector<u8> record_route(std::size_t slots) {
  std::vector<u8> out(4 + slots * 4);
  out[0] = ipopt_noop;
  out[1] = ipopt_rr;
  out[2] = static_cast<u8>(3 + slots * 4);
  out[3] = 4;
  return out;
}

TEST_F(control_messages, a_recorded_route_begins_at_its_origin_and_reaches_the_program) {
  const int s = socket_on(b, {ip_recvopts, ip_retopts});
  ASSERT_TRUE(sys_bind(b, s, addr4("10.0.0.2", 7)));
  const int c = socket_on(a);
  ASSERT_TRUE(sys_setsockopt(a, c, sol_ip, ip_options, record_route(9)));
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("x"sv), 0, addr4("10.0.0.2", 7)));
  lab.settle();
  const received got = receive(b, s);
  const auto* const came = got.find(sol_ip, ip_recvopts);
  ASSERT_NE(came, nullptr);
  std::vector<u8> expected = record_route(9);
  expected[3] = 12;  // two addresses are in
  copy_bytes(byte_span(expected).subspan(4), bytes_of(ipv4_addr(10, 0, 0, 1)));
  copy_bytes(byte_span(expected).subspan(8), bytes_of(ipv4_addr(10, 0, 0, 2)));
  EXPECT_EQ(*came, expected);
  const auto* const answer = got.find(sol_ip, ip_retopts);
  ASSERT_NE(answer, nullptr);
  EXPECT_EQ((*answer)[0], ipopt_rr);
  EXPECT_EQ((*answer)[2], 12);
}

TEST_F(control_messages, nothing_comes_of_options_that_a_packet_does_not_have) {
  const int s = socket_on(b, {ip_recvopts, ip_retopts});
  ASSERT_TRUE(sys_bind(b, s, addr4("10.0.0.2", 7)));
  const int c = socket_on(a);
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("x"sv), 0, addr4("10.0.0.2", 7)));
  lab.settle();
  EXPECT_TRUE(receive(b, s).control.empty());
}

TEST_F(control_messages, a_report_of_an_error_has_what_its_own_packet_had) {
  const int c = socket_on(a, {ip_recverr, ip_recvttl, ip_pktinfo});
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_socket, so_timestampns, 1));
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("lost"sv), 0, addr4("10.0.0.2", 9)));
  lab.settle();
  EXPECT_NE(sys_poll(a, c) & pollerr, 0u);
  const received got = receive(a, c, msg_errqueue);
  EXPECT_EQ(text_of(got.payload), "lost");
  ASSERT_NE(got.find(sol_ip, ip_ttl), nullptr);
  EXPECT_EQ((*got.find(sol_ip, ip_ttl))[0], 64);
  EXPECT_NE(got.find(sol_socket, scm_timestampns), nullptr);
  const auto* const info = got.find(sol_ip, ip_pktinfo);
  ASSERT_NE(info, nullptr);
  EXPECT_EQ(byte_reader(*info).take<in_pktinfo>().ipi_addr, ipv4_addr(10, 0, 0, 1).raw);
  ASSERT_NE(got.find(sol_ip, ip_recverr), nullptr);
}

TEST_F(control_messages, a_socket_bound_to_a_device_hears_of_errors) {
  const int c = socket_on(a, {ip_recverr});
  const std::string_view device = lab.a.dev().name();
  ASSERT_TRUE(sys_setsockopt(a, c, sol_socket, so_bindtodevice, bytes_of(device)));
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("lost"sv), 0, addr4("10.0.0.2", 9)));
  lab.settle();
  EXPECT_NE(receive(a, c, msg_errqueue).find(sol_ip, ip_recverr), nullptr);
}

/// A time exceeded message whose quoted packet is padded to 128 bytes and followed by an extension
/// structure (RFC 4884 §5.4).
std::vector<u8> with_extension(u16 sport, bool damaged) {
  const ipv4_addr own(10, 0, 0, 1), far(10, 9, 9, 9);
  std::vector<u8> quoted = craft_udp(own, sport, far, 33434, bytes_of("probe"sv));
  quoted.resize(128);
  std::vector<u8> structure = {0x20, 0, 0, 0, 0, 8, 1, 1, 1, 2, 3, 4};
  const be16 sum = csum_fold(csum_add_bytes(structure));
  copy_bytes(byte_span(structure).subspan(2), bytes_of(sum));
  if (damaged) structure[9] ^= 1;
  quoted.insert(quoted.end(), structure.begin(), structure.end());
  constexpr u32 words = 128 / 4;
  return craft_icmp(ipv4_addr(10, 0, 0, 2), own, icmp_time_exceeded, 0, words << 16, quoted);
}

TEST_F(control_messages, rfc_4884_says_where_the_extension_begins) {
  for (const bool damaged : {false, true}) {
    const int c = socket_on(a, {ip_recverr, ip_recverr_rfc4884});
    ASSERT_TRUE(sys_bind(a, c, addr4("10.0.0.1", damaged ? 4001 : 4000)));
    lab.inject(lab.a, with_extension(damaged ? 4001 : 4000, damaged));
    lab.settle();
    const received got = receive(a, c, msg_errqueue);
    const auto* const report = got.find(sol_ip, ip_recverr);
    ASSERT_NE(report, nullptr);
    const auto ee = byte_reader(*report).take<sock_extended_err>();
    EXPECT_EQ(ee.ee_type, icmp_time_exceeded);
    const std::size_t at = ee.ee_data & 0xffff;
    ASSERT_EQ(at, 128u - sizeof(iphdr) - sizeof(udphdr));
    ASSERT_EQ(got.payload.size(), at + 12);
    EXPECT_EQ(got.payload[at], 0x20);
    EXPECT_EQ(ee.ee_data >> 16 & 0xff, damaged ? so_ee_rfc4884_flag_invalid : 0u);
  }
}

/// A world whose time goes on during calls, by a second at each look.
struct moving_clocks final : outer_clocks {
  instant now() override { return at += seconds(1); }
  instant wall_epoch() override { return instant{} + seconds(1'000'000'000); }
  instant at{};
};

TEST_F(control_messages, the_stamp_of_the_datagram_read_last) {
  const int s = socket_on(b);
  ASSERT_TRUE(sys_bind(b, s, addr4("10.0.0.2", 7)));
  std::array<u8, 16> stamp{};
  EXPECT_EQ(sys_ioctl(b, s, siocgstamp, stamp).error(), errc::noent);
  moving_clocks clocks;
  lab.b.machine.set_outer_clocks(clocks);
  const int c = socket_on(a);
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("x"sv), 0, addr4("10.0.0.2", 7)));
  lab.settle();
  receive(b, s);
  for (const u32 command : {siocgstamp, siocgstampns, siocgstamp_new, siocgstampns_new}) {
    ASSERT_TRUE(sys_ioctl(b, s, command, stamp));
    EXPECT_GT(byte_reader(stamp).take<s64>(), 1'000'000'000) << command;  // of its arrival
  }
}

TEST_F(control_messages, what_so_timestamp_told_is_not_told_again) {
  const int s = socket_on(b), c = socket_on(a);
  ASSERT_TRUE(sys_bind(b, s, addr4("10.0.0.2", 7)));
  std::array<u8, 16> first{}, later{};
  const auto read_one = [&] {
    lab.advance(seconds(1));
    EXPECT_TRUE(sys_sendto(a, c, bytes_of("x"sv), 0, addr4("10.0.0.2", 7)));
    lab.settle();
    receive(b, s);
  };
  ASSERT_TRUE(sys_setsockopt_int(b, s, sol_socket, so_timestamp, 1));
  read_one();
  EXPECT_EQ(sys_ioctl(b, s, siocgstamp, first).error(), errc::noent);
  ASSERT_TRUE(sys_setsockopt_int(b, s, sol_socket, so_timestamp, 0));
  read_one();
  ASSERT_TRUE(sys_ioctl(b, s, siocgstamp, first));
  ASSERT_TRUE(sys_setsockopt_int(b, s, sol_socket, so_timestampns, 1));
  read_one();
  ASSERT_TRUE(sys_ioctl(b, s, siocgstamp, later));
  EXPECT_EQ(later, first);
}

/// Where a datagram would be answered from: IP_PKTINFO's ipi_spec_dst, as Linux 6.18 fills it.
TEST_F(control_messages, the_address_to_answer_from) {
  struct row {
    const char *from, *to, *answer;
  };
  constexpr row rows[] = {
      {"0.0.0.0", "127.0.0.1", "127.0.0.1"},       {"0.0.0.0", "127.0.0.9", "127.0.0.9"},
      {"0.0.0.0", "10.0.0.1", "10.0.0.1"},         {"127.0.0.1", "10.0.0.1", "10.0.0.1"},
      {"0.0.0.0", "127.255.255.255", "127.0.0.1"}, {"127.0.0.7", "224.0.0.1", "127.0.0.1"},
      {"10.0.0.1", "10.0.0.255", "10.0.0.1"},      {"10.0.0.1", "224.0.0.1", "10.0.0.1"},
  };
  for (const row& r : rows) {
    SCOPED_TRACE(std::string(r.from) + " to " + r.to);
    const int s = socket_on(a, {ip_pktinfo}), c = socket_on(a);
    ASSERT_TRUE(sys_setsockopt_int(a, c, sol_socket, so_broadcast, 1));
    ASSERT_TRUE(sys_bind(a, s, addr4("0.0.0.0", 7)));
    ASSERT_TRUE(sys_bind(a, c, addr4(r.from, 0)));
    ASSERT_TRUE(sys_sendto(a, c, bytes_of("x"sv), 0, addr4(r.to, 7)));
    lab.settle();
    const received got = receive(a, s);
    const auto* const told = got.find(sol_ip, ip_pktinfo);
    ASSERT_NE(told, nullptr);
    const auto info = byte_reader(*told).take<in_pktinfo>();
    EXPECT_EQ(info.ipi_spec_dst, ipv4_addr::parse(r.answer)->raw);
    EXPECT_EQ(info.ipi_addr, ipv4_addr::parse(r.to)->raw);
    const bool on_lo = std::string_view(r.answer).starts_with("127.");
    EXPECT_EQ(info.ipi_ifindex, on_lo ? 1 : static_cast<int>(lab.a.dev().index().value));
    ASSERT_TRUE(sys_close(a, s));
    ASSERT_TRUE(sys_close(a, c));
  }
}

TEST_F(control_messages, an_echo_reply_and_a_report_leave_no_address_to_answer_from) {
  const int ping = *sys_socket(a, af_inet, sock_dgram, ipproto_icmp);
  ASSERT_TRUE(sys_setsockopt_int(a, ping, sol_ip, ip_pktinfo, 1));
  const std::array<u8, 8> echo{icmp_echo};
  ASSERT_TRUE(sys_sendto(a, ping, echo, 0, addr4("10.0.0.2", 0)));
  const int s = socket_on(a, {ip_pktinfo, ip_recverr});
  ASSERT_TRUE(sys_sendto(a, s, bytes_of("x"sv), 0, addr4("10.0.0.2", 9)));
  lab.settle();
  for (const received& got : {receive(a, ping), receive(a, s, msg_errqueue)}) {
    const auto* const told = got.find(sol_ip, ip_pktinfo);
    ASSERT_NE(told, nullptr);
    const auto info = byte_reader(*told).take<in_pktinfo>();
    EXPECT_EQ(info.ipi_spec_dst, ipv4_addr().raw);
    EXPECT_EQ(info.ipi_addr, ipv4_addr(10, 0, 0, 1).raw);
  }
}

TEST_F(control_messages, a_time_to_send_at_wants_its_option) {
  const int c = socket_on(a);
  const auto send_at = [&](std::size_t len) { return send_with(c, sol_socket, scm_txtime, len); };
  EXPECT_EQ(send_at(8).error(), errc::inval);
  const std::array<u32, 2> monotonic{1, 0};
  ASSERT_TRUE(sys_setsockopt(a, c, sol_socket, so_txtime, bytes_of(monotonic)));
  EXPECT_TRUE(send_at(8));
  EXPECT_EQ(send_at(4).error(), errc::inval);
}

TEST_F(control_messages, those_of_unix_sockets_mean_nothing_here) {
  const int s = socket_on(b);
  ASSERT_TRUE(sys_bind(b, s, addr4("10.0.0.2", 7)));
  const int c = socket_on(a);
  EXPECT_TRUE(send_with(c, sol_socket, scm_rights, 4));
  EXPECT_TRUE(send_with(c, sol_socket, scm_credentials, 12));
  EXPECT_EQ(send_with(c, sol_socket, 77, 4).error(), errc::inval);
}

TEST_F(control_messages, a_pending_error_does_not_stop_a_raw_socket) {
  const int c = *sys_socket(a, af_inet, sock_raw, ipproto_icmp);
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_ip, ip_recverr, 1));
  ASSERT_TRUE(sys_connect(a, c, addr4("10.0.0.77", 0)));
  std::vector<u8> echo(8);
  emit(byte_span(echo), icmp_message{icmp_echo, 0, 0x12340001, {}});
  lab.inject(lab.a,
             craft_icmp(ipv4_addr(10, 0, 0, 2), ipv4_addr(10, 0, 0, 1), icmp_time_exceeded, 0, 0,
                        craft_ip(craft_header(ipv4_addr(10, 0, 0, 1), ipv4_addr(10, 0, 0, 77),
                                              ipproto_icmp),
                                 echo)));
  lab.settle();
  EXPECT_NE(sys_poll(a, c) & pollerr, 0u);
  EXPECT_TRUE(sys_send(a, c, echo));
  std::array<u8, 100> room;
  EXPECT_EQ(sys_recv(a, c, room).error(), errc::hostunreach);
}

}  // namespace
}  // namespace ph
