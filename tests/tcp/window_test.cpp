// Windows: what the host offers and how it fills what it is offered (RFC 9293 §3.8.6).
#include <gtest/gtest.h>

#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

TEST(tcp_window, a_closed_window_is_probed_with_backoff) {
  segment_peer p;
  const int fd = p.connected();
  p.send(A, 0, 0, {}, {0});
  p.write(fd, "waiting");
  p.expect_nothing();
  const duration first = microseconds(p.info(fd).tcpi_rto);
  duration gap = first;
  for (int i = 0; i < 5; ++i) {
    p.advance(gap - milliseconds(1));
    p.expect_nothing();
    p.advance(milliseconds(2));
    p.expect(A, -1, 0);  // an old number: it must be answered, and brings nothing
    p.send(A, 0, 0, {}, {0});
    gap = gap * 2;
  }
  p.send(A, 0, 0, {}, {1000});
  p.expect(A, 0, 0, 7);
}

TEST(tcp_window, a_probed_peer_that_answers_is_never_given_up) {
  segment_peer p;
  const int fd = p.connected();
  p.send(A, 0, 0, {}, {0});
  p.write(fd, "waiting");
  for (int i = 0; i < 40; ++i) {
    p.advance(seconds(121));
    while (!p.sent.empty()) p.take();
    p.send(A, 0, 0, {}, {0});
  }
  EXPECT_EQ(p.state(fd), tcp_state::established);
}

TEST(tcp_window, a_probed_peer_that_is_silent_is_given_up) {
  segment_peer p;
  const int fd = p.connected();
  p.send(A, 0, 0, {}, {0});
  p.write(fd, "waiting");
  p.advance(seconds(3600));
  EXPECT_EQ(p.state(fd), tcp_state::close);
  p.read(fd);
  EXPECT_EQ(p.last_error, errc::timedout);
}

/// RFC 9293 §3.8.6.2.1: a window smaller than a segment is not filled while more is on
/// its way.
TEST(tcp_window, the_sender_does_not_fill_small_windows) {
  segment_peer p;
  const int fd = p.connected(p.plain(), 65535);
  p.write(fd, std::string(3000, 'x'));
  while (!p.sent.empty()) p.take();
  p.send(A, 0, 3000, {}, {400});
  p.write(fd, std::string(2000, 'y'));
  p.expect_nothing();
  // The persist timer overrides it.
  p.advance(seconds(1));
  const seen_segment s = p.take();
  EXPECT_EQ(s.payload.size(), 400u);
}

/// RFC 9293 §3.8.6: what is sent again fits the window as it is now.
TEST(tcp_window, a_retransmission_keeps_within_a_window_that_shrank) {
  segment_peer p;
  const int fd = p.connected();
  p.write(fd, std::string(1000, 'x'));
  p.expect(A, 0, 0, 1000);
  p.send(A, 0, 0, {}, {400});
  p.advance(seconds(2));
  ASSERT_FALSE(p.sent.empty());
  while (!p.sent.empty()) {
    const seen_segment s = p.take();
    EXPECT_LE(p.seq_of(s) + static_cast<s64>(s.payload.size()), 400);
  }
  p.send(A, 0, 400, {}, {600});
  p.advance(seconds(5));
  s64 end = 0;
  while (!p.sent.empty()) {
    const seen_segment s = p.take();
    end = std::max(end, p.seq_of(s) + static_cast<s64>(s.payload.size()));
  }
  EXPECT_EQ(end, 1000);
}

TEST(tcp_window, a_window_is_never_taken_back) {
  segment_peer p;
  const int fd = p.accepted();
  s64 right_edge = 0;
  std::size_t at = 0;
  p.set(fd, sol_socket, so_rcvbuf, 2000);
  for (int i = 0; i < 40; ++i) {
    const std::string data(1000, 'x');
    p.send(A, static_cast<s64>(at), 0, data);
    p.advance(milliseconds(50));
    while (!p.sent.empty()) {
      const seen_segment s = p.take();
      const s64 edge = p.ack_of(s) + s.window;
      EXPECT_GE(edge, right_edge);
      right_edge = std::max(right_edge, edge);
      at = static_cast<std::size_t>(p.ack_of(s));
    }
  }
}

/// A connection whose receive buffer is small from the start.
int small_receiver(segment_peer& p) {
  p.listener = p.listening();
  p.set(p.listener, sol_socket, so_rcvbuf, 8192);
  return p.accepted();
}

/// Fills the window; returns how much arrived.
s64 fill(segment_peer& p) {
  s64 at = 0;
  for (int i = 0; i < 100; ++i) {
    p.send(A, at, 0, std::string(1000, 'x'));
    p.advance(milliseconds(300));
    u32 window = 1;
    while (!p.sent.empty()) {
      const seen_segment s = p.take();
      at = p.ack_of(s);
      window = s.window;
    }
    if (window == 0) return at;
  }
  ADD_FAILURE() << "the window never closes";
  return at;
}

TEST(tcp_window, data_beyond_the_window_are_cut_off) {
  segment_peer p;
  const int fd = small_receiver(p);
  const s64 edge = p.info(fd).tcpi_rcv_wnd;
  p.send(A, edge - 500, 0, std::string(1000, 'y'));  // half in, out of order
  p.expect(A, 0, 0);
  p.send(A, edge, 0, std::string(1000, 'z'));
  p.expect(A, 0, 0);
  EXPECT_EQ(p.a.drops(drop_reason::tcp_overwindow), 1u);
  for (s64 at = 0; at < edge - 500; at += 500) {
    const auto len = static_cast<std::size_t>(std::min<s64>(500, edge - 500 - at));
    p.send(A, at, 0, std::string(len, 'x'));
  }
  p.advance(milliseconds(50));
  EXPECT_EQ(p.ack_of(p.sent.back()), edge);
  const std::string all = p.read(fd);
  EXPECT_EQ(all.size(), static_cast<std::size_t>(edge));
  EXPECT_EQ(all.substr(all.size() - 500), std::string(500, 'y'));
}

TEST(tcp_window, data_against_a_closed_window_are_answered) {
  segment_peer p;
  small_receiver(p);
  const s64 at = fill(p);
  p.send(A, at, 0, "probe");
  const seen_segment s = p.expect(A, 0, at);
  EXPECT_EQ(s.window, 0);
  EXPECT_GE(p.a.drops(drop_reason::tcp_zero_window), 1u);
}

/// RFC 9293 §3.8.6.2.2: reading byte by byte must not bring a window update per byte.
TEST(tcp_window, the_receiver_does_not_offer_crumbs) {
  segment_peer p;
  const int fd = small_receiver(p);
  const s64 filled = fill(p);
  int updates = 0;
  for (int i = 0; i < filled / 3; ++i) {
    p.read(fd, 1);
    updates += static_cast<int>(p.sent.size());
    for (const seen_segment& s : p.sent) EXPECT_GE(s.window, 1000u);
    p.sent.clear();
  }
  EXPECT_LE(updates, 1);
  p.read(fd);
  ASSERT_FALSE(p.sent.empty());
  // More lay in the buffer than it should hold, so it begins anew with two segments and grows as
  // data come.
  EXPECT_GE(p.sent.back().window, 2000u);
  for (int i = 0; i < 4; ++i) {
    p.send(A, filled + i * 1000, 0, std::string(1000, 'z'));
    p.read(fd);
  }
  p.advance(milliseconds(50));
  EXPECT_GT(p.sent.back().window, 4000u);
}

TEST(tcp_window, scale_of_the_syn_applies_later_but_not_to_it) {
  segment_peer p;
  tcp_out_options options = p.plain();
  options.wscale_ok = true;
  options.wscale = 3;
  p.listener = p.listening();
  const seen_segment answer = p.begin_passive(options);
  EXPECT_TRUE(answer.options.wscale_ok);
  EXPECT_EQ(answer.options.snd_wscale, 10);
  EXPECT_EQ(answer.window, 64240);  // a multiple of our MSS, 1460 without timestamps
  p.send(A, 0, 0, {}, {1000});
  const int fd = *sys_accept4(p.a.app(), p.listener, nullptr, 0);
  EXPECT_EQ(p.info(fd).tcpi_snd_wnd, 8000u);
}

TEST(tcp_window, no_scale_when_the_peer_has_none) {
  segment_peer p;
  p.listener = p.listening();
  const seen_segment answer = p.begin_passive(p.plain());
  EXPECT_FALSE(answer.options.wscale_ok);
  EXPECT_FALSE(answer.options.sack_ok);
  EXPECT_FALSE(answer.options.saw_tstamp);
  EXPECT_EQ(answer.options.mss, 1460);
}

struct reading {
  segment_peer p;
  int fd = -1;
  s64 at = 0;

  reading() {
    tcp_out_options options = p.with_sack();
    options.wscale_ok = true;
    options.wscale = 7;
    p.listener = p.listening();
    p.begin_passive(options);
    p.send(A, 0, 0);
    fd = *sys_accept4(p.a.app(), p.listener, nullptr, 0);
  }
  int rcvbuf() { return p.opt(fd, sol_socket, so_rcvbuf); }
  /// A window's worth arrives per 100 ms and is taken from the stack at once.
  void rounds(int number) {
    for (int round = 0; round < number; ++round) {
      const s64 edge = at + p.info(fd).tcpi_rcv_wnd;
      while (at + 1400 <= edge) {
        p.send(A, at, 0, std::string(1400, 'x'));
        at += 1400;
      }
      while (!p.read(fd).empty()) {}
      p.sent.clear();
      p.advance(milliseconds(100));
      p.sent.clear();
    }
  }
};

TEST(tcp_window, the_receive_buffer_grows_with_the_reader) {
  reading r;
  const int before = r.rcvbuf();
  r.rounds(12);
  EXPECT_GT(r.rcvbuf(), 4 * before);
  EXPECT_LE(r.rcvbuf(), 33554432);
}

TEST(tcp_window, the_receive_buffer_does_not_grow_by_what_waits_elsewhere_for_the_reader) {
  struct : handed_on {
    [[nodiscard]] u32 bytes() const override { return all_unread ? ~u32{0} : 0; }
    bool all_unread = true;
  } elsewhere;
  reading r;
  const int before = r.rcvbuf();
  r.p.sock(r.fd).outside = &elsewhere;
  r.rounds(12);
  EXPECT_EQ(r.rcvbuf(), before);
  elsewhere.all_unread = false;
  r.rounds(12);
  EXPECT_GT(r.rcvbuf(), 4 * before);
  r.p.sock(r.fd).outside = nullptr;
}

TEST(tcp_window, what_was_offered_is_taken_however_much_memory_it_wastes) {
  segment_peer p({.mtu = 3000});
  const int fd = p.accepted();
  // Longer than a block for ordinary frames, so each pays for several times its bytes.
  constexpr s64 size = 2400;
  const s64 offered = p.info(fd).tcpi_rcv_wnd;
  s64 at = 0;
  std::string all;
  for (char letter = 'a'; at + size <= offered; at += size) {
    all += std::string(size, letter++);
    p.send(A, at, 0, std::string(size, all.back()));
  }
  p.send(F | A, at, 0, "end");
  p.advance(seconds(1));
  ASSERT_FALSE(p.sent.empty());
  EXPECT_EQ(p.ack_of(p.sent.back()), at + 4) << "nothing within the window was thrown away";
  std::string got;
  for (std::string piece; !(piece = p.read(fd)).empty();) got += piece;
  EXPECT_TRUE(got == all + "end");
  EXPECT_EQ(p.last_error, errc::ok) << "the end of the stream, once and at its place";
}

}  // namespace
}  // namespace ph
