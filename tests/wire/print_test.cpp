// The printer's lines, and that no bytes disturb it.
#include "wire/print.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "tests/wire/golden.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

namespace ph {
namespace {

TEST(print, golden_frames_read_as_in_tcpdump) {
  EXPECT_EQ(print_ethernet(golden::syn()),
            "IP 127.0.0.1.54726 > 127.0.0.1.8080: Flags [S], seq 2747820644, win 64240, options "
            "[mss 1460,sackOK,TS val 305448772 ecr 0,nop,wscale 10], length 0");
  EXPECT_EQ(print_ethernet(golden::syn_ack()),
            "IP 127.0.0.1.8080 > 127.0.0.1.54726: Flags [S.], seq 515389879, ack 2747820645, win "
            "65160, options [mss 1460,sackOK,TS val 3182474443 ecr 305448772,nop,wscale 10], "
            "length 0");
  EXPECT_EQ(print_ethernet(golden::hello()),
            "IP 127.0.0.1.54726 > 127.0.0.1.8080: Flags [P.], seq 2747820645:2747820650, ack "
            "515389880, win 63, options [nop,nop,TS val 305448772 ecr 3182474443], length 5");
  EXPECT_EQ(print_ethernet(golden::fin_ack()),
            "IP 127.0.0.1.54726 > 127.0.0.1.8080: Flags [F.], seq 2747820650, ack 515389880, win "
            "63, options [nop,nop,TS val 305448772 ecr 3182474443], length 0");
  EXPECT_EQ(print_ethernet(golden::udp_ping()),
            "IP 127.0.0.1.59924 > 127.0.0.1.9999: UDP, length 4");
  EXPECT_EQ(print_ethernet(golden::port_unreachable()),
            "IP 127.0.0.1 > 127.0.0.1: ICMP 127.0.0.1 udp port 9999 unreachable, length 40");
  EXPECT_EQ(print_ethernet(golden::echo_request()),
            "IP 127.0.0.1 > 127.0.0.1: ICMP echo request, id 7, seq 1, length 16");
  EXPECT_EQ(print_ethernet(golden::echo_reply()),
            "IP 127.0.0.1 > 127.0.0.1: ICMP echo reply, id 7, seq 1, length 16");
  EXPECT_EQ(print_ethernet(golden::arp_request()),
            "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28");
}

TEST(print, without_link_header) {
  const auto packet = golden::without_link(golden::udp_ping());
  EXPECT_EQ(print_ipv4(packet), print_ethernet(golden::udp_ping()));
  EXPECT_EQ(print_packet(uapi::eth_p_ip, packet), print_ipv4(packet));
  EXPECT_EQ(print_packet(0x88cc, packet), "ethertype 0x88cc, length 32");
}

TEST(print, vlan_and_unknown_ethertypes) {
  EXPECT_EQ(print_ethernet(golden::from_hex("020000000002 020000000001 8100 6005 88cc 0102")),
            "vlan 5, p 3, 02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype 0x88cc, length 2");
  EXPECT_EQ(print_ethernet(golden::from_hex("020000000002 020000000001 8100 60")),
            "vlan [bad tag]");
}

/// An IPv4 packet of the given protocol, fragment position and payload, as a line.
std::string line(u8 protocol, byte_view payload, u16 offset = 0, bool more = false) {
  ipv4_header header;
  header.protocol = protocol;
  header.id = 77;
  header.fragment_offset = offset;
  header.more_fragments = more;
  header.saddr = ipv4_addr(10, 0, 0, 1);
  header.daddr = ipv4_addr(10, 0, 0, 2);
  std::vector<u8> bytes(20 + payload.size());
  emit(bytes, header, payload.size());
  copy_bytes(byte_span(bytes).subspan(20), payload);
  return print_ipv4(bytes);
}

TEST(print, fragments_and_other_protocols) {
  const std::vector<u8> data(16, 0);
  EXPECT_EQ(line(17, data, 0, true),
            "IP 10.0.0.1 > 10.0.0.2: frag (proto 17, id 77, offset 0+), length 16");
  EXPECT_EQ(line(17, data, 1480, false),
            "IP 10.0.0.1 > 10.0.0.2: frag (proto 17, id 77, offset 1480), length 16");
  EXPECT_EQ(line(132, data), "IP 10.0.0.1 > 10.0.0.2: ip-proto-132, length 16");
  EXPECT_EQ(line(2, data), "IP 10.0.0.1 > 10.0.0.2: igmp, length 16");
  EXPECT_EQ(line(6, byte_view(data).first(3)),
            "IP 10.0.0.1 > 10.0.0.2: [bad tcp header], length 3");
  EXPECT_EQ(line(17, data), "IP 10.0.0.1.0 > 10.0.0.2.0: [bad udp header], length 16");
}

TEST(print, icmp_errors) {
  const auto quoted = golden::without_link(golden::udp_ping());
  const auto icmp = [&](u8 type, u8 code, u32 rest) {
    std::vector<u8> bytes(8 + quoted.size());
    emit(bytes, icmp_message{type, code, rest, quoted});
    const std::string text = line(1, bytes);
    return text.substr(text.find("ICMP "));
  };
  EXPECT_EQ(icmp(3, 1, 0), "ICMP host 127.0.0.1 unreachable, length 40");
  EXPECT_EQ(icmp(3, 2, 0), "ICMP 127.0.0.1 protocol 17 unreachable, length 40");
  EXPECT_EQ(icmp(3, 4, 1400),
            "ICMP 127.0.0.1 unreachable - need to frag (mtu 1400), length 40");
  EXPECT_EQ(icmp(3, 13, 0),
            "ICMP host 127.0.0.1 unreachable - admin prohibited filter, length 40");
  EXPECT_EQ(icmp(5, 1, 0x0a000003), "ICMP redirect to 10.0.0.3, length 40");
  EXPECT_EQ(icmp(11, 0, 0), "ICMP time exceeded in-transit, length 40");
  EXPECT_EQ(icmp(11, 1, 0), "ICMP ip reassembly time exceeded, length 40");
  EXPECT_EQ(icmp(12, 0, 0x15000000), "ICMP parameter problem - octet 21, length 40");
  EXPECT_EQ(icmp(42, 3, 0), "ICMP type 42, code 3, length 40");
}

TEST(print, tcp_options) {
  const auto options = [](std::string_view hex) {
    return print_tcp_options(golden::from_hex(hex));
  };
  EXPECT_EQ(options("00000000"), "eol");
  EXPECT_EQ(options("0101050a0000000100000002"), "nop,nop,sack 1 {1:2}");
  EXPECT_EQ(options("22020101"), "tfo cookiereq,nop,nop");
  EXPECT_EQ(options("22060a0b0c0d"), "tfo cookie 0a0b0c0d");
  EXPECT_EQ(options("fd04abcd"), "unknown-253 0xabcd");
  EXPECT_EQ(options("020405b4fd09"), "mss 1460,[bad opt]");
  EXPECT_EQ(options("0803"), "[bad opt]");
}

TEST(print, says_what_it_cannot_read) {
  EXPECT_EQ(print_ethernet({}), "[bad ethernet header], length 0");
  EXPECT_EQ(print_ipv4({}), "IP [bad header], length 0");
  auto packet = golden::without_link(golden::syn());
  packet.pop_back();
  EXPECT_EQ(print_ipv4(packet), "IP [truncated], length 59");
}

TEST(print, any_bytes_give_one_line) {
  rng random(21);
  const std::vector<std::vector<u8>> seeds = {golden::syn(), golden::hello(), golden::udp_ping(),
                                              golden::port_unreachable(), golden::echo_request(),
                                              golden::arp_request()};
  for (const auto& seed : seeds) {
    for (std::size_t n = 0; n <= seed.size(); ++n) {
      EXPECT_FALSE(print_ethernet(golden::cut(seed, n)).empty());
    }
    for (int round = 0; round < 3000; ++round) {
      auto bytes = seed;
      for (u64 flips = random.below(4); flips > 0; --flips) {
        bytes[random.below(bytes.size())] = static_cast<u8>(random.next());
      }
      bytes.resize(bytes.size() - random.below(8));
      const std::string text = print_ethernet(bytes);
      ASSERT_EQ(text.find('\n'), std::string::npos);
      for (const char c : text) ASSERT_TRUE(c >= ' ' && c <= '~');
    }
  }
}

}  // namespace
}  // namespace ph
