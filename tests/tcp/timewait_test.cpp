// TIME-WAIT: how long, what it answers, what may end it (RFC 9293 §3.6.1, §3.10.7.4; RFC 6191;
// RFC 1337).
#include <gtest/gtest.h>

#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

/// A connection that the host closed first; both FINs are acknowledged.
struct timewait_case : segment_peer {
  timewait_case() {
    advance(seconds(10));
    close(accepted());
    expect(F | A, 0, 0);
    send(F | A, 0, 1);
    expect(A, 1, 1);
    EXPECT_EQ(waiting(), 1u);
  }
  [[nodiscard]] std::size_t waiting() { return tcp_of(a.net()).timewaits.size(); }
};

TEST(tcp_timewait, lasts_a_minute) {
  timewait_case t;
  t.advance(seconds(59));
  EXPECT_EQ(t.waiting(), 1u);
  t.advance(seconds(2));
  EXPECT_EQ(t.waiting(), 0u);
  EXPECT_EQ(t.a.mib(mib::tcpext_tw), 1u);
  t.expect_nothing();
}

TEST(tcp_timewait, a_second_fin_is_acknowledged_and_starts_it_anew) {
  timewait_case t;
  t.advance(seconds(40));
  t.send(F | A, 0, 1);
  t.expect(A, 1, 1);
  t.advance(seconds(59));
  EXPECT_EQ(t.waiting(), 1u);
  t.advance(seconds(2));
  EXPECT_EQ(t.waiting(), 0u);
}

TEST(tcp_timewait, a_reset_ends_it) {
  timewait_case t;
  t.send(R, 1, 0);
  EXPECT_EQ(t.waiting(), 0u);
  t.expect_nothing();
}

TEST(tcp_timewait, no_assassination_with_rfc1337) {
  timewait_case t;
  t.a.sysctl("net.ipv4.tcp_rfc1337", "1");
  t.send(R, 1, 0);
  EXPECT_EQ(t.waiting(), 1u);
}

TEST(tcp_timewait, a_reset_elsewhere_is_ignored) {
  timewait_case t;
  t.send(R, 5, 0);
  t.send(R, 0, 0);
  EXPECT_EQ(t.waiting(), 1u);
  t.expect_nothing();
}

TEST(tcp_timewait, a_newer_syn_opens_a_new_connection) {
  timewait_case t;
  const seq32 old_end = t.host_isn + 2;
  t.send(S, 500, 0, {}, {65535, t.syn_options(t.plain())});
  const seen_segment answer = t.take();
  EXPECT_EQ(answer.flags, S | A);
  EXPECT_EQ(t.ack_of(answer), 501);
  // RFC 6191: its numbers lie beyond everything that the old one used.
  EXPECT_GT(answer.seq - old_end, 65535);
  EXPECT_EQ(t.waiting(), 0u);
}

TEST(tcp_timewait, an_older_syn_is_answered_with_where_we_are) {
  timewait_case t;
  t.send(S, -500, 0, {}, {65535, t.syn_options(t.plain())});
  t.expect(A, 1, 1);
  EXPECT_EQ(t.waiting(), 1u);
}

TEST(tcp_timewait, answers_are_limited) {
  timewait_case t;
  for (int i = 0; i < 5; ++i) t.send(A, -10, 1, "x");
  t.expect(A, 1, 1);
  t.expect_nothing();
  t.advance(milliseconds(501));
  t.send(A, -10, 1, "x");
  t.expect(A, 1, 1);
}

TEST(tcp_timewait, there_may_be_too_many) {
  segment_peer p;
  p.a.sysctl("net.ipv4.tcp_max_tw_buckets", "0");
  const int fd = p.accepted();
  p.close(fd);
  p.expect(F | A, 0, 0);
  p.send(F | A, 0, 1);
  p.expect(A, 1, 1);
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_time_wait_overflow), 1u);
}

TEST(tcp_timewait, the_passive_closer_does_not_wait) {
  segment_peer p;
  const int fd = p.accepted();
  p.send(F | A, 0, 0);
  p.advance(milliseconds(50));
  p.expect(A, 0, 1);
  p.close(fd);
  p.expect(F | A, 0, 1);
  p.send(A, 1, 1);
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
}

TEST(tcp_timewait, orphans_leave_fin_wait2_after_fin_timeout) {
  segment_peer p;
  const int fd = p.accepted();
  p.close(fd);
  p.expect(F | A, 0, 0);
  p.send(A, 0, 1);
  p.advance(seconds(59));
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 1u);
  p.advance(seconds(2));
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
  p.expect_nothing();
}

TEST(tcp_timewait, data_for_an_orphan_are_answered_with_reset) {
  segment_peer p;
  const int fd = p.accepted();
  p.close(fd);
  p.expect(F | A, 0, 0);
  p.send(A, 0, 1);
  p.send(A, 0, 1, "too late");
  p.expect(R, 1, 0);
  EXPECT_EQ(p.a.drops(drop_reason::tcp_fin_wait_data), 1u);
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_abort_on_data), 1u);
}

}  // namespace
}  // namespace ph
