// The two queues of a listener and what happens when they are full: listen(2), tcp(7), and the
// settings tcp_max_syn_backlog, tcp_syncookies, tcp_abort_on_overflow and somaxconn.
#include <gtest/gtest.h>

#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

/// A peer that opens connections from many ports.
struct crowd : segment_peer {
  explicit crowd(int backlog, int cookies = 0) {
    a.sysctl("net.ipv4.tcp_syncookies", std::to_string(cookies));
    listener = listening(backlog);
  }
  /// A SYN from a port; what the host answered, if anything.
  std::optional<seen_segment> syn(u16 port) {
    peer_port = port;
    send_raw(S, peer_isn, seq32(0), {}, {65535, syn_options(plain())});
    if (sent.empty()) return std::nullopt;
    const seen_segment answer = take();
    host_isn = answer.seq;
    isn_of[port] = answer.seq;
    return answer;
  }
  /// The ACK that completes it.
  void ack(u16 port) {
    peer_port = port;
    host_isn = isn_of[port];
    send(A, 0, 0);
  }
  bool open(u16 port) {
    const auto answer = syn(port);
    if (!answer || answer->flags != (S | A)) return false;
    ack(port);
    return true;
  }
  [[nodiscard]] bool acceptable() {
    const auto fd = sys_accept4(a.app(), listener, nullptr, 0);
    EXPECT_TRUE(fd || fd.error() == errc::again);
    return fd.has_value();
  }
  std::map<u16, seq32> isn_of;
};

TEST(tcp_listen, somaxconn_bounds_the_backlog) {
  crowd c(1);
  c.a.sysctl("net.core.somaxconn", "2");
  ASSERT_TRUE(sys_listen(c.a.app(), c.listener, 100));
  for (u16 port = 1; port <= 3; ++port) EXPECT_TRUE(c.open(port));
  EXPECT_FALSE(c.open(4));
  // A negative backlog means the limit; a larger limit is granted, too.
  c.a.sysctl("net.core.somaxconn", "5000");
  ASSERT_TRUE(sys_listen(c.a.app(), c.listener, -1));
  EXPECT_TRUE(c.open(5));
}

TEST(tcp_listen, a_syn_is_dropped_while_the_accept_queue_is_full) {
  crowd c(1);
  EXPECT_TRUE(c.open(1));
  EXPECT_TRUE(c.open(2));
  EXPECT_FALSE(c.syn(3));
  EXPECT_EQ(c.a.mib(mib::tcpext_listen_overflows), 1u);
  EXPECT_EQ(c.a.mib(mib::tcpext_listen_drops), 1u);
  EXPECT_EQ(c.a.drops(drop_reason::tcp_listen_overflow), 1u);
  EXPECT_TRUE(c.acceptable());
  EXPECT_TRUE(c.syn(3));
}

TEST(tcp_listen, a_last_ack_is_ignored_while_the_accept_queue_is_full) {
  crowd c(1);
  for (u16 port = 1; port <= 2; ++port) EXPECT_TRUE(c.syn(port));
  // One more than the backlog may be half open.
  c.ack(1);
  EXPECT_TRUE(c.syn(3));
  c.ack(2);
  c.ack(3);
  c.expect_nothing();
  EXPECT_EQ(c.a.mib(mib::tcpext_listen_overflows), 1u);
  EXPECT_EQ(c.a.mib(mib::tcpext_listen_drops), 1u);
  // The host reminds the peer, whose answer comes when there is room.
  c.advance(milliseconds(1100));
  EXPECT_EQ(c.take().flags, S | A);
  EXPECT_TRUE(c.acceptable());
  c.ack(3);
  EXPECT_TRUE(c.acceptable());
  EXPECT_TRUE(c.acceptable());
  EXPECT_FALSE(c.acceptable());
}

TEST(tcp_listen, abort_on_overflow_answers_with_reset) {
  crowd c(1);
  c.a.sysctl("net.ipv4.tcp_abort_on_overflow", "1");
  for (u16 port = 1; port <= 2; ++port) EXPECT_TRUE(c.syn(port));
  c.ack(1);
  EXPECT_TRUE(c.syn(3));
  c.ack(2);
  c.ack(3);
  EXPECT_EQ(c.take().flags, R);
  EXPECT_EQ(c.a.mib(mib::tcpext_listen_overflows), 1u);
  EXPECT_EQ(c.a.mib(mib::tcpext_embryonic_rsts), 1u);
  EXPECT_EQ(tcp_of(c.a.net()).ehash.size(), 2u);
}

TEST(tcp_listen, the_syn_queue_holds_one_more_than_the_backlog) {
  crowd c(3);
  for (u16 port = 1; port <= 4; ++port) EXPECT_TRUE(c.syn(port)) << port;
  EXPECT_FALSE(c.syn(5));
  EXPECT_EQ(c.a.mib(mib::tcpext_tcp_req_q_full_drop), 1u);
  EXPECT_EQ(c.a.mib(mib::tcpext_listen_drops), 1u);
  EXPECT_EQ(c.a.mib(mib::tcpext_listen_overflows), 0u);
  EXPECT_EQ(c.a.drops(drop_reason::tcp_syn_queue_full), 1u);
}

TEST(tcp_listen, the_last_quarter_of_max_syn_backlog_is_for_known_hosts) {
  crowd c(100);
  c.a.sysctl("net.ipv4.tcp_max_syn_backlog", "8");
  u16 port = 1;
  while (port < 50 && c.syn(port)) ++port;
  // 8 - 7 < 8 / 4: the eighth is refused.
  EXPECT_EQ(port, 8);
  EXPECT_EQ(c.a.mib(mib::tcpext_tcp_req_q_full_drop), 0u);
  EXPECT_EQ(c.a.mib(mib::tcpext_listen_drops), 1u);
  // One of them turns out to be real. That is not enough to be known; ending well is.
  c.ack(1);
  EXPECT_TRUE(c.syn(100));
  EXPECT_FALSE(c.syn(101));
  c.peer_port = 1;
  c.host_isn = c.isn_of[1];
  c.send(R, 0, 0);
  EXPECT_TRUE(c.syn(101));
}

TEST(tcp_listen, old_requests_make_room_for_young_ones) {
  crowd c(16);
  for (u16 port = 1; port <= 12; ++port) EXPECT_TRUE(c.syn(port));
  c.sent.clear();
  c.advance(seconds(1 + 2) + milliseconds(100));
  EXPECT_EQ(c.sent.size(), 2 * 12u);
  c.sent.clear();
  // More than half of the queue, and none of them young: instead of a third reminder they are
  // given up, until half of the queue is free.
  c.advance(seconds(4));
  EXPECT_EQ(c.sent.size(), 8u);
  EXPECT_EQ(tcp_of(c.a.net()).ehash.size(), 8u);
  c.advance(seconds(57));
  EXPECT_EQ(tcp_of(c.a.net()).ehash.size(), 0u);
}

TEST(tcp_listen, fewer_requests_are_reminded_as_often_as_tcp_synack_retries_says) {
  crowd c(16);
  for (u16 port = 1; port <= 4; ++port) EXPECT_TRUE(c.syn(port));
  c.sent.clear();
  c.advance(seconds(62));
  EXPECT_EQ(c.sent.size(), 4 * 5u);
  EXPECT_EQ(tcp_of(c.a.net()).ehash.size(), 4u);
  c.advance(seconds(2));
  EXPECT_EQ(tcp_of(c.a.net()).ehash.size(), 0u);
}

TEST(tcp_listen, a_repeated_syn_is_answered_at_most_twice_a_second) {
  crowd c(16);
  EXPECT_TRUE(c.syn(1));
  EXPECT_TRUE(c.syn(1));
  EXPECT_FALSE(c.syn(1));
  EXPECT_EQ(c.a.mib(mib::tcpext_tcp_ack_skipped), 1u);
  c.advance(milliseconds(501));
  EXPECT_TRUE(c.syn(1));
  // Each answer starts the wait anew.
  c.advance(milliseconds(900));
  c.expect_nothing();
  c.advance(milliseconds(200));
  EXPECT_EQ(c.take().flags, S | A);
}

/// RFC 7323 §5.4: the echo is of a timestamp that one of the SYN+ACKs carried.
TEST(tcp_listen, an_ack_that_echoes_another_time_completes_no_handshake) {
  segment_peer p;
  p.listener = p.listening();
  tcp_out_options options = p.plain();
  options.timestamps = true;
  options.tsval = 1000;
  const u32 told = p.begin_passive(options).options.rcv_tsval;
  options = {};
  options.timestamps = true;
  options.tsval = 1001;
  for (const u32 wrong : {told - 1, told + 1, told + 5000}) {
    options.tsecr = wrong;
    p.send(A, 0, 0, {}, {65535, p.syn_options(options)});
  }
  p.expect(A, 0, 0);  // one answer in tcp_invalid_ratelimit
  p.expect_nothing();
  EXPECT_EQ(p.a.drops(drop_reason::tcp_tsecr), 3u);
  EXPECT_EQ(p.a.mib(mib::tcpext_tsecr_rejected), 3u);
  EXPECT_EQ(sys_accept4(p.a.app(), p.listener, nullptr, 0).error(), errc::again);
  // The SYN+ACK goes again: either may be echoed, and what lies between.
  p.advance(seconds(1));
  EXPECT_EQ(p.take().options.rcv_tsval, told + 1000);
  options.tsecr = told + 500;
  p.send(A, 0, 0, {}, {65535, p.syn_options(options)});
  EXPECT_TRUE(sys_accept4(p.a.app(), p.listener, nullptr, 0));
}

/// RFC 7413 §5.1: the victims of forged SYNs reset what they did not begin, and that must not make
/// room for the next forged one at once.
TEST(tcp_listen, a_child_that_was_reset_counts_against_fast_open_for_a_minute) {
  segment_peer p;
  p.a.sysctl("net.ipv4.tcp_fastopen", "514");
  p.listener = p.listening();
  p.set(p.listener, sol_tcp, tcp_fastopen, 1);
  const auto opens_at_once = [&](u16 port) {
    p.peer_port = port;
    p.send_raw(S, p.peer_isn, seq32(0), bytes_of(std::string_view("data")),
               {65535, p.syn_options(p.plain())});
    const seen_segment answer = p.take();
    p.host_isn = answer.seq;
    return p.ack_of(answer) == 4;
  };
  EXPECT_TRUE(opens_at_once(1001));
  p.send(R, 4, 0);
  EXPECT_FALSE(opens_at_once(1002));
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_fast_open_listen_overflow), 1u);
  p.advance(seconds(61));
  p.sent.clear();
  EXPECT_TRUE(opens_at_once(1003));
}

// --- SYN cookies --------------------------------------------------------------------------------

TEST(tcp_syncookies, a_full_queue_is_helped_out_with_cookies) {
  crowd c(0, 1);
  EXPECT_TRUE(c.syn(1));
  const auto answer = c.syn(2);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->flags, S | A);
  EXPECT_EQ(c.a.mib(mib::tcpext_tcp_req_q_full_do_cookies), 1u);
  EXPECT_EQ(c.a.mib(mib::tcpext_syncookies_sent), 1u);
  EXPECT_EQ(c.a.mib(mib::tcpext_listen_drops), 0u);
  EXPECT_EQ(tcp_of(c.a.net()).ehash.size(), 1u);
  c.ack(2);
  EXPECT_EQ(c.a.mib(mib::tcpext_syncookies_recv), 1u);
  EXPECT_TRUE(c.acceptable());
  c.expect_nothing();
}

TEST(tcp_syncookies, nothing_is_kept_and_nothing_is_repeated) {
  crowd c(5, 2);
  EXPECT_TRUE(c.syn(1));
  EXPECT_EQ(tcp_of(c.a.net()).ehash.size(), 0u);
  c.advance(seconds(30));
  c.expect_nothing();
  c.ack(1);
  EXPECT_TRUE(c.acceptable());
}

TEST(tcp_syncookies, the_connection_is_a_whole_one) {
  crowd c(5, 2);
  EXPECT_TRUE(c.syn(1));
  c.send(A | P, 0, 0, "first");  // the ACK got lost, the data tell as much
  const int fd = *sys_accept4(c.a.app(), c.listener, nullptr, 0);
  c.sent.clear();
  EXPECT_EQ(c.read(fd), "first");
  EXPECT_EQ(c.write(fd, "second"), 6u);
  c.expect(A, 0, 5, 6);
  c.send(F | A, 5, 6);
  c.close(fd);
  c.sent.clear();
  c.send(A, 6, 7);
  EXPECT_EQ(tcp_of(c.a.net()).ehash.size(), 0u);
}

TEST(tcp_syncookies, mss_is_the_largest_that_a_cookie_can_say) {
  for (const auto& [offered, kept] : {std::pair(100, 536), std::pair(536, 536),
                                      std::pair(1299, 536), std::pair(1300, 1300),
                                      std::pair(1459, 1440), std::pair(9000, 1460)}) {
    crowd c(5, 2);
    tcp_out_options options;
    options.mss = static_cast<u16>(offered);
    c.begin_passive(options);
    c.send(A, 0, 0);
    const int fd = *sys_accept4(c.a.app(), c.listener, nullptr, 0);
    c.write(fd, std::string(4000, 'x'));
    // An MSS below all of the four is forgotten: 536 must do, as without the option.
    EXPECT_EQ(c.take().payload.size(), static_cast<std::size_t>(kept)) << offered;
  }
}

TEST(tcp_syncookies, without_timestamps_the_options_are_not_offered) {
  crowd c(5, 2);
  tcp_out_options options = c.with_sack();
  options.wscale_ok = true;
  options.wscale = 7;
  const seen_segment answer = c.begin_passive(options);
  EXPECT_FALSE(answer.options.sack_ok);
  EXPECT_FALSE(answer.options.wscale_ok);
  EXPECT_FALSE(answer.options.saw_tstamp);
  EXPECT_EQ(answer.options.mss, 1460);
}

/// Timestamps carry window scale and SACK.
struct stamped : crowd {
  stamped() : crowd(5, 2) {
    options = with_sack();
    options.timestamps = true;
    options.tsval = 1000;
    options.wscale_ok = true;
    options.wscale = 9;
  }
  std::vector<u8> ack_options(u32 echo) {
    tcp_out_options out;
    out.timestamps = true;
    out.tsval = 1001;
    out.tsecr = echo;
    return syn_options(out);
  }
  tcp_out_options options;
};

TEST(tcp_syncookies, timestamps_remember_scale_and_sack) {
  stamped c;
  const seen_segment answer = c.begin_passive(c.options);
  EXPECT_TRUE(answer.options.sack_ok);
  EXPECT_TRUE(answer.options.wscale_ok);
  EXPECT_EQ(answer.options.rcv_tsecr, 1000u);
  c.send(A, 0, 0, {}, {100, c.ack_options(answer.options.rcv_tsval)});
  const int fd = *sys_accept4(c.a.app(), c.listener, nullptr, 0);
  const tcp_info info = c.info(fd);
  EXPECT_EQ(info.tcpi_options & 7, 7);  // timestamps, SACK, scaling
  EXPECT_EQ(info.tcpi_snd_wscale, 9);
  EXPECT_EQ(info.tcpi_rcv_wscale, answer.options.snd_wscale);
}

TEST(tcp_syncookies, timestamps_do_not_run_ahead) {
  stamped c;
  u32 last = c.begin_passive(c.options).options.rcv_tsval;
  for (int i = 0; i < 100; ++i) {
    c.advance(milliseconds(7));
    const u32 next = c.begin_passive(c.options).options.rcv_tsval;
    EXPECT_GE(static_cast<s32>(next - last), 0);
    EXPECT_LE(next - last, 64u);
    last = next;
  }
}

TEST(tcp_syncookies, options_that_we_did_not_agree_to_are_forged) {
  stamped c;
  const seen_segment answer = c.begin_passive(c.options);
  c.a.sysctl("net.ipv4.tcp_sack", "0");
  c.send(A, 0, 0, {}, {100, c.ack_options(answer.options.rcv_tsval)});
  EXPECT_EQ(c.take().flags, R);
  EXPECT_FALSE(c.acceptable());
}

TEST(tcp_syncookies, a_forged_one_is_answered_with_reset) {
  crowd c(5, 2);
  EXPECT_TRUE(c.syn(1));
  c.send(A, 0, 1000);
  EXPECT_EQ(c.take().flags, R);
  c.send(A, 1000, 0);  // the peer's number is part of it
  EXPECT_EQ(c.take().flags, R);
  c.peer_port = 2;     // and so is its port
  c.send(A, 0, 0);
  EXPECT_EQ(c.take().flags, R);
  EXPECT_EQ(c.a.mib(mib::tcpext_syncookies_failed), 3u);
  EXPECT_EQ(c.a.mib(mib::tcpext_syncookies_recv), 0u);
  EXPECT_FALSE(c.acceptable());
}

TEST(tcp_syncookies, who_sent_none_does_not_even_look) {
  crowd c(5, 1);
  c.send(A, 0, 0);
  EXPECT_EQ(c.take().flags, R);
  EXPECT_EQ(c.a.mib(mib::tcpext_syncookies_failed), 0u);
}

TEST(tcp_syncookies, lasts_until_the_end_of_the_next_minute) {
  crowd c(5, 2);  // it is the first second of a minute
  EXPECT_TRUE(c.syn(1));
  EXPECT_TRUE(c.syn(2));
  c.advance(seconds(118));
  c.ack(1);
  EXPECT_TRUE(c.acceptable());
  EXPECT_TRUE(c.syn(3));  // so that cookies are in use at all
  c.advance(seconds(2));
  c.ack(2);
  EXPECT_EQ(c.take().flags, R);
  EXPECT_FALSE(c.acceptable());
  EXPECT_EQ(c.a.mib(mib::tcpext_syncookies_failed), 1u);
}

TEST(tcp_syncookies, do_not_overflow_the_accept_queue) {
  crowd c(0, 2);
  EXPECT_TRUE(c.syn(1));
  EXPECT_TRUE(c.syn(2));
  c.ack(1);
  c.ack(2);
  c.expect_nothing();
  EXPECT_EQ(c.a.mib(mib::tcpext_listen_overflows), 1u);
  EXPECT_EQ(c.a.mib(mib::tcpext_listen_drops), 1u);
  EXPECT_FALSE(c.syn(3));
  EXPECT_TRUE(c.acceptable());
  c.ack(2);
  EXPECT_TRUE(c.acceptable());
}

TEST(tcp_syncookies, bad_settings_are_refused) {
  crowd c(0);
  sysctl_table& table = c.a.net().sysctls();
  for (const auto& [name, value] : {std::pair("net.ipv4.tcp_syncookies", "-1"),
                                    std::pair("net.ipv4.tcp_syncookies", "256"),
                                    std::pair("net.ipv4.tcp_syncookies", "often"),
                                    std::pair("net.ipv4.tcp_abort_on_overflow", "256"),
                                    std::pair("net.core.somaxconn", "-1")}) {
    EXPECT_EQ(table.set(name, value).error(), errc::inval) << name << " " << value;
  }
}

}  // namespace
}  // namespace ph
