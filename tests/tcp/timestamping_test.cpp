// SO_TIMESTAMPING, SO_TIMESTAMPNS and MSG_ZEROCOPY on streams and datagrams: what comes out of the
// error queue and with received data (socket(7)).
#include <gtest/gtest.h>

#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

/// What MSG_ERRQUEUE gave.
struct report {
  errc error = errc::ok;
  sock_extended_err ee;
  std::optional<timespec> when;
  u32 flags = 0;
  std::size_t bytes = 0;
};

report read_report(two_hosts& lab, test_host& host, int fd, u32 flags = msg_errqueue) {
  host.machine.enter(lab.now());
  std::array<u8, 64> data{};
  std::array<u8, 256> room{};
  const byte_span piece(data);
  recv_msg msg;
  msg.iov = {&piece, 1};
  msg.control = room;
  msg.flags = flags;
  report out;
  const auto got = sys_recvmsg(host.app(), fd, msg);
  if (!got) {
    out.error = got.error();
    return out;
  }
  out.bytes = *got;
  out.flags = msg.out_flags;
  const byte_view all = byte_view(room).first(msg.control_len);
  EXPECT_TRUE(for_each_cmsg(all, [&](int level, int type, byte_view value) -> result<void> {
    byte_reader reader(value);
    if (level == sol_ip && type == ip_recverr) out.ee = reader.take<sock_extended_err>();
    if (level == sol_socket && (type == scm_timestamping || type == scm_timestampns)) {
      out.when = reader.take<timespec>();
    }
    return {};
  }));
  return out;
}

constexpr u32 tx_all = sof_timestamping_tx_sched | sof_timestamping_tx_software |
                       sof_timestamping_tx_ack | sof_timestamping_software |
                       sof_timestamping_opt_id | sof_timestamping_opt_tsonly;
enum : u32 { snd = 0, sched = 1, ack = 2 };

s64 ns_of(const timespec& t) { return t.tv_sec * 1'000'000'000 + t.tv_nsec; }

TEST(tcp_timestamping, tells_when_the_last_byte_of_a_send_left_and_was_acknowledged) {
  segment_peer p;
  const int fd = p.connected();
  p.set(fd, sol_socket, so_timestamping, tx_all);
  const s64 sent_at = p.now().ns;
  p.write(fd, std::string(700, 'x'));
  EXPECT_NE(sys_poll(p.a.app(), fd) & pollerr, 0u);
  p.advance(milliseconds(20));
  p.send(A, 0, 700);
  for (const u32 kind : {sched, snd, ack}) {
    const report r = read_report(p, p.a, fd);
    ASSERT_EQ(r.error, errc::ok);
    EXPECT_EQ(r.ee.ee_errno, so_ee_no_error);
    EXPECT_EQ(r.ee.ee_origin, so_ee_origin_timestamping);
    EXPECT_EQ(r.ee.ee_info, kind);
    EXPECT_EQ(r.ee.ee_data, 699u);
    EXPECT_EQ(r.bytes, 0u);  // OPT_TSONLY
    EXPECT_NE(r.flags & msg_errqueue, 0u);
    ASSERT_TRUE(r.when);
    EXPECT_EQ(ns_of(*r.when), sent_at + (kind == ack ? milliseconds(20).ns : 0));
  }
  EXPECT_EQ(read_report(p, p.a, fd).error, errc::again);
  EXPECT_EQ(sys_poll(p.a.app(), fd) & pollerr, 0u);
}

TEST(tcp_timestamping, an_acknowledgement_before_the_last_byte_is_not_enough) {
  segment_peer p;
  const int fd = p.connected();
  p.set(fd, sol_socket, so_timestamping, static_cast<int>(tx_all & ~sof_timestamping_tx_sched &
                                                          ~sof_timestamping_tx_software));
  p.write(fd, std::string(2500, 'x'));
  p.send(A, 0, 2000);
  EXPECT_EQ(read_report(p, p.a, fd).error, errc::again);
  p.send(A, 0, 2500);
  EXPECT_EQ(read_report(p, p.a, fd).ee.ee_data, 2499u);
}

TEST(tcp_timestamping, a_control_message_asks_for_one_send) {
  segment_peer p;
  const int fd = p.connected();
  p.set(fd, sol_socket, so_timestamping,
        static_cast<int>(sof_timestamping_software | sof_timestamping_opt_id));
  p.write(fd, "quiet");
  p.send(A, 0, 5);
  std::array<u8, 24> control{};
  const cmsghdr head{20, sol_socket, so_timestamping};
  copy_bytes(control, bytes_of(head));
  copy_bytes(byte_span(control).subspan(16), bytes_of(u32{sof_timestamping_tx_ack}));
  const byte_view piece = bytes_of(std::string_view("timed"));
  send_msg msg;
  msg.iov = {&piece, 1};
  msg.control = control;
  ASSERT_TRUE(sys_sendmsg(p.a.app(), fd, msg));
  p.settle();
  p.send(A, 0, 10);
  const report r = read_report(p, p.a, fd);
  EXPECT_EQ(r.ee.ee_info, ack);
  EXPECT_EQ(r.ee.ee_data, 9u);
  EXPECT_EQ(read_report(p, p.a, fd).error, errc::again);
}

TEST(tcp_timestamping, refuses_what_it_does_not_know) {
  segment_peer p;
  const int fd = p.connected();
  const auto set = [&](int on, u32 flags) {
    return sys_setsockopt_int(p.a.app(), on, sol_socket, so_timestamping, static_cast<int>(flags));
  };
  EXPECT_EQ(set(fd, 1u << 30).error(), errc::inval);
  EXPECT_EQ(set(fd, sof_timestamping_opt_id_tcp).error(), errc::inval);
  const int idle = *sys_socket(p.a.app(), af_inet, sock_stream, 0);
  EXPECT_EQ(set(idle, sof_timestamping_opt_id).error(), errc::inval);
  EXPECT_EQ(p.opt(fd, sol_socket, so_timestamping), 0);
  EXPECT_TRUE(set(fd, tx_all));
  EXPECT_EQ(p.opt(fd, sol_socket, so_timestamping), static_cast<int>(tx_all));
}

TEST(tcp_timestamping, tells_when_received_data_came) {
  segment_peer p;
  const int fd = p.accepted();
  p.set(fd, sol_socket, so_timestampns, 1);
  p.advance(milliseconds(5));
  const s64 arrived = p.now().ns;
  p.send(A, 0, 0, "hello");
  p.advance(milliseconds(5));
  const report r = read_report(p, p.a, fd, 0);
  EXPECT_EQ(r.bytes, 5u);
  ASSERT_TRUE(r.when);
  EXPECT_EQ(ns_of(*r.when), arrived);
}

TEST(tcp_zerocopy, tells_that_buffers_are_free) {
  segment_peer p;
  const int fd = p.connected();
  p.set(fd, sol_tcp, tcp_nodelay, 1);
  p.write(fd, "x", msg_zerocopy);  // not asked for: no report
  p.set(fd, sol_socket, so_zerocopy, 1);
  for (int i = 0; i < 3; ++i) p.write(fd, std::string(100, 'x'), msg_zerocopy);
  EXPECT_EQ(read_report(p, p.a, fd).error, errc::again);
  p.send(A, 0, 201);
  const report two = read_report(p, p.a, fd);
  EXPECT_EQ(two.ee.ee_origin, so_ee_origin_zerocopy);
  EXPECT_EQ(two.ee.ee_code, so_ee_code_zerocopy_copied);
  EXPECT_EQ(two.ee.ee_info, 0u);
  EXPECT_EQ(two.ee.ee_data, 1u);
  p.send(A, 0, 301);
  EXPECT_EQ(read_report(p, p.a, fd).ee.ee_data, 2u);
}

TEST(udp_timestamping, counts_datagrams) {
  two_hosts lab;
  const int fd = *sys_socket(lab.a.app(), af_inet, sock_dgram, 0);
  constexpr u32 flags = sof_timestamping_tx_software | sof_timestamping_software |
                        sof_timestamping_opt_id | sof_timestamping_tx_ack;
  ASSERT_TRUE(sys_setsockopt_int(lab.a.app(), fd, sol_socket, so_timestamping, flags));
  for (u32 i = 0; i < 3; ++i) {
    ASSERT_TRUE(sys_sendto(lab.a.app(), fd, bytes_of(std::string_view("ping")), 0,
                           addr4("10.0.0.2", 9)));
    lab.settle();
    const report r = read_report(lab, lab.a, fd);
    ASSERT_EQ(r.error, errc::ok);
    EXPECT_EQ(r.ee.ee_info, snd);
    EXPECT_EQ(r.ee.ee_data, i);
    EXPECT_NE(r.bytes, 0u);  // the packet itself
    EXPECT_EQ(read_report(lab, lab.a, fd).error, errc::again);
  }
}

}  // namespace
}  // namespace ph
