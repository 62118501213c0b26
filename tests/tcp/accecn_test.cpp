// Accurate ECN, RFC 9768: the handshake's tables, the counters, and paths that spoil them.
#include "net/tcp/tcp_accecn.h"

#include "tests/sim/scenario.h"
#include "tests/tcp/segment_peer.h"

namespace ph {
namespace {

constexpr u8 not_ect = uapi::iptos_ecn_not_ect, ect1 = uapi::iptos_ecn_ect1,
             ect0 = uapi::iptos_ecn_ect0, ce = uapi::iptos_ecn_ce;

u8 ace(const seen_segment& s) {
  return static_cast<u8>((s.ae ? 4 : 0) | ((s.flags & CWR) != 0 ? 2 : 0) |
                         ((s.flags & ECE) != 0 ? 1 : 0));
}

struct accecn_peer : segment_peer {
  explicit accecn_peer(const char* setting = "3") { a.sysctl("net.ipv4.tcp_ecn", setting); }

  static u8 flags_of(u8 value) {
    return static_cast<u8>(((value & 2) != 0 ? CWR : 0) | ((value & 1) != 0 ? ECE : 0));
  }
  void say(u8 flags, s64 seq, s64 ack, std::string_view payload, u8 value, u8 mark = not_ect,
           std::vector<u8> options = {}) {
    send(static_cast<u8>(flags | flags_of(value)), seq, ack, payload,
         {65535, std::move(options), 0, mark, (value & 4) != 0});
  }
  static std::vector<u8> option(u32 e0b, u32 ceb, u32 e1b) {
    tcp_out_options out;
    out.accecn = {true, 3, false, e0b, ceb, e1b};
    return syn_options(out);
  }
  /// The host's SYN; then the peer's SYN+ACK with this ACE, mark and option.
  int open(u8 synack, u8 mark = not_ect, bool with_option = true) {
    const int fd = *sys_socket(a.app(), uapi::af_inet, uapi::sock_stream, 0);
    static_cast<void>(sys_connect(a.app(), fd, addr4(peer, peer_port)));
    settle();
    const seen_segment syn = take();
    EXPECT_EQ(syn.flags, S | ECE | CWR);
    EXPECT_TRUE(syn.ae);
    EXPECT_FALSE(syn.options.accecn.present) << "RFC 9768 §3.2.3.3: none on a SYN";
    host_isn = syn.seq;
    host_port = syn.source;
    tcp_out_options options = plain();
    if (with_option) options.accecn = {true, 3, false, 1, 0, 1};
    send_raw(static_cast<u8>(S | A | flags_of(synack)), peer_isn, host_isn + 1, {},
             {65535, syn_options(options), 0, mark, (synack & 4) != 0});
    return fd;
  }
  /// A SYN of the peer that asks for it, with a mark.
  seen_segment answer_to(u8 mark) {
    if (listener < 0) listener = listening();
    send_raw(S | ECE | CWR, peer_isn, seq32(0), {},
             {65535, syn_options(plain()), 0, mark, true});
    const seen_segment out = take();
    host_isn = out.seq;
    return out;
  }
  bool agreed(int fd) { return (info(fd).tcpi_options & uapi::tcpi_opt_ecn) != 0; }
};

const std::string one(900, 'x');

TEST(tcp_accecn, a_synack_tells_how_the_syn_arrived) {
  const std::pair<u8, u8> table[] = {{not_ect, 0b010}, {ect1, 0b011}, {ect0, 0b100}, {ce, 0b110}};
  for (const auto& [mark, value] : table) {
    accecn_peer p;
    const seen_segment answer = p.answer_to(mark);
    EXPECT_EQ(ace(answer), value) << int{mark};
    EXPECT_TRUE(answer.options.accecn.present);
    EXPECT_EQ(answer.options.accecn.e0b, 1u);
    EXPECT_EQ(answer.options.accecn.ceb, 0u);
    EXPECT_EQ(answer.options.accecn.e1b, 1u);
  }
}

TEST(tcp_accecn, the_ack_tells_how_the_synack_arrived) {
  const std::pair<u8, u8> table[] = {{not_ect, 0b010}, {ect1, 0b011}, {ect0, 0b100}, {ce, 0b110}};
  for (const auto& [mark, value] : table) {
    accecn_peer p;
    p.open(0b010, mark);
    const seen_segment ack = p.take();
    EXPECT_EQ(ace(ack), value) << int{mark};
    EXPECT_TRUE(ack.options.accecn.present);
  }
}

TEST(tcp_accecn, who_does_not_speak_it_is_spoken_to_as_before) {
  accecn_peer p;
  const int fd = p.open(0b001);  // RFC 3168
  EXPECT_EQ(p.take().flags, A);
  EXPECT_TRUE(p.agreed(fd));
  p.write(fd, one);
  EXPECT_EQ(p.expect(A, 0, 0, 900).ecn(), ect0);
  p.send(A, 0, 900, "a", {65535, {}, 0, ce});
  EXPECT_EQ(p.take().flags, A | ECE) << "the echo of RFC 3168";
  accecn_peer q;
  const int none = q.open(0b000, not_ect, false);
  EXPECT_EQ(q.take().flags, A);
  EXPECT_FALSE(q.agreed(none));
  accecn_peer r;
  const int reflected = r.open(0b111, not_ect, false);
  EXPECT_EQ(r.take().flags, A);
  EXPECT_FALSE(r.agreed(reflected));
}

TEST(tcp_accecn, an_old_client_is_answered_in_the_old_way) {
  accecn_peer p;
  p.listener = p.listening();
  p.send_raw(S | ECE | CWR, p.peer_isn, seq32(0), {}, {65535, p.syn_options(p.plain())});
  const seen_segment answer = p.take();
  EXPECT_EQ(answer.flags, S | A | ECE);
  EXPECT_FALSE(answer.ae);
}

TEST(tcp_accecn, an_old_server_sees_only_what_it_knows) {
  accecn_peer p("2");
  const seen_segment answer = p.answer_to(not_ect);
  EXPECT_EQ(answer.flags, S | A | ECE);
  EXPECT_FALSE(answer.ae);
}

TEST(tcp_accecn, a_lost_syn_asks_once_more_and_then_no_more) {
  accecn_peer p;
  const int fd = *sys_socket(p.a.app(), uapi::af_inet, uapi::sock_stream, 0);
  static_cast<void>(sys_connect(p.a.app(), fd, addr4(p.peer, p.peer_port)));
  p.settle();
  EXPECT_EQ(ace(p.take()), 0b111);
  p.advance(milliseconds(1100));
  EXPECT_EQ(ace(p.take()), 0b111) << "RFC 9768 §3.1.4.1";
  p.advance(milliseconds(2100));
  EXPECT_EQ(ace(p.take()), 0);
}

TEST(tcp_accecn, marks_are_counted_from_five) {
  accecn_peer p;
  p.open(0b010);
  p.take();
  p.say(A, 0, 0, "aa", 5, ect0);
  const seen_segment first = p.take();
  EXPECT_EQ(ace(first), 5);
  EXPECT_EQ(first.options.accecn.e0b, 3u);
  p.say(A, 2, 0, "bbb", 5, ce);
  const seen_segment second = p.take();
  EXPECT_EQ(ace(second), 6);
  EXPECT_EQ(second.options.accecn.ceb, 3u);
  EXPECT_EQ(second.options.accecn.e0b, 3u);
  p.say(A, 5, 0, "c", 5, ce);
  EXPECT_EQ(ace(p.take()), 7);
  p.say(A, 6, 0, "d", 5, ce);
  EXPECT_EQ(ace(p.take()), 0) << "three bits";
}

TEST(tcp_accecn, reported_marks_shrink_the_window_and_are_counted) {
  accecn_peer p;
  const int fd = p.open(0b010);
  p.take();
  const u32 before = p.info(fd).tcpi_snd_cwnd;
  p.write(fd, std::string(3600, 'x'));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(p.take().ecn(), ect0);
  p.say(A, 0, 1800, "", 5 + 2, not_ect, p.option(1, 1800, 1));
  EXPECT_EQ(p.info(fd).tcpi_delivered_ce, 2u);
  EXPECT_EQ(p.info(fd).tcpi_ca_state, static_cast<u8>(uapi::tcp_ca_state::cwr));
  EXPECT_LT(p.info(fd).tcpi_snd_ssthresh, before);
  p.say(A, 0, 3600, "", 5 + 2, not_ect, p.option(1801, 1800, 1));
  EXPECT_EQ(p.info(fd).tcpi_delivered_ce, 2u) << "nothing new";
}

TEST(tcp_accecn, a_counter_of_zero_after_the_handshake_means_that_it_is_wiped) {
  accecn_peer p;
  const int fd = p.open(0b010);
  p.take();
  p.write(fd, one);
  EXPECT_EQ(p.take().ecn(), ect0);
  p.say(A, 0, 900, "", 0);
  EXPECT_EQ(p.info(fd).tcpi_delivered_ce, 0u);
  p.write(fd, one);
  EXPECT_EQ(p.take().ecn(), not_ect) << "RFC 9768 §3.2.2.3";
  p.say(A, 0, 1800, "zz", 0, ce);
  EXPECT_EQ(ace(p.take()), 6) << "feedback goes on";
}

TEST(tcp_accecn, a_server_notices_the_same_in_the_third_ack) {
  accecn_peer p;
  p.answer_to(not_ect);
  p.say(A, 0, 0, "", 0);
  const int fd = *sys_accept4(p.a.app(), p.listener, nullptr, 0);
  p.write(fd, one);
  EXPECT_EQ(p.take().ecn(), not_ect);
}

TEST(tcp_accecn, a_field_that_changed_on_the_way_is_not_trusted) {
  accecn_peer p;
  const int fd = p.open(0b011);  // our SYN is said to have arrived with ECT(1)
  p.take();
  p.write(fd, one);
  EXPECT_EQ(p.take().ecn(), not_ect) << "RFC 9768 §3.2.2.4";
}

TEST(tcp_accecn, the_option_is_sent_only_to_who_sends_it) {
  accecn_peer p;
  const int fd = p.open(0b010, not_ect, false);
  EXPECT_FALSE(p.take().options.accecn.present);
  p.say(A, 0, 0, "aa", 5, ce);
  const seen_segment ack = p.take();
  EXPECT_EQ(ace(ack), 6);
  EXPECT_FALSE(ack.options.accecn.present);
  EXPECT_TRUE(p.agreed(fd));
}

TEST(tcp_accecn, segments_leave_room_for_the_option) {
  accecn_peer p;
  const int fd = p.open(0b010);
  p.take();
  p.write(fd, std::string(1000, 'x'));
  EXPECT_EQ(p.take().payload.size(), 1000u - 12);
}

TEST(tcp_accecn, by_setting_the_option_stays_away) {
  accecn_peer p;
  p.a.sysctl("net.ipv4.tcp_ecn_option", "0");
  EXPECT_FALSE(p.answer_to(not_ect).options.accecn.present);
}

TEST(tcp_accecn, two_hosts_agree_on_every_mark) {
  using namespace sim;
  for (const char* algorithm : {"cubic", "dctcp"}) {
    world w;
    make_pair_of_hosts(w, {.rate = 20_mbit, .delay = 5_ms, .queue_packets = 200,
                           .ecn_threshold = 20});
    for (const char* name : {"a", "b"}) {
      w.host_at(name).set_sysctl("net.ipv4.tcp_ecn", "3");
      w.host_at(name).set_sysctl("net.ipv4.tcp_congestion_control", algorithm);
    }
    w.spawn("b", "checker", stream_checker(80, 8'000'000));
    w.spawn("a", "sender", stream_sender("10.0.0.2:80", 8'000'000));
    w.run_apps();
    EXPECT_EQ(w.host_at("a").counter("TcpRetransSegs"), 0u) << algorithm;
    EXPECT_GT(w.host_at("b").counter("IpExtInCEPkts"), 0u);
    EXPECT_EQ(w.host_at("a").counter("TcpExtTCPDeliveredCE"),
              w.host_at("b").counter("IpExtInCEPkts"))
        << algorithm;
  }
}

}  // namespace
}  // namespace ph
