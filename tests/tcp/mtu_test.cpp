// The size of segments: what ICMP may teach (RFC 1191, RFC 5927), and what TCP finds out itself
// (RFC 4821).
#include <gtest/gtest.h>

#include "segment_peer.h"
#include "uapi/tcp_auth.h"
#include "wire/icmp.h"

namespace ph {
namespace {

using namespace uapi;

/// "Fragmentation needed" about the host's segment with that absolute sequence number.
void frag_needed(segment_peer& p, seq32 seq, u16 mtu) {
  std::vector<u8> packet(20 + 8 + 28);
  ipv4_header outer;
  outer.saddr = *ipv4_addr::parse("10.0.0.2");
  outer.daddr = *ipv4_addr::parse(segment_peer::host);
  outer.protocol = ipproto_icmp;
  ASSERT_EQ(emit(packet, outer, 36), 20u);
  ipv4_header quoted;
  quoted.saddr = *ipv4_addr::parse(segment_peer::host);
  quoted.daddr = *ipv4_addr::parse(segment_peer::peer);
  quoted.protocol = ipproto_tcp;
  ASSERT_EQ(emit(byte_span(packet).subspan(28), quoted, 1480), 20u);
  const byte_span ports = byte_span(packet).subspan(48);
  copy_bytes(ports, bytes_of(be16(p.host_port)));
  copy_bytes(ports.subspan(2), bytes_of(be16(p.peer_port)));
  copy_bytes(ports.subspan(4), bytes_of(be32(seq.raw)));
  const byte_span icmp = byte_span(packet).subspan(20);
  icmp[0] = icmp_dest_unreach;
  icmp[1] = icmp_frag_needed;
  copy_bytes(icmp.subspan(6), bytes_of(be16(mtu)));
  const be16 check = csum_fold(csum_add_bytes(icmp));
  copy_bytes(icmp.subspan(2), bytes_of(check));
  p.inject(p.a, packet);
}

tcp_out_options full_size() {
  tcp_out_options out = segment_peer::with_sack();
  out.mss = 1460;
  return out;
}

segment_peer::link_config smallest_path() {
  segment_peer::link_config out;
  out.mtu = 68;  // RFC 791 §3.2
  return out;
}

/// RFC 791 §3.2: every link carries 68 bytes, and an acknowledgement that does not fit never comes.
TEST(tcp_path_mtu, on_the_smallest_path_selective_acknowledgements_leave_room) {
  for (const bool stamps : {false, true}) {
    segment_peer p(smallest_path());
    p.a.sysctl("net.ipv4.tcp_min_snd_mss", "28");
    tcp_out_options options = p.with_sack();
    options.timestamps = stamps;
    options.tsval = 1;
    const int fd = p.connected(options);
    const auto say = [&](s64 seq) {
      tcp_out_options own;
      own.timestamps = stamps;
      own.tsval = 2;
      p.send(A, seq, 0, "x", {65535, p.syn_options(own)});
      const seen_segment ack = p.take();
      EXPECT_LE(20 + ack.raw.size(), 68u);
      return ack;
    };
    for (s64 seq : {2, 4, 6}) say(seq);
    EXPECT_EQ(say(8).options.num_sacks, stamps ? 0 : 2);
    p.write(fd, std::string(160, 'y'));
    while (!p.sent.empty()) {
      const seen_segment data = p.take();
      EXPECT_LE(20 + data.raw.size(), 68u);
      EXPECT_GE(data.payload.size(), 8u);
    }
    EXPECT_EQ(p.a.drops(drop_reason::pkt_too_big), 0u);
  }
}

std::size_t mss_of(segment_peer& p, int fd) { return p.info(fd).tcpi_snd_mss; }

TEST(tcp_path_mtu, a_router_s_word_about_a_segment_in_flight_counts) {
  segment_peer p;
  const int fd = p.connected(full_size());
  p.write(fd, std::string(2920, 'x'));
  p.expect(A, 0, 0, 1460);
  p.expect(A, 1460, 0, 1460);
  frag_needed(p, p.host_isn + 1, 1000);
  EXPECT_EQ(mss_of(p, fd), 960u);
  // What no longer fits goes again at once, in pieces that do, and nobody is blamed.
  EXPECT_EQ(p.expect(A, 0, 0, 960).payload.size(), 960u);
  EXPECT_EQ(p.info(fd).tcpi_snd_cwnd, 10u);
}

TEST(tcp_path_mtu, options_that_a_live_connection_gets_take_their_room_at_once) {
  segment_peer p;
  const int fd = p.connected(full_size());
  EXPECT_EQ(mss_of(p, fd), 1460u);
  const u8 route[4] = {1, 1, 1, 0};  // no operation, end of list
  ASSERT_TRUE(sys_setsockopt(p.a.app(), fd, ipproto_ip, ip_options, route));
  EXPECT_EQ(mss_of(p, fd), 1456u);
  ASSERT_TRUE(sys_setsockopt(p.a.app(), fd, ipproto_ip, ip_options, {}));
  EXPECT_EQ(mss_of(p, fd), 1460u);
  tcp_md5sig key;
  copy_bytes(key.tcpm_addr.bytes, addr4(p.peer, 0));
  key.tcpm_keylen = 6;
  copy_bytes(key.tcpm_key, bytes_of(std::string_view("secret")));
  ASSERT_TRUE(sys_setsockopt(p.a.app(), fd, sol_tcp, tcp_md5sig_opt, bytes_of(key)));
  EXPECT_EQ(mss_of(p, fd), 1440u);
}

TEST(tcp_path_mtu, a_socket_bound_to_a_device_hears_what_comes_by_it) {
  segment_peer p;
  const int fd = p.connected(full_size());
  p.write(fd, std::string(2920, 'x'));
  p.sent.clear();
  const u16 old_port = p.peer_port++;
  const int bound = *sys_socket(p.a.app(), af_inet, sock_stream, 0);
  p.set(bound, sol_socket, so_bindtoifindex, static_cast<int>(p.a.dev().index().value));
  ASSERT_EQ(sys_connect(p.a.app(), bound, addr4(p.peer, p.peer_port)).error(), errc::inprogress);
  p.settle();
  const seen_segment syn = p.take();
  p.host_isn = syn.seq;
  p.host_port = syn.source;
  p.send_raw(S | A, p.peer_isn, p.host_isn + 1, {}, {65535, p.syn_options(full_size())});
  p.expect(A, 0, 0);
  p.write(bound, std::string(2920, 'x'));
  p.expect(A, 0, 0, 1460);
  p.expect(A, 1460, 0, 1460);
  frag_needed(p, p.host_isn + 1, 1000);
  EXPECT_EQ(mss_of(p, bound), 960u);
  EXPECT_EQ(p.a.mib(mib::icmp_in_errors), 0u);
  EXPECT_NE(old_port, p.peer_port);
}

TEST(tcp_path_mtu, forged_messages_teach_nothing) {
  segment_peer p;
  const int fd = p.connected(full_size());
  p.write(fd, "x");
  p.take();
  p.send(A, 0, 1);
  const u64 before = p.a.mib(mib::tcpext_out_of_window_icmps);
  frag_needed(p, p.host_isn + 2, 600);      // nothing is in flight
  frag_needed(p, p.host_isn + 70000, 600);  // beyond anything sent
  EXPECT_EQ(mss_of(p, fd), 1460u);
  EXPECT_EQ(p.a.mib(mib::tcpext_out_of_window_icmps), before + 2);
  // Neither did the route learn: a new connection starts at full size.
  p.peer_port = 4001;
  p.host_isn = seq32(0);
  const int other = p.connected(full_size());
  EXPECT_EQ(mss_of(p, other), 1460u);
}

TEST(tcp_path_mtu, absurd_sizes_count_as_min_pmtu) {
  segment_peer p;
  const int fd = p.connected(full_size());
  p.write(fd, std::string(1460, 'x'));
  frag_needed(p, p.host_isn + 1, 68);
  EXPECT_EQ(mss_of(p, fd), 552u - 40);
}

TEST(tcp_path_mtu, a_locked_route_does_not_learn) {
  segment_peer p;
  p.a.add_route("10.0.0.2 dev eth0 mtu lock 1400");
  const int fd = p.connected(full_size());
  EXPECT_EQ(mss_of(p, fd), 1360u);
  p.write(fd, std::string(1360, 'x'));
  frag_needed(p, p.host_isn + 1, 1000);
  EXPECT_EQ(mss_of(p, fd), 1360u);
}

/// Enough window and data for probes.
int prober(segment_peer& p, int mode) {
  p.a.sysctl("net.ipv4.tcp_mtu_probing", std::to_string(mode));
  p.a.sysctl("net.ipv4.tcp_base_mss", "512");
  p.a.add_route("10.0.0.2 dev eth0 initcwnd 20");
  // What is known about the path counts from the next change on, here of the peer's window.
  const int fd = p.connected(full_size(), 60000);
  p.send(A, 0, 0);
  EXPECT_EQ(p.info(fd).tcpi_snd_mss, 512u);
  return fd;
}

TEST(tcp_mtu_probe, a_delivered_probe_raises_the_segment_size) {
  segment_peer p;
  const int fd = prober(p, 2);
  const s64 at = 0;
  p.write(fd, std::string(8000, 'x'));
  const seen_segment probe = p.take();
  EXPECT_EQ(p.seq_of(probe), at);
  EXPECT_EQ(probe.payload.size(), 986u);  // halfway between 552 and 1500
  EXPECT_EQ(p.take().payload.size(), 512u);
  p.send(A, 0, at + 986);
  EXPECT_EQ(mss_of(p, fd), 986u);
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_mtup_success), 1u);
}

TEST(tcp_mtu_probe, a_lost_probe_is_no_congestion) {
  segment_peer p;
  const int fd = prober(p, 2);
  const s64 at = 0;
  const u32 cwnd = p.info(fd).tcpi_snd_cwnd;
  p.write(fd, std::string(8000, 'x'));
  EXPECT_EQ(p.take().payload.size(), 986u);
  p.sent.clear();
  tcp_out_options sack;
  sack.sacks[0] = {p.host_isn + static_cast<u32>(1 + at + 986),
                   p.host_isn + static_cast<u32>(1 + at + 986 + 4 * 512)};
  sack.num_sacks = 1;
  p.send(A, 0, at, {}, {65535, p.syn_options(sack)});
  p.advance(milliseconds(2));
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_mtup_fail), 1u);
  EXPECT_GE(p.info(fd).tcpi_snd_cwnd, cwnd);
  const seen_segment again = p.take();
  EXPECT_EQ(p.seq_of(again), at);
  EXPECT_EQ(again.payload.size(), 512u);
}

TEST(tcp_mtu_probe, a_black_hole_is_found_by_its_timeouts) {
  segment_peer p;
  p.a.sysctl("net.ipv4.tcp_mtu_probing", "1");
  const int fd = p.connected(full_size());
  EXPECT_EQ(mss_of(p, fd), 1460u);
  p.write(fd, std::string(2920, 'x'));
  p.advance(seconds(7));
  EXPECT_EQ(mss_of(p, fd), 1024u);
  p.sent.clear();
  p.advance(seconds(7));
  EXPECT_EQ(p.take().payload.size(), 512u);  // still nothing comes back: half of it
}

TEST(tcp_mtu_probe, off_by_default) {
  segment_peer p;
  const int fd = p.connected(full_size());
  p.write(fd, std::string(2920, 'x'));
  p.advance(seconds(20));
  EXPECT_EQ(mss_of(p, fd), 1460u);
}

/// RFC 4821 §7.6.4: a search that begins anew ends where the host itself refuses, after a few
/// tries.
TEST(tcp_mtu_probe, a_new_search_ends_where_the_route_refuses) {
  segment_peer p;
  p.a.sysctl("net.ipv4.tcp_mtu_probing", "2");
  p.a.add_route(std::string(segment_peer::peer) + "/32 dev eth0 mtu 1006");
  tcp_out_options options;
  options.mss = 1460;
  const int fd = p.accepted(options);
  s64 acked = 0;
  for (int round = 0; round < 40; ++round) {
    p.advance(seconds(round == 20 ? 700 : 1));
    p.write(fd, std::string(20'000, 'x'));
    for (int turn = 0; turn < 40 && !p.sent.empty(); ++turn) {
      for (; !p.sent.empty(); p.sent.pop_front()) {
        EXPECT_LE(p.sent.front().payload.size(), 1006u - 40);
        acked = std::max(acked, p.seq_of(p.sent.front()) +
                                    static_cast<s64>(p.sent.front().payload.size()));
      }
      p.send(A, 0, acked);
    }
  }
  EXPECT_EQ(acked, 40 * 20'000);
  EXPECT_LE(p.a.drops(drop_reason::pkt_too_big), 16u);
}

}  // namespace
}  // namespace ph
