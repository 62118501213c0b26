// What the daemon is asked, and what is made of its refusals: no more than is needed, for no longer
// than the program waits.
#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include "tests/calls/fake_program.h"

namespace ph::calls {
namespace {

class asking : public ::testing::Test {
 protected:
  /// How many requests it takes.
  template <class Call>
  std::size_t requests_of(Call call) {
    const std::size_t before = p.whose().asked().size();
    call();
    return p.whose().asked().size() - before;
  }

  dropin::daemon_thread daemon;
  fake_program p{daemon};
};

TEST_F(asking, a_datagram_socket_is_not_asked_about_because_another_was_shut) {
  const long shut = p.bound(SOCK_DGRAM), s = p.bound(SOCK_DGRAM), from = p.bound(SOCK_DGRAM);
  EXPECT_EQ(p.call(SYS_shutdown, shut, SHUT_RD), -ENOTCONN);
  const u64 room = p.put(nullptr, 16), name = p.put(nullptr, 16), len = p.put(u32{16});
  EXPECT_EQ(requests_of([&] {
              EXPECT_EQ(p.call(SYS_recvfrom, s, room, 16, MSG_DONTWAIT, 0, 0), -EAGAIN);
              EXPECT_EQ(p.call(SYS_recvfrom, s, room, 16, MSG_DONTWAIT, name, len), -EAGAIN);
            }),
            0u);
  // What comes for the one that was shut stays with the stack.
  const u64 to = p.put_loopback(p.port_of(shut));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(p.call(SYS_sendto, from, p.put("late", 4), 4, 0, to, sizeof(sockaddr_in)), 4);
  }
  EXPECT_EQ(p.call(SYS_recvfrom, shut, room, 16, 0, 0, 0), 4);
  EXPECT_EQ(p.call(SYS_recvfrom, shut, room, 16, 0, name, len), 4);
  EXPECT_EQ(ntohs(p.get<sockaddr_in>(name).sin_port), p.port_of(from));
}

/// A listener of the machine's that has no room for one more connection: who connects to it waits.
class full_listener {
 public:
  full_listener() {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const name = reinterpret_cast<sockaddr*>(&address_);
    socklen_t len = sizeof address_;
    EXPECT_EQ(::bind(listener_.get(), name, len), 0);
    EXPECT_EQ(::listen(listener_.get(), 0), 0);
    EXPECT_EQ(::getsockname(listener_.get(), name, &len), 0);
    EXPECT_EQ(::connect(first_.get(), name, len), 0);
  }
  [[nodiscard]] u16 port() const { return ntohs(address_.sin_port); }

 private:
  unique_fd listener_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  unique_fd first_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in address_{};
};

TEST_F(asking, who_sends_before_it_is_connected_is_told_that_memory_is_low) {
  const full_listener full;
  const long c = p.socket(SOCK_STREAM | SOCK_NONBLOCK);
  EXPECT_EQ(p.call(SYS_connect, c, p.put_loopback(full.port()), sizeof(sockaddr_in)), -EINPROGRESS);
  p.whose().have_refused(ENOBUFS);
  EXPECT_EQ(p.call(SYS_sendto, c, p.put("x", 1), 1, MSG_NOSIGNAL, 0, 0), -ENOBUFS);
  p.whose().have_refused(0);
  EXPECT_EQ(p.call(SYS_sendto, c, p.put("x", 1), 1, MSG_NOSIGNAL, 0, 0), -EAGAIN);
}

TEST_F(asking, a_refusal_that_has_waited_hides_no_connection) {
  const long l = p.bound(SOCK_STREAM | SOCK_NONBLOCK), c = p.socket(SOCK_STREAM);
  EXPECT_EQ(p.call(SYS_listen, l, 4), 0);
  p.whose().have_refusal_waiting();
  EXPECT_EQ(p.call(SYS_accept, l, 0, 0), -ENFILE);
  EXPECT_EQ(p.call(SYS_connect, c, p.put_loopback(p.port_of(l)), sizeof(sockaddr_in)), 0);
  p.whose().have_refusal_waiting();
  EXPECT_GE(p.call(SYS_accept, l, 0, 0), 0);
}

TEST_F(asking, a_time_limit_is_one_of_the_whole_call) {
  const long l = p.bound(SOCK_STREAM), c = p.socket(SOCK_STREAM);
  EXPECT_EQ(p.call(SYS_listen, l, 4), 0);
  EXPECT_EQ(p.call(SYS_connect, c, p.put_loopback(p.port_of(l)), sizeof(sockaddr_in)), 0);
  const timeval limit{20, 0};
  ASSERT_EQ(::setsockopt(static_cast<int>(c), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
  constexpr int len = 150'000;
  const u64 bytes = p.put(nullptr, len);
  const std::size_t before = p.whose().asked().size();
  EXPECT_EQ(p.call(SYS_sendto, c, bytes, len, MSG_MORE, 0, 0), len);
  const std::vector<long> all = p.whose().asked();
  ASSERT_EQ(all.size() - before, 3u);
  EXPECT_LE(all[before], 20'000'000);
  EXPECT_LT(all[before + 1], all[before]);
  EXPECT_LT(all[before + 2], all[before + 1]);
  EXPECT_GT(all[before + 2], 0);
}

TEST_F(asking, more_than_one_call_moves_is_cut) {
  const piece pieces[3] = {{0x10000, 5}, {0x20000, u64{1} << 40}, {0x30000, 7}};
  piece_list list;
  ASSERT_EQ(list.read(p.whose(), {pieces, 0, 3}), 0);
  EXPECT_EQ(list.total(), most_moved);
  EXPECT_EQ(list.begin()[0].len, 5u);
  EXPECT_EQ(list.begin()[1].len, most_moved - 5);
  EXPECT_EQ(list.begin()[2].len, 0u);
  const piece negative{0x10000, ~u64{0}};
  EXPECT_EQ(piece_list().read(p.whose(), {&negative, 0, 1}), -EINVAL);
}

}  // namespace
}  // namespace ph::calls
