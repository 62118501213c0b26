// Every frame of every capture of the conformance data arrives at a device: as it is, addressed to
// this host's interface, and addressed to its IP address. Nothing crashes, nothing is kept, each
// packet that ends has a named reason, and the host answers a ping and TCP afterwards
// (fuzz/device_harness.h). Many captures are malformed on purpose.
//
// The data lie in $PH_CONFORMANCE, or beside the source in ../shared/conformance; without them the
// tests are skipped.
#include "tests/corpus/capture_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <map>

#include "fuzz/device_harness.h"

namespace ph {
namespace {

using tests::captured_frame;

std::filesystem::path conformance(const char* part) {
  const char* set = std::getenv("PH_CONFORMANCE");
  const std::filesystem::path all =
      set != nullptr ? set : PH_SOURCE_DIR "/../shared/conformance";
  return all / part;
}

std::vector<std::filesystem::path> files_below(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> out;
  if (!std::filesystem::is_directory(folder)) return out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<u8> with_ethernet_header(u16 ethertype, byte_view payload) {
  std::vector<u8> out(sizeof(ethhdr) + payload.size());
  emit(out, ethernet_header{fuzz::device_harness::host_mac(0), mac_addr{{2, 9}}, ethertype});
  copy_bytes(byte_span(out).subspan(sizeof(ethhdr)), payload);
  return out;
}

/// The frame as Ethernet carries it. Link layers that carry neither Ethernet nor IP get the
/// ethertype for local experiments (IEEE 802).
std::vector<u8> as_ethernet(const captured_frame& frame) {
  const byte_view bytes = frame.bytes;
  const auto from = [&](std::size_t n) { return bytes.subspan(std::min(n, bytes.size())); };
  const auto type_at = [&](std::size_t at) {
    const be16* type = view_as<be16>(bytes, at);
    return type == nullptr ? uapi::eth_p_ip : type->value();
  };
  const auto ip = [&](std::size_t at) {
    const byte_view packet = from(at);
    const bool is_v6 = !packet.empty() && (packet[0] >> 4) == 6;
    return with_ethernet_header(is_v6 ? uapi::eth_p_ipv6 : uapi::eth_p_ip, packet);
  };
  switch (frame.link) {
    case tests::link_ethernet: return frame.bytes;
    case tests::link_raw: case tests::link_raw_bsd: case tests::link_raw_openbsd:
    case tests::link_ipv4: case tests::link_ipv6: return ip(0);
    case tests::link_null: case tests::link_loop: return ip(4);
    case tests::link_ppp: return ip(bytes.size() > 2 && bytes[0] == 0xff ? 4 : 2);
    case tests::link_ppp_serial: case tests::link_c_hdlc: return ip(4);
    case tests::link_linux_sll: return with_ethernet_header(type_at(14), from(16));
    case tests::link_linux_sll2: return with_ethernet_header(type_at(0), from(20));
    default: return with_ethernet_header(0x88b5, bytes);
  }
}

/// Changes where an IPv4 packet goes and leaves its checksums as right or wrong as they were.
bool readdress(byte_span frame, ipv4_addr to) {
  if (frame.size() < sizeof(ethhdr) + sizeof(iphdr)) return false;
  const byte_span packet = frame.subspan(sizeof(ethhdr));
  iphdr& ip = *view_as<iphdr>(packet);
  if (view_as<ethhdr>(frame)->h_proto != be16(uapi::eth_p_ip) || ip.version() != 4) return false;
  const be32 old = ip.daddr.raw;
  ip.daddr = to;
  ip.check = csum_replace4(ip.check, old, to.raw);
  if ((ip.frag_off.value() & ip_offset) != 0) return true;
  const std::size_t check_at =
      ip.header_bytes() + (ip.protocol == uapi::ipproto_tcp ? 16 : 6);
  be16* check = view_as<be16>(packet, check_at);
  const bool has_pseudo =
      ip.protocol == uapi::ipproto_tcp || ip.protocol == uapi::ipproto_udp;
  if (has_pseudo && check != nullptr && *check != be16(0)) {
    *check = csum_replace4(*check, old, to.raw);
  }
  return true;
}

/// What is being fed, for the message of an abort.
const char* feeding = "";

class pcap_corpus : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::signal(SIGABRT, [](int) {
      std::fputs("while feeding ", stderr);
      std::fputs(feeding, stderr);
      std::fputs("\n", stderr);
    });
  }
  static void TearDownTestSuite() { std::signal(SIGABRT, SIG_DFL); }

  void feed(const std::string& name, const std::vector<captured_frame>& frames) {
    feeding = name.c_str();
    fuzz::device_harness host;
    for (const captured_frame& frame : frames) {
      std::vector<u8> bytes = as_ethernet(frame);
      host.receive(bytes);
      if (bytes.size() < sizeof(ethhdr)) continue;
      ethhdr& eth = *view_as<ethhdr>(byte_span(bytes));
      if (!eth.h_dest.is_multicast()) eth.h_dest = host.host_mac(0);
      host.receive(bytes);
      if (readdress(bytes, host.host_addr(0))) {
        view_as<ethhdr>(byte_span(bytes))->h_dest = host.host_mac(0);
        host.receive(bytes);
      }
      host.advance(milliseconds(1));
      host.read_all();
    }
    // Time enough for fragments, neighbours and half-open connections to be given up.
    host.advance(seconds(200));
    host.read_all();
    EXPECT_EQ(host.live_packets(), 0u) << name;
    EXPECT_EQ(host.drops(drop_reason::none), 0u) << name;
    host.drops().for_each([&](const drop_reason_info& why, u64 n) { drops_[why.name()] += n; });
    host.finish();
    frames_ += frames.size();
    feeding = "";
  }
  void print_table() const {
    std::printf("%zu frames, three times each; packets dropped by reason:\n", frames_);
    std::multimap<u64, std::string_view, std::greater<>> sorted;
    for (const auto& [why, count] : drops_) sorted.emplace(count, why);
    for (const auto& [count, name] : sorted) {
      std::printf("%10llu  %.*s\n", static_cast<unsigned long long>(count),
                  static_cast<int>(name.size()), name.data());
    }
  }

  std::map<std::string_view, u64> drops_;
  std::size_t frames_ = 0;
};

TEST_F(pcap_corpus, every_frame_ends_with_a_reason) {
  const auto captures = files_below(conformance("pcap"));
  if (captures.empty()) GTEST_SKIP() << "no captures in " << conformance("pcap");
  std::size_t readable = 0;
  for (const auto& path : captures) {
    const auto frames = tests::read_capture(path);
    if (frames.empty()) continue;
    ++readable;
    feed(path.string(), frames);
  }
  std::printf("%zu of %zu files are captures with frames; ", readable, captures.size());
  print_table();
  EXPECT_GE(readable, captures.size() * 9 / 10);
}

TEST_F(pcap_corpus, seeds_of_other_stacks) {
  const auto seeds = files_below(conformance("fuzz"));
  if (seeds.empty()) GTEST_SKIP() << "no seeds in " << conformance("fuzz");
  for (const auto& path : seeds) feed(path.string(), {{tests::link_ethernet,
                                                       tests::file_bytes(path)}});
  print_table();
}

}  // namespace
}  // namespace ph
