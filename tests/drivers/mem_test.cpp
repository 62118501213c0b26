// The mem device and lo: frames survive both ways, full rings, stop during traffic, MTU, offload.
#include "drivers/net/mem.h"

#include "drivers/net/loopback.h"
#include "net/core/dev_tx.h"
#include "net/core/rss.h"
#include "net/core/sock.h"
#include "net/ethernet/eth.h"
#include "net/sched/sch_pfifo.h"
#include "tests/core/machine.h"
#include "uapi/inet.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/udp.h"

namespace ph {
namespace {

using test::bytes_in;
using test::machine;
using test::make_skb;

constexpr mac_addr ours{{2, 0, 0, 0, 0, 1}}, theirs{{2, 0, 0, 0, 0, 2}};

/// Records what protocols get.
struct receiver {
  explicit receiver(machine& m, u16 ethertype = uapi::eth_p_ip) {
    type.type = ethertype;
    type.func = [this](cpu& cx, skb_ptr skb, net_device&) {
      packets.push_back(bytes_in(*skb));
      cpus.push_back(cx.id().value);
      csum.push_back(skb->ip_summed);
      gso_size.push_back(skb->gso_size);
      kinds.push_back(skb->pkt_type);
      consume(cx, std::move(skb));
    };
    m.net().add_packet_type(type);
  }
  packet_type type;
  std::vector<std::vector<u8>> packets;
  std::vector<u32> cpus;
  std::vector<checksum_state> csum;
  std::vector<u16> gso_size;
  std::vector<packet_type_for> kinds;
};

std::vector<u8> frame_of(const mac_addr& to, u16 ethertype, std::size_t payload, u8 fill = 1) {
  std::vector<u8> out(14 + payload, fill);
  EXPECT_EQ(emit(byte_span(out), ethernet_header{to, theirs, ethertype}), 14u);
  return out;
}

struct mem : testing::Test {
  explicit mem(u32 cpus = 1) : m(cpus), got(m) { m.net().default_qdisc = pfifo_fast_create; }
  mem_port& open(mem_config config = {}) {
    config.addr = ours;
    const rtnl_guard rtnl(m.host->rtnl());
    mem_port* port = *mem_create(rtnl.held(), m.net(), config);
    EXPECT_TRUE(port->device().open(rtnl.held(), m.cx()));
    port->set_transmit([this](cpu& cx, skb_ptr& skb) {
      if (room == 0) return false;
      --room;
      sent.push_back(bytes_in(*skb));
      sent_gso.push_back(skb->gso_size);
      consume(cx, std::move(skb));
      return true;
    });
    return *port;
  }
  void send(mem_port& port, u8 fill, std::size_t payload = 50) {
    const std::vector<u8> bytes = frame_of(theirs, uapi::eth_p_ip, payload, fill);
    skb_ptr skb = make_skb(m.cx(), bytes);
    skb->dev = &port.device();
    static_cast<void>(dev_queue_xmit(m.cx(), std::move(skb)));
  }
  std::size_t room = ~std::size_t{0};
  std::vector<std::vector<u8>> sent;
  std::vector<u16> sent_gso;
  machine m;
  receiver got;
};

TEST_F(mem, frames_survive_both_ways) {
  mem_port& port = open();
  EXPECT_EQ(port.device().name(), "eth0");
  send(port, 5);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0], frame_of(theirs, uapi::eth_p_ip, 50, 5));
  port.receive_bytes(frame_of(ours, uapi::eth_p_ip, 60, 9));
  EXPECT_TRUE(got.packets.empty()) << "delivered at the next run, not inside the call";
  m.run_for(milliseconds(1));
  ASSERT_EQ(got.packets.size(), 1u);
  EXPECT_EQ(got.packets[0], std::vector<u8>(60, 9));
  const netdev_stats stats = port.device().total_stats();
  EXPECT_EQ(stats.rx_packets, 1u);
  EXPECT_EQ(stats.rx_bytes, 74u);
  EXPECT_EQ(stats.tx_packets, 1u);
  EXPECT_EQ(stats.tx_bytes, 64u);
}

TEST_F(mem, a_port_without_room_stops_the_queue_and_keeps_order) {
  mem_port& port = open();
  room = 1;
  for (u8 i = 1; i <= 5; ++i) send(port, i);
  EXPECT_EQ(sent.size(), 1u);
  room = 2;
  port.ready();
  m.run_for(milliseconds(1));
  EXPECT_EQ(sent.size(), 3u);
  room = 10;
  port.ready();
  m.run_for(milliseconds(1));
  ASSERT_EQ(sent.size(), 5u);
  for (u8 i = 0; i < 5; ++i) EXPECT_EQ(sent[i][14], i + 1);
}

TEST_F(mem, the_receive_ring_is_bounded) {
  mem_port& port = open({.rx_limit = 8});
  for (int i = 0; i < 12; ++i) port.receive_bytes(frame_of(ours, uapi::eth_p_ip, 60));
  m.run_for(milliseconds(1));
  EXPECT_EQ(got.packets.size(), 8u);
  EXPECT_EQ(m.drops(drop_reason::ring_full), 4u);
  EXPECT_EQ(port.device().total_stats().rx_missed_errors, 4u);
}

TEST_F(mem, frames_beyond_the_mtu_or_too_short_are_errors) {
  mem_port& port = open({.mtu = 1000});
  port.receive_bytes(frame_of(ours, uapi::eth_p_ip, 1004));
  port.receive_bytes(frame_of(ours, uapi::eth_p_ip, 1005));
  port.receive_bytes(std::vector<u8>(13));
  m.run_for(milliseconds(1));
  EXPECT_EQ(got.packets.size(), 1u);
  EXPECT_EQ(m.drops(drop_reason::frame_too_long), 1u);
  EXPECT_EQ(m.drops(drop_reason::frame_too_short), 1u);
  EXPECT_EQ(port.device().total_stats().rx_length_errors, 2u);
}

TEST_F(mem, closing_during_traffic_loses_what_waits_and_no_more) {
  mem_port& port = open();
  room = 0;
  send(port, 1);
  send(port, 2);
  port.receive_bytes(frame_of(ours, uapi::eth_p_ip, 60));
  {
    const rtnl_guard rtnl(m.host->rtnl());
    port.device().close(rtnl.held(), m.cx());
  }
  EXPECT_EQ(m.drops(drop_reason::dev_down), 3u);
  port.receive_bytes(frame_of(ours, uapi::eth_p_ip, 60));
  EXPECT_EQ(m.drops(drop_reason::dev_down), 4u);
  {
    const rtnl_guard rtnl(m.host->rtnl());
    EXPECT_TRUE(port.device().open(rtnl.held(), m.cx()));
  }
  room = 10;
  send(port, 3);
  port.receive_bytes(frame_of(ours, uapi::eth_p_ip, 60, 4));
  m.run_for(milliseconds(1));
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0][14], 3);
  EXPECT_EQ(got.packets.size(), 1u);
}

TEST_F(mem, without_a_wire_there_is_no_carrier) {
  const rtnl_guard rtnl(m.host->rtnl());
  mem_port* port = *mem_create(rtnl.held(), m.net(), {});
  ASSERT_TRUE(port->device().open(rtnl.held(), m.cx()));
  send(*port, 1);
  EXPECT_EQ(port->device().total_stats().tx_carrier_errors, 1u);
}

TEST_F(mem, super_packets_reach_the_port_only_when_asked_for) {
  mem_port& port = open({.features = netif_f_sg | netif_f_hw_csum});
  std::vector<u8> bytes = frame_of(theirs, uapi::eth_p_ip, 20 + 8 + 3000, 0);
  iphdr& iph = *view_as<iphdr>(byte_span(bytes), 14);
  iph.set_header_bytes(20);
  iph.tot_len = be16(3028);
  iph.protocol = uapi::ipproto_udp;
  skb_ptr skb = make_skb(m.cx(), bytes);
  skb->dev = &port.device();
  skb->set_network_header(14);
  skb->set_transport_header(34);
  skb->ip_summed = checksum_state::partial;
  skb->csum_start = static_cast<u16>(skb->headroom() + 34);
  skb->csum_offset = 6;
  skb->gso_type = gso_udp_l4;
  skb->gso_size = 1000;
  skb->gso_segs = 3;
  static_cast<void>(dev_queue_xmit(m.cx(), std::move(skb)));
  EXPECT_EQ(sent.size(), 3u);
  EXPECT_EQ(sent_gso, (std::vector<u16>{0, 0, 0}));
}

struct mem_cpus : mem {
  mem_cpus() : mem(4) {}
};

TEST_F(mem_cpus, flows_spread_over_cpus_and_each_stays_on_its_own) {
  mem_port& port = open();
  std::array<int, 4> per_cpu{};
  for (u16 flow = 0; flow < 64; ++flow) {
    std::vector<u8> bytes = frame_of(ours, uapi::eth_p_ip, 20 + 8 + 100, 0);
    iphdr& iph = *view_as<iphdr>(byte_span(bytes), 14);
    iph.set_header_bytes(20);
    iph.tot_len = be16(128);
    iph.protocol = uapi::ipproto_udp;
    iph.saddr = ipv4_addr(10, 0, 0, 2);
    iph.daddr = ipv4_addr(10, 0, 0, 1);
    udphdr& uh = *view_as<udphdr>(byte_span(bytes), 34);
    uh.source = be16(static_cast<u16>(5000 + flow));
    uh.dest = be16(53);
    const u32 hash = rx_flow_hash(*dissect_ethernet(bytes));
    const u32 want = rx_flow_cpu(*m.host, hash).id().value;
    ++per_cpu[want];
    port.receive_bytes(bytes);
    // The same flow in a packet whose payload lies in a fragment.
    skb_ptr pieces = make_skb(m.cx(), byte_view(bytes).first(42));
    skb_ptr rest = make_skb(m.cx(), byte_view(bytes).subspan(42));
    ASSERT_TRUE(pieces->append_from(*rest));
    consume(m.cx(), std::move(rest));
    EXPECT_EQ(rx_flow_hash(*pieces), hash);
    port.receive(std::move(pieces));
    m.run_for(milliseconds(1));
    ASSERT_EQ(got.cpus.size(), 2u);
    EXPECT_EQ(got.cpus, (std::vector<u32>{want, want}));
    got.cpus.clear();
  }
  for (const int n : per_cpu) EXPECT_GT(n, 4);
}

// --- lo ---------------------------------------------------------------------------------------

struct loopback : testing::Test {
  loopback() : got(m) {
    const rtnl_guard rtnl(m.host->rtnl());
    lo = *loopback_create(rtnl.held(), m.net());
    EXPECT_TRUE(lo->open(rtnl.held(), m.cx()));
  }
  skb_ptr packet(std::size_t payload) {
    skb_ptr skb = make_skb(m.cx(), std::vector<u8>(payload, 3));
    eth_header_ops().create(m.cx(), *skb, *lo, uapi::eth_p_ip, nullptr, nullptr);
    skb->dev = lo;
    return skb;
  }
  machine m;
  receiver got;
  net_device* lo = nullptr;
};

TEST_F(loopback, is_the_loopback_device) {
  EXPECT_EQ(m.net().loopback, lo);
  EXPECT_EQ(lo->name(), "lo");
  EXPECT_EQ(lo->mtu(), 65536u);
  EXPECT_EQ(lo->index().value, 1u);
  EXPECT_TRUE(lo->is_loopback());
  EXPECT_TRUE(lo->no_arp());
  EXPECT_EQ(lo->tx_queues()[0]->discipline, nullptr);
}

TEST_F(loopback, gives_back_what_it_gets_at_the_next_run) {
  EXPECT_EQ(dev_queue_xmit(m.cx(), packet(60000)), xmit_result::sent);
  EXPECT_TRUE(got.packets.empty());
  m.run_for(milliseconds(1));
  ASSERT_EQ(got.packets.size(), 1u);
  EXPECT_EQ(got.packets[0], std::vector<u8>(60000, 3));
  EXPECT_EQ(got.kinds[0], packet_type_for::host);
  EXPECT_EQ(lo->total_stats().rx_packets, 1u);
  EXPECT_EQ(lo->total_stats().tx_bytes, 60014u);
}

TEST_F(loopback, does_not_cut_nor_sum) {
  skb_ptr skb = packet(5000);
  skb->ip_summed = checksum_state::partial;
  skb->csum_start = static_cast<u16>(skb->headroom() + 34);
  skb->csum_offset = 16;
  skb->gso_size = 1000;
  skb->gso_type = gso_tcpv4;
  EXPECT_EQ(dev_queue_xmit(m.cx(), std::move(skb)), xmit_result::sent);
  m.run_for(milliseconds(1));
  ASSERT_EQ(got.packets.size(), 1u);
  EXPECT_EQ(got.packets[0], std::vector<u8>(5000, 3)) << "the checksum was not filled in";
  EXPECT_EQ(got.csum[0], checksum_state::unnecessary);
  EXPECT_EQ(got.gso_size[0], 1000);
}

}  // namespace
}  // namespace ph
