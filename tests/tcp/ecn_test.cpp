// Explicit Congestion Notification, RFC 3168, seen from outside: which flags and marks the host's
// packets carry, and what it does with those of the peer.
#include "net/tcp/tcp_ecn.h"

#include "tests/sim/scenario.h"
#include "tests/tcp/segment_peer.h"

namespace ph {
namespace {

constexpr u8 not_ect = uapi::iptos_ecn_not_ect, ect0 = uapi::iptos_ecn_ect0,
             ce = uapi::iptos_ecn_ce;

struct ecn_peer : segment_peer {
  explicit ecn_peer(const char* setting = "1") { a.sysctl("net.ipv4.tcp_ecn", setting); }
  /// A connection that the host opened and for which the peer agreed.
  int ecn_connected() {
    const int fd = *sys_socket(a.app(), uapi::af_inet, uapi::sock_stream, 0);
    EXPECT_EQ(sys_connect(a.app(), fd, addr4(peer, peer_port)).error(), errc::inprogress);
    settle();
    const seen_segment syn = take();
    EXPECT_EQ(syn.flags, S | ECE | CWR);
    EXPECT_EQ(syn.ecn(), not_ect) << "RFC 3168 §6.1.1: a SYN is not marked";
    host_isn = syn.seq;
    host_port = syn.source;
    send_raw(S | A | ECE, peer_isn, host_isn + 1, {}, {65535, syn_options(with_sack())});
    EXPECT_EQ(expect(A, 0, 0).ecn(), not_ect);
    return fd;
  }
  bool agreed(int fd) { return (info(fd).tcpi_options & uapi::tcpi_opt_ecn) != 0; }
};

const std::string one(1000, 'x');

TEST(tcp_ecn, by_default_a_host_answers_but_does_not_ask) {
  segment_peer p;
  p.connected();  // which expects a plain SYN
  segment_peer q;
  q.listener = q.listening();
  q.send_raw(S | ECE | CWR, q.peer_isn, seq32(0), {}, {65535, q.syn_options(q.plain())});
  EXPECT_EQ(q.take().flags, S | A | ECE);
}

TEST(tcp_ecn, switched_off_it_is_not_agreed) {
  ecn_peer p("0");
  p.listener = p.listening();
  p.send_raw(S | ECE | CWR, p.peer_isn, seq32(0), {}, {65535, p.syn_options(p.plain())});
  EXPECT_EQ(p.take().flags, S | A);
}

TEST(tcp_ecn, a_marked_syn_is_not_answered_with_it) {
  ecn_peer p;
  p.listener = p.listening();
  p.send_raw(S | ECE | CWR, p.peer_isn, seq32(0), {},
             {65535, p.syn_options(p.plain()), 0, ect0});
  EXPECT_EQ(p.take().flags, S | A);
}

TEST(tcp_ecn, a_synack_that_reflects_both_flags_does_not_agree) {
  ecn_peer p;
  const int fd = *sys_socket(p.a.app(), uapi::af_inet, uapi::sock_stream, 0);
  static_cast<void>(sys_connect(p.a.app(), fd, addr4(p.peer, p.peer_port)));
  p.settle();
  const seen_segment syn = p.take();
  p.host_isn = syn.seq;
  p.host_port = syn.source;
  p.send_raw(S | A | ECE | CWR, p.peer_isn, p.host_isn + 1, {},
             {65535, p.syn_options(p.plain())});
  p.expect(A, 0, 0);
  EXPECT_FALSE(p.agreed(fd));
  p.write(fd, one);
  EXPECT_EQ(p.expect(A, 0, 0, 1000).ecn(), not_ect);
}

TEST(tcp_ecn, a_syn_sent_again_does_not_ask) {
  ecn_peer p;
  const int fd = *sys_socket(p.a.app(), uapi::af_inet, uapi::sock_stream, 0);
  static_cast<void>(sys_connect(p.a.app(), fd, addr4(p.peer, p.peer_port)));
  p.settle();
  EXPECT_EQ(p.take().flags, S | ECE | CWR);
  p.advance(milliseconds(1100));
  EXPECT_EQ(p.take().flags, S) << "RFC 3168 §6.1.1.1";
}

TEST(tcp_ecn, without_the_fallback_it_asks_again) {
  ecn_peer p;
  p.a.sysctl("net.ipv4.tcp_ecn_fallback", "0");
  const int fd = *sys_socket(p.a.app(), uapi::af_inet, uapi::sock_stream, 0);
  static_cast<void>(sys_connect(p.a.app(), fd, addr4(p.peer, p.peer_port)));
  p.settle();
  p.take();
  p.advance(milliseconds(1100));
  EXPECT_EQ(p.take().flags, S | ECE | CWR);
}

TEST(tcp_ecn, new_data_may_be_marked_and_nothing_else) {
  ecn_peer p;
  const int fd = p.ecn_connected();
  EXPECT_TRUE(p.agreed(fd));
  p.write(fd, one);
  EXPECT_EQ(p.expect(A, 0, 0, 1000).ecn(), ect0);
  p.advance(milliseconds(250));
  const seen_segment probe = p.take();
  EXPECT_EQ(p.seq_of(probe), 0);
  EXPECT_EQ(probe.ecn(), not_ect) << "RFC 3168 §6.1.5: a retransmission";
  p.sent.clear();
  p.send(A, 0, 1000);
  p.send(A, 0, 1000, "data");
  EXPECT_EQ(p.expect(A, 1000, 4).ecn(), not_ect) << "§6.1.4: a bare acknowledgement";
}

TEST(tcp_ecn, a_mark_is_echoed_until_the_peer_has_reduced) {
  ecn_peer p;
  const int fd = p.ecn_connected();
  p.send(A, 0, 0, "a", {65535, {}, 0, ce});
  EXPECT_EQ(p.take().flags, A | ECE);
  p.send(A, 1, 0, "b", {65535, {}, 0, ect0});
  EXPECT_EQ(p.take().flags, A | ECE) << "RFC 3168 §6.1.3: until CWR";
  p.send(A | CWR, 2, 0, "c", {65535, {}, 0, ect0});
  EXPECT_EQ(p.take().flags, A) << "and at once, for the peer's window is small";
  EXPECT_EQ(p.a.mib(mib::ipext_in_ce_pkts), 1u);
  EXPECT_EQ(p.a.mib(mib::ipext_in_ect0_pkts), 2u);
  EXPECT_NE(p.info(fd).tcpi_options & uapi::tcpi_opt_ecn_seen, 0);
}

TEST(tcp_ecn, cwr_and_a_mark_on_one_segment_begin_a_new_echo) {
  ecn_peer p;
  p.ecn_connected();
  p.send(A, 0, 0, "a", {65535, {}, 0, ce});
  EXPECT_EQ(p.take().flags, A | ECE);
  p.send(A | CWR, 1, 0, "b", {65535, {}, 0, ce});
  EXPECT_EQ(p.take().flags, A | ECE);
}

TEST(tcp_ecn, a_mark_on_data_received_before_is_not_echoed) {
  ecn_peer p;
  p.ecn_connected();
  p.send(A, 0, 0, "a", {65535, {}, 0, ect0});
  p.sent.clear();
  p.send(A, 0, 0, "a", {65535, {}, 0, ce});
  EXPECT_EQ(p.take().flags, A) << "RFC 3168 §6.1.5";
}

TEST(tcp_ecn, an_echo_shrinks_the_window_once_and_is_answered_on_new_data) {
  ecn_peer p;
  const int fd = p.ecn_connected();
  const u32 before = p.info(fd).tcpi_snd_cwnd;
  p.write(fd, std::string(4000, 'x'));
  for (int i = 0; i < 4; ++i) p.take();
  p.send(A | ECE, 0, 1000);
  EXPECT_EQ(p.info(fd).tcpi_ca_state, static_cast<u8>(uapi::tcp_ca_state::cwr));
  const u32 ssthresh = p.info(fd).tcpi_snd_ssthresh;
  EXPECT_LT(ssthresh, before);
  EXPECT_GE(ssthresh, before / 2);
  p.expect_nothing();  // nothing is lost: nothing is sent again
  p.send(A | ECE, 0, 2000);
  EXPECT_EQ(p.info(fd).tcpi_snd_ssthresh, ssthresh) << "once per window of data";
  p.write(fd, one);
  const seen_segment first = p.expect(A | CWR, 4000, 0, 1000);
  EXPECT_EQ(first.ecn(), ect0);
  p.write(fd, one);
  p.expect(A, 5000, 0, 1000);
  EXPECT_EQ(p.info(fd).tcpi_delivered_ce, 2u);
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_delivered_ce), 2u);
}

TEST(tcp_ecn, after_a_loss_new_data_say_so) {
  ecn_peer p;
  const int fd = p.ecn_connected();
  p.write(fd, one);
  p.take();
  p.advance(milliseconds(300));
  p.advance(milliseconds(2000));
  while (!p.sent.empty()) EXPECT_EQ(p.take().flags & CWR, 0) << "not on a retransmission";
  p.send(A, 0, 1000);
  p.write(fd, one);
  p.expect(A | CWR, 1000, 0, 1000);
}

TEST(tcp_ecn, a_connection_without_it_ignores_marks_and_echoes) {
  segment_peer p;
  const int fd = p.connected();
  p.write(fd, std::string(2000, 'x'));
  p.sent.clear();
  p.send(A | ECE, 0, 1000);
  EXPECT_EQ(p.info(fd).tcpi_ca_state, static_cast<u8>(uapi::tcp_ca_state::open));
  p.send(A, 0, 2000, "a", {65535, {}, 0, ce});
  EXPECT_EQ(p.take().flags, A);
}

TEST(tcp_ecn, by_marks_each_change_is_told_at_once) {
  ecn_peer p;
  p.a.sysctl("net.ipv4.tcp_congestion_control", "dctcp");
  p.a.sysctl("net.ipv4.tcp_ecn", "0");
  const int fd = *sys_socket(p.a.app(), uapi::af_inet, uapi::sock_stream, 0);
  static_cast<void>(sys_connect(p.a.app(), fd, addr4(p.peer, p.peer_port)));
  p.settle();
  const seen_segment syn = p.take();
  EXPECT_EQ(syn.flags, S | ECE | CWR) << "DCTCP needs it, whatever the setting";
  EXPECT_EQ(syn.ecn(), ect0);
  p.host_isn = syn.seq;
  p.host_port = syn.source;
  p.send_raw(S | A | ECE, p.peer_isn, p.host_isn + 1, {}, {65535, p.syn_options(p.plain())});
  EXPECT_EQ(p.expect(A, 0, 0).ecn(), ect0);
  p.set(fd, uapi::sol_tcp, uapi::tcp_quickack, 0);
  s64 at = 0;
  const auto data = [&](u8 mark) {
    p.send(A, at, 0, one, {65535, {}, 0, mark});
    at += 1000;
  };
  data(ect0);
  data(ect0);
  p.sent.clear();
  data(ect0);  // its acknowledgement waits
  p.expect_nothing();
  data(ce);
  // RFC 8257 §3.2: first what waited, with the old state; then the new state.
  p.expect(A, 0, at - 1000);
  p.expect(A | ECE, 0, at);
  data(ce);
  data(ce);
  while (!p.sent.empty()) EXPECT_EQ(p.take().flags, A | ECE);
  data(ect0);
  while (p.sent.size() > 1) EXPECT_EQ(p.take().flags, A | ECE);
  p.expect(A, 0, at);
}

TEST(tcp_ecn, a_queue_that_marks_keeps_senders_from_losses) {
  using namespace sim;
  for (const char* algorithm : {"cubic", "dctcp"}) {
    world w;
    make_pair_of_hosts(w, {.rate = 20_mbit, .delay = 5_ms, .queue_packets = 200,
                           .ecn_threshold = 20});
    for (const char* name : {"a", "b"}) {
      w.host_at(name).set_sysctl("net.ipv4.tcp_ecn", "1");
      w.host_at(name).set_sysctl("net.ipv4.tcp_congestion_control", algorithm);
    }
    w.spawn("b", "checker", stream_checker(80, 8'000'000));
    w.spawn("a", "sender", stream_sender("10.0.0.2:80", 8'000'000));
    w.run_apps();
    EXPECT_EQ(w.host_at("a").counter("TcpRetransSegs"), 0u) << algorithm;
    EXPECT_GT(w.host_at("b").counter("IpExtInCEPkts"), 0u) << algorithm;
    EXPECT_GT(w.host_at("a").counter("TcpExtTCPDeliveredCE"), 0u) << algorithm;
  }
}

}  // namespace
}  // namespace ph
