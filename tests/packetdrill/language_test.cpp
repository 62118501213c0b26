// The language itself, apart from TCP: conditionals, code blocks, values, and the books that a
// lenient run keeps of acknowledgements.
#include <gtest/gtest.h>

#include "sim/packetdrill/acks.h"
#include "sim/packetdrill/conditionals.h"
#include "sim/packetdrill/runner.h"
#include "sim/packetdrill/settings.h"
#include "sim/packetdrill/values.h"

namespace ph::packetdrill {
namespace {

std::string after_code(std::string_view code) {
  variables vars;
  vars["tcpi_rtt"] = {false, 25000, 0};
  vars["tcpi_snd_cwnd"] = {false, 10, 0};
  return run_code(code, vars);
}

TEST(code_block, knows_the_arithmetic_of_python) {
  EXPECT_EQ(after_code("assert tcpi_rtt / 1000 == 25.0"), "");
  EXPECT_EQ(after_code("assert 7 // 2 == 3 and -7 // 2 == -4 and -7 % 3 == 2"), "");
  EXPECT_EQ(after_code("assert 1 << 4 == 16; assert 2 ** 3 == 8"), "");
  EXPECT_EQ(after_code("cwnd = tcpi_snd_cwnd\ncwnd += 2\nassert cwnd == 12, cwnd"), "");
  EXPECT_EQ(after_code("assert 24000 <= tcpi_rtt <= 26000, 'rtt=%d us' % tcpi_rtt"), "");
  EXPECT_EQ(after_code("assert tcpi_snd_cwnd in (9, 10)"), "");
  EXPECT_EQ(after_code("assert tcpi_snd_cwnd not in (9, 11)"), "");
  EXPECT_EQ(after_code("assert abs(9 - tcpi_snd_cwnd) == 1 and max(1, 2, 0) == 2"), "");
  EXPECT_EQ(after_code("if tcpi_snd_cwnd > 9: x = 1\nassert x == 1"), "");
  EXPECT_EQ(after_code("if tcpi_snd_cwnd > 10: assert 0"), "");
  EXPECT_EQ(after_code("assert (1 +\n  1) == 2"), "");
  EXPECT_EQ(after_code("x = -9223372036854775807 - 1\nassert x // -1 == x"), "") << "it wraps";
}

TEST(code_block, says_what_did_not_hold) {
  const std::string why =
      after_code("assert tcpi_snd_cwnd == 11, 'cwnd: %d rtt: %d' % (tcpi_snd_cwnd, tcpi_rtt)");
  EXPECT_NE(why.find("tcpi_snd_cwnd == 11"), std::string::npos) << why;
  EXPECT_NE(why.find("10, 25000"), std::string::npos) << why;
  EXPECT_NE(after_code("assert tcpi_unheard_of == 1").find("unknown name"), std::string::npos);
}

TEST(conditional_lines, keep_their_numbers) {
  const auto text = choose_lines("a\n#ifdef X\nb\n#else\nc\n#endif\n#ifndef X\nd\n#endif\n", {"X"});
  ASSERT_TRUE(text);
  EXPECT_EQ(*text, "a\n\nb\n\n\n\n\n\n\n");
  EXPECT_FALSE(choose_lines("#ifdef X\n", {}));
  EXPECT_FALSE(choose_lines("a\n#endif\n", {}));
}

TEST(conditional_lines, nest) {
  const auto text = choose_lines("#ifdef A\n#ifdef B\nx\n#else\ny\n#endif\n#endif\n", {"B"});
  ASSERT_TRUE(text);
  EXPECT_EQ(text->find_first_of("xy"), std::string::npos);
}

TEST(shell_line, routes_and_queues_of_several_lines) {
  const auto routes = route_changes(
      "sysctl -q a=1\n ip route change 192.0.2.1 via 192.168.0.2 dev tun0 \\\n mtu lock 640\n"
      "ip route add 10.0.0.0/8 dev tun0 > /dev/null; ethtool -K tun0 tso off");
  ASSERT_EQ(routes.size(), 2u);
  EXPECT_EQ(routes[0], "192.0.2.1 via 192.168.0.2 dev tun0 mtu lock 640");
  EXPECT_EQ(routes[1], "10.0.0.0/8 dev tun0");
  EXPECT_EQ(queue_limit("tc qdisc replace dev tun0 root pfifo limit 0"), 0u);
  EXPECT_EQ(queue_limit("tc qdisc delete dev tun0 root"), std::nullopt);
}

packet_spec pure_ack(u32 ack) {
  packet_spec out;
  out.flags = tcphdr_ack;
  out.ack = ack;
  out.window = 65535;
  return out;
}

packet_spec data(u32 seq, u32 length) {
  packet_spec out;
  out.inbound = true;
  out.flags = tcphdr_ack;
  out.seq = seq;
  out.payload = length;
  return out;
}

TEST(acknowledgements, only_of_something_new_may_be_passed_over) {
  ack_ledger acks;
  acks.injected(data(1, 100));
  EXPECT_TRUE(acks.pass_over(pure_ack(101)));
  EXPECT_FALSE(acks.pass_over(pure_ack(101))) << "a second one answers something";
  EXPECT_FALSE(acks.pass_over(pure_ack(201))) << "nobody sent that";
  packet_spec with_data = pure_ack(101);
  with_data.payload = 1;
  EXPECT_FALSE(acks.pass_over(with_data));
  EXPECT_TRUE(acks.came_earlier(pure_ack(101)));
  EXPECT_FALSE(acks.came_earlier(pure_ack(101))) << "it was had once";
}

TEST(acknowledgements, that_are_owed_must_come_within_half_a_second) {
  ack_ledger acks;
  const instant now{1'000'000'000};
  acks.injected(data(1, 100));
  EXPECT_FALSE(acks.may_come_later(pure_ack(1000), now)) << "the peer sent no such thing";
  ASSERT_TRUE(acks.may_come_later(pure_ack(101), now));
  EXPECT_EQ(acks.due(), now + milliseconds(500));
  acks.matched(pure_ack(51), pure_ack(51));
  EXPECT_NE(acks.due(), never) << "less than what is owed";
  acks.matched(pure_ack(101), pure_ack(101));
  EXPECT_EQ(acks.due(), never);
  EXPECT_FALSE(acks.may_come_later(pure_ack(101), now)) << "a duplicate is never owed";
}

run_report lenient(const std::string& events) {
  run_options options;
  options.lenient_freebsd = true;
  const auto parsed = parse_script(
      "x.pkt",
      "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n"
      "+0 listen(3, 1) = 0\n+0 < S 0:0(0) win 65535 <mss 1460,sackOK,eol,eol>\n"
      "+0 > S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,eol,eol>\n"
      "+.1 < . 1:1(0) ack 1 win 65535\n+0 accept(3, ..., ...) = 4\n" + events, {});
  EXPECT_TRUE(parsed);
  return run_script(*parsed, options);
}

TEST(lenient_run, takes_an_acknowledgement_at_another_time_but_not_another_one) {
  EXPECT_EQ(lenient("+0 < . 1:101(100) ack 1 win 65535\n+.04 > . 1:1(0) ack 101\n").result,
            outcome::pass);
  EXPECT_EQ(lenient("+0 < . 1:101(100) ack 1 win 65535\n+0 read(4, ..., 100) = 100\n"
                    "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 101\n").result,
            outcome::pass);
  EXPECT_EQ(lenient("+0 < . 1:101(100) ack 1 win 65535\n+.04 > . 1:1(0) ack 99\n").result,
            outcome::fail);
  EXPECT_EQ(lenient("+0 > . 1:1(0) ack 1\n").result, outcome::fail) << "nothing to answer";
  EXPECT_EQ(lenient("+0 < . 1:101(100) ack 1 win 65535\n+0 > F. 1:1(0) ack 101\n").result,
            outcome::fail);
}

TEST(an_option, may_be_a_number_a_structure_or_a_name) {
  const run_report report = lenient(
      "+0 setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=5}, 8) = 0\n"
      "+0 getsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=5}, [8]) = 0\n"
      "+0 setsockopt(4, SOL_TCP, TCP_CONGESTION, \"reno\", 4) = 0\n"
      "+0 getsockopt(4, SOL_TCP, TCP_CONGESTION, \"reno\", [4]) = 0\n"
      "+0 setsockopt(4, SOL_SOCKET, SO_RCVTIMEO, {tv_sec=0, tv_usec=200000}, 16) = 0\n"
      "+0...0.2 read(4, ..., 10) = -1 EAGAIN\n");
  EXPECT_EQ(report.result, outcome::pass) << report.line << ": " << report.reason;
  EXPECT_EQ(lenient("+0 getsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=5}, [8]) = 0\n")
                .result, outcome::fail);
}

TEST(a_call_that_waits, gives_up_in_its_time) {
  EXPECT_EQ(lenient("+0 poll([{fd=4, events=POLLIN, revents=0}], 1, 300) = 0\n").result,
            outcome::fail) << "it was to return at once";
  const run_report report = lenient(
      "+0...0.3 poll([{fd=4, events=POLLIN, revents=0}], 1, 300) = 0\n"
      "+.3...0.5 poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 300) = 1\n"
      "+.2 < P. 1:11(10) ack 1 win 65535\n");
  EXPECT_EQ(report.result, outcome::pass) << report.reason;
}

}  // namespace
}  // namespace ph::packetdrill
