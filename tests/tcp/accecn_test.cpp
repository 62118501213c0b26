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
  static std::vector<u8> option(u32 e0b, u32 ceb, u32 e1b, std::optional<u32> tsval = {}) {
    tcp_out_options out;
    out.accecn = {true, 3, false, e0b, ceb, e1b};
    out.timestamps = tsval.has_value();
    out.tsval = tsval.value_or(0);
    return syn_options(out);
  }
  /// What the SYN+ACK of open() carries besides the option.
  tcp_out_options offers = plain();

  /// The host's SYN; then the peer's SYN+ACK with this ACE, mark and option.
  int open(u8 synack, u8 mark = not_ect, bool with_option = true) {
    const int fd = *sys_socket(a.app(), uapi::af_inet, uapi::sock_stream, 0);
    static_cast<void>(sys_connect(a.app(), fd, addr4(peer, peer_port)));
    settle();
    synack_to(synack, mark, with_option);
    return fd;
  }
  void synack_to(u8 synack, u8 mark, bool with_option) {
    const seen_segment syn = take();
    EXPECT_EQ(syn.flags, S | ECE | CWR);
    EXPECT_TRUE(syn.ae);
    EXPECT_FALSE(syn.options.accecn.present) << "RFC 9768 §3.2.3.2.1: none on a SYN";
    host_isn = syn.seq;
    host_port = syn.source;
    tcp_out_options options = offers;
    if (with_option) options.accecn = {true, 3, false, 1, 0, 1};
    say_synack(synack, mark, options);
  }
  void say_synack(u8 value, u8 mark, const tcp_out_options& options) {
    send_raw(static_cast<u8>(S | A | flags_of(value)), peer_isn, host_isn + 1, {},
             {65535, syn_options(options), 0, mark, (value & 4) != 0});
  }
  void say_syn(u8 value, u8 mark = not_ect) {
    send_raw(static_cast<u8>(S | flags_of(value)), peer_isn, seq32(0), {},
             {65535, syn_options(plain()), 0, mark, (value & 4) != 0});
  }
  /// A SYN of the peer that asks for it, with a mark.
  seen_segment answer_to(u8 mark, u8 value = 0b111) {
    if (listener < 0) listener = listening();
    say_syn(value, mark);
    const seen_segment out = take();
    host_isn = out.seq;
    return out;
  }
  /// The connection that the ACK of answer_to() made.
  int accept_it() { return sys_accept4(a.app(), listener, nullptr, 0).value_or(-1); }
  /// The data that the program writes now; the ECN field of the packet.
  u8 mark_of_data(int fd) {
    write(fd, one_segment);
    return take().ecn();
  }
  static constexpr std::string_view one_segment = "data of one segment";
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
  EXPECT_EQ(p.take().ecn(), not_ect) << "RFC 9768 §3.2.2.4";
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
  EXPECT_EQ(p.take().ecn(), not_ect) << "RFC 9768 §3.2.2.3";
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

TEST(tcp_accecn, combinations_kept_for_later_mean_accurate_ecn) {
  for (const u8 value : {0b001, 0b010, 0b100, 0b101, 0b110}) {
    accecn_peer p;
    EXPECT_EQ(ace(p.answer_to(not_ect, static_cast<u8>(value))), 0b010) << int{value};
  }
  accecn_peer q;
  const int fd = q.open(0b101);
  EXPECT_EQ(ace(q.take()), 0b010) << "RFC 9768 §3.1.3";
  EXPECT_EQ(q.mark_of_data(fd), ect0) << "as if the SYN had arrived unchanged";
  accecn_peer old("2");
  EXPECT_EQ(ace(old.answer_to(not_ect, 0b100)), 0) << "an old server reads only ECE and CWR";
}

TEST(tcp_accecn, the_latest_syn_is_fed_back_and_the_option_is_left_out_then) {
  accecn_peer p;
  EXPECT_EQ(ace(p.answer_to(ect0)), 0b100);
  p.advance(milliseconds(600));
  const seen_segment again = p.answer_to(ce);
  EXPECT_EQ(ace(again), 0b110) << "RFC 9768 §3.1.5";
  EXPECT_FALSE(again.options.accecn.present) << "RFC 9768 §3.2.3.2.2";
}

TEST(tcp_accecn, after_a_plain_syn_a_server_marks_nothing_but_tells_marks) {
  accecn_peer p;
  p.answer_to(not_ect);
  p.advance(milliseconds(600));
  EXPECT_EQ(ace(p.answer_to(not_ect, 0)), 0b010) << "the mode stays";
  p.say(A, 0, 0, "", 0b010);
  const int fd = p.accept_it();
  EXPECT_EQ(p.mark_of_data(fd), not_ect) << "RFC 9768 §3.1.5";
  p.say(A, 0, 19, "zz", 5, ce);
  EXPECT_EQ(ace(p.take()), 6);
}

TEST(tcp_accecn, after_a_plain_synack_a_server_marks_nothing) {
  accecn_peer p;
  p.answer_to(not_ect);
  p.advance(milliseconds(1100));
  const seen_segment second = p.take();
  EXPECT_EQ(ace(second), 0b010);
  EXPECT_FALSE(second.options.accecn.present);
  p.advance(milliseconds(2100));
  EXPECT_EQ(ace(p.take()), 0);
  p.say(A, 0, 0, "", 0b010);
  EXPECT_EQ(p.mark_of_data(p.accept_it()), not_ect);
}

TEST(tcp_accecn, syns_of_both_kinds_end_in_a_reset) {
  const std::pair<u8, u8> orders[] = {{0b111, 0b011}, {0b011, 0b111}};
  for (const auto& [first, second] : orders) {
    accecn_peer p;
    p.answer_to(not_ect, first);
    p.say_syn(second);
    const seen_segment reset = p.take();
    EXPECT_EQ(reset.flags, R | A) << "RFC 9768 §3.1.5";
    EXPECT_EQ(reset.ack_seq, p.peer_isn + 1);
    p.send(A, 0, 0);
    EXPECT_EQ(p.take().flags, R) << "nothing is left of it";
  }
  accecn_peer q;
  q.answer_to(not_ect, 0);
  q.advance(milliseconds(600));
  EXPECT_EQ(ace(q.answer_to(not_ect, 0b111)), 0) << "who began without stays without";
}

TEST(tcp_accecn, marks_count_although_something_mangles_them) {
  accecn_peer p;
  const int fd = p.open(0b011);
  p.take();
  EXPECT_EQ(p.mark_of_data(fd), not_ect);
  p.say(A, 0, 19, "", 6);
  EXPECT_EQ(p.info(fd).tcpi_delivered_ce, 1u) << "RFC 9768 §3.2.2.3";
  accecn_peer q;
  q.a.sysctl("net.ipv4.tcp_ecn_fallback", "0");
  const int trusting = q.open(0b011);
  q.take();
  EXPECT_EQ(q.mark_of_data(trusting), ect0);
}

TEST(tcp_accecn, a_synack_that_comes_again_is_answered_by_how_it_came) {
  accecn_peer p;
  const int fd = p.open(0b010);
  EXPECT_EQ(ace(p.take()), 0b010);
  p.write(fd, one);
  EXPECT_EQ(ace(p.take()), 5);
  p.say_synack(0b010, ce, p.offers);
  EXPECT_EQ(ace(p.expect(A | CWR, 900, 0)), 0b110);
  p.advance(milliseconds(600));
  p.say_synack(0b010, ce, p.offers);
  EXPECT_EQ(ace(p.take()), 0b110);
  p.write(fd, one);
  EXPECT_EQ(ace(p.take()), 6) << "RFC 9768 §3.2.2.2: counted once";
}

TEST(tcp_accecn, data_that_wait_do_not_hide_how_the_synack_came) {
  accecn_peer p;
  const int fd = *sys_socket(p.a.app(), uapi::af_inet, uapi::sock_stream, 0);
  p.set(fd, uapi::sol_tcp, uapi::tcp_defer_accept, 1);  // a client's ACK waits for its data
  static_cast<void>(sys_connect(p.a.app(), fd, addr4(p.peer, p.peer_port)));
  p.settle();
  p.synack_to(0b010, ect1, true);
  EXPECT_EQ(ace(p.take()), 0b011) << "RFC 9768 §3.2.2.1";
  p.write(fd, one);
  EXPECT_EQ(ace(p.take()), 5);
}

/// `first` segments of ten are acknowledged, then the others, with a counter that did not move.
u32 believed_marks(int first) {
  accecn_peer p;
  const int fd = p.open(0b010, not_ect, false);
  p.take();
  p.write(fd, std::string(10'000, 'x'));
  EXPECT_EQ(p.sent.size(), 10u);
  p.say(A, 0, 1000 * first, "", 5);
  p.say(A, 0, 10'000, "", 5);
  return p.info(fd).tcpi_delivered_ce;
}

TEST(tcp_accecn, a_counter_may_have_wrapped_while_acknowledgements_were_lost) {
  EXPECT_EQ(believed_marks(1), 8u) << "RFC 9768 §3.2.2.5.2: the safest likely case";
  EXPECT_EQ(believed_marks(4), 0u) << "six segments cannot hide eight marks";
}

TEST(tcp_accecn, who_always_acknowledges_much_at_once_does_not_lose_acknowledgements) {
  accecn_peer p;
  const int fd = p.open(0b010, not_ect, false);
  p.take();
  p.write(fd, std::string(10'000, 'x'));
  p.say(A, 0, 10'000, "", 6);
  EXPECT_EQ(p.info(fd).tcpi_delivered_ce, 1u);
}

TEST(tcp_accecn, an_acknowledgement_that_says_nothing_new_may_be_an_old_one) {
  accecn_peer p;
  p.offers.timestamps = true;
  p.offers.tsval = 10;
  const int fd = p.open(0b010);
  p.take();
  p.write(fd, one);
  p.take();
  p.say(A, 0, 0, "", 6, not_ect, p.option(1, 900, 1, 10));
  EXPECT_EQ(p.info(fd).tcpi_delivered_ce, 0u) << "RFC 9768 appendix A.1";
  p.say(A, 0, 0, "", 6, not_ect, p.option(1, 900, 1, 11));
  EXPECT_EQ(p.info(fd).tcpi_delivered_ce, 1u) << "its timestamp is newer";
}

TEST(tcp_accecn, marked_bytes_without_a_marked_packet_are_an_invention) {
  accecn_peer p;
  const int fd = p.open(0b010);
  p.take();
  EXPECT_EQ(p.mark_of_data(fd), ect0);
  p.say(A, 0, 19, "", 5, not_ect, p.option(1, 19, 1));
  EXPECT_EQ(p.mark_of_data(fd), not_ect) << "RFC 9768 §3.2.3.2.5";
}

TEST(tcp_accecn, an_option_of_any_length_is_read_as_far_as_it_goes) {
  accecn_peer p;
  const int fd = p.open(0b010);
  p.take();
  p.write(fd, one);
  p.take();
  // Kind 172, seven octets: EE0B and half of ECEB.
  p.say(A, 0, 900, "", 5, not_ect, {172, 7, 0, 3, 133, 0, 0, 1});
  p.write(fd, one);
  EXPECT_EQ(p.take().ecn(), ect0);
  EXPECT_EQ(p.info(fd).tcpi_delivered_ce, 0u);
}

/// A connection of two-way timestamps and SACK, where the peer's segments come with holes.
struct holes : accecn_peer {
  holes() {
    offers = with_sack();
    offers.timestamps = true;
    offers.tsval = 1;
    fd = open(0b010);
    take();
  }
  tcp_options_received after(s64 seq, u8 mark) {
    tcp_out_options stamp;
    stamp.timestamps = true;
    stamp.tsval = ++clock;
    say(A, seq, 0, one, 5, mark, syn_options(stamp));
    return take().options;
  }
  int fd = -1;
  u32 clock = 1;
};

TEST(tcp_accecn, two_sack_blocks_go_before_the_option_and_the_option_before_a_third) {
  holes p;
  const auto first = p.after(1000, ect1);
  EXPECT_EQ(first.accecn.fields, 3);
  EXPECT_EQ(first.num_sacks, 1);
  const auto second = p.after(3000, ect1);
  EXPECT_EQ(second.accecn.fields, 2);
  EXPECT_TRUE(second.accecn.ect1_first);
  EXPECT_EQ(second.num_sacks, 2);
  const auto third = p.after(5000, ce);
  EXPECT_EQ(third.accecn.ceb, 900u);
  EXPECT_EQ(third.num_sacks, 2) << "of three";
  const auto fourth = p.after(7000, ect0);
  EXPECT_FALSE(fourth.accecn.present) << "all three counters do not fit beside two blocks";
  EXPECT_EQ(fourth.num_sacks, 3);
}

TEST(tcp_accecn, an_option_that_does_not_pass_is_given_up) {
  for (const bool stubborn : {false, true}) {
    accecn_peer p;
    p.a.sysctl("net.ipv4.tcp_ecn_option", stubborn ? "3" : "2");
    p.offers = p.with_sack();
    p.open(0b010);
    p.take();
    p.say(A, 0, 0, one, 5, ect0);
    EXPECT_TRUE(p.take().options.accecn.present);
    p.say(A, 0, 0, one, 5, ect0);
    EXPECT_TRUE(p.take().options.accecn.present) << "once may be chance";
    p.say(A, 0, 0, one, 5, ect0);
    EXPECT_EQ(p.take().options.accecn.present, stubborn) << "RFC 9768 §3.2.3.2.2";
    p.say(A, 900, 0, one, 5, ect0);
    EXPECT_EQ(p.take().options.accecn.present, stubborn);
  }
}

TEST(tcp_accecn, the_first_data_are_repeated_without_the_option) {
  accecn_peer p;
  const int fd = p.open(0b010);
  p.take();
  p.write(fd, one);
  EXPECT_TRUE(p.take().options.accecn.present);
  p.advance(seconds(4));
  while (p.sent.size() > 1) p.take();
  EXPECT_FALSE(p.take().options.accecn.present) << "RFC 9768 §3.2.3.2.2";
}

TEST(tcp_accecn, a_sparing_sender_of_the_option_has_a_beacon) {
  for (const char* beacon : {"0", "3"}) {
    accecn_peer p;
    p.a.sysctl("net.ipv4.tcp_ecn_option", "1");
    p.a.sysctl("net.ipv4.tcp_ecn_option_beacon", beacon);
    const int fd = p.open(0b010);
    EXPECT_TRUE(p.take().options.accecn.present) << "at the handshake";
    p.write(fd, one);
    EXPECT_TRUE(p.take().options.accecn.present) << "and with the first data";
    p.say(A, 0, 900, "aa", 5, ect0);
    EXPECT_TRUE(p.take().options.accecn.present) << "a counter moves";
    p.say(A, 2, 900, "bb", 5, ect0);
    EXPECT_TRUE(p.take().options.accecn.present) << "twice";
    p.say(A, 4, 900, "cc", 5, ect0);
    p.take();
    p.advance(seconds(3));
    p.say(A, 6, 900, "dd", 5, ect0);
    EXPECT_EQ(p.take().options.accecn.present, beacon[0] == '3');
  }
}

/// §5.1: cookie and timestamp have one bit for ECN of either kind.
TEST(tcp_accecn, behind_a_cookie_the_ack_tells_which_kind_it_is) {
  struct row {
    bool accurate;     ///< the SYN asks for it
    u8 synack, ack;    ///< ACE
    u8 data;           ///< ACE of what the host sends then
  };
  for (const row& r : {row{true, 0b010, 0b010, 5}, row{true, 0b010, 0b011, 5},
                       row{false, 0b001, 0b000, 0}}) {
    accecn_peer p;
    p.a.sysctl("net.ipv4.tcp_syncookies", "2");
    p.listener = p.listening();
    tcp_out_options options = p.plain();
    options.timestamps = true;
    options.tsval = 1000;
    p.send_raw(S | ECE | CWR, p.peer_isn, seq32(0), {},
               {65535, p.syn_options(options), 0, not_ect, r.accurate});
    const seen_segment answer = p.take();
    EXPECT_EQ(ace(answer), r.synack);
    p.host_isn = answer.seq;
    tcp_out_options stamp;
    stamp.timestamps = true;
    stamp.tsval = 1001;
    stamp.tsecr = answer.options.rcv_tsval;
    p.say(A, 0, 0, {}, r.ack, not_ect, p.syn_options(stamp));
    const int fd = p.accept_it();
    EXPECT_TRUE(p.agreed(fd));
    p.write(fd, p.one_segment);
    EXPECT_EQ(ace(p.take()), r.data) << int{r.ack};
  }
}

TEST(tcp_accecn, a_marked_syn_shrinks_the_first_window) {
  accecn_peer p;
  p.a.sysctl("net.ipv4.tcp_congestion_control", "dctcp");
  const int fd = p.open(0b110, ect0);  // SYNs of DCTCP are ECT(0), so they may become CE
  p.take();
  EXPECT_EQ(p.info(fd).tcpi_delivered_ce, 1u) << "RFC 9768 §3.2.2.2";
  EXPECT_EQ(p.info(fd).tcpi_ca_state, static_cast<u8>(uapi::tcp_ca_state::cwr));
  EXPECT_EQ(p.mark_of_data(fd), ect0);
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
