// The tap device over a real TAP, in a network namespace made by this test. The machine's side
// is a packet socket with virtio-net headers. Needs root; skips otherwise.
#include "drivers/net/tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "net/core/dev_tx.h"
#include "net/sched/sch_pfifo.h"
#include "platform/unique_fd.h"
#include "tests/core/machine.h"
#include "uapi/inet.h"
#include "uapi/packet.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace ph {
namespace {

using test::bytes_in;
using test::machine;
using test::make_skb;
using vnet_hdr = uapi::virtio_net_hdr;

constexpr mac_addr ours{{2, 0, 0, 0, 0, 1}}, theirs{{2, 0, 0, 0, 0, 2}};
constexpr u16 test_ethertype = 0x88b5;  // for experiments (IEEE 802)

/// Moves this process into a fresh network namespace, once. False: not allowed.
bool in_own_namespace() {
  static const bool done = ::geteuid() == 0 && ::access("/dev/net/tun", R_OK | W_OK) == 0 &&
                           ::unshare(CLONE_NEWNET) == 0;
  return done;
}

int run(const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()); }

/// The machine's end: sees and sends whole frames with their virtio-net headers.
class host_end {
 public:
  explicit host_end(const std::string& name)
      : fd_(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(test_ethertype))) {
    const int on = 1;
    EXPECT_EQ(::setsockopt(fd_.get(), SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
    sockaddr_ll addr{};
    addr.sll_family = AF_PACKET;
    addr.sll_protocol = htons(uapi::eth_p_all);
    addr.sll_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&addr), sizeof(addr)), 0);
  }
  void send(const vnet_hdr& hdr, byte_view frame) {
    std::vector<u8> all(sizeof(hdr) + frame.size());
    byte_writer out(all);
    out.put(hdr);
    out.put_bytes(frame);
    EXPECT_EQ(::send(fd_.get(), all.data(), all.size(), 0), static_cast<ssize_t>(all.size()))
        << errno;
  }
  /// The next frame from the TAP with our ethertype or from our address; empty after a second.
  std::vector<u8> receive(vnet_hdr& hdr) {
    std::vector<u8> buffer(80000);
    for (;;) {
      pollfd p{fd_.get(), POLLIN, 0};
      if (::poll(&p, 1, 1000) <= 0) return {};
      const ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
      if (n < 24) continue;
      std::memcpy(&hdr, buffer.data(), sizeof(hdr));
      std::vector<u8> frame(buffer.begin() + 10, buffer.begin() + n);
      if (view_as<ethhdr>(byte_view(frame))->h_source == ours) return frame;
    }
  }

 private:
  unique_fd fd_;
};

struct tap : testing::Test {
  explicit tap(u32 cpus = 1) : m(cpus) {
    m.net().default_qdisc = pfifo_fast_create;
    for (const u16 ethertype : {test_ethertype, uapi::eth_p_ip}) {
      packet_type& t = types[ethertype == test_ethertype ? 0 : 1];
      t.type = ethertype;
      t.func = [this](cpu& cx, skb_ptr skb, net_device&) {
        got.push_back(bytes_in(*skb));
        got_csum.push_back(skb->ip_summed);
        got_gso.push_back(skb->gso_size);
        got_segs.push_back(skb->gso_segs);
        if (skb->ip_summed == checksum_state::partial) {
          EXPECT_TRUE(skb_checksum_help(cx, *skb));
          summed.push_back(bytes_in(*skb));
        }
        consume(cx, std::move(skb));
      };
      m.net().add_packet_type(t);
    }
  }
  void SetUp() override {
    if (!in_own_namespace()) GTEST_SKIP() << "needs root, /dev/net/tun and a network namespace";
  }
  tl::expected<tap_port*, tap_error> create(tap_config config) {
    const rtnl_guard rtnl(m.host->rtnl());
    return tap_create(rtnl.held(), m.net(), config);
  }
  tap_port& open(tap_config config = {}) {
    config.addr = ours;
    if (config.host_name.empty()) config.host_name = "phtap%d";
    auto port = create(config);
    if (!port) ADD_FAILURE() << port.error().text;
    const rtnl_guard rtnl(m.host->rtnl());
    EXPECT_TRUE((*port)->device().open(rtnl.held(), m.cx()));
    EXPECT_EQ(run("ip link set " + (*port)->host_name() + " addr 02:00:00:00:00:02 up"), 0);
    return **port;
  }
  /// Lets the device read until `packets` came or a second passed.
  void receive(tap_port& port, std::size_t packets) {
    for (int round = 0; round < 100 && got.size() < packets; ++round) {
      std::vector<pollfd> fds;
      for (const int fd : port.fds()) fds.push_back({fd, POLLIN, 0});
      ::poll(fds.data(), fds.size(), 10);
      for (std::size_t i = 0; i < fds.size(); ++i) {
        if ((fds[i].revents & POLLIN) != 0) port.on_readable(i);
      }
      m.run_for(milliseconds(1));
    }
  }
  std::vector<u8> frame(const mac_addr& to, const mac_addr& from, std::size_t payload, u8 fill) {
    std::vector<u8> out(14 + payload, fill);
    EXPECT_EQ(emit(byte_span(out), ethernet_header{to, from, test_ethertype}), 14u);
    return out;
  }
  void send(tap_port& port, byte_view bytes) {
    skb_ptr skb = make_skb(m.cx(), bytes);
    skb->dev = &port.device();
    EXPECT_EQ(dev_queue_xmit(m.cx(), std::move(skb)), xmit_result::sent);
  }
  machine m;
  std::array<packet_type, 2> types;
  std::vector<std::vector<u8>> got, summed;
  std::vector<checksum_state> got_csum;
  std::vector<u16> got_gso, got_segs;
};

TEST_F(tap, frames_survive_both_ways) {
  tap_port& port = open();
  host_end host(port.host_name());
  vnet_hdr hdr;
  for (const std::size_t payload : {50u, 1000u, 1500u}) {
    const std::vector<u8> out = frame(theirs, ours, payload, 7);
    send(port, out);
    EXPECT_EQ(host.receive(hdr), out);
    EXPECT_EQ(hdr.flags, 0);
    got.clear();
    host.send({}, frame(ours, theirs, payload, 9));
    receive(port, 1);
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0], std::vector<u8>(payload, 9));
  }
  EXPECT_EQ(port.device().total_stats().tx_packets, 3u);
  EXPECT_EQ(port.device().total_stats().rx_errors, 0u);
}

TEST_F(tap, many_frames_keep_their_order) {
  tap_port& port = open();
  host_end host(port.host_name());
  for (int i = 0; i < 200; ++i) host.send({}, frame(ours, theirs, 100, static_cast<u8>(i)));
  receive(port, 200);
  ASSERT_EQ(got.size(), 200u);
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i][0], static_cast<u8>(i));
}

/// A TCP super-packet whose checksum is left out.
std::vector<u8> tcp_super(const mac_addr& to, const mac_addr& from, u32 payload) {
  std::vector<u8> out(14 + 20 + 20 + payload);
  for (std::size_t i = 54; i < out.size(); ++i) out[i] = static_cast<u8>(i * 31);
  EXPECT_EQ(emit(byte_span(out), ethernet_header{to, from, uapi::eth_p_ip}), 14u);
  iphdr& iph = *view_as<iphdr>(byte_span(out), 14);
  iph.set_header_bytes(20);
  iph.tot_len = be16(static_cast<u16>(40 + payload));
  iph.ttl = 64;
  iph.protocol = uapi::ipproto_tcp;
  iph.saddr = ipv4_addr(192, 0, 2, 1);
  iph.daddr = ipv4_addr(192, 0, 2, 2);
  ip_send_check(byte_span(out).subspan(14, 20));
  tcphdr& th = *view_as<tcphdr>(byte_span(out), 34);
  th.set_header_bytes(20);
  th.flags = tcphdr_ack;
  th.check = be16(static_cast<u16>(~csum_fold(csum_pseudo_ipv4(
      iph.saddr, iph.daddr, uapi::ipproto_tcp, static_cast<u16>(20 + payload))).value()));
  return out;
}

TEST_F(tap, super_packets_go_out_whole) {
  tap_port& port = open();
  host_end host(port.host_name());
  const std::vector<u8> bytes = tcp_super(theirs, ours, 30000);
  skb_ptr skb = make_skb(m.cx(), byte_view(bytes).first(100));
  skb_ptr rest = make_skb(m.cx(), byte_view(bytes).subspan(100));
  ASSERT_TRUE(skb->append_from(*rest));
  consume(m.cx(), std::move(rest));
  skb->dev = &port.device();
  skb->set_network_header(14);
  skb->set_transport_header(34);
  skb->ip_summed = checksum_state::partial;
  skb->csum_start = static_cast<u16>(skb->headroom() + 34);
  skb->csum_offset = 16;
  skb->gso_type = gso_tcpv4;
  skb->gso_size = 1448;
  skb->gso_segs = 21;
  EXPECT_EQ(dev_queue_xmit(m.cx(), std::move(skb)), xmit_result::sent);
  vnet_hdr hdr;
  EXPECT_EQ(host.receive(hdr), bytes);
  EXPECT_EQ(hdr.gso_type, uapi::virtio_net_hdr_gso_tcpv4);
  EXPECT_EQ(hdr.gso_size.value(), 1448);
  EXPECT_EQ(hdr.flags & uapi::virtio_net_hdr_f_needs_csum, uapi::virtio_net_hdr_f_needs_csum);
  EXPECT_EQ(hdr.csum_start.value(), 34);
  EXPECT_EQ(hdr.csum_offset.value(), 16);
}

TEST_F(tap, super_packets_come_in_whole) {
  tap_port& port = open();
  host_end host(port.host_name());
  vnet_hdr hdr;
  hdr.flags = uapi::virtio_net_hdr_f_needs_csum;
  hdr.gso_type = uapi::virtio_net_hdr_gso_tcpv4;
  hdr.hdr_len.set(54);
  hdr.gso_size.set(1400);
  hdr.csum_start.set(34);
  hdr.csum_offset.set(16);
  const std::vector<u8> bytes = tcp_super(ours, theirs, 60000);
  host.send(hdr, bytes);
  receive(port, 1);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0], std::vector<u8>(bytes.begin() + 14, bytes.end()));
  EXPECT_EQ(got_csum[0], checksum_state::partial);
  EXPECT_EQ(got_gso[0], 1400);
  EXPECT_EQ(got_segs[0], 43);
  ASSERT_EQ(summed.size(), 1u);
  EXPECT_TRUE(csum_ok(csum_add_bytes(
      byte_view(summed[0]).subspan(20),
      csum_pseudo_ipv4(ipv4_addr(192, 0, 2, 1), ipv4_addr(192, 0, 2, 2), uapi::ipproto_tcp,
                       60020))));
}

TEST_F(tap, without_offload_the_machine_cuts_and_sums) {
  tap_port& port = open({.offload = false});
  EXPECT_EQ(port.device().features() & (netif_f_hw_csum | netif_f_tso), 0u);
  host_end host(port.host_name());
  vnet_hdr hdr;
  hdr.flags = uapi::virtio_net_hdr_f_needs_csum;
  hdr.gso_type = uapi::virtio_net_hdr_gso_tcpv4;
  hdr.hdr_len.set(54);
  hdr.gso_size.set(1000);
  hdr.csum_start.set(34);
  hdr.csum_offset.set(16);
  host.send(hdr, tcp_super(ours, theirs, 3000));
  receive(port, 3);
  EXPECT_EQ(got_gso, (std::vector<u16>{0, 0, 0}));
  for (const checksum_state state : got_csum) EXPECT_NE(state, checksum_state::partial);
}

struct tap_cpus : tap {
  tap_cpus() : tap(2) {}
};

TEST_F(tap_cpus, has_one_queue_per_cpu) {
  tap_port& port = open();
  ASSERT_EQ(port.fds().size(), 2u);
  EXPECT_EQ(port.device().tx_queues().size(), 2u);
  host_end host(port.host_name());
  cpu& second = m.host->cpu_at(cpu_id(1));
  const std::vector<u8> out = frame(theirs, ours, 60, 3);
  skb_ptr skb = make_skb(second, out);
  skb->dev = &port.device();
  EXPECT_EQ(dev_queue_xmit(second, std::move(skb)), xmit_result::sent);
  vnet_hdr hdr;
  EXPECT_EQ(host.receive(hdr), out);
  for (int i = 0; i < 20; ++i) host.send({}, frame(ours, theirs, 100, static_cast<u8>(i)));
  receive(port, 20);
  EXPECT_EQ(got.size(), 20u);
}

TEST_F(tap_cpus, a_tap_made_with_one_queue_serves_with_one) {
  ASSERT_EQ(run("ip tuntap add dev phone mode tap vnet_hdr"), 0);
  tap_port& port = open({.host_name = "phone", .create = false});
  EXPECT_EQ(port.fds().size(), 1u);
  host_end host("phone");
  host.send({}, frame(ours, theirs, 100, 5));
  receive(port, 1);
  EXPECT_EQ(got.size(), 1u);
  cpu& second = m.host->cpu_at(cpu_id(1));
  const std::vector<u8> out = frame(theirs, ours, 60, 3);
  skb_ptr skb = make_skb(second, out);
  skb->dev = &port.device();
  EXPECT_EQ(dev_queue_xmit(second, std::move(skb)), xmit_result::sent);
  vnet_hdr hdr;
  EXPECT_EQ(host.receive(hdr), out);
}

TEST_F(tap, errors_name_the_device_and_the_remedy) {
  auto missing = create({.host_name = "phnone", .create = false});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, errc::nodev);
  EXPECT_NE(missing.error().text.find("phnone"), std::string::npos);
  EXPECT_NE(missing.error().text.find("ip tuntap add"), std::string::npos);

  EXPECT_EQ(create({.host_name = "a_name_that_is_too_long"}).error().code, errc::inval);

  ASSERT_EQ(run("ip link add phdummy type bridge"), 0);
  auto other = create({.host_name = "phdummy"});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, errc::inval);
  EXPECT_NE(other.error().text.find("is no TAP"), std::string::npos);

  tap_port& first = open({.host_name = "phbusy"});
  auto second = create({.host_name = "phbusy"});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, errc::busy) << second.error().text;
  EXPECT_EQ(create({.name = first.device().name(), .host_name = "phnew"}).error().code,
            errc::exist);
}

TEST_F(tap, a_deleted_tap_is_noticed) {
  ASSERT_EQ(run("ip tuntap add dev phgone mode tap vnet_hdr"), 0);
  tap_port& port = open({.host_name = "phgone"});
  EXPECT_FALSE(port.gone());
  ASSERT_EQ(run("ip link del phgone"), 0);
  port.on_readable(0);
  m.run_for(milliseconds(1));
  EXPECT_TRUE(port.gone());
  EXPECT_FALSE(port.device().carrier());
  port.on_readable(0);
  m.run_for(milliseconds(1));
}

TEST_F(tap, a_tap_that_is_down_refuses_frames) {
  tap_port& port = open();
  ASSERT_EQ(run("ip link set " + port.host_name() + " down"), 0);
  send(port, frame(theirs, ours, 60, 1));
  EXPECT_EQ(m.drops(drop_reason::host_write_failed), 1u);
  EXPECT_EQ(port.device().total_stats().tx_errors, 1u);
}

}  // namespace
}  // namespace ph
