// What a capture of a device holds: every frame with its link header, in both directions.
#include "drivers/net/pcap_tap.h"

#include "drivers/net/mem.h"
#include "net/core/dev_tx.h"
#include "tests/core/machine.h"
#include "uapi/packet.h"
#include "wire/ethernet.h"

namespace ph {
namespace {

struct memory_file final : pcapng_output {
  void write(byte_view block) override { blocks.emplace_back(block.begin(), block.end()); }
  std::vector<std::vector<u8>> blocks;
};

struct captured {
  u32 interface = 0, original = 0;
  u64 when_ns = 0;
  std::vector<u8> bytes;
};

/// Reads the enhanced packet blocks (draft-ietf-opsawg-pcapng §4.3), in the writer's byte order.
std::vector<captured> packets_in(const memory_file& file) {
  std::vector<captured> out;
  for (const auto& block : file.blocks) {
    byte_reader reader(block);
    const u32 type = reader.take<le32>().value();
    reader.take<le32>();
    if (type != 6) continue;
    captured c;
    c.interface = reader.take<le32>().value();
    const u64 high = reader.take<le32>().value();
    c.when_ns = (high << 32) | reader.take<le32>().value();
    const u32 len = reader.take<le32>().value();
    c.original = reader.take<le32>().value();
    const byte_view bytes = reader.take_bytes(len);
    EXPECT_TRUE(reader.ok());
    c.bytes.assign(bytes.begin(), bytes.end());
    out.push_back(std::move(c));
  }
  return out;
}

TEST(pcap_tap, holds_frames_of_both_directions) {
  memory_file file;
  pcapng_writer writer(file);
  test::machine m;
  mem_port* port = nullptr;
  {
    const rtnl_guard rtnl(m.host->rtnl());
    port = *mem_create(rtnl.held(), m.net(), {});
    ASSERT_TRUE(port->device().open(rtnl.held(), m.cx()));
  }
  port->set_transmit([](cpu& cx, skb_ptr& skb) {
    consume(cx, std::move(skb));
    return true;
  });
  std::vector<u8> in(100, 1), sent(200, 2);
  emit(byte_span(in), ethernet_header{mac_addr::broadcast(), {{2}}, 0x88b5});
  emit(byte_span(sent), ethernet_header{{{4}}, {{2}}, 0x88b5});
  m.run_until(instant{} + seconds(3));
  {
    pcap_tap capture(m.net(), &port->device(), writer, 150, seconds(1000));
    port->receive_bytes(in);
    m.run_until(instant{} + seconds(4));
    skb_ptr skb = test::make_skb(m.cx(), byte_view(sent).first(60));
    skb_ptr rest = test::make_skb(m.cx(), byte_view(sent).subspan(60));
    ASSERT_TRUE(skb->append_from(*rest));
    consume(m.cx(), std::move(rest));
    skb->dev = &port->device();
    static_cast<void>(dev_queue_xmit(m.cx(), std::move(skb)));
  }
  port->receive_bytes(in);  // nobody captures any more
  m.run_until(instant{} + seconds(5));
  const std::vector<captured> got = packets_in(file);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0].bytes, in);
  EXPECT_EQ(got[0].original, 100u);
  EXPECT_EQ(got[0].when_ns, 1003 * u64{1'000'000'000});
  EXPECT_EQ(got[1].bytes, std::vector<u8>(sent.begin(), sent.begin() + 150));
  EXPECT_EQ(got[1].original, 200u);
  EXPECT_EQ(got[1].interface, got[0].interface);
}

}  // namespace
}  // namespace ph
