// The language of device_fuzz: any bytes as a sequence of things that happen to one machine.
//
// The low four bits of an operation's first byte choose it, bit 4 the device:
//   0 a frame as it is (length, bytes)        1 the same with length fields and checksums put right
//   2 an IPv4 packet of any protocol          3 a segment of an established connection
//   4 a segment from anywhere                 5 a datagram for the UDP socket
//   6 a fragment                              7 an ICMP error about a connection
//   8 an ARP message                          9 an echo request or reply
//  10 time passes                            11 the program reads all it has, with any flags
//  12 it writes                              13 it accepts, shuts down or closes
//  14 it connects to somewhere               15 it sets an option
// Sequence numbers, ports and addresses are written relative to the right ones, so that random
// bytes get past the first check.
#pragma once

#include "device_harness.h"
#include "input.h"

namespace ph::fuzz {

/// Puts lengths and checksums of an IPv4 packet right as far as it is one.
inline void repair_ipv4(byte_span packet) {
  iphdr* iph = view_as<iphdr>(packet);
  if (iph == nullptr) return;
  const std::size_t head = std::clamp<std::size_t>(iph->header_bytes(), 20, 60);
  if (packet.size() < head) return;
  iph->set_header_bytes(head);
  iph->tot_len.set(static_cast<u16>(packet.size()));
  ip_send_check(packet.first(head));
  const byte_span body = packet.subspan(head);
  const auto len = static_cast<u16>(body.size());
  const auto sum = [&](u8 protocol) {
    return csum_fold(csum_add_bytes(body, csum_pseudo_ipv4(iph->saddr, iph->daddr, protocol, len)));
  };
  if (iph->protocol == uapi::ipproto_tcp && body.size() >= sizeof(tcphdr)) {
    view_as<tcphdr>(body)->check.set(0);
    view_as<tcphdr>(body)->check = sum(uapi::ipproto_tcp);
  } else if (iph->protocol == uapi::ipproto_udp && body.size() >= sizeof(udphdr)) {
    view_as<udphdr>(body)->len.set(len);
    view_as<udphdr>(body)->check.set(0);
    view_as<udphdr>(body)->check = udp_checksum_on_wire(sum(uapi::ipproto_udp));
  } else if (iph->protocol == uapi::ipproto_icmp && body.size() >= sizeof(icmphdr)) {
    view_as<icmphdr>(body)->checksum.set(0);
    view_as<icmphdr>(body)->checksum = csum_fold(csum_add_bytes(body));
  }
}

class device_ops {
 public:
  device_ops(device_harness& host, byte_view bytes) : host_(host), in_(bytes) {}
  void run() {
    for (int steps = 0; !in_.empty() && steps < 400; ++steps) step(in_.byte());
  }

 private:
  void step(u8 op) {
    port_ = (op >> 4) & 1;
    if (op >= 0xf0) return (op & 1) == 0 ? fragmented() : bulk_over_lo();
    switch (op & 15) {
      case 0: return frame(false);
      case 1: return frame(true);
      case 2: return packet();
      case 3: return segment_of_connection();
      case 4: return segment_from_anywhere();
      case 5: return datagram();
      case 6: return fragment();
      case 7: return icmp_about_connection();
      case 8: return arp();
      case 9: return echo();
      case 10: return host_.advance(milliseconds(1) * (s64{1} << (in_.byte() & 15)));
      case 11: return host_.read_all(read_flags());
      case 12: return write();
      case 13: return accept_or_close();
      case 14: return connect();
      default: return set_option();
    }
  }

  /// Up to `most` bytes, of which the input gives the first `given`.
  std::vector<u8> some_bytes(std::size_t most, std::size_t given = 64) {
    const std::size_t n = in_.word() % (most + 1);
    std::vector<u8> out(n, 0x61);
    copy_bytes(out, in_.take(std::min(n, given)));
    return out;
  }
  /// Mostly addresses that mean something here.
  ipv4_addr address() {
    const u8 last = in_.byte();
    switch (in_.byte() & 15) {
      case 0: case 1: case 2: return ipv4_addr(10, 0, 0, last);
      case 3: return ipv4_addr(10, 0, 1, last);
      case 4: return ipv4_addr(10, 0, 0, 255);
      case 5: return ipv4_addr(255, 255, 255, 255);
      case 6: return ipv4_addr(224, 0, 0, last);
      case 7: return ipv4_addr(127, 0, 0, last);
      case 8: return ipv4_addr(0, 0, 0, last);
      case 9: return ipv4_addr(192, 0, 2, last);
      case 10: return ipv4_addr(in_.dword());
      case 11: return device_harness::host_addr(1);
      default: return device_harness::host_addr(0);
    }
  }

  void frame(bool repaired) {
    std::vector<u8> bytes = some_bytes(1600, 1600);
    if (repaired && bytes.size() > sizeof(ethhdr)) {
      ethhdr& eth = *view_as<ethhdr>(byte_span(bytes));
      if ((eth.h_dest.bytes[0] & 3) != 3) eth.h_dest = device_harness::host_mac(port_);
      eth.h_proto.set(uapi::eth_p_ip);
      repair_ipv4(byte_span(bytes).subspan(sizeof(ethhdr)));
    }
    host_.receive(bytes, port_);
  }
  void packet() {
    ipv4_header ip;
    ip.tos = in_.byte();
    ip.ttl = in_.byte();
    ip.protocol = in_.byte();
    ip.saddr = address();
    ip.daddr = address();
    const std::vector<u8> options = some_bytes(40);
    ip.options = options;
    const std::vector<u8> body = some_bytes(1400);
    host_.receive_ipv4(ip, body, port_);
  }
  void send_segment(const tcp_peer& p, u8 flags, seq32 seq, seq32 ack, byte_view options) {
    tcp_segment out;
    out.source = p.port;
    out.dest = p.host_port;
    out.seq = seq;
    out.ack_seq = ack;
    out.flags = flags;
    out.window = in_.word();
    if ((flags & tcphdr_urg) != 0) out.urg_ptr = in_.word();
    const std::vector<u8> body = some_bytes(1400);
    out.options = options;
    out.payload = body;
    host_.receive_tcp(p.addr, out);
  }
  /// Options: as they should be, with SACK blocks, or any bytes.
  std::vector<u8> options_for(const tcp_peer& p) {
    const u8 what = in_.byte();
    std::vector<u8> out(40);
    tcp_out_options good;
    if (p.with_options && (what & 1) == 0) {
      good.timestamps = true;
      good.tsval = 1001 + in_.word();
      good.tsecr = p.tsval - (what & 2 ? in_.byte() : 0u);
    }
    for (u8 blocks = (what >> 2) & 3; blocks > 0; --blocks) {
      const seq32 start = p.host_snd_nxt - u32{in_.word()};
      good.sacks[good.num_sacks++] = {start, start + u32{in_.word()}};
    }
    if ((what & 0x80) == 0) {
      out.resize(tcp_options_write(out, good));
      return out;
    }
    out = some_bytes(40);
    return out;
  }
  void segment_of_connection() {
    const tcp_peer& p = host_.peer(in_.byte());
    const u8 flags = in_.byte();
    const auto by = [&] { return static_cast<u32>(static_cast<s16>(in_.word())); };
    const seq32 seq = p.snd_nxt + by();
    const seq32 ack = p.host_snd_nxt + by();
    send_segment(p, flags, seq, ack, options_for(p));
  }
  void segment_from_anywhere() {
    tcp_peer p;
    p.addr = address();
    p.port = static_cast<u16>(41000 + in_.byte() % 8);
    p.host_port = (in_.byte() & 7) == 0 ? in_.word() : u16{80};
    p.host_snd_nxt = host_.peer(0).host_snd_nxt;
    const u8 flags = in_.byte();
    const std::vector<u8> options = some_bytes(40);
    send_segment(p, flags, seq32(in_.dword()), seq32(in_.dword()), options);
  }
  void datagram() {
    const ipv4_addr from = address(), to = address();
    const u16 dest = (in_.byte() & 7) == 0 ? in_.word() : u16{53};
    const u8 how = in_.byte();
    const std::vector<u8> body = some_bytes(1400);
    std::vector<u8> bytes(sizeof(udphdr) + body.size());
    emit(bytes, udp_datagram{5353, dest, body}, from, to);
    if (how == 0) view_as<udphdr>(byte_span(bytes))->check.set(0);
    if (how == 1) view_as<udphdr>(byte_span(bytes))->len.set(in_.word());
    host_.receive_ipv4(ip_header(uapi::ipproto_udp, from, to), bytes, port_);
  }
  void fragment() {
    ipv4_header ip;
    ip.id = in_.byte();
    ip.more_fragments = (in_.byte() & 1) != 0;
    ip.fragment_offset = static_cast<u16>((in_.word() % 8192) * 8);
    ip.protocol = (in_.byte() & 3) == 0 ? uapi::ipproto_icmp : uapi::ipproto_udp;
    ip.saddr = ipv4_addr(10, 0, 0, in_.byte() & 3);
    ip.daddr = address();
    const std::vector<u8> body = some_bytes(1480);
    host_.receive_ipv4(ip, body, port_);
  }
  /// A whole datagram in fragments, of which one has IP options: sizes up to more than fits.
  void fragmented() {
    const bool udp = (in_.byte() & 1) != 0;
    const std::size_t total = std::max<std::size_t>(in_.word(), 8);
    std::size_t each = 8u * (1 + in_.byte() % 175u);
    each = std::min<std::size_t>(std::max(each, (total / 200 + 7) / 8 * 8), 1400);
    const std::size_t with_options = in_.byte();
    const byte_view options = in_.take(in_.byte() % 41);
    const u8 how = in_.byte();  // backward; the last one is missing
    const ipv4_addr from(10, 0, 0, 2), to = device_harness::host_addr(0);
    std::vector<u8> whole(total, 0x63);
    if (udp) {
      const std::vector<u8> body(total - sizeof(udphdr), 0x63);
      emit(whole, udp_datagram{5353, 53, body}, from, to);
    } else {
      const std::vector<u8> body(total - sizeof(icmphdr), 0x63);
      emit(whole, icmp_message{uapi::icmp_echo, 0, 7u << 16, body});
    }
    const std::size_t count = (total + each - 1) / each;
    const std::size_t sent = count - ((how & 2) != 0 ? 1 : 0);
    for (std::size_t i = 0; i < sent; ++i) {
      const std::size_t k = (how & 1) != 0 ? count - 1 - i : i;
      ipv4_header ip = ip_header(udp ? uapi::ipproto_udp : uapi::ipproto_icmp, from, to);
      ip.id = static_cast<u16>(0x4000 + number_of_fragmented_);
      ip.fragment_offset = static_cast<u16>(k * each);
      ip.more_fragments = k + 1 < count;
      if (k == with_options % count) ip.options = options;
      host_.receive_ipv4(ip, byte_view(whole).subspan(k * each, std::min(each, total - k * each)));
    }
    ++number_of_fragmented_;
  }
  /// The host calls itself, and both ends write and read while packets get lost: super-packets of
  /// 64 KiB, and SACK blocks that ride with them.
  void bulk_over_lo() {
    if (bulks_++ == 3) return;
    const auto fd = sys_socket(host_.enter(), uapi::af_inet, uapi::sock_stream, 0);
    if (!fd) return;
    const u8 how = in_.byte();
    if ((how & 1) != 0) {
      static_cast<void>(sys_setsockopt_int(host_.enter(), *fd, uapi::sol_socket, uapi::so_rcvbuf,
                                           1000 * (1 + in_.byte())));
    }
    const std::size_t before = host_.fds().size();
    const sockaddr_buf self = inet_name(ipv4_addr(127, 0, 0, 1), 80);
    static_cast<void>(sys_connect(host_.enter(), *fd, self.view()));
    host_.settle();
    host_.accept_all();
    host_.add_fd(*fd);
    if (host_.fds().size() != before + 2) return;  // the backlog was full
    const std::array<int, 2> ends{*fd, host_.fds()[before]};
    const std::vector<u8> data(200'000, 0x64);
    std::vector<u8> room(100'000);
    for (int turns = 0; turns < 40 && !in_.empty(); ++turns) {
      const u8 what = in_.byte();
      const int end = ends[what & 1];
      if ((what & 2) != 0) {
        const auto n = std::min<std::size_t>(std::size_t{in_.word()} * 4, data.size());
        const byte_view piece = byte_view(data).first(n);
        static_cast<void>(sys_send(host_.enter(), end, piece, uapi::msg_nosignal));
      } else {
        static_cast<void>(sys_recv(host_.enter(), end, room));
      }
      if ((what & 4) != 0) host_.lose_on_lo(in_.byte());
      host_.settle();
      if ((what & 8) != 0) host_.advance(milliseconds(1) * (s64{1} << (in_.byte() & 11)));
    }
    host_.lose_on_lo(0);
  }
  void icmp_about_connection() {
    const tcp_peer& p = host_.peer(in_.byte());
    std::array<u8, 64> quoted{};
    const ipv4_addr us = device_harness::host_addr(0);
    const bool about_udp = (in_.byte() & 3) == 0;
    const u8 protocol = about_udp ? uapi::ipproto_udp : uapi::ipproto_tcp;
    const std::size_t head = emit(quoted, ip_header(protocol, us, p.addr), sizeof(tcphdr));
    tcp_segment sent;
    sent.source = about_udp ? u16{53} : p.host_port;
    sent.dest = p.port;
    sent.seq = p.host_snd_nxt + static_cast<u32>(static_cast<s16>(in_.word()));
    sent.ack_seq = p.snd_nxt;
    sent.flags = tcphdr_ack;
    emit(byte_span(quoted).subspan(head), sent, us, p.addr);
    if (about_udp) view_as<udphdr>(byte_span(quoted), head)->len.set(20);
    const std::size_t keep = head + std::min<std::size_t>(in_.byte() % 32, 20);
    std::array<u8, 128> icmp{};
    const icmp_message message{in_.byte(), in_.byte(), in_.dword(),
                               byte_view(quoted).first(keep)};
    const std::size_t len = emit(icmp, message);
    host_.receive_ipv4(ip_header(uapi::ipproto_icmp, address(), us), byte_view(icmp).first(len),
                       port_);
  }
  void arp() {
    arp_message message;
    message.op = in_.byte() & 7;
    message.sip = address();
    message.tip = address();
    message.sha = device_harness::neighbour_mac(message.sip);
    message.sha.bytes[5] = in_.byte();
    message.tha = device_harness::host_mac(port_);
    std::array<u8, sizeof(arp_ether_ipv4)> bytes{};
    emit(bytes, message);
    host_.receive_payload(bytes, uapi::eth_p_arp, port_);
  }
  void echo() {
    const ipv4_addr from = address(), to = address();
    const u8 how = in_.byte();
    const u8 type = (how & 1) != 0 ? uapi::icmp_echoreply : uapi::icmp_echo;
    const u32 rest = (how & 2) != 0 ? in_.dword() : 7u << 16;  // the ping socket's identifier
    const std::vector<u8> body = some_bytes(1400);
    std::vector<u8> bytes(sizeof(icmphdr) + body.size());
    emit(bytes, icmp_message{type, 0, rest, body});
    host_.receive_ipv4(ip_header(uapi::ipproto_icmp, from, to), bytes, port_);
  }

  u32 read_flags() {
    switch (in_.byte() & 15) {
      case 0: return uapi::msg_oob;
      case 1: return uapi::msg_errqueue;
      case 2: return uapi::msg_peek;
      case 3: return uapi::msg_trunc;
      case 4: return in_.word();
      default: return 0;
    }
  }
  int some_fd() {
    const auto& fds = host_.fds();
    return fds[in_.byte() % fds.size()];
  }
  void write() {
    const int fd = some_fd();
    const std::vector<u8> data(in_.word() % 20'000, 0x62);
    static_cast<void>(sys_send(host_.enter(), fd, data, uapi::msg_nosignal));
    host_.settle();
  }
  void accept_or_close() {
    const u8 what = in_.byte();
    if ((what & 3) == 0) return host_.accept_all();
    const int fd = some_fd();
    if ((what & 3) == 1) {
      static_cast<void>(sys_close(host_.enter(), fd));
    } else {
      static_cast<void>(sys_shutdown(host_.enter(), fd, what >> 6));
    }
    host_.settle();
  }
  void connect() {
    if (connects_++ == 8) return;
    const int type = (in_.byte() & 1) != 0 ? uapi::sock_dgram : uapi::sock_stream;
    const auto fd = sys_socket(host_.enter(), uapi::af_inet, type, 0);
    if (!fd) return;
    host_.add_fd(*fd);
    static_cast<void>(sys_connect(host_.enter(), *fd, inet_name(address(), 4000).view()));
    host_.settle();
  }
  void set_option() {
    const int fd = some_fd();
    static constexpr int levels[] = {uapi::sol_socket, uapi::sol_ip, uapi::sol_tcp, uapi::sol_udp};
    const int level = levels[in_.byte() % 4], name = in_.byte() & 127;
    if (name < 64) {
      static_cast<void>(sys_setsockopt_int(host_.enter(), fd, level, name, in_.word()));
    } else {
      const std::vector<u8> value = some_bytes(64);
      static_cast<void>(sys_setsockopt(host_.enter(), fd, level, name & 63, value));
    }
    host_.settle();
  }

  device_harness& host_;
  input in_;
  std::size_t port_ = 0;
  int connects_ = 0;
  int bulks_ = 0;
  u16 number_of_fragmented_ = 0;
};

/// Runs one input to its end; aborts when a promise does not hold.
inline void device_input(byte_view bytes) {
  device_harness host;
  device_ops(host, bytes).run();
  host.finish();
}

}  // namespace ph::fuzz
