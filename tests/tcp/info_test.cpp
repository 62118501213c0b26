// TCP_INFO and what belongs to one connection only: lengths, and that a new connection of the same
// socket begins with nothing of the old one.
#include <gtest/gtest.h>

#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

std::size_t info_bytes(segment_peer& p, int fd, byte_span out) {
  return sys_getsockopt(p.a.app(), fd, sol_tcp, tcp_info_opt, out).value_or(0);
}

TEST(tcp_info, is_as_long_as_asked_for_and_not_longer_than_linux_s) {
  segment_peer p;
  const int fd = p.accepted();
  std::array<u8, 400> room{};
  EXPECT_EQ(info_bytes(p, fd, room), 280u);
  // Programs built for older systems ask for less, and get the beginning.
  for (const std::size_t old : {104u, 192u, 232u, 248u}) {
    std::array<u8, 400> less{};
    EXPECT_EQ(info_bytes(p, fd, byte_span(less).first(old)), old);
    EXPECT_TRUE(std::equal(less.begin(), less.begin() + 8, room.begin()));
    EXPECT_TRUE(std::all_of(less.begin() + static_cast<long>(old), less.end(),
                            [](u8 b) { return b == 0; }));
  }
}

TEST(tcp_info, before_any_data_counts_from_the_handshake) {
  segment_peer p;
  p.advance(seconds(1000));
  tcp_out_options options = segment_peer::plain();
  options.timestamps = true;
  options.tsval = 1;
  const int fd = p.connected(options);
  EXPECT_EQ(p.info(fd).tcpi_last_data_sent, 0u);
  EXPECT_EQ(p.info(fd).tcpi_advmss, 1448u);
  p.advance(milliseconds(50));
  EXPECT_EQ(p.info(fd).tcpi_last_data_sent, 50u);
}

/// Out-of-order data, duplicates both ways, a retransmission and a timeout.
void stir(segment_peer& p, int fd) {
  tcp_out_options none;
  p.send(A | P, 100, 0, std::string(100, 'c'));
  p.send(A | P, 0, 0, std::string(100, 'a'));
  p.send(A | P, 0, 0, std::string(100, 'a'));
  p.write(fd, std::string(3000, 'x'));
  p.advance(seconds(2));
  p.send(A, 200, 3000);
  p.sent.clear();
}

TEST(tcp_info, of_a_new_connection_knows_nothing_of_the_old_one) {
  segment_peer p;
  const int fd = p.connected(segment_peer::with_sack());
  stir(p, fd);
  const tcp_info old = p.info(fd);
  EXPECT_NE(old.tcpi_rcv_ooopack, 0u);
  EXPECT_NE(old.tcpi_total_retrans, 0u);
  EXPECT_NE(old.tcpi_total_rto, 0u);
  EXPECT_NE(old.tcpi_busy_time, 0u);
  std::array<u8, 16> unspec{};
  ASSERT_TRUE(sys_connect(p.a.app(), fd, unspec));
  p.settle();
  EXPECT_EQ(p.opt(fd, sol_socket, so_error), static_cast<int>(errc::connreset));
  p.sent.clear();

  // What a socket that was never connected says is the measure.
  const auto fresh_of = [&](int of) {
    p.a.machine.enter(p.now());
    EXPECT_EQ(sys_connect(p.a.app(), of, addr4(p.peer, ++p.peer_port)).error(), errc::inprogress);
    p.settle();
    const seen_segment syn = p.take();
    p.host_isn = syn.seq;
    p.host_port = syn.source;
    p.send_raw(S | A, p.peer_isn, p.host_isn + 1, {},
               {65535, segment_peer::syn_options(segment_peer::with_sack())});
    p.expect(A, 0, 0);
    return p.info(of);
  };
  const tcp_info again = fresh_of(fd);
  const tcp_info first = fresh_of(*sys_socket(p.a.app(), af_inet, sock_stream, 0));
  EXPECT_TRUE(std::ranges::equal(bytes_of(again), bytes_of(first)));
}

TEST(tcp_info, of_a_new_connection_keeps_what_the_program_asked_for) {
  segment_peer p;
  const int fd = *sys_socket(p.a.app(), af_inet, sock_stream, 0);
  const std::pair<int, int> options[] = {{tcp_nodelay, 1},
                                         {tcp_maxseg, 500},
                                         {tcp_keepidle, 77},
                                         {tcp_keepcnt, 3},
                                         {tcp_syncnt, 2},
                                         {tcp_user_timeout, 12345},
                                         {tcp_rto_max_ms, 5000},
                                         {tcp_rto_min_us, 50000},
                                         {tcp_delack_max_us, 60000},
                                         {tcp_notsent_lowat, 999},
                                         {tcp_inq, 1},
                                         {tcp_thin_linear_timeouts, 1}};
  for (const auto& [name, value] : options) p.set(fd, sol_tcp, name, value);
  ASSERT_EQ(sys_connect(p.a.app(), fd, addr4(p.peer, p.peer_port)).error(), errc::inprogress);
  p.settle();
  std::array<u8, 16> unspec{};
  ASSERT_TRUE(sys_connect(p.a.app(), fd, unspec));
  for (const auto& [name, value] : options) EXPECT_EQ(p.opt(fd, sol_tcp, name), value) << name;
}

/// TCP_INQ of the next read; none: no control message.
std::optional<u32> inq_of(segment_peer& p, int fd, std::size_t most) {
  p.a.machine.enter(p.now());
  std::vector<u8> data(most);
  std::array<u8, 64> room{};
  const byte_span piece(data);
  recv_msg msg;
  msg.iov = {&piece, 1};
  msg.control = room;
  if (!sys_recvmsg(p.a.app(), fd, msg)) return std::nullopt;
  std::optional<u32> out;
  EXPECT_TRUE(for_each_cmsg(byte_view(room).first(msg.control_len),
                            [&](int level, int type, byte_view value) -> result<void> {
                              if (level == sol_tcp && type == tcp_cm_inq) {
                                out = byte_reader(value).take<u32>();
                              }
                              return {};
                            }));
  return out;
}

/// The time from a timeout to the end of its recovery stays told, and grows no more.
TEST(tcp_info, the_time_spent_in_recoveries_from_timeouts_adds_up) {
  segment_peer p;
  const int fd = p.connected(p.with_sack());
  p.set(fd, sol_tcp, tcp_nodelay, 1);
  for (s64 round = 0; round < 2; ++round) {
    p.write(fd, "x");
    const u16 before = p.info(fd).tcpi_total_rto;
    while (p.info(fd).tcpi_total_rto == before) p.advance(milliseconds(10));
    p.advance(milliseconds(100));
    p.send(A, 0, round + 1);
    p.advance(seconds(1));
    p.sent.clear();
  }
  const tcp_info info = p.info(fd);
  EXPECT_EQ(info.tcpi_total_rto, 2u);
  EXPECT_EQ(info.tcpi_total_rto_recoveries, 2u);
  EXPECT_GE(info.tcpi_total_rto_time, 200u);
  EXPECT_LE(info.tcpi_total_rto_time, 220u);
}

TEST(tcp_inq, comes_with_every_read_and_tells_of_the_end) {
  segment_peer p;
  const int fd = p.accepted();
  p.set(fd, sol_tcp, tcp_inq, 1);
  p.send(A | P, 0, 0, std::string(100, 'x'));
  EXPECT_EQ(inq_of(p, fd, 10), 90u);
  EXPECT_EQ(inq_of(p, fd, 0), 90u);
  EXPECT_EQ(inq_of(p, fd, 200), 0u);
  EXPECT_EQ(inq_of(p, fd, 10), std::nullopt);  // EAGAIN
  p.send(A | F, 100, 0);
  EXPECT_EQ(inq_of(p, fd, 10), 1u);  // the end can be read as often as one likes
  EXPECT_EQ(inq_of(p, fd, 10), 1u);
}

TEST(tcp_accept, tells_the_address_of_a_connection_that_was_reset_meanwhile) {
  segment_peer p;
  p.listener = p.listening();
  p.begin_passive(segment_peer::plain());
  p.send(A, 0, 0);
  p.send(R | A, 0, 0);
  sockaddr_buf name;
  const auto fd = sys_accept4(p.a.app(), p.listener, &name, 0);
  ASSERT_TRUE(fd);
  EXPECT_EQ(addr_of(name), *ipv4_addr::parse(p.peer));
  EXPECT_EQ(port_of(name), p.peer_port);
  EXPECT_EQ(sys_getpeername(p.a.app(), *fd).error(), errc::notconn);
  p.read(*fd);
  EXPECT_EQ(p.last_error, errc::connreset);
}

}  // namespace
}  // namespace ph
