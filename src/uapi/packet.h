// The Linux ABI below IP: ethertypes, hardware types, interface flags, packet sockets, TUN/TAP
// and the virtio-net header (packet(7), netdevice(7), IEEE 802 numbers, virtio 1.2 §5.1.6).
#pragma once

#include "base/byteorder.h"

namespace ph::uapi {

// Ethernet sizes in bytes.
inline constexpr std::size_t eth_alen = 6;
inline constexpr std::size_t eth_hlen = 14;
inline constexpr std::size_t eth_zlen = 60;
inline constexpr std::size_t eth_data_len = 1500;
inline constexpr std::size_t eth_frame_len = 1514;
inline constexpr std::size_t eth_fcs_len = 4;
inline constexpr std::size_t eth_min_mtu = 68;
inline constexpr std::size_t eth_max_mtu = 65535;

// Ethertypes, in host order.
inline constexpr u16 eth_p_ip = 0x0800;
inline constexpr u16 eth_p_arp = 0x0806;
inline constexpr u16 eth_p_teb = 0x6558;
inline constexpr u16 eth_p_rarp = 0x8035;
inline constexpr u16 eth_p_8021q = 0x8100;
inline constexpr u16 eth_p_ipx = 0x8137;
inline constexpr u16 eth_p_ipv6 = 0x86dd;
inline constexpr u16 eth_p_pause = 0x8808;
inline constexpr u16 eth_p_slow = 0x8809;
inline constexpr u16 eth_p_mpls_uc = 0x8847;
inline constexpr u16 eth_p_mpls_mc = 0x8848;
inline constexpr u16 eth_p_ppp_disc = 0x8863;
inline constexpr u16 eth_p_ppp_ses = 0x8864;
inline constexpr u16 eth_p_pae = 0x888e;
inline constexpr u16 eth_p_8021ad = 0x88a8;
inline constexpr u16 eth_p_lldp = 0x88cc;
inline constexpr u16 eth_p_macsec = 0x88e5;
inline constexpr u16 eth_p_1588 = 0x88f7;
inline constexpr u16 eth_p_loopback = 0x9000;
/// Values of the type field below this one are lengths (IEEE 802.3 §3.2.6).
inline constexpr u16 eth_p_802_3_min = 0x0600;
// Not on any wire: what packet sockets ask for.
inline constexpr u16 eth_p_802_3 = 0x0001;
inline constexpr u16 eth_p_all = 0x0003;
inline constexpr u16 eth_p_802_2 = 0x0004;

// Hardware types (RFC 826 and IANA; values from 256 up are Linux's own).
inline constexpr u16 arphrd_netrom = 0;
inline constexpr u16 arphrd_ether = 1;
inline constexpr u16 arphrd_ppp = 512;
inline constexpr u16 arphrd_rawip = 519;
inline constexpr u16 arphrd_tunnel = 768;
inline constexpr u16 arphrd_tunnel6 = 769;
inline constexpr u16 arphrd_loopback = 772;
inline constexpr u16 arphrd_sit = 776;
inline constexpr u16 arphrd_ipgre = 778;
inline constexpr u16 arphrd_ieee80211 = 801;
inline constexpr u16 arphrd_ieee80211_radiotap = 803;
inline constexpr u16 arphrd_none = 0xfffe;
inline constexpr u16 arphrd_void = 0xffff;

// ARP operations (RFC 826, RFC 903).
inline constexpr u16 arpop_request = 1;
inline constexpr u16 arpop_reply = 2;
inline constexpr u16 arpop_rrequest = 3;
inline constexpr u16 arpop_rreply = 4;

// Interface flags, netdevice(7).
inline constexpr u32 iff_up = 1u << 0;
inline constexpr u32 iff_broadcast = 1u << 1;
inline constexpr u32 iff_debug = 1u << 2;
inline constexpr u32 iff_loopback = 1u << 3;
inline constexpr u32 iff_pointopoint = 1u << 4;
inline constexpr u32 iff_notrailers = 1u << 5;
inline constexpr u32 iff_running = 1u << 6;
inline constexpr u32 iff_noarp = 1u << 7;
inline constexpr u32 iff_promisc = 1u << 8;
inline constexpr u32 iff_allmulti = 1u << 9;
inline constexpr u32 iff_master = 1u << 10;
inline constexpr u32 iff_slave = 1u << 11;
inline constexpr u32 iff_multicast = 1u << 12;
inline constexpr u32 iff_portsel = 1u << 13;
inline constexpr u32 iff_automedia = 1u << 14;
inline constexpr u32 iff_dynamic = 1u << 15;
inline constexpr u32 iff_lower_up = 1u << 16;
inline constexpr u32 iff_dormant = 1u << 17;
inline constexpr u32 iff_echo = 1u << 18;

// Packet types (sll_pkttype).
inline constexpr u8 packet_host = 0;
inline constexpr u8 packet_broadcast = 1;
inline constexpr u8 packet_multicast = 2;
inline constexpr u8 packet_otherhost = 3;
inline constexpr u8 packet_outgoing = 4;
inline constexpr u8 packet_loopback = 5;

// Options of level sol_packet, packet(7).
inline constexpr int packet_add_membership = 1;
inline constexpr int packet_drop_membership = 2;
inline constexpr int packet_recv_output = 3;
inline constexpr int packet_rx_ring = 5;
inline constexpr int packet_statistics = 6;
inline constexpr int packet_copy_thresh = 7;
inline constexpr int packet_auxdata = 8;
inline constexpr int packet_origdev = 9;
inline constexpr int packet_version = 10;
inline constexpr int packet_hdrlen = 11;
inline constexpr int packet_reserve = 12;
inline constexpr int packet_tx_ring = 13;
inline constexpr int packet_loss = 14;
inline constexpr int packet_vnet_hdr = 15;
inline constexpr int packet_tx_timestamp = 16;
inline constexpr int packet_timestamp = 17;
inline constexpr int packet_fanout = 18;
inline constexpr int packet_qdisc_bypass = 20;
inline constexpr int packet_ignore_outgoing = 23;
inline constexpr int packet_mr_multicast = 0;
inline constexpr int packet_mr_promisc = 1;
inline constexpr int packet_mr_allmulti = 2;
inline constexpr int packet_mr_unicast = 3;

/// Value of PACKET_ADD_MEMBERSHIP.
struct packet_mreq {
  s32 mr_ifindex = 0;
  u16 mr_type = 0;
  u16 mr_alen = 0;
  u8 mr_address[8]{};
};

// Flags of TUNSETIFF.
inline constexpr u16 iff_tun = 0x0001;
inline constexpr u16 iff_tap = 0x0002;
inline constexpr u16 iff_napi = 0x0010;
inline constexpr u16 iff_multi_queue = 0x0100;
inline constexpr u16 iff_attach_queue = 0x0200;
inline constexpr u16 iff_detach_queue = 0x0400;
inline constexpr u16 iff_persist = 0x0800;
inline constexpr u16 iff_no_pi = 0x1000;
inline constexpr u16 iff_vnet_hdr = 0x4000;
inline constexpr u16 iff_tun_excl = 0x8000;

// TUN ioctl(2) requests and the offloads that TUNSETOFFLOAD takes.
inline constexpr u32 tunsetiff = 0x400454ca;
inline constexpr u32 tunsetpersist = 0x400454cb;
inline constexpr u32 tunsetowner = 0x400454cc;
inline constexpr u32 tungetfeatures = 0x800454cf;
inline constexpr u32 tunsetoffload = 0x400454d0;
inline constexpr u32 tungetiff = 0x800454d2;
inline constexpr u32 tungetvnethdrsz = 0x800454d7;
inline constexpr u32 tunsetvnethdrsz = 0x400454d8;
inline constexpr u32 tunsetqueue = 0x400454d9;
inline constexpr u32 tun_f_csum = 0x01;
inline constexpr u32 tun_f_tso4 = 0x02;
inline constexpr u32 tun_f_tso6 = 0x04;
inline constexpr u32 tun_f_tso_ecn = 0x08;
inline constexpr u32 tun_f_ufo = 0x10;

/// What precedes each packet of a TUN device without IFF_NO_PI.
struct tun_pi {
  le16 flags;
  be16 proto;
};

// virtio-net header flags and segmentation types.
inline constexpr u8 virtio_net_hdr_f_needs_csum = 1;
inline constexpr u8 virtio_net_hdr_f_data_valid = 2;
inline constexpr u8 virtio_net_hdr_f_rsc_info = 4;
inline constexpr u8 virtio_net_hdr_gso_none = 0;
inline constexpr u8 virtio_net_hdr_gso_tcpv4 = 1;
inline constexpr u8 virtio_net_hdr_gso_udp = 3;
inline constexpr u8 virtio_net_hdr_gso_tcpv6 = 4;
inline constexpr u8 virtio_net_hdr_gso_udp_l4 = 5;
inline constexpr u8 virtio_net_hdr_gso_ecn = 0x80;

/// What precedes each packet of a TUN/TAP device with IFF_VNET_HDR (virtio 1.2 §5.1.6).
struct virtio_net_hdr {
  u8 flags = 0;
  u8 gso_type = 0;
  le16 hdr_len;      ///< bytes of all headers up to the payload
  le16 gso_size;     ///< payload bytes of each segment
  le16 csum_start;   ///< where the checksum's data begin
  le16 csum_offset;  ///< where, after that, the checksum belongs
};
/// The same with the number of merged buffers (mergeable receive buffers).
struct virtio_net_hdr_mrg_rxbuf {
  virtio_net_hdr hdr;
  le16 num_buffers;
};
static_assert(sizeof(virtio_net_hdr) == 10 && alignof(virtio_net_hdr) == 1);
static_assert(sizeof(virtio_net_hdr_mrg_rxbuf) == 12);

}  // namespace ph::uapi
