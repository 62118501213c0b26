// A flood of a million SYNs from forged addresses (RFC 4987 §2): what the host keeps is bounded,
// and who is honest still gets in.
#include <malloc.h>

#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

constexpr u32 flood_size = 1'000'000;
constexpr u32 burst = 50;
constexpr duration burst_time = milliseconds(5);  // ten thousand SYNs in a second
constexpr u32 backlog = 128;

struct flood : segment_peer {
  explicit flood(const char* cookies) {
    a.add_route("default via 10.0.0.2 dev eth0");
    a.sysctl("net.ipv4.tcp_syncookies", cookies);
    a.sysctl("net.ipv4.tcp_max_syn_backlog", "4096");
    listener = listening(backlog);
    filter = [this, honest = filter](test_frame& frame) {
      if (!frame.is_ip(ipproto_tcp)) return true;
      if (addr_of(frame) == *ipv4_addr::parse(peer)) return honest(frame);
      ++answers;
      return false;
    };
  }
  static ipv4_addr addr_of(const test_frame& frame) {
    ipv4_addr out;
    out.raw = frame.ip().iph->daddr.raw;
    return out;
  }
  [[nodiscard]] tcp_net& tn() { return tcp_of(a.net()); }

  /// Segments from forged addresses, `n` of them; all of them are different.
  void strike(u32 n, u8 flags = S) {
    const std::vector<u8> options = syn_options(with_sack());
    for (u32 i = 0; i < n; ++i) {
      tcp_segment segment;
      segment.source = static_cast<u16>(1024 + forged % 60'000);
      segment.dest = 80;
      segment.seq = seq32(forged * 2654435761u);
      segment.ack_seq = seq32(forged * 40503u);
      segment.flags = flags;
      segment.window = 65535;
      if (flags == S) segment.options = options;
      ipv4_header ip;
      ip.saddr = ipv4_addr(0x2d000000 + forged++);  // 45.0.0.0 and on
      ip.daddr = *ipv4_addr::parse(host);
      ip.protocol = ipproto_tcp;
      std::array<u8, 14 + 20 + 60> frame{};
      const byte_span packet = byte_span(frame).subspan(14);
      const std::size_t bytes = emit(packet.subspan(20), segment, ip.saddr, ip.daddr);
      emit(byte_span(frame), ethernet_header{a.dev(0).dev_addr(),
                                             mac_addr{{2, 0, 0, 0, 0xee, 1}}, eth_p_ip});
      emit(packet, ip, bytes);
      a.ports[0]->receive_bytes(byte_view(frame).first(14 + 20 + bytes));
      if (i % burst + 1 == burst) advance(burst_time);
    }
    settle();
  }
  /// The honest client opens a connection, sends a request, has it answered and closes.
  bool served(u16 port) {
    peer_port = port;
    sent.clear();
    send_raw(S, peer_isn, seq32(0), {}, {65535, syn_options(plain())});
    if (sent.empty()) return false;
    host_isn = take().seq;
    send(A, 0, 0);
    send(A | P, 0, 0, "request");
    const auto fd = sys_accept4(a.app(), listener, nullptr, 0);
    if (!fd) return false;
    EXPECT_EQ(read(*fd), "request");
    EXPECT_EQ(write(*fd, "answer"), 6u);
    send(F | A, 7, 6);
    close(*fd);
    send(A, 8, 7);
    return true;
  }
  static std::size_t heap_bytes() { return mallinfo2().uordblks; }

  u32 forged = 1;
  u64 answers = 0;
};

TEST(tcp_syn_flood, cookies_keep_the_door_open_and_memory_bounded) {
  flood f("1");
  f.strike(1000);  // tables have their size
  EXPECT_TRUE(f.served(2000));
  const std::size_t heap = flood::heap_bytes();
  for (u16 i = 0; i < 20; ++i) {
    f.strike((flood_size - 1000) / 20);
    EXPECT_LE(f.tn().ehash.size(), backlog + 1);
    EXPECT_TRUE(f.served(static_cast<u16>(2001 + i))) << "after " << f.forged;
  }
  EXPECT_LT(flood::heap_bytes(), heap + 64 * 1024);
  // Each SYN was answered, almost all of them by a cookie.
  EXPECT_GE(f.answers, u64{flood_size} - 100);
  EXPECT_GT(f.a.mib(mib::tcpext_syncookies_sent), u64{flood_size} * 99 / 100);
  EXPECT_EQ(f.a.mib(mib::tcpext_syncookies_sent),
            f.a.mib(mib::tcpext_tcp_req_q_full_do_cookies));
  EXPECT_EQ(f.a.mib(mib::tcpext_listen_drops), 0u);
  EXPECT_EQ(f.tn().memory.pages, 0);
  // Some time later nothing is left of it.
  f.advance(seconds(70));
  EXPECT_EQ(f.tn().ehash.size(), 0u);
}

TEST(tcp_syn_flood, without_cookies_the_queue_overflows_as_it_should) {
  flood f("0");
  f.strike(1000);
  const std::size_t heap = flood::heap_bytes();
  for (u16 i = 0; i < 20; ++i) {
    f.strike((flood_size - 1000) / 20);
    EXPECT_LE(f.tn().ehash.size(), backlog + 1);
  }
  EXPECT_LT(flood::heap_bytes(), heap + 64 * 1024);
  const u64 taken = flood_size - f.a.mib(mib::tcpext_tcp_req_q_full_drop);
  EXPECT_EQ(f.a.mib(mib::tcpext_listen_drops), f.a.mib(mib::tcpext_tcp_req_q_full_drop));
  EXPECT_EQ(f.a.mib(mib::tcpext_syncookies_sent), 0u);
  // Places become free only by giving up the old, which takes some seconds each time.
  EXPECT_GT(taken, 129u);
  EXPECT_LT(taken, 129u * 20);
  // Who is honest waits at most until the old ones are given up.
  EXPECT_FALSE(f.served(2000));
  f.advance(seconds(64));
  EXPECT_TRUE(f.served(2001));
}

TEST(tcp_syn_flood, forged_acknowledgements_open_nothing) {
  flood f("2");
  EXPECT_TRUE(f.served(2000));
  f.strike(200'000, A);
  // Of 2^24 numbers eight are good at a time; these happen not to be among them.
  EXPECT_EQ(f.a.mib(mib::tcpext_syncookies_failed), 200'000u);
  EXPECT_EQ(f.a.mib(mib::tcpext_syncookies_recv), 1u);
  EXPECT_EQ(f.tn().ehash.size(), 0u);
  EXPECT_TRUE(f.served(2001));
}

}  // namespace
}  // namespace ph
