// What calls mean does not depend on whose they are: the same dialogues, by a program whose memory
// is an array here and by one that is another process, with a real daemon.
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include <string>

#include "tests/calls/fake_program.h"
#include "tests/calls/remote_program.h"

namespace ph::calls {
namespace {

u64 text(test_program& p, const std::string& bytes) { return p.put(bytes.data(), bytes.size()); }

std::string read_text(test_program& p, u64 at, long len) {
  std::string out(len > 0 ? static_cast<std::size_t>(len) : 0, 0);
  p.get(at, out.data(), out.size());
  return out;
}

/// An array of pieces in the program's memory.
u64 put_pieces(test_program& p, const std::vector<piece>& pieces) {
  return p.put(pieces.data(), pieces.size() * sizeof(piece));
}

void addressed_datagrams(test_program& p) {
  const long a = p.bound(SOCK_DGRAM), b = p.bound(SOCK_DGRAM | SOCK_CLOEXEC);
  ASSERT_GE(a, 0);
  ASSERT_GE(b, 0);
  const u64 to = p.put_loopback(p.port_of(b));
  EXPECT_EQ(p.call(SYS_sendto, a, text(p, "hello"), 5, 0, to, sizeof(sockaddr_in)), 5);
  const u64 room = p.put(nullptr, 16), from = p.put(nullptr, 16), len = p.put(u32{16});
  EXPECT_EQ(p.call(SYS_recvfrom, b, room, 16, 0, from, len), 5);
  EXPECT_EQ(read_text(p, room, 5), "hello");
  EXPECT_EQ(ntohs(p.get<sockaddr_in>(from).sin_port), p.port_of(a));
  EXPECT_EQ(p.get<u32>(len), sizeof(sockaddr_in));
  EXPECT_EQ(p.call(SYS_recvfrom, b, room, 16, MSG_DONTWAIT, from, len), -EAGAIN);
}

void messages_with_control(test_program& p) {
  const long a = p.bound(SOCK_DGRAM), b = p.bound(SOCK_DGRAM);
  const u64 on = p.put(1);
  EXPECT_EQ(p.call(SYS_setsockopt, b, IPPROTO_IP, IP_RECVTTL, on, sizeof(int)), 0);
  test_message m;
  m.name = p.put_loopback(p.port_of(b));
  m.name_len = sizeof(sockaddr_in);
  m.piece_count = 20;  // more than a request has pieces
  m.pieces = put_pieces(p, std::vector<piece>(20, {text(p, "ab"), 2}));
  EXPECT_EQ(p.call(SYS_sendmsg, a, p.put(m.header()), 0), 40);
  const u64 room = p.put(nullptr, 64);
  test_message into;
  into.name = p.put(nullptr, 16);
  into.name_len = 16;
  into.piece_count = 2;
  into.pieces = put_pieces(p, {{room, 3}, {room + 3, 61}});
  into.control = p.put(nullptr, 64);
  into.control_len = 64;
  const u64 at = p.put(into.header());
  EXPECT_EQ(p.call(SYS_recvmsg, b, at, 0), 40);
  EXPECT_EQ(read_text(p, room, 6), "ababab");
  const auto header = p.get<msghdr>(at);
  EXPECT_EQ(header.msg_controllen, CMSG_SPACE(sizeof(int)));
  EXPECT_EQ(p.get<cmsghdr>(into.control).cmsg_type, IP_TTL);
  EXPECT_EQ(header.msg_iovlen, 2u);
}

void several_at_once(test_program& p) {
  const long a = p.bound(SOCK_DGRAM), b = p.bound(SOCK_DGRAM);
  const u64 room = p.put(nullptr, 16);
  mmsghdr out[2] = {}, in[2] = {};
  test_message m;
  m.name = p.put_loopback(p.port_of(b));
  m.name_len = sizeof(sockaddr_in);
  m.piece_count = 1;
  m.pieces = put_pieces(p, {{text(p, "abc"), 3}});
  out[0].msg_hdr = out[1].msg_hdr = m.header();
  test_message into;
  into.piece_count = 1;
  into.pieces = put_pieces(p, {{room, 16}});
  in[0].msg_hdr = in[1].msg_hdr = into.header();
  const u64 sends = p.put(out), receives = p.put(in);
  EXPECT_EQ(p.call(SYS_sendmmsg, a, sends, 2, 0), 2);
  EXPECT_EQ(p.get<mmsghdr>(sends + sizeof(mmsghdr)).msg_len, 3u);
  EXPECT_EQ(p.call(SYS_recvmmsg, b, receives, 2, 0, 0), 2);
  EXPECT_EQ(p.get<mmsghdr>(receives + sizeof(mmsghdr)).msg_len, 3u);
}

void options_and_requests(test_program& p) {
  const long s = p.bound(SOCK_STREAM);
  const u64 value = p.put(77), len = p.put(u32{sizeof(int)});
  EXPECT_EQ(p.call(SYS_setsockopt, s, IPPROTO_IP, IP_TTL, value, sizeof(int)), 0);
  const u64 out = p.put(0);
  EXPECT_EQ(p.call(SYS_getsockopt, s, IPPROTO_IP, IP_TTL, out, len), 0);
  EXPECT_EQ(p.get<int>(out), 77);
  EXPECT_EQ(p.call(SYS_getsockopt, s, SOL_SOCKET, SO_TYPE, out, len), 0);
  EXPECT_EQ(p.get<int>(out), SOCK_STREAM);
  EXPECT_EQ(p.call(SYS_getsockopt, s, SOL_SOCKET, SO_RCVTIMEO, out, len), not_ours);
  EXPECT_EQ(p.call(SYS_setsockopt, s, 500, 1, value, sizeof(int)), -ENOPROTOOPT);
  EXPECT_EQ(p.call(SYS_ioctl, s, 0x5401, out), not_ours);
  EXPECT_EQ(p.call(SYS_socket, AF_UNIX, SOCK_STREAM, 0), not_ours);
  EXPECT_EQ(p.call(SYS_listen, 0, 1), not_ours);
}

void a_stream(test_program& p) {
  const long l = p.bound(SOCK_STREAM), c = p.socket(SOCK_STREAM);
  EXPECT_EQ(p.call(SYS_listen, l, 4), 0);
  EXPECT_EQ(p.call(SYS_connect, c, p.put_loopback(p.port_of(l)), sizeof(sockaddr_in)), 0);
  const u64 name = p.put(nullptr, 16), len = p.put(u32{16}), room = p.put(nullptr, 64);
  const long s = p.call(SYS_accept4, l, name, len, SOCK_CLOEXEC);
  ASSERT_GE(s, 0);
  EXPECT_EQ(ntohs(p.get<sockaddr_in>(name).sin_port), p.port_of(c));
  EXPECT_EQ(p.call(SYS_getpeername, s, name, len), 0);
  EXPECT_EQ(ntohs(p.get<sockaddr_in>(name).sin_port), p.port_of(c));
  EXPECT_EQ(p.call(SYS_sendto, c, text(p, "more"), 4, MSG_MORE, 0, 0), 4);
  EXPECT_EQ(p.call(SYS_sendto, c, text(p, "over"), 4, 0, 0, 0), 4);
  EXPECT_EQ(p.call(SYS_recvfrom, s, room, 8, MSG_WAITALL, 0, 0), 8);
  EXPECT_EQ(read_text(p, room, 8), "moreover");
  EXPECT_EQ(p.call(SYS_sendto, s, text(p, "thrown away"), 11, 0, 0, 0), 11);
  EXPECT_EQ(p.call(SYS_recvfrom, c, room, 11, MSG_TRUNC | MSG_WAITALL, 0, 0), 11);
  EXPECT_EQ(p.call(SYS_shutdown, c, SHUT_WR), 0);
  EXPECT_EQ(p.call(SYS_recvfrom, s, room, 8, 0, name, len), 0);
  EXPECT_EQ(p.call(SYS_sendto, c, text(p, "x"), 1, MSG_NOSIGNAL, 0, 0), -EPIPE);
}

/// The second connect() finds the anchor used up.
void a_renewed_anchor(test_program& p) {
  const long l = p.bound(SOCK_STREAM), c = p.socket(SOCK_STREAM);
  const u64 to = p.put_loopback(p.port_of(l)), room = p.put(nullptr, 8);
  EXPECT_EQ(p.call(SYS_connect, c, to, sizeof(sockaddr_in)), -ECONNREFUSED);
  EXPECT_EQ(p.call(SYS_listen, l, 4), 0);
  EXPECT_EQ(p.call(SYS_connect, c, to, sizeof(sockaddr_in)), 0);
  const long s = p.call(SYS_accept, l, 0, 0);
  ASSERT_GE(s, 0);
  EXPECT_EQ(p.call(SYS_sendto, s, text(p, "abc"), 3, 0, 0, 0), 3);
  EXPECT_EQ(p.call(SYS_recvfrom, c, room, 3, MSG_WAITALL, 0, 0), 3);
}

void bad_pointers(test_program& p) {
  const long a = p.bound(SOCK_DGRAM);
  constexpr u64 nowhere = 8;
  EXPECT_EQ(p.call(SYS_bind, a, nowhere, 16), -EFAULT);
  EXPECT_EQ(p.call(SYS_sendmsg, a, nowhere, 0), -EFAULT);
  EXPECT_EQ(p.call(SYS_recvmsg, a, nowhere, 0), -EFAULT);
  EXPECT_EQ(p.call(SYS_getsockname, a, nowhere, nowhere), -EFAULT);
  EXPECT_EQ(p.call(SYS_setsockopt, a, IPPROTO_IP, IP_TTL, nowhere, 4), -EFAULT);
  EXPECT_EQ(p.call(SYS_getsockopt, a, IPPROTO_IP, IP_TTL, nowhere, p.put(u32{4})), -EFAULT);
}

struct dialogue {
  const char* name;
  void (*speak)(test_program& p);
};

class calls : public ::testing::TestWithParam<dialogue> {};

TEST_P(calls, of_a_program_with_an_array_for_memory) {
  const dropin::daemon_thread daemon;
  fake_program p(daemon);
  GetParam().speak(p);
  EXPECT_TRUE(p.whose().works());
  p.whose().close_all();
  EXPECT_TRUE(daemon.sockets_gone());
}

TEST_P(calls, of_another_process) {
  const dropin::daemon_thread daemon;
  {
    remote_program p(daemon);
    if (!p.reachable()) GTEST_SKIP() << "pidfd_getfd is not permitted here";
    GetParam().speak(p);
    EXPECT_TRUE(p.whose().works());
  }
  EXPECT_TRUE(daemon.sockets_gone());
}

INSTANTIATE_TEST_SUITE_P(all, calls,
                         ::testing::Values(dialogue{"addressed_datagrams", addressed_datagrams},
                                           dialogue{"messages_with_control", messages_with_control},
                                           dialogue{"several_at_once", several_at_once},
                                           dialogue{"options_and_requests", options_and_requests},
                                           dialogue{"a_stream", a_stream},
                                           dialogue{"a_renewed_anchor", a_renewed_anchor},
                                           dialogue{"bad_pointers", bad_pointers}),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace ph::calls
