// TCP_DEFER_ACCEPT, tcp(7): accept() returns when there are data, or when they have been waited for
// long enough.
#include <gtest/gtest.h>

#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

/// A listener that waits for data, and a SYN that it answered.
struct deferring : segment_peer {
  explicit deferring(int for_seconds) {
    listener = listening();
    set(listener, sol_tcp, tcp_defer_accept, for_seconds);
    begin_passive(plain());
  }
  [[nodiscard]] int accept() { return sys_accept4(a.app(), listener, nullptr, 0).value_or(-1); }
};

TEST(tcp_defer_accept, seconds_are_rounded_up_to_retransmissions) {
  segment_peer p;
  const int fd = p.listening();
  for (const auto& [given, kept] :
       {std::pair(0, 0), std::pair(-5, 0), std::pair(1, 1), std::pair(2, 3), std::pair(3, 3),
        std::pair(4, 7), std::pair(30, 31), std::pair(63, 63), std::pair(100, 127),
        std::pair(128, 127 + 120)}) {
    p.set(fd, sol_tcp, tcp_defer_accept, given);
    EXPECT_EQ(p.opt(fd, sol_tcp, tcp_defer_accept), kept) << given;
  }
}

TEST(tcp_defer_accept, a_bare_ack_wakes_nobody) {
  deferring p(5);
  p.send(A, 0, 0);
  EXPECT_EQ(p.accept(), -1);
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_defer_accept_drop), 1u);
  p.expect_nothing();
}

TEST(tcp_defer_accept, data_create_the_connection) {
  deferring p(5);
  p.send(A, 0, 0);
  p.advance(milliseconds(2500));
  p.send(A | P, 0, 0, "hello");
  const int fd = p.accept();
  ASSERT_GE(fd, 0);
  EXPECT_EQ(p.read(fd), "hello");
  // The wait was not a round trip.
  EXPECT_LT(p.info(fd).tcpi_rtt, 2'000'000u);
}

TEST(tcp_defer_accept, so_does_the_end) {
  deferring p(5);
  p.send(F | A, 0, 0);
  const int fd = p.accept();
  ASSERT_GE(fd, 0);
  EXPECT_EQ(p.read(fd), "");
  EXPECT_EQ(p.last_error, errc::ok);
}

TEST(tcp_defer_accept, nobody_is_reminded_meanwhile) {
  deferring p(5);  // three SYN+ACKs: 1 + 2 + 4 seconds
  p.send(A, 0, 0);
  p.advance(milliseconds(2900));
  p.expect_nothing();
  // Near the end there is a last one.
  p.advance(milliseconds(4200));
  p.expect(S | A, -1, 0);
  // Its answer is handed over, with data or without.
  p.send(A, 0, 0);
  EXPECT_GE(p.accept(), 0);
  p.expect_nothing();
}

TEST(tcp_defer_accept, who_never_answered_is_reminded_as_always) {
  deferring p(200);
  p.advance(milliseconds(1100));
  p.expect(S | A, -1, 0);
  p.advance(seconds(2));
  p.expect(S | A, -1, 0);
  p.advance(seconds(60));
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
}

TEST(tcp_defer_accept, who_was_heard_may_take_longer_than_tcp_synack_retries) {
  deferring p(200);  // eight: 1 + 2 + 4 + ... + 64 + 120
  p.send(A, 0, 0);
  p.advance(seconds(126));
  p.expect_nothing();
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 1u);
  p.send(A | P, 0, 0, "at last");
  EXPECT_GE(p.accept(), 0);
}

TEST(tcp_defer_accept, in_the_end_it_is_forgotten) {
  deferring p(5);
  p.a.sysctl("net.ipv4.tcp_synack_retries", "2");
  p.send(A, 0, 0);
  p.advance(seconds(8));
  p.expect(S | A, -1, 0);
  p.advance(seconds(10));
  p.expect_nothing();
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
}

}  // namespace
}  // namespace ph
