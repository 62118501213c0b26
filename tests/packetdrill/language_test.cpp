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

/// The outcome of a whole script with a listener and a connection (3 and 4).
run_report on_connection(const std::string& events, const std::string& setup = "") {
  const auto parsed = parse_script("x.pkt",
      setup + "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n"
      "+0 bind(3, ..., ...) = 0\n+0 listen(3, 1) = 0\n"
      "+0 < S 0:0(0) win 65535 <mss 1000,sackOK,nop,nop>\n+0 > S. 0:0(0) ack 1 <...>\n"
      "+.1 < . 1:1(0) ack 1 win 65535\n+0 accept(3, ..., ...) = 4\n" + events, {});
  if (!parsed) {
    return {parsed.error().unsupported ? outcome::skip : outcome::fail, parsed.error().line,
            parsed.error().message};
  }
  return run_script(*parsed, {});
}

void expect_pass(const run_report& report) {
  EXPECT_EQ(report.result, outcome::pass) << report.line << ": " << report.reason;
}

TEST(flags, may_stand_apart_and_end_with_the_ace_field) {
  const auto packet = [](const std::string& text) {
    const auto parsed = parse_script("x.pkt", "0 < " + text + "\n", {});
    EXPECT_TRUE(parsed) << text;
    return parsed ? parsed->events.front().packet : packet_spec{};
  };
  EXPECT_EQ(packet("F  . 1:1(0) ack 2").flags, tcphdr_fin | tcphdr_ack);
  for (const char* text : {"P.6 1:3(2) ack 1", "P6. 1:3(2) ack 1", "PAW. 1:3(2) ack 1"}) {
    const packet_spec six = packet(text);
    EXPECT_EQ(six.flags, tcphdr_psh | tcphdr_ack | tcphdr_cwr) << text;
    EXPECT_TRUE(six.ae) << text;
    EXPECT_EQ(six.seq, 1u) << text;
  }
  EXPECT_EQ(packet(". 1:1(0) ack 2").flags, tcphdr_ack) << "the number is no ACE field";
  EXPECT_EQ(packet("S ...(0)").flags, tcphdr_syn);
  const packet_spec ecn = packet(". 1:1(0) ack 1 <ECN e1b 1 ceb 70000,nop,nop>");
  ASSERT_EQ(ecn.options.size(), 3u);
  EXPECT_TRUE(ecn.options[0].flag);
  EXPECT_EQ(ecn.options[0].counters, (std::vector<u32>{1, 70000}));
  EXPECT_FALSE(parse_script("x.pkt", "0 < . 1:1(0) ack 1 <ECN e0b 16777216>\n", {}));
}

TEST(times, count_from_now_and_are_less_exact_the_longer_the_wait) {
  expect_pass(on_connection("+0 write(4, ..., 10) = 10\n+.003 > P. 1:11(10) ack 1\n"
                            "+.02 < . 1:1(0) ack 11 win 65535\n"
                            "+0 %{ assert 19000 <= tcpi_rtt, tcpi_rtt }%\n"));
  // The timer of a lost segment: 200 ms and more after 100 ms of round trip.
  expect_pass(on_connection("+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n"
                            "+.29 > P. 1:11(10) ack 1\n"));
  EXPECT_EQ(on_connection("+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n"
                          "+.29 > P. 1:11(10) ack 1\n", "--tolerance_percent=1\n").result,
            outcome::fail);
}

TEST(calls, of_files_pipes_and_bad_buffers) {
  expect_pass(on_connection("+0 open(\"/tmp/zeros\", O_RDONLY) = 5\n"
                            "+0 sendfile(4, 5, [0], 100) = 100\n+0 > P. 1:101(100) ack 1\n"));
  expect_pass(on_connection("+0 pipe([5, 6]) = 0\n"
                            "+0 < U. 1:101(100) ack 1 win 257 urg 100\n"
                            "+0 splice(4, NULL, 6, NULL, 99, 0) = 99\n"
                            "+0 splice(4, NULL, 6, NULL, 1, 0) = 0\n"
                            "+0 splice(5, NULL, 4, NULL, 50, 0) = 50\n"
                            "* > P. 1:51(50) ack 101\n+0 close(5) = 0\n"));
  expect_pass(on_connection("+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n"
                            "+0 read(4, NULL, 10) = -1 EAGAIN\n"
                            "+0 < . 1:11(10) ack 1 win 257\n"
                            "+0 recv(4, NULL, 10, 0) = -1 EFAULT\n"
                            "+0 read(4, ..., 10) = 10\n"
                            "+0 send(4, NULL, 10, 0) = -1 EFAULT\n"));
  expect_pass(on_connection("+0 setsockopt(4, SOL_IP, IP_FREEBIND, [1], 4) = 0\n"
                            "+0 connect(4, AF_UNSPEC, ...) = 0\n"));
  expect_pass(on_connection(
      "+0 setsockopt(4, SOL_TCP, TCP_FASTOPEN_KEY, \"\\x01\\x02\\\"\"\n"
      "    \"\\n and more bytes\", 16) = 0\n"
      "+0 setsockopt(4, SOL_TCP, TCP_FASTOPEN_KEY, \"\", 3) = -1 (Invalid Argument)\n"));
}

TEST(shell_line, arithmetic_is_evaluated_and_the_rest_of_a_shell_refused) {
  const auto settings = command_settings(
      "sysctl -q net.ipv4.tcp_rmem=\"4096 $((128*1024)) $((1 << 20))\" # net.ipv4.x=1\n"
      "echo 0 > /proc/sys/net/ipv4/tcp_sack", {});
  ASSERT_EQ(settings.size(), 2u);
  EXPECT_EQ(settings[0].second, "4096 131072 1048576");
  EXPECT_EQ(settings[1], (std::pair<std::string, std::string>("net.ipv4.tcp_sack", "0")));
  EXPECT_THROW(command_settings("sysctl net.ipv4.tcp_sack=$SACK", {}), not_supported);
  EXPECT_THROW(command_settings("sysctl net.ipv4.tcp_sack=$((1 + x))", {}), not_supported);
  const run_report report = on_connection("+0 `sysctl -q net.ipv4.tcp_sack=$(cat f)`\n");
  EXPECT_EQ(report.result, outcome::skip);
  EXPECT_NE(report.reason.find("net.ipv4.tcp_sack"), std::string::npos) << report.reason;
}

TEST(shell_line, nstat_must_find_what_is_grepped) {
  expect_pass(on_connection("+0 `nstat | grep TcpPassiveOpens | grep -q \" 1 \"`\n"
                            "+0 < R. 1:1(0) ack 1 win 257\n"
                            "+0 `nstat -s | grep TcpEstabResets > /dev/null`\n"
                            "+0 `nstat -n`\n"));
  const run_report report = on_connection("+0 `nstat -n`\n+0 `nstat | grep TcpPassiveOpens`\n");
  EXPECT_EQ(report.result, outcome::fail) << "it shows what is new";
  EXPECT_EQ(on_connection("+0 `nstat | wc -l`\n").result, outcome::skip);
}

TEST(what_is_not_supported, is_said_by_name) {
  const std::pair<std::string, std::string> cases[] = {
      {"+0 < gre: . 1:1(0) ack 1\n", "gre"},
      {"+0 < 80 > 90 S 0:0(0) win 1\n", "ports"},
      {"+0 frobnicate(4) = 0\n", "frobnicate"},
      {"+0 setsockopt(4, SOL_TCP, TCP_NOT_THERE, [1], 4) = 0\n", "TCP_NOT_THERE"}};
  for (const auto& [events, name] : cases) {
    const run_report report = on_connection(events);
    EXPECT_EQ(report.result, outcome::skip) << events;
    EXPECT_NE(report.reason.find(name), std::string::npos) << report.reason;
  }
  EXPECT_EQ(on_connection("", "--no_such_option=1\n").result, outcome::skip);
  const run_report wrong = on_connection("+0 > . 9:9(0) ack 9\n", "`sysctl net.ipv4.no_such=1`\n");
  EXPECT_NE(wrong.reason.find("net.ipv4.no_such=1"), std::string::npos) << wrong.reason;
}

TEST(a_super_packet, arrives_whole) {
  expect_pass(on_connection("+0 < P. 1:10001(10000) ack 1 win 257\n+0 > . 1:1(0) ack 10001\n"
                            "+0 %{ assert tcpi_rcv_mss == 1000, tcpi_rcv_mss\n"
                            "assert SK_MEMINFO_RCVBUF > 10000 }%\n", "--mss=1000\n"));
}

}  // namespace
}  // namespace ph::packetdrill
