// Why TCP drops a segment: for each reason the smallest dialogue in which exactly that one is told.
#include <gtest/gtest.h>

#include <functional>

#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

struct told_reason {
  const char* name;
  skb_drop_reason why;
  std::function<void(segment_peer&)> dialogue;
};

/// A segment of a connection with one bit of its bytes turned over.
void damaged(segment_peer& p, std::size_t at, u8 bits) {
  p.sign = [at, bits](byte_span tcp) { tcp[at] ^= bits; };
  p.send(A, 0, 0, "x");
  p.sign = nullptr;
}

/// The same, with a checksum that is none.
void with_wrong_checksum(segment_peer& p) {
  tcp_segment segment;
  segment.source = p.peer_port;
  segment.dest = p.host_port;
  segment.flags = A;
  std::vector<u8> packet(40);
  ipv4_header ip;
  ip.saddr = *ipv4_addr::parse(p.peer);
  ip.daddr = *ipv4_addr::parse(p.host);
  ip.protocol = ipproto_tcp;
  ASSERT_EQ(emit(byte_span(packet).subspan(20), segment, ip.saddr, ip.daddr), 20u);
  ASSERT_EQ(emit(packet, ip, 20), 20u);
  packet[37] ^= 1;
  p.inject(p.a, packet);
}

tcp_out_options with_timestamps(u32 value) {
  tcp_out_options out = segment_peer::plain();
  out.timestamps = true;
  out.tsval = value;
  return out;
}

/// The host has closed first, and both FINs are acknowledged.
void into_time_wait(segment_peer& p) {
  const int fd = p.accepted();
  p.shut(fd, shut_wr);
  p.expect(F | A, 0, 0);
  p.send(F | A, 0, 1);
  p.expect(A, 1, 1);
  EXPECT_EQ(p.read(fd), "");
  p.close(fd);
}

const told_reason reasons[] = {
    {"checksum", drop_reason::tcp_csum,
     [](segment_peer& p) {
       p.accepted();
       with_wrong_checksum(p);
     }},
    {"header_shorter_than_a_header", drop_reason::tcp_malformed,
     [](segment_peer& p) {
       p.accepted();
       damaged(p, 12, 0x50 ^ 0x40);
     }},
    {"nobody_listens", drop_reason::tcp_no_socket,
     [](segment_peer& p) { p.send_raw(S, p.peer_isn, seq32(0), {}, {}); }},
    {"too_far_away", drop_reason::tcp_min_ttl,
     [](segment_peer& p) {
       const int fd = p.accepted();
       p.set(fd, sol_ip, ip_minttl, 255);
       p.send(A, 0, 0, "x");
     }},
    {"older_timestamp", drop_reason::tcp_paws,
     [](segment_peer& p) {
       p.accepted(with_timestamps(1000));
       p.send(A, 0, 0, "x", {65535, segment_peer::syn_options(with_timestamps(10))});
     }},
    {"before_the_window", drop_reason::tcp_old_sequence,
     [](segment_peer& p) {
       p.accepted();
       p.send(A, -100, 0, "x");
     }},
    {"beyond_the_window", drop_reason::tcp_invalid_sequence,
     [](segment_peer& p) {
       p.accepted();
       p.send(A, 1'000'000, 0, "x");
     }},
    {"data_that_came_already", drop_reason::tcp_old_data,
     [](segment_peer& p) {
       p.accepted();
       p.send(A, 0, 0, "hello");
       p.send(A, 0, 0, "hello");
     }},
    {"acknowledgement_in_syn_sent", drop_reason::tcp_invalid_ack,
     [](segment_peer& p) {
       p.connecting();
       p.send_raw(A, p.peer_isn, p.host_isn + 5, {}, {});
     }},
    {"acknowledgement_of_long_ago", drop_reason::tcp_too_old_ack,
     [](segment_peer& p) {
       p.accepted();
       p.send(A, 0, -1'000'000, "x");
     }},
    {"acknowledgement_of_what_was_not_sent", drop_reason::tcp_ack_unsent_data,
     [](segment_peer& p) {
       p.accepted();
       p.send(A, 0, 1000, "x");
     }},
    {"syn_in_a_connection", drop_reason::tcp_invalid_syn,
     [](segment_peer& p) {
       p.accepted();
       p.send(S, 0, 0);
     }},
    {"no_ack_in_a_connection", drop_reason::tcp_flags,
     [](segment_peer& p) {
       p.accepted();
       p.send(0, 0, 0, "x");
     }},
    {"reset", drop_reason::tcp_reset,
     [](segment_peer& p) {
       p.accepted();
       p.send(R, 0, 0);
     }},
    {"second_syn_of_a_half_open_connection", drop_reason::tcp_request,
     [](segment_peer& p) {
       p.listening();
       p.begin_passive(segment_peer::plain());
       p.send_raw(S, p.peer_isn, seq32(0), {}, {});
     }},
    {"second_copy_of_data_out_of_order", drop_reason::tcp_ofo_merge,
     [](segment_peer& p) {
       p.accepted(segment_peer::with_sack());
       p.send(A, 100, 0, "hello");
       p.send(A, 100, 0, "hello");
     }},
    {"acknowledgement_in_time_wait", drop_reason::tcp_timewait,
     [](segment_peer& p) {
       into_time_wait(p);
       p.send(A, 1, 1);
     }},
    {"no_way_back_for_an_answer", drop_reason::tcp_no_route,
     [](segment_peer& p) {
       p.listening();
       {
         const rtnl_guard rtnl(p.a.machine.rtnl());
         p.a.ipv4().fib.flush_kernel(rtnl.held(), p.a.dev());
       }
       p.a.add_route("local 10.0.0.1 dev lo table local");
       p.send_raw(S, p.peer_isn, seq32(0), {}, {65535, segment_peer::syn_options(p.plain())});
     }},
    {"data_that_nobody_will_read", drop_reason::socket_closed,
     [](segment_peer& p) {
       const int fd = p.accepted();
       p.send(A, 0, 0, "hello");
       p.close(fd);
     }},
};

class drop_reasons : public testing::TestWithParam<told_reason> {};

TEST_P(drop_reasons, is_told_once_and_nothing_else) {
  segment_peer p;
  const drop_counts before = p.a.machine.drops();
  GetParam().dialogue(p);
  const drop_counts after = p.a.machine.drops();
  EXPECT_EQ(p.a.drops(GetParam().why) - before.get(GetParam().why.info()), 1u);
  after.for_each([&](const drop_reason_info& why, u64 n) {
    if (&why == &drop_reason::fault_loss) return;  // the peer catches what the host says
    if (&why == &GetParam().why.info()) return;
    EXPECT_EQ(n, before.get(why)) << why.name();
  });
}

INSTANTIATE_TEST_SUITE_P(tcp, drop_reasons, testing::ValuesIn(reasons),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(tcp_drop_reasons, no_way_back_for_a_reset) {
  segment_peer p;
  {
    const rtnl_guard rtnl(p.a.machine.rtnl());
    p.a.ipv4().fib.flush_kernel(rtnl.held(), p.a.dev());
  }
  p.a.add_route("local 10.0.0.1 dev lo table local");
  const u64 before = p.a.mib(mib::ip_out_no_routes);
  p.send_raw(S, p.peer_isn, seq32(0), {}, {65535, segment_peer::syn_options(p.plain())});
  EXPECT_EQ(p.a.drops(drop_reason::tcp_no_socket), 1u);
  EXPECT_EQ(p.a.drops(drop_reason::ip_outnoroutes), 1u);
  EXPECT_EQ(p.a.mib(mib::ip_out_no_routes) - before, 1u);
}

}  // namespace
}  // namespace ph
