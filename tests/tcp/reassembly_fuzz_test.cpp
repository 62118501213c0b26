// The receive side under anything a network may do: pieces in any order, twice, overlapping and
// beyond the window, into buffers that are too small, while the program reads now and then. What it
// reads is the stream; what was acknowledged or offered stays so; no memory is left over.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

constexpr u32 stream_length = 60'000;

char stream_byte(u32 at) { return static_cast<char>(at * 131 + at / 251); }

struct reassembly : segment_peer {
  explicit reassembly(u64 seed) : random(seed) {
    listener = listening();
    set(listener, sol_socket, so_rcvbuf, static_cast<int>(2000 + random.below(20'000)));
    if (random.chance(0.5)) a.sysctl("net.ipv4.tcp_mem", random.chance(0.5) ? "2 4 8" : "1 2 3");
    fd = accepted(random.chance(0.7) ? with_sack() : plain());
    note();
  }
  /// A piece of the stream arrives.
  void give(u32 from, u32 bytes) {
    if (from >= stream_length) return;
    std::string data;
    for (u32 i = from; i < std::min(from + bytes, stream_length); ++i) data += stream_byte(i);
    send(random.chance(0.3) ? A | P : A, from, 0, data);
    note();
  }
  /// What the host says must agree with what it said.
  void note() {
    while (!sent.empty()) {
      const seen_segment s = take();
      EXPECT_GE(ack_of(s), una);
      una = std::max<s64>(una, ack_of(s));
      EXPECT_GE(ack_of(s) + s.window, edge);
      edge = std::max(edge, ack_of(s) + s.window);
      for (u8 i = 0; i < s.options.num_sacks; ++i) {
        EXPECT_LE(s.options.sacks[i].end_seq - (peer_isn + 1), edge);
      }
    }
  }
  void take_some(std::size_t most) {
    got += read(fd, most);
    note();
  }
  void step() {
    switch (random.below(8)) {
      case 0: take_some(1 + random.below(5000)); break;
      case 1: advance(milliseconds(static_cast<s64>(random.below(300)))); note(); break;
      case 2: give(static_cast<u32>(una), 1 + static_cast<u32>(random.below(1400))); break;
      case 3:
        if (random.chance(0.1)) {
          set(fd, sol_socket, so_rcvbuf, static_cast<int>(1200 + random.below(20'000)));
        }
        break;
      default: {
        const s64 from = una - 1500 + static_cast<s64>(random.below(16'000));
        give(static_cast<u32>(std::max<s64>(from, 0)), 1 + static_cast<u32>(random.below(1400)));
      }
    }
  }
  rng random;
  int fd = -1;
  s64 una = 0, edge = 0;
  std::string got;
};

TEST(tcp_reassembly, the_stream_survives_everything) {
  // All ways to make room must have been taken.
  constexpr mib_counter wanted[] = {
      mib::tcpext_prune_called,        mib::tcpext_rcv_pruned,
      mib::tcpext_ofo_pruned,          mib::tcpext_tcp_rcv_collapsed,
      mib::tcpext_tcp_rcv_q_drop,      mib::tcpext_tcp_ofo_merge,
      mib::tcpext_tcp_ofo_drop,        mib::tcpext_tcp_memory_pressures,
      mib::tcpext_tcp_zero_window_drop};
  std::map<std::string_view, u64> seen;
  for (u64 seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    reassembly r(seed);
    for (int i = 0; i < 400 && !testing::Test::HasFailure(); ++i) r.step();
    // At last somebody sends everything in order, until it is there.
    for (int i = 0; i < 1000 && r.una < stream_length; ++i) {
      r.give(static_cast<u32>(r.una), 1000);
      r.take_some(100'000);
      r.advance(milliseconds(250));
      r.note();
    }
    r.take_some(100'000);
    ASSERT_EQ(r.got.size(), stream_length);
    for (u32 i = 0; i < stream_length; ++i) ASSERT_EQ(r.got[i], stream_byte(i)) << i;
    r.send(F | A, stream_length, 0);
    r.close(r.fd);
    r.sent.clear();
    r.send(A, stream_length + 1, 1);
    EXPECT_EQ(tcp_of(r.a.net()).memory.pages, 0);
    EXPECT_EQ(tcp_of(r.a.net()).ehash.size(), 0u);
    for (const mib_counter each : wanted) seen[r.a.net().mib().name(each)] += r.a.mib(each);
  }
  for (const auto& [name, sum] : seen) EXPECT_GT(sum, 0u) << name;
}

}  // namespace
}  // namespace ph
