// What a program sees of a connection: poll bits, flags of send and recv, ioctls, shutdown, errors,
// and the ways to close (tcp(7), poll(2), RFC 9293 §3.10.5, RFC 1122 §4.2.2.13).
#include <gtest/gtest.h>

#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

u32 poll_of(segment_peer& p, int fd) { return sys_poll(p.a.app(), fd); }
constexpr u32 in = pollin | pollrdnorm;
constexpr u32 out = pollout | pollwrnorm;

u32 ioctl_of(segment_peer& p, int fd, u32 command) {
  std::array<u8, 4> value{};
  EXPECT_TRUE(sys_ioctl(p.a.app(), fd, command, value));
  return view_as<le32>(byte_view(value))->value();
}

TEST(tcp_poll, over_a_whole_life) {
  segment_peer p;
  const int fresh = *sys_socket(p.a.app(), af_inet, sock_stream, 0);
  EXPECT_EQ(poll_of(p, fresh), out | pollhup);
  const int fd = p.connecting();
  EXPECT_EQ(poll_of(p, fd), 0u);
  p.send_raw(S | A, p.peer_isn, p.host_isn + 1, {}, {});
  p.take();
  EXPECT_EQ(poll_of(p, fd), out);
  p.send(A, 0, 0, "x");
  EXPECT_EQ(poll_of(p, fd), in | out);
  p.read(fd);
  EXPECT_EQ(poll_of(p, fd), out);
  p.send(F | A, 1, 0);
  EXPECT_EQ(poll_of(p, fd), in | out | pollrdhup);
  EXPECT_EQ(p.read(fd), "");
  EXPECT_EQ(p.last_error, errc::ok);
  p.shut(fd, shut_wr);
  EXPECT_EQ(poll_of(p, fd), in | out | pollrdhup | pollhup);
}

TEST(tcp_poll, a_listener_is_readable_when_somebody_waits) {
  segment_peer p;
  p.listener = p.listening();
  EXPECT_EQ(poll_of(p, p.listener), 0u);
  p.begin_passive(p.plain());
  EXPECT_EQ(poll_of(p, p.listener), 0u);
  p.send(A, 0, 0);
  EXPECT_EQ(poll_of(p, p.listener), in);
  EXPECT_TRUE(sys_accept4(p.a.app(), p.listener, nullptr, 0));
  EXPECT_EQ(poll_of(p, p.listener), 0u);
  EXPECT_EQ(sys_accept4(p.a.app(), p.listener, nullptr, 0).error(), errc::again);
}

TEST(tcp_poll, a_reset_shows_everything) {
  segment_peer p;
  const int fd = p.accepted();
  p.send(R | A, 0, 0);
  EXPECT_EQ(poll_of(p, fd), in | out | pollerr | pollhup | pollrdhup);
  EXPECT_EQ(p.read(fd), "");
  EXPECT_EQ(p.last_error, errc::connreset);
  EXPECT_EQ(poll_of(p, fd), in | out | pollhup | pollrdhup);  // the error is told once
  EXPECT_EQ(p.read(fd), "");
  EXPECT_EQ(p.last_error, errc::ok);
}

TEST(tcp_poll, rcvlowat) {
  segment_peer p;
  const int fd = p.accepted();
  p.set(fd, sol_socket, so_rcvlowat, 10);
  p.send(A, 0, 0, "12345");
  EXPECT_EQ(poll_of(p, fd), out);
  p.send(A, 5, 0, "67890");
  EXPECT_EQ(poll_of(p, fd), in | out);
}

TEST(tcp_recv, peek_and_trunc) {
  segment_peer p;
  const int fd = p.accepted();
  p.send(A, 0, 0, "hello ");
  p.send(A, 6, 0, "world");
  EXPECT_EQ(p.read(fd, 100, msg_peek), "hello world");
  EXPECT_EQ(p.read(fd, 3, msg_peek), "hel");
  std::vector<u8> unused(6, 'z');
  EXPECT_EQ(sys_recv(p.a.app(), fd, unused, msg_trunc).value(), 6u);
  EXPECT_EQ(unused[0], 'z');  // discarded, not copied
  EXPECT_EQ(p.read(fd), "world");
}

TEST(tcp_recv, data_that_came_before_a_reset_can_be_read) {
  segment_peer p;
  const int fd = p.accepted();
  p.send(A, 0, 0, "last words");
  p.send(R, 10, 0);
  EXPECT_EQ(p.read(fd), "last words");
  p.read(fd);
  EXPECT_EQ(p.last_error, errc::connreset);
}

TEST(tcp_recv, not_connected) {
  segment_peer p;
  const int fd = *sys_socket(p.a.app(), af_inet, sock_stream, 0);
  p.read(fd);
  EXPECT_EQ(p.last_error, errc::notconn);
  const int listener = p.listening();
  p.read(listener);
  EXPECT_EQ(p.last_error, errc::notconn);
  EXPECT_EQ(sys_send(p.a.app(), fd, bytes_of(std::string_view("x"))).error(), errc::pipe);
  EXPECT_EQ(sys_shutdown(p.a.app(), fd, shut_wr).error(), errc::notconn);
}

TEST(tcp_ioctl, queues) {
  segment_peer p;
  const int fd = p.accepted();
  EXPECT_EQ(ioctl_of(p, fd, siocinq), 0u);
  p.send(A, 0, 0, "12345");
  EXPECT_EQ(ioctl_of(p, fd, siocinq), 5u);
  p.send(F | A, 5, 0);
  EXPECT_EQ(ioctl_of(p, fd, siocinq), 5u);  // the FIN is no byte
  p.read(fd);
  EXPECT_EQ(ioctl_of(p, fd, siocinq), 0u);
  p.send(A, 6, 0, {}, {2000});
  p.write(fd, std::string(5000, 'x'));
  EXPECT_EQ(ioctl_of(p, fd, siocoutq), 5000u);
  EXPECT_EQ(ioctl_of(p, fd, siocoutqnsd), 3000u);
  p.send(A, 6, 1000, {}, {1000});
  EXPECT_EQ(ioctl_of(p, fd, siocoutq), 4000u);
}

TEST(tcp_shutdown, write_side_only_still_receives) {
  segment_peer p;
  const int fd = p.accepted();
  p.shut(fd, shut_wr);
  p.expect(F | A, 0, 0);
  EXPECT_EQ(sys_send(p.a.app(), fd, bytes_of(std::string_view("x"))).error(), errc::pipe);
  p.send(A, 0, 1, "still here");
  EXPECT_EQ(p.read(fd), "still here");
  EXPECT_EQ(p.state(fd), tcp_state::fin_wait2);
  p.advance(seconds(600));  // with a program behind it FIN_WAIT2 has no end
  p.sent.clear();
  p.send(A, 10, 1, "again");
  EXPECT_EQ(p.read(fd), "again");
}

TEST(tcp_shutdown, fin_follows_what_is_queued) {
  segment_peer p;
  const int fd = p.accepted();
  p.shrink_window(fd, 1000);
  p.write(fd, std::string(1500, 'x'));
  p.expect(A, 1, 0, 1000);
  p.shut(fd, shut_wr);
  p.expect_nothing();
  p.send(A, 0, 1001, {}, {1000});
  p.expect(F | A, 1001, 0, 500);
  p.send(A, 0, 1502);
  EXPECT_EQ(p.state(fd), tcp_state::fin_wait2);
}

TEST(tcp_shutdown, read_side_gives_end_of_stream) {
  segment_peer p;
  const int fd = p.accepted();
  p.shut(fd, shut_rd);
  p.expect_nothing();
  EXPECT_EQ(p.read(fd), "");
  EXPECT_EQ(p.last_error, errc::ok);
  EXPECT_EQ(p.state(fd), tcp_state::established);
}

TEST(tcp_shutdown, a_listener_stops_listening) {
  segment_peer p;
  p.listener = p.listening();
  p.shut(p.listener, shut_rd);
  p.send(S, -1, -1, {}, {});
  EXPECT_EQ(p.take().flags, R | A);
}

TEST(tcp_close, unread_data_make_it_a_reset) {
  segment_peer p;
  const int fd = p.accepted();
  p.send(A, 0, 0, "unread");
  p.sent.clear();
  p.close(fd);
  p.expect(R | A, 0, 6);
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_abort_on_close), 1u);
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
}

TEST(tcp_close, linger_zero_makes_it_a_reset) {
  segment_peer p;
  const int fd = p.accepted();
  std::array<u8, 8> linger{1};
  ASSERT_TRUE(sys_setsockopt(p.a.app(), fd, sol_socket, so_linger, linger));
  p.write(fd, "never mind");
  p.sent.clear();
  p.close(fd);
  p.expect(R | A, 10, 0);
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
}

TEST(tcp_close, the_goodbye_goes_on_without_a_program) {
  segment_peer p;
  const int fd = p.accepted();
  p.shrink_window(fd, 1000);
  p.write(fd, std::string(3000, 'x'));
  p.expect(A, 1, 0, 1000);
  p.close(fd);
  p.send(A, 0, 1001, {}, {1000});
  p.expect(A, 1001, 0, 1000);
  p.send(A, 0, 2001, {}, {1001});
  p.expect(F | A, 2001, 0, 1000);
  p.send(F | A, 0, 3002);
  p.expect(A, 3002, 1);
  EXPECT_EQ(tcp_of(p.a.net()).orphans, 0u);
}

TEST(tcp_close, too_many_orphans_are_aborted) {
  segment_peer p;
  p.a.sysctl("net.ipv4.tcp_max_orphans", "0");
  const int fd = p.accepted();
  p.close(fd);
  p.expect(F | A, 0, 0);
  p.expect(R | A, 1, 0);
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_abort_on_memory), 1u);
  EXPECT_EQ(tcp_of(p.a.net()).orphans, 0u);
}

TEST(tcp_close, a_listener_takes_its_queue_along) {
  segment_peer p;
  p.listener = p.listening();
  p.begin_passive(p.plain());
  p.send(A, 0, 0);
  p.peer_port = 4001;  // and one half open
  p.begin_passive(p.plain());
  p.close(p.listener);
  const seen_segment reset = p.take();
  EXPECT_EQ(reset.flags, R | A);
  EXPECT_EQ(reset.dest, 4000);
  p.expect_nothing();
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
}

TEST(tcp_send, room_is_told_when_a_third_is_free) {
  segment_peer p;
  const int fd = p.accepted();
  p.set(fd, sol_socket, so_sndbuf, 10'000);
  std::size_t queued = 0;
  for (;;) {
    const std::size_t n = p.write(fd, std::string(1000, 'x'));
    if (n == 0) break;
    queued += n;
  }
  EXPECT_EQ(poll_of(p, fd), 0u);
  p.send(A, 0, 1000);
  EXPECT_EQ(poll_of(p, fd), 0u);
  p.sent.clear();
  p.send(A, 0, static_cast<s64>(ioctl_of(p, fd, siocoutq)) > 9000 ? 9000 : 5000);
  EXPECT_EQ(poll_of(p, fd), out);
}

/// Nobody would wake who is told to wait then: what held the room up has left.
TEST(tcp_send, what_a_full_buffer_gives_away_makes_room_at_once) {
  segment_peer p;
  const int fd = p.accepted();
  p.set(fd, sol_tcp, tcp_nodelay, 1);
  p.set(fd, sol_tcp, tcp_notsent_lowat, 1);
  const auto send = [&] {
    return sys_send(p.a.app(), fd, bytes_of(std::string_view("x")),
                    msg_dontwait | msg_more | msg_eor);
  };
  EXPECT_EQ(send().value_or(0), 1u);
  EXPECT_EQ(send().value_or(0), 1u) << "the corked byte before it leaves";
  p.settle();
  p.expect(A, 0, 0, 1);
}

TEST(tcp_connect, refused) {
  segment_peer p;
  const int fd = p.connecting();
  p.send_raw(R | A, seq32(0), p.host_isn + 1, {}, {});
  EXPECT_EQ(poll_of(p, fd), in | out | pollerr | pollhup | pollrdhup);
  EXPECT_EQ(p.opt(fd, sol_socket, so_error), static_cast<int>(errc::connrefused));
  EXPECT_EQ(p.opt(fd, sol_socket, so_error), 0);
}

TEST(tcp_connect, a_reset_with_another_acknowledgement_is_ignored) {
  segment_peer p;
  const int fd = p.connecting();
  p.send_raw(R | A, seq32(0), p.host_isn + 5, {}, {});
  p.send_raw(R, seq32(0), seq32(0), {}, {});
  EXPECT_EQ(p.state(fd), tcp_state::syn_sent);
}

TEST(tcp_connect, times_out_after_syn_retries) {
  segment_peer p;
  const int fd = p.connecting();
  const instant begin = p.now();
  p.advance(seconds(126));
  // tcp_syn_retries and the four of tcp_syn_linear_timeouts, in the time of 1 + 2 + … + 64 s.
  EXPECT_EQ(p.sent.size(), 10u);
  EXPECT_EQ(p.state(fd), tcp_state::syn_sent);
  p.advance(seconds(6));
  EXPECT_EQ(p.opt(fd, sol_socket, so_error), static_cast<int>(errc::timedout));
  int linear = 4;
  s64 expected = 1;
  s64 at = 0;
  for (const seen_segment& s : p.sent) {
    EXPECT_EQ(s.flags, S);
    at += expected;
    EXPECT_EQ((s.when - begin).ms(), at * 1000);
    if (linear-- <= 0) expected *= 2;
  }
}

TEST(tcp_connect, what_the_calls_say_meanwhile_and_after) {
  segment_peer p;
  const int fd = p.connecting();
  const addr4 to(p.peer, p.peer_port);
  EXPECT_EQ(sys_connect(p.a.app(), fd, to).error(), errc::already);
  EXPECT_EQ(sys_send(p.a.app(), fd, bytes_of(std::string_view("x"))).error(), errc::again);
  p.send_raw(S | A, p.peer_isn, p.host_isn + 1, {}, {});
  EXPECT_TRUE(sys_connect(p.a.app(), fd, to));
  EXPECT_EQ(sys_connect(p.a.app(), fd, to).error(), errc::isconn);
}

TEST(tcp_connect, a_failed_socket_can_try_again) {
  segment_peer p;
  const int fd = p.connecting();
  p.send_raw(R | A, seq32(0), p.host_isn + 1, {}, {});
  const addr4 to(p.peer, p.peer_port);
  EXPECT_EQ(sys_connect(p.a.app(), fd, to).error(), errc::connrefused);
  EXPECT_EQ(sys_connect(p.a.app(), fd, to).error(), errc::inprogress);
  p.settle();
  EXPECT_EQ(p.take().flags, S);
}

TEST(tcp_connect, disconnect_with_af_unspec) {
  segment_peer p;
  const int fd = p.connected();
  const u16 port = port_of(*sys_getsockname(p.a.app(), fd));
  sockaddr_in nobody;
  EXPECT_TRUE(sys_connect(p.a.app(), fd, bytes_of(nobody)));
  const sockaddr_buf left = *sys_getsockname(p.a.app(), fd);
  EXPECT_EQ(addr_of(left).to_string(), "0.0.0.0");
  EXPECT_EQ(port_of(left), port);  // as Linux, though it is anybody's by now
  const int other = *sys_socket(p.a.app(), af_inet, sock_stream, 0);
  EXPECT_TRUE(sys_bind(p.a.app(), other, addr4("0.0.0.0", port)));
  p.settle();
  EXPECT_EQ(p.take().flags, R | A);
  EXPECT_EQ(sys_getpeername(p.a.app(), fd).error(), errc::notconn);
  EXPECT_EQ(sys_connect(p.a.app(), fd, addr4(p.peer, p.peer_port)).error(), errc::inprogress);
}

TEST(tcp_listen, the_accept_queue_holds_one_more_than_the_backlog) {
  segment_peer p;
  p.listener = p.listening(1);
  for (u16 port = 4000; port < 4002; ++port) {
    p.peer_port = port;
    p.begin_passive(p.plain());
    p.send(A, 0, 0);
  }
  p.peer_port = 4002;
  p.send_raw(S, p.peer_isn, seq32(0), {}, {});
  p.expect_nothing();
  EXPECT_EQ(p.a.drops(drop_reason::tcp_listen_overflow), 1u);
  EXPECT_TRUE(sys_accept4(p.a.app(), p.listener, nullptr, 0));
  p.begin_passive(p.plain());
}

TEST(tcp_listen, overflow_may_abort) {
  segment_peer p;
  p.a.sysctl("net.ipv4.tcp_abort_on_overflow", "1");
  p.listener = p.listening(1);
  // Three half open at the same time, then all complete.
  std::array<seq32, 3> isns;
  p.a.sysctl("net.ipv4.tcp_max_syn_backlog", "100");
  for (u16 i = 0; i < 2; ++i) {
    p.peer_port = static_cast<u16>(4000 + i);
    if (i == 1) {
      p.peer_port = 4000;
      p.send(A, 0, 0);
      p.peer_port = 4001;
    }
    isns[i] = p.begin_passive(p.plain()).seq;
  }
  p.send(A, 0, 0);
  ASSERT_EQ(p.info(p.listener).tcpi_unacked, 2u);
  EXPECT_EQ(p.info(p.listener).tcpi_sacked, 1u);
}

TEST(tcp_options, ranges_are_linuxs) {
  segment_peer p;
  const int fd = *sys_socket(p.a.app(), af_inet, sock_stream, 0);
  const auto set = [&](int name, int value) {
    const auto done = sys_setsockopt_int(p.a.app(), fd, sol_tcp, name, value);
    return done ? errc::ok : done.error();
  };
  struct row {
    int name, low, high;
  };
  for (const row& r : {row{tcp_maxseg, 88, 32767}, row{tcp_keepidle, 1, 32767},
                       row{tcp_keepintvl, 1, 32767}, row{tcp_keepcnt, 1, 127},
                       row{tcp_syncnt, 1, 127}}) {
    SCOPED_TRACE(r.name);
    EXPECT_EQ(set(r.name, r.low - 1), errc::inval);
    EXPECT_EQ(set(r.name, r.high + 1), errc::inval);
    EXPECT_EQ(set(r.name, r.low), errc::ok);
    EXPECT_EQ(p.opt(fd, sol_tcp, r.name), r.low);
    EXPECT_EQ(set(r.name, r.high), errc::ok);
    EXPECT_EQ(p.opt(fd, sol_tcp, r.name), r.high);
  }
  EXPECT_EQ(set(tcp_user_timeout, -1), errc::inval);
  EXPECT_EQ(set(9999, 1), errc::noprotoopt);
  EXPECT_EQ(sys_getsockopt_int(p.a.app(), fd, sol_tcp, 9999).error(), errc::noprotoopt);
  for (const int name : {tcp_nodelay, tcp_cork}) {
    EXPECT_EQ(p.opt(fd, sol_tcp, name), 0);
    EXPECT_EQ(set(name, 1), errc::ok);
    EXPECT_EQ(p.opt(fd, sol_tcp, name), 1);
  }
}

TEST(tcp_options, defaults) {
  segment_peer p;
  const int fd = *sys_socket(p.a.app(), af_inet, sock_stream, 0);
  EXPECT_EQ(p.opt(fd, sol_tcp, tcp_keepidle), 7200);
  EXPECT_EQ(p.opt(fd, sol_tcp, tcp_keepintvl), 75);
  EXPECT_EQ(p.opt(fd, sol_tcp, tcp_keepcnt), 9);
  EXPECT_EQ(p.opt(fd, sol_tcp, tcp_syncnt), 6);
  EXPECT_EQ(p.opt(fd, sol_tcp, tcp_linger2), 60);
  EXPECT_EQ(p.opt(fd, sol_tcp, tcp_maxseg), 536);
  EXPECT_EQ(p.opt(fd, sol_tcp, tcp_user_timeout), 0);
  EXPECT_EQ(p.opt(fd, sol_socket, so_rcvbuf), 131072);
  EXPECT_EQ(p.opt(fd, sol_socket, so_sndbuf), 16384);
}

TEST(tcp_options, congestion_control_by_name) {
  segment_peer p;
  const int fd = *sys_socket(p.a.app(), af_inet, sock_stream, 0);
  EXPECT_TRUE(sys_setsockopt(p.a.app(), fd, sol_tcp, uapi::tcp_congestion,
                             bytes_of(std::string_view("reno"))));
  std::array<u8, 16> name{};
  EXPECT_EQ(sys_getsockopt(p.a.app(), fd, sol_tcp, uapi::tcp_congestion, name).value(), 16u);
  EXPECT_STREQ(reinterpret_cast<const char*>(name.data()), "reno");
  EXPECT_EQ(sys_setsockopt(p.a.app(), fd, sol_tcp, uapi::tcp_congestion,
                           bytes_of(std::string_view("nonsense"))).error(), errc::noent);
}

TEST(tcp_options, maxseg_bounds_what_is_announced_and_sent) {
  segment_peer p;
  const int fd = *sys_socket(p.a.app(), af_inet, sock_stream, 0);
  p.set(fd, sol_tcp, tcp_maxseg, 700);
  EXPECT_EQ(sys_connect(p.a.app(), fd, addr4(p.peer, p.peer_port)).error(), errc::inprogress);
  p.settle();
  const seen_segment syn = p.take();
  EXPECT_EQ(syn.options.mss, 700);
  p.host_isn = syn.seq;
  p.host_port = syn.source;
  p.send_raw(S | A, p.peer_isn, p.host_isn + 1, {}, {65535, p.syn_options(p.plain())});
  p.take();
  p.write(fd, std::string(1400, 'x'));
  p.expect(A, 0, 0, 700);
  p.expect(A, 700, 0, 700);
}

TEST(tcp_options, user_timeout_ends_a_silent_peer) {
  segment_peer p;
  const int fd = p.connected();
  p.set(fd, sol_tcp, tcp_user_timeout, 3000);
  p.write(fd, "anybody there?");
  p.advance(milliseconds(2900));
  EXPECT_EQ(p.state(fd), tcp_state::established);
  p.advance(milliseconds(800));
  EXPECT_EQ(p.state(fd), tcp_state::close);
  EXPECT_EQ(p.opt(fd, sol_socket, so_error), static_cast<int>(errc::timedout));
}

/// As on Linux: what the neighbour's silence says is why the connection ended.
TEST(tcp_options, user_timeout_behind_a_lost_neighbour_says_that_there_is_no_way) {
  two_hosts lab;
  const int listener = *sys_socket(lab.b.app(), af_inet, sock_stream, 0);
  ASSERT_TRUE(sys_bind(lab.b.app(), listener, addr4("0.0.0.0", 80)));
  ASSERT_TRUE(sys_listen(lab.b.app(), listener, 1));
  const int fd = *sys_socket(lab.a.app(), af_inet, sock_stream, 0);
  static_cast<void>(sys_connect(lab.a.app(), fd, addr4("10.0.0.2", 80)));
  lab.advance(seconds(1));
  lab.filter = [](test_frame&) { return false; };
  ASSERT_TRUE(sys_send(lab.a.app(), fd, bytes_of(std::string_view("x")), 0));
  lab.advance(seconds(60));
  ASSERT_TRUE(sys_setsockopt_int(lab.a.app(), fd, sol_tcp, tcp_user_timeout, 2000));
  lab.advance(seconds(120));
  EXPECT_EQ(sys_getsockopt_int(lab.a.app(), fd, sol_socket, so_error).value_or(0),
            static_cast<int>(errc::hostunreach));
}

TEST(tcp_options, defer_accept_waits_for_data) {
  segment_peer p;
  p.listener = p.listening();
  p.set(p.listener, sol_tcp, tcp_defer_accept, 3);
  EXPECT_EQ(p.opt(p.listener, sol_tcp, tcp_defer_accept), 3);
  p.begin_passive(p.plain());
  p.send(A, 0, 0);
  EXPECT_EQ(poll_of(p, p.listener), 0u);
  p.send(A, 0, 0, "GET");
  EXPECT_EQ(poll_of(p, p.listener), in);
  const int fd = *sys_accept4(p.a.app(), p.listener, nullptr, 0);
  EXPECT_EQ(p.read(fd), "GET");
}

TEST(tcp_options, keepalive_finds_a_dead_peer) {
  segment_peer p;
  const int fd = p.accepted();
  p.set(fd, sol_tcp, tcp_keepidle, 10);
  p.set(fd, sol_tcp, tcp_keepintvl, 5);
  p.set(fd, sol_tcp, tcp_keepcnt, 3);
  p.set(fd, sol_socket, so_keepalive, 1);
  p.advance(milliseconds(9'900));
  p.expect_nothing();
  p.advance(milliseconds(200));
  p.expect(A, -1, 0);
  p.send(A, 0, 0);  // alive
  p.advance(milliseconds(9'800));
  p.expect_nothing();
  p.advance(milliseconds(300));
  p.expect(A, -1, 0);
  p.advance(seconds(10));
  p.expect(A, -1, 0);
  p.expect(A, -1, 0);
  p.advance(seconds(5));
  EXPECT_EQ(p.take().flags, R | A);
  EXPECT_EQ(p.opt(fd, sol_socket, so_error), static_cast<int>(errc::timedout));
}

TEST(tcp_info, counts_what_happened) {
  segment_peer p;
  const int fd = p.accepted();
  p.write(fd, std::string(2500, 'x'));
  p.send(A, 0, 2500);
  p.send(A, 0, 2500, "12345");
  p.send(A, 100, 2500, "ahead");
  const tcp_info info = p.info(fd);
  EXPECT_EQ(info.tcpi_state, static_cast<u8>(tcp_state::established));
  EXPECT_EQ(info.tcpi_bytes_acked, 2500u);
  EXPECT_EQ(info.tcpi_bytes_sent, 2500u);
  EXPECT_EQ(info.tcpi_bytes_received, 5u);
  EXPECT_EQ(info.tcpi_data_segs_out, 3u);
  EXPECT_EQ(info.tcpi_data_segs_in, 2u);
  EXPECT_EQ(info.tcpi_segs_in, 4u);
  EXPECT_EQ(info.tcpi_rcv_ooopack, 1u);
  EXPECT_EQ(info.tcpi_unacked, 0u);
  EXPECT_EQ(info.tcpi_delivered, 4u) << "the SYN+ACK too";
  EXPECT_EQ(info.tcpi_snd_mss, 1000u);
  EXPECT_EQ(info.tcpi_advmss, 1460u);
  EXPECT_EQ(info.tcpi_pmtu, 1500u);
  EXPECT_EQ(info.tcpi_options, 0);
}

}  // namespace
}  // namespace ph
