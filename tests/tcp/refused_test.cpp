// Segments that cannot leave this host: no way out is no congestion, and nobody tries again before
// an acknowledgement or the timeout says so.
#include <gtest/gtest.h>

#include "net/core/net_device.h"
#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

/// A paced connection with ten segments on their way and more waiting, of which the second to the
/// tenth arrived.
struct one_lost : segment_peer {
  one_lost() {
    fd = connected(with_sack());
    set(fd, sol_socket, so_max_pacing_rate, 1'000'000);
    write(fd, std::string(40'000, 'x'));
    advance(milliseconds(50));
    sent.clear();
    EXPECT_EQ(info(fd).tcpi_unacked, 10u);
  }
  void report_the_hole() {
    tcp_out_options options;
    options.num_sacks = 1;
    options.sacks[0] = {host_isn + 1001, host_isn + 10001};
    send(A, 0, 0, {}, {65535, syn_options(options)});
  }
  u64 tried() { return a.mib(mib::tcp_retrans_segs); }
  u64 failed() { return a.mib(mib::tcpext_tcp_retrans_fail); }
  int fd = -1;
};

/// A filter refuses all that leaves while `shut`, which must live as long as the host sends.
void shut_the_way_out(segment_peer& p, const bool& shut) {
  p.a.net().hooks().add(nf_family::ipv4, nf_hooknum::output,
                        {0, [&shut](cpu&, net_namespace&, skb_ptr&, const nf_state&) {
                           return shut ? nf_verdict::drop : nf_verdict::accept;
                         }});
}

TEST(tcp_refused, a_retransmission_without_a_way_out_waits_for_the_timeout) {
  one_lost p;
  const u32 rto_ms = p.info(p.fd).tcpi_rto / 1000;
  bool shut = true;
  shut_the_way_out(p, shut);
  p.report_the_hole();
  EXPECT_EQ(p.tried(), 1u);
  EXPECT_EQ(p.failed(), 1u);
  EXPECT_EQ(p.info(p.fd).tcpi_retrans, 0u) << "it is not on its way";
  p.advance(milliseconds(rto_ms - 60));
  EXPECT_EQ(p.tried(), 1u) << "no other clock tries again";
  p.advance(milliseconds(100));
  EXPECT_EQ(p.tried(), 2u);
  EXPECT_EQ(p.info(p.fd).tcpi_backoff, 1u) << "RFC 6298 (5.5), as for a loss on the path";
  shut = false;
  p.sent.clear();
  p.advance(milliseconds(2 * rto_ms));
  p.expect(A, 0, 0, 1000);
}

/// However long the machine has been up.
TEST(tcp_refused, patience_begins_with_the_first_attempt) {
  segment_peer p;
  p.advance(seconds(3600));
  const int fd = p.connected(p.with_sack());
  p.write(fd, std::string(1000, 'x'));
  const bool shut = true;
  shut_the_way_out(p, shut);
  p.advance(seconds(20));
  EXPECT_GE(p.info(fd).tcpi_backoff, 3u);
  EXPECT_EQ(p.info(fd).tcpi_state, static_cast<u8>(tcp_state::established));
}

TEST(tcp_refused, no_way_out_does_not_shrink_the_window) {
  segment_peer p;
  const int fd = p.connected(p.with_sack());
  const bool shut = true;
  shut_the_way_out(p, shut);
  p.write(fd, std::string(3000, 'x'));
  EXPECT_EQ(p.info(fd).tcpi_snd_cwnd, 10u);
  EXPECT_EQ(p.info(fd).tcpi_unacked, 0u);
}

TEST(tcp_refused, a_full_device_is_tried_again_soon_and_without_backing_off) {
  one_lost p;
  netdev_queue& queue = *p.a.dev().tx_queues().front();
  queue.discipline.reset();
  queue.stopped = true;
  p.report_the_hole();
  p.advance(milliseconds(p.info(p.fd).tcpi_rto / 1000 + 10));
  const u64 before = p.tried();
  EXPECT_EQ(p.info(p.fd).tcpi_backoff, 0u);
  p.advance(seconds(5));
  EXPECT_EQ(p.tried() - before, 10u) << "twice a second";
  EXPECT_EQ(p.info(p.fd).tcpi_backoff, 0u);
}

}  // namespace
}  // namespace ph
