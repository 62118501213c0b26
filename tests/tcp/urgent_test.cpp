// Urgent data: RFC 9293 §3.8.5, RFC 6093, and what sockets make of it (tcp(7), MSG_OOB).
#include <gtest/gtest.h>

#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

/// "ab!" where '!' is urgent, then "cd". The pointer names the byte after the urgent one.
void send_urgent(segment_peer& p) {
  p.send(U | A, 0, 0, "ab!", {65535, {}, 3});
  p.send(A, 3, 0, "cd");
}

TEST(tcp_urgent, is_kept_out_of_the_stream) {
  segment_peer p;
  const int fd = p.accepted();
  send_urgent(p);
  EXPECT_NE(sys_poll(p.a.app(), fd) & pollpri, 0u);
  EXPECT_EQ(p.read(fd, 100, msg_oob), "!");
  EXPECT_EQ(sys_poll(p.a.app(), fd) & pollpri, 0u);
  p.read(fd, 100, msg_oob);
  EXPECT_EQ(p.last_error, errc::inval);  // only once
  EXPECT_EQ(p.read(fd), "ab");           // up to the mark
  EXPECT_EQ(p.read(fd), "cd");
}

TEST(tcp_urgent, mark) {
  segment_peer p;
  const int fd = p.accepted();
  send_urgent(p);
  std::array<u8, 4> value{};
  const auto at_mark = [&] {
    EXPECT_TRUE(sys_ioctl(p.a.app(), fd, siocatmark, value));
    return value[0];
  };
  EXPECT_EQ(at_mark(), 0);
  p.read(fd);
  EXPECT_EQ(at_mark(), 1);
  p.read(fd);
  EXPECT_EQ(at_mark(), 0);
}

TEST(tcp_urgent, in_line) {
  segment_peer p;
  const int fd = p.accepted();
  p.set(fd, sol_socket, so_oobinline, 1);
  send_urgent(p);
  p.read(fd, 100, msg_oob);
  EXPECT_EQ(p.last_error, errc::inval);
  EXPECT_EQ(p.read(fd), "ab");
  EXPECT_EQ(p.read(fd), "!cd");
}

TEST(tcp_urgent, announced_before_it_comes) {
  segment_peer p;
  const int fd = p.accepted();
  p.send(U | A, 0, 0, "ab", {65535, {}, 6});  // the byte at 5
  p.read(fd, 100, msg_oob);
  EXPECT_EQ(p.last_error, errc::again);
  p.send(A, 2, 0, "cde!f");
  EXPECT_EQ(p.read(fd, 100, msg_oob), "!");
  EXPECT_EQ(p.read(fd), "abcde");
  EXPECT_EQ(p.read(fd), "f");
}

TEST(tcp_urgent, the_host_sends_it) {
  segment_peer p;
  const int fd = p.accepted();
  p.write(fd, "ab!", msg_oob);
  const seen_segment s = p.expect(U | A, 0, 0, 3);
  EXPECT_EQ(s.urg_ptr, 3);
  p.send(A, 0, 3);
  p.write(fd, "cd");
  p.expect(A, 3, 0, 2);
}

TEST(tcp_urgent, nothing_urgent_is_invalid) {
  segment_peer p;
  const int fd = p.accepted();
  p.read(fd, 100, msg_oob);
  EXPECT_EQ(p.last_error, errc::inval);
}

}  // namespace
}  // namespace ph
