// Replays the corpora of the fuzzers, and mutations of them, with whatever compiler builds the
// tests.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "base/rng.h"
#include "fuzz/device_ops.h"
#include "fuzz/syscall_ops.h"
#include "fuzz/tcp_peer_ops.h"
#include "net/ipv4/ip_mib.h"
#include "net/tcp/tcp_mib.h"
#include "net/udp/udp_mib.h"
#include "sim/packetdrill/script.h"

namespace ph {
namespace {

std::vector<std::vector<u8>> corpus(const std::string& target) {
  std::vector<std::filesystem::path> paths;
  const std::filesystem::path folder = PH_SOURCE_DIR "/fuzz/corpus/" + target;
  for (const auto& file : std::filesystem::directory_iterator(folder)) paths.push_back(file.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::vector<u8>> out;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    out.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return out;
}

/// Calls `run` with each input of the corpus, and with `rounds` mutations of each.
template <class F>
void replay(const std::string& target, int rounds, F&& run) {
  rng random(51);
  const auto inputs = corpus(target);
  ASSERT_FALSE(inputs.empty());
  for (const auto& input : inputs) {
    run(input);
    for (int round = 0; round < rounds && !input.empty(); ++round) {
      auto bytes = input;
      for (u64 flips = random.below(8) + 1; flips > 0; --flips) {
        bytes[random.below(bytes.size())] = static_cast<u8>(random.next());
      }
      run(bytes);
    }
  }
}

TEST(fuzz_corpus, device) { replay("device_fuzz", 20, fuzz::device_input); }

void count(const mib_table& counters, mib_counter which, std::map<std::string_view, u64>& seen) {
  seen[counters.name(which)] += counters.get(which);
}

/// A language whose seeds reach nothing would find nothing.
TEST(fuzz_corpus, seeds_of_device_reach_far) {
  static constexpr mib_counter wanted[] = {mib::ip_forw_datagrams,
                                           mib::ip_reasm_oks,
                                           mib::ip_reasm_timeout,
                                           mib::ip_in_hdr_errors,
                                           mib::icmp_out_dest_unreachs,
                                           mib::icmp_out_time_excds,
                                           mib::icmp_out_echo_reps,
                                           mib::udp_in_datagrams,
                                           mib::udp_no_ports,
                                           mib::udp_in_errors,
                                           mib::tcp_active_opens,
                                           mib::tcp_estab_resets,
                                           mib::tcp_retrans_segs,
                                           mib::tcp_out_rsts,
                                           mib::tcpext_tw,
                                           mib::tcpext_listen_overflows,
                                           mib::tcpext_tcp_ofo_queue,
                                           mib::tcpext_tcp_timeouts,
                                           mib::tcpext_tcp_sack_recovery,
                                           mib::tcpext_tcp_challenge_ack,
                                           mib::tcpext_tcp_keep_alive};
  std::map<std::string_view, u64> seen;
  for (const auto& input : corpus("device_fuzz")) {
    fuzz::device_harness host;
    fuzz::device_ops(host, input).run();
    host.finish();
    for (const mib_counter counter : wanted) count(host.net().mib(), counter, seen);
  }
  for (const auto& [name, sum] : seen) EXPECT_GT(sum, 0u) << name;
}

TEST(fuzz_corpus, syscalls) { replay("syscall_fuzz", 20, fuzz::syscall_input); }

TEST(fuzz_corpus, tcp_peers) { replay("tcp_peer_fuzz", 60, fuzz::tcp_peer_input); }

TEST(fuzz_corpus, seeds_of_tcp_peers_reach_far) {
  static constexpr mib_counter wanted[] = {
      mib::tcp_active_opens,         mib::tcp_passive_opens,        mib::tcp_estab_resets,
      mib::tcp_retrans_segs,         mib::tcpext_tcp_timeouts,      mib::tcpext_tcp_sack_recovery,
      mib::tcpext_tcp_reno_recovery, mib::tcpext_tcp_challenge_ack, mib::tcpext_tcp_win_probe,
      mib::tcpext_tcp_ofo_queue,     mib::tcpext_tcp_loss_probes,   mib::tcpext_tw};
  std::map<std::string_view, u64> seen;
  for (const auto& input : corpus("tcp_peer_fuzz")) {
    fuzz::tcp_peer_ops peer(input);
    peer.run();
    for (const mib_counter counter : wanted) count(peer.net().mib(), counter, seen);
  }
  for (const auto& [name, sum] : seen) EXPECT_GT(sum, 0u) << name;
}

TEST(fuzz_corpus, random_bytes) {
  rng random(7);
  for (int round = 0; round < 40; ++round) {
    std::vector<u8> bytes(random.below(2000));
    for (u8& byte : bytes) byte = static_cast<u8>(random.next());
    fuzz::device_input(bytes);
    fuzz::syscall_input(bytes);
    fuzz::tcp_peer_input(bytes);
  }
}

TEST(fuzz_corpus, packetdrill_scripts) {
  replay("packetdrill_fuzz", 200, [](const std::vector<u8>& bytes) {
    const auto parsed = packetdrill::parse_script("fuzzed.pkt", text_of(bytes), {});
    if (!parsed) {
      EXPECT_FALSE(parsed.error().message.empty());
    }
  });
}

}  // namespace
}  // namespace ph
