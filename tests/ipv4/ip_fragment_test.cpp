// Fragments: any order, overlaps, holes, limits and time.
#include <random>

#include "net/ipv4/ip_fragment.h"
#include "net/ipv4/ip_output.h"
#include "tests/support/craft.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using namespace std::literals;

const ipv4_addr peer(10, 0, 0, 2), me(10, 0, 0, 1);

struct reassembly : ::testing::Test {
  two_hosts lab{{9000, netif_f_none, {}}};  // fragments may be of any size
  test_host& a = lab.a;
  int fd = 0;
  std::vector<u8> datagram;  ///< UDP header and data

  void SetUp() override {
    fd = *sys_socket(a.app(), af_inet, sock_dgram, 0);
    ASSERT_TRUE(sys_bind(a.app(), fd, addr4(me, 9)));
    make(4000);
  }
  void make(std::size_t data) {
    std::vector<u8> bytes(data);
    for (std::size_t i = 0; i < data; ++i) bytes[i] = static_cast<u8>(i * 13 + i / 256);
    datagram.assign(data + 8, 0);
    emit(datagram, udp_datagram{7, 9, bytes}, peer, me);
  }
  std::vector<u8> piece(std::size_t from, std::size_t to, bool more, u16 id = 1, u8 tos = 0) {
    ipv4_header h = craft_header(peer, me, ipproto_udp);
    h.id = id;
    h.tos = tos;
    h.fragment_offset = static_cast<u16>(from);
    h.more_fragments = more;
    return craft_ip(h, byte_view(datagram).subspan(from, to - from));
  }
  void give(std::size_t from, std::size_t to, bool more, u16 id = 1, u8 tos = 0) {
    lab.inject(a, piece(from, to, more, id, tos));
  }
  /// The datagram has arrived whole and right.
  bool arrived() {
    std::vector<u8> got(70000);
    const auto n = sys_recv(a.app(), fd, got);
    if (!n) return false;
    got.resize(*n);
    EXPECT_TRUE(std::equal(got.begin(), got.end(), datagram.begin() + 8, datagram.end()));
    return true;
  }
  std::size_t waiting() { return a.ipv4().frags->queues(); }
};

TEST_F(reassembly, any_order_any_cut) {
  std::mt19937 random(3);
  for (u16 round = 0; round < 60; ++round) {
    std::vector<std::pair<std::size_t, std::size_t>> cuts;
    for (std::size_t at = 0; at < datagram.size();) {
      const std::size_t n = std::min<std::size_t>(8 * (1 + random() % 60), datagram.size() - at);
      cuts.emplace_back(at, at + n);
      at += n;
    }
    std::shuffle(cuts.begin(), cuts.end(), random);
    for (const auto& [from, to] : cuts) give(from, to, to != datagram.size(), round);
    EXPECT_TRUE(arrived()) << round;
    EXPECT_EQ(waiting(), 0u);
    EXPECT_EQ(a.ipv4().frags->memory(), 0u);
  }
  EXPECT_EQ(a.mib(mib::ip_reasm_oks), 60u);
  EXPECT_EQ(a.mib(mib::ip_reasm_fails), 0u);
}

TEST_F(reassembly, datagrams_do_not_mix) {
  give(0, 2000, true, 1);
  give(0, 2000, true, 2);
  give(2000, 4008, false, 1);
  EXPECT_TRUE(arrived());
  EXPECT_FALSE(arrived());
  EXPECT_EQ(waiting(), 1u);
}

TEST_F(reassembly, an_exact_duplicate_does_no_harm) {
  give(0, 2000, true);
  give(0, 2000, true);
  give(8, 1600, true);  // nor one that lies inside what is there
  EXPECT_EQ(a.drops(drop_reason::frag_overlap), 2u);
  give(2000, 4008, false);
  EXPECT_TRUE(arrived());
}

TEST_F(reassembly, an_overlap_ends_the_datagram) {
  give(0, 2000, true);
  give(1992, 4008, false);
  EXPECT_EQ(waiting(), 0u);
  EXPECT_EQ(a.drops(drop_reason::frag_overlap), 2u);
  EXPECT_EQ(a.mib(mib::ipext_reasm_overlaps), 1u);
  EXPECT_EQ(a.mib(mib::ip_reasm_fails), 1u);
  EXPECT_FALSE(arrived());
}

TEST_F(reassembly, an_overlap_in_the_middle_too) {
  give(0, 800, true);
  give(1600, 2400, true);
  give(792, 1608, true);
  EXPECT_EQ(waiting(), 0u);
  EXPECT_EQ(a.drops(drop_reason::frag_overlap), 3u);
}

TEST_F(reassembly, contradictory_ends) {
  give(2000, 4008, false, 1);
  give(4008 - 8, 4008, false, 2);
  give(2000, 3008, false, 1);  // another end
  EXPECT_EQ(a.drops(drop_reason::frag_bad), 2u);
  give(4000, 4008, false, 3);
  make(6000);
  give(4008, 4016, true, 3);   // beyond the end
  EXPECT_EQ(a.drops(drop_reason::frag_bad), 4u);
}

TEST_F(reassembly, an_empty_fragment) {
  give(0, 0, true);
  EXPECT_EQ(a.drops(drop_reason::frag_bad), 1u);
}

TEST_F(reassembly, beyond_64_kilobytes) {
  ipv4_header h = craft_header(peer, me, ipproto_udp);
  h.fragment_offset = 65528;
  lab.inject(a, craft_ip(h, byte_view(datagram).first(100)));
  EXPECT_EQ(waiting(), 1u);  // of what can never be a datagram
  lab.advance(seconds(31));
  EXPECT_EQ(waiting(), 0u);
  EXPECT_EQ(a.drops(drop_reason::frag_reasm_timeout), 1u);
}

/// Pieces of a datagram of `bytes` whose k-th alone has 40 bytes of options.
struct optional_pieces : reassembly {
  void give_with_options(std::size_t bytes, std::size_t k) {
    make(bytes - 8);
    const std::vector<u8> route = [] {
      std::vector<u8> out(40, 0);
      out[0] = ipopt_rr, out[1] = 39, out[2] = 4;
      return out;
    }();
    constexpr std::size_t each = 8000;
    for (std::size_t at = 0, i = 0; at < bytes; at += each, ++i) {
      const std::size_t n = std::min(each, bytes - at);
      ipv4_header h = craft_header(peer, me, ipproto_udp);
      h.fragment_offset = static_cast<u16>(at);
      h.more_fragments = at + n < bytes;
      if (i == k) h.options = route;
      lab.inject(a, craft_ip(h, byte_view(datagram).subspan(at, n)));
    }
  }
};

// The header of the whole is the first one's: only its options count.
TEST_F(optional_pieces, the_first_header_makes_it_too_long) {
  give_with_options(65535 - 60 + 8, 0);
  EXPECT_EQ(a.mib(mib::ip_reasm_fails), 1u);
  EXPECT_EQ(a.drops(drop_reason::frag_too_big), 9u);
  EXPECT_EQ(waiting(), 0u);
  EXPECT_EQ(a.ipv4().frags->memory(), 0u);
  give_with_options(65535 - 60, 0);
  EXPECT_TRUE(arrived());
}

TEST_F(optional_pieces, options_of_the_others_take_no_room) {
  for (const std::size_t k : {1u, 7u, 8u}) {
    give_with_options(65535 - 20, k);
    EXPECT_TRUE(arrived()) << k;
  }
  EXPECT_EQ(a.mib(mib::ip_reasm_fails), 0u);
}

TEST_F(reassembly, a_million_fragments) {
  make(60'000);
  std::mt19937 random(5);
  for (int i = 0; i < 1'000'000; ++i) {
    // Eight bytes each, of eight datagrams, in any order; now and then the end of one.
    const std::size_t at = random() % (datagram.size() / 8) * 8;
    const auto piece_bytes = piece(at, at + 8, true, static_cast<u16>(random() % 8));
    a.ports[0]->receive_bytes([&] {
      std::vector<u8> frame(sizeof(ethhdr));
      emit(frame, ethernet_header{a.dev().dev_addr(), mac_addr{{2, 0, 0, 0, 0xee, 1}}, eth_p_ip});
      frame.insert(frame.end(), piece_bytes.begin(), piece_bytes.end());
      return frame;
    }());
    if (i % 64 == 0) lab.settle();
  }
  lab.settle();
  EXPECT_LE(a.ipv4().frags->memory(), (4u << 20) + 4096);  // the last one may go beyond
  EXPECT_EQ(a.mib(mib::ip_reasm_reqds), 1'000'000u);
  lab.advance(seconds(31));
  EXPECT_EQ(waiting(), 0u);
  make(4000);
  give(0, 2000, true, 77);
  give(2000, 4008, false, 77);
  EXPECT_TRUE(arrived());
}

TEST_F(reassembly, time_runs_out_after_thirty_seconds_and_the_sender_is_told) {
  give(0, 2000, true);
  lab.advance(milliseconds(29'990));
  EXPECT_EQ(waiting(), 1u);
  lab.advance(milliseconds(20));
  EXPECT_EQ(waiting(), 0u);
  EXPECT_EQ(a.drops(drop_reason::frag_reasm_timeout), 1u);
  EXPECT_EQ(a.mib(mib::ip_reasm_timeout), 1u);
  const auto message = *icmp_view::parse(lab.frames.back().ip().payload);
  EXPECT_EQ(message.icmph->type, icmp_time_exceeded);
  EXPECT_EQ(message.icmph->code, icmp_exc_fragtime);
}

TEST_F(reassembly, without_the_first_fragment_nobody_is_told) {
  give(2000, 4008, false);
  lab.advance(seconds(31));
  EXPECT_EQ(a.drops(drop_reason::frag_reasm_timeout), 1u);
  EXPECT_TRUE(lab.frames.empty());
}

TEST_F(reassembly, memory_is_bounded_and_who_came_first_stays) {
  a.sysctl("net.ipv4.ipfrag_high_thresh", "100000");
  a.sysctl("net.ipv4.ipfrag_max_dist", "0");
  for (u16 id = 1; id <= 200; ++id) give(0, 1400, true, id);
  EXPECT_LE(a.ipv4().frags->memory(), 110'000u);
  EXPECT_GT(a.drops(drop_reason::frag_memory), 100u);
  EXPECT_GT(waiting(), 10u);
  give(1400, 4008, false, 1);  // even what the oldest lacks is refused
  EXPECT_FALSE(arrived());
  lab.advance(seconds(31));
  EXPECT_EQ(a.ipv4().frags->memory(), 0u);
  give(0, 4008, false, 1);
  EXPECT_TRUE(arrived());
}

TEST_F(reassembly, a_source_that_ran_ahead_starts_anew) {
  a.sysctl("net.ipv4.ipfrag_max_dist", "10");
  give(0, 2000, true, 1);
  for (u16 id = 100; id < 112; ++id) give(0, 800, true, id);
  give(2000, 4008, false, 1);
  EXPECT_FALSE(arrived());
  EXPECT_EQ(a.drops(drop_reason::frag_bad), 1u);
  give(0, 2000, true, 1);
  EXPECT_TRUE(arrived());
}

TEST_F(reassembly, congestion_marks) {
  const int on = 1;
  ASSERT_TRUE(sys_setsockopt(a.app(), fd, sol_ip, ip_recvtos, bytes_of(on)));
  give(0, 2000, true, 1, 2);
  give(2000, 4008, false, 1, 3);  // one mark marks the whole
  std::vector<u8> got(5000), control(64);
  const byte_span room(got);
  recv_msg msg;
  msg.iov = {&room, 1};
  msg.control = control;
  ASSERT_EQ(sys_recvmsg(a.app(), fd, msg).value_or(0), 4000u);
  EXPECT_EQ(control[16] & 3, 3);
  give(0, 2000, true, 2, 0);
  give(2000, 4008, false, 2, 3);  // who cannot be marked was marked: not one datagram
  EXPECT_FALSE(arrived());
  EXPECT_EQ(a.drops(drop_reason::frag_bad), 2u);
}

TEST_F(reassembly, waiting_fragments_end_with_the_host) {
  give(0, 2000, true);
  EXPECT_EQ(waiting(), 1u);
}

TEST(fragmentation, options_are_copied_as_rfc_791_says) {
  two_hosts lab;
  task& app = lab.a.app();
  const int fd = *sys_socket(app, af_inet, sock_dgram, 0);
  // Router alert has the copied flag, record route has not.
  const u8 options[] = {ipopt_ra, 4, 0, 0, ipopt_rr, 7, 4, 0, 0, 0, 0, 0};
  ASSERT_TRUE(sys_setsockopt(app, fd, sol_ip, ip_options, byte_view(options)));
  const std::vector<u8> data(3000);
  ASSERT_TRUE(sys_sendto(app, fd, data, 0, addr4("10.0.0.2", 9)));
  lab.settle();
  int seen = 0;
  for (const test_frame& frame : lab.frames) {
    if (!frame.is_ip(ipproto_udp)) continue;
    const ipv4_view ip = frame.ip();
    EXPECT_TRUE(ip.checksum_ok());
    EXPECT_LE(frame.bytes.size(), 1514u);
    EXPECT_EQ(ip.options[0], ipopt_ra);
    EXPECT_EQ(ip.options[4], seen == 0 ? ipopt_rr : ipopt_noop);
    ++seen;
  }
  EXPECT_EQ(seen, 3);
  EXPECT_EQ(lab.a.mib(mib::ip_frag_oks), 1u);
  EXPECT_EQ(lab.a.mib(mib::ip_frag_creates), 3u);
}

TEST(fragmentation, a_fragment_that_claims_bytes_beyond_64_kilobytes_is_not_cut) {
  routed_hosts lab({1500, netif_f_none, {}}, {600, netif_f_none, {}});
  ipv4_header h = craft_header(ipv4_addr(10, 0, 1, 2), ipv4_addr(10, 0, 2, 2), ipproto_udp);
  h.fragment_offset = 65528;
  lab.inject(lab.router, craft_ip(h, std::vector<u8>(1400)));
  EXPECT_EQ(lab.router.drops(drop_reason::frag_failed), 1u);
  EXPECT_EQ(lab.router.mib(mib::ip_frag_fails), 1u);
}

TEST(ip_output, what_is_longer_than_a_packet_can_be_is_dropped_by_name) {
  two_hosts lab;
  flowi4 flow;
  flow.daddr = peer;
  const ref<rtable> rt = *ip_route_output(lab.a.cx(), lab.a.net(), flow);
  ip_cookie header;
  header.saddr = me;
  header.daddr = peer;
  header.protocol = ipproto_udp;
  const auto send = [&](u32 payload) {
    skb_ptr skb = alloc_skb(lab.a.cx(), max_header + payload);
    skb->reserve(max_header);
    std::fill_n(skb->put(payload).begin(), payload, u8{0});
    return ip_send_skb(lab.a.cx(), lab.a.net(), rt, std::move(skb), header, nullptr);
  };
  EXPECT_EQ(send(65516), xmit_result::refused);
  EXPECT_EQ(lab.a.drops(drop_reason::ip_too_long), 1u);
  EXPECT_EQ(lab.a.mib(mib::ip_frag_fails), 1u);
  EXPECT_EQ(send(65515), xmit_result::sent);
  const std::vector<u8> padded(5, ipopt_noop);
  header.options = padded;
  EXPECT_EQ(send(65508), xmit_result::refused);
  EXPECT_EQ(send(65507), xmit_result::sent);
}

}  // namespace
}  // namespace ph
