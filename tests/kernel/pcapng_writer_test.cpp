// Capture files: their blocks byte by byte, and as Wireshark's tools read them.
#include "kernel/pcapng_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "kernel/trace_sinks.h"

namespace ph {
namespace {

struct memory_output final : pcapng_output {
  void write(byte_view block) override { blocks.emplace_back(block.begin(), block.end()); }
  std::vector<std::vector<u8>> blocks;
};

u32 word(const std::vector<u8>& block, std::size_t index) {
  return view_as<le32>(byte_view(block), index * 4)->value();
}

std::vector<u8> ethernet_frame(std::size_t length) {
  std::vector<u8> frame(length, 0x55);
  frame[12] = 0x88;
  frame[13] = 0xb5;  // local experimental ethertype (IEEE 802)
  return frame;
}

TEST(pcapng_writer, blocks_are_framed_by_their_length_and_padded) {
  memory_output out;
  pcapng_writer writer(out);
  const u32 eth0 = writer.add_interface("h1:eth0", pcapng_writer::linktype_ethernet);
  EXPECT_EQ(eth0, 0u);
  EXPECT_EQ(writer.add_interface("h1:eth1", pcapng_writer::linktype_raw), 1u);
  for (std::size_t n = 14; n < 19; ++n) {
    writer.packet(eth0, instant{1}, ethernet_frame(n), 1514, pcapng_writer::direction::unknown, "");
  }
  ASSERT_EQ(out.blocks.size(), 8u);
  for (const auto& block : out.blocks) {
    EXPECT_EQ(block.size() % 4, 0u);
    EXPECT_EQ(word(block, 1), block.size());
    EXPECT_EQ(word(block, block.size() / 4 - 1), block.size());
  }
  EXPECT_EQ(word(out.blocks[0], 0), 0x0a0d0d0au);
  EXPECT_EQ(word(out.blocks[0], 2), 0x1a2b3c4du);
  EXPECT_EQ(word(out.blocks[2], 2), 101u);
}

TEST(pcapng_writer, an_enhanced_packet_carries_time_lengths_bytes_and_options) {
  memory_output out;
  pcapng_writer writer(out);
  const u32 eth0 = writer.add_interface("h1:eth0", pcapng_writer::linktype_ethernet);
  const instant when{0x1234567890abcdef};
  writer.packet(eth0, when, ethernet_frame(15), 1514, pcapng_writer::direction::outbound, "abcde");
  const auto& block = out.blocks.back();
  EXPECT_EQ(word(block, 0), 6u);
  EXPECT_EQ(word(block, 2), 0u);
  EXPECT_EQ(word(block, 3), 0x12345678u);
  EXPECT_EQ(word(block, 4), 0x90abcdefu);
  EXPECT_EQ(word(block, 5), 15u);
  EXPECT_EQ(word(block, 6), 1514u);
  EXPECT_EQ(word(block, 11), 5u << 16 | 1) << "comment of 5 bytes after 16 bytes of packet";
  EXPECT_EQ(text_of(byte_view(block).subspan(48, 5)), "abcde");
  EXPECT_EQ(word(block, 14), 4u << 16 | 2) << "flags";
  EXPECT_EQ(word(block, 15), 2u) << "outbound";
  EXPECT_EQ(word(block, 16), 0u) << "end of options";
}

std::string output_of(const std::string& command) {
  std::string out;
  FILE* const pipe = popen((command + " 2>/dev/null").c_str(), "r");
  std::array<char, 4096> chunk;
  for (std::size_t n; (n = fread(chunk.data(), 1, chunk.size(), pipe)) > 0;) {
    out.append(chunk.data(), n);
  }
  pclose(pipe);
  return out;
}

struct file_output final : pcapng_output {
  explicit file_output(const std::string& path) : file(path, std::ios::binary) {}
  void write(byte_view block) override {
    file.write(reinterpret_cast<const char*>(block.data()),
               static_cast<std::streamsize>(block.size()));
  }
  std::ofstream file;
};

TEST(pcapng_sink, wireshark_reads_interfaces_times_lengths_and_comments) {
  if (output_of("command -v tshark && command -v capinfos").empty()) {
    GTEST_SKIP() << "tshark is not installed";
  }
  const std::string path = testing::TempDir() + "pcapng_writer_test.pcapng";
  {
    file_output file(path);
    pcapng_sink sink(file);
    trace_event e{.when = instant{1'000'000'001}, .journey = 9, .host = "left",
                  .kind = trace_kind::sent, .where = "dev_hard_start_xmit", .device = "eth0",
                  .reason = {}, .len = 100};
    sink.record(e, ethernet_frame(60));
    e.kind = trace_kind::step;
    sink.record(e, ethernet_frame(60));
    e.kind = trace_kind::arrived;
    e.when = instant{1'000'250'002};
    e.host = "right";
    e.where = "netif_receive_skb";
    sink.record(e, ethernet_frame(61));
  }
  EXPECT_EQ(output_of("tshark -n -r " + path +
                      " -T fields -E separator='|' -e frame.interface_name -e frame.time_epoch"
                      " -e frame.cap_len -e frame.len -e frame.packet_flags_direction"
                      " -e frame.comment"),
            "left:eth0|1.000000001|60|100|0x00000002|journey 9, dev_hard_start_xmit on cpu 0\n"
            "right:eth0|1.000250002|61|100|0x00000001|journey 9, netif_receive_skb on cpu 0\n");
  const std::string info = output_of("capinfos " + path);
  EXPECT_THAT(info, testing::HasSubstr("pcapng"));
  EXPECT_THAT(info, testing::HasSubstr("Number of packets:   2"));
  EXPECT_THAT(info, testing::HasSubstr("Name = right:eth0"));
  EXPECT_THAT(info, testing::HasSubstr("nanoseconds"));
  std::remove(path.c_str());
}

}  // namespace
}  // namespace ph
