// One machine with two devices whose wires end in this file: frames go in as bytes, and everything
// that comes out is checked. Shared by the fuzzer, by the replay of its corpus and by the captures.
//
//   eth0 10.0.0.1/24    eth1 10.0.1.1/24    forwarding on    default via 10.0.1.2
//   sockets: TCP listening on 80, UDP on 53, raw ICMP and protocol 253, ping; two established TCP
//   connections from 10.0.0.2 (with all options, and with none), whose handshakes are made here.
//
// Neighbours below .200 of both networks answer ARP; the others never do.
// finish() closes everything, lets ten virtual minutes pass and requires that no packet or socket
// is left, that each packet's end had a reason, and that the machine still answers a ping and
// accepts a connection. A promise that does not hold aborts.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "machine.h"
#include "net/core/net_device.h"
#include "net/core/nf_hook.h"
#include "net/ipv4/fib.h"
#include "net/ipv4/ipv4_net.h"
#include "uapi/packet.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace ph::fuzz {

using namespace std::string_view_literals;

inline ipv4_header ip_header(u8 protocol, ipv4_addr from, ipv4_addr to) {
  ipv4_header out;
  out.protocol = protocol;
  out.saddr = from;
  out.daddr = to;
  return out;
}

/// One side of a TCP connection that this file plays.
struct tcp_peer {
  ipv4_addr addr;
  u16 port = 0;
  u16 host_port = 0;
  seq32 snd_nxt;        ///< what the host expects from us
  seq32 host_snd_nxt;   ///< the end of what the host has sent
  u32 tsval = 0;        ///< the host's latest timestamp, to echo
  bool with_options = false;
  bool heard = false;   ///< the host has answered
  u8 last_flags = 0;
};

class device_harness {
 public:
  static constexpr std::size_t ports = 2;

  device_harness() : machine_(machine_config(memory_)) {
    builtin_init(machine_);
    for (std::size_t i = 0; i < ports; ++i) plug(static_cast<u8>(i));
    add_default_route();
    ph_check(net().sysctls().set("net.ipv4.ip_forward", "1").has_value());
    make_lo_lossy();
    advance(seconds(1));
    sockets_before_ = net().sockets;
    app_ = std::make_unique<task>(machine_, net(), "app");
    open_sockets();
    peers_[0] = handshake(ipv4_addr(10, 0, 0, 2), 40000, 80, true);
    peers_[1] = handshake(ipv4_addr(10, 0, 0, 3), 40001, 80, false);
    accept_all();
  }
  device_harness(const device_harness&) = delete;
  device_harness& operator=(const device_harness&) = delete;
  ~device_harness() {
    app_.reset();
    for (mem_port* wire : wires_) wire->set_transmit({});
  }

  [[nodiscard]] net_namespace& net() { return init_net(machine_); }
  [[nodiscard]] task& app() { return *app_; }
  /// 0 and 1: the established ones. 2: whom the host tried to reach last. 3: whose SYN it answered
  /// last.
  [[nodiscard]] tcp_peer& peer(std::size_t i) { return peers_[i % peers_.size()]; }
  [[nodiscard]] const std::vector<int>& fds() const { return fds_; }
  void add_fd(int fd) { fds_.push_back(fd); }
  [[nodiscard]] static ipv4_addr host_addr(std::size_t port) {
    return ipv4_addr(10, 0, static_cast<u8>(port), 1);
  }
  [[nodiscard]] static mac_addr host_mac(std::size_t port) {
    return mac_addr{{2, 0, 0, 0, 0, static_cast<u8>(port)}};
  }
  [[nodiscard]] static mac_addr neighbour_mac(ipv4_addr addr) {
    return mac_addr{{2, 0, 0, 1, static_cast<u8>(addr.value() >> 8),
                     static_cast<u8>(addr.value())}};
  }
  [[nodiscard]] drop_counts drops() const { return machine_.drops(); }
  [[nodiscard]] u64 drops(skb_drop_reason why) const { return machine_.drops().get(why.info()); }
  [[nodiscard]] u64 live_packets() const { return memory_.live_packets(); }
  [[nodiscard]] instant now() const { return now_; }

  /// A frame arrives at a device, and everything that follows at once happens.
  void receive(byte_view frame, std::size_t port = 0) {
    wires_[port % ports]->receive_bytes(frame);
    settle();
  }
  /// An IPv4 packet, or another payload, addressed to the host's interface.
  void receive_payload(byte_view payload, u16 ethertype = uapi::eth_p_ip, std::size_t port = 0) {
    std::vector<u8> frame(sizeof(ethhdr) + payload.size());
    emit(frame, ethernet_header{host_mac(port), neighbour_mac(ipv4_addr(10, 0, 0, 2)), ethertype});
    copy_bytes(byte_span(frame).subspan(sizeof(ethhdr)), payload);
    receive(frame, port);
  }
  void receive_ipv4(const ipv4_header& header, byte_view payload, std::size_t port = 0) {
    std::vector<u8> packet(60 + payload.size());
    const std::size_t head = emit(packet, header, payload.size());
    if (head == 0) return;
    packet.resize(head + payload.size());
    copy_bytes(byte_span(packet).subspan(head), payload);
    receive_payload(packet, uapi::eth_p_ip, port);
  }
  /// A TCP segment with right checksums.
  void receive_tcp(ipv4_addr from, const tcp_segment& segment, ipv4_addr to = host_addr(0)) {
    std::vector<u8> bytes(60 + segment.payload.size());
    const std::size_t len = emit(bytes, segment, from, to);
    ph_check(len != 0);
    bytes.resize(len);
    receive_ipv4(ip_header(uapi::ipproto_tcp, from, to), bytes);
  }

  /// Before a system call of the application.
  task& enter() {
    machine_.enter(now_);
    return *app_;
  }
  /// Everything that happens without time passing.
  void settle() {
    for (int rounds = 0; rounds < 100'000; ++rounds) {
      for (std::size_t i = 0; i < replies_.size(); ++i) {
        wires_[replies_[i].port]->receive_bytes(replies_[i].frame);
      }
      replies_.clear();
      machine_.enter(now_);
      if (machine_.next_deadline() > now_) return;
      machine_.run(now_);
    }
    ph_unreachable("the machine does not come to rest");
  }
  void advance(duration d) {
    const instant target = now_ + d;
    for (;;) {
      settle();
      const instant next = machine_.next_deadline();
      if (next > target) break;
      now_ = next;
    }
    now_ = target;
    settle();
  }

  void accept_all() {
    for (int i = 0; i < 16; ++i) {
      const auto fd = sys_accept4(enter(), listener_, nullptr, uapi::sock_nonblock);
      if (!fd) break;
      fds_.push_back(*fd);
    }
    settle();
  }
  /// Reads what there is on every descriptor. `flags`: MSG_ of recv.
  void read_all(u32 flags = 0) {
    std::vector<u8> room(70'000);
    const auto read = [&](int fd) {
      for (int i = 0; i < 100; ++i) {
        const auto got = sys_recv(enter(), fd, room, flags);
        if (!got || *got == 0 || (flags & uapi::msg_peek) != 0) break;
      }
    };
    for (const int fd : fds_) read(fd);
    for (const int fd : listening_in_) read(fd);
    settle();
  }

  /// Of the next eight packets over lo those are lost whose bits are set, first the lowest.
  void lose_on_lo(u8 which) { lost_on_lo_ = which; }

  /// See the head of the file.
  void finish() {
    app_.reset();
    fds_.clear();
    advance(seconds(600));
    require_empty(machine_, sockets_before_, "after the end of all sockets");
    check_alive();
    app_.reset();
    advance(seconds(600));
    require_empty(machine_, sockets_before_, "after the final dialogue");
  }

 private:
  struct reply {
    std::size_t port;
    std::vector<u8> frame;
  };
  void plug(u8 number) {
    const auto transmit = [this, number](cpu& on, skb_ptr& skb) {
      std::vector<u8> frame(skb->len());
      ph_check(skb->copy_bits(0, frame));
      ph_check(skb->ip_summed != checksum_state::partial && skb->gso_size == 0);
      consume(on, std::move(skb));
      transmitted(number, frame);
      return true;
    };
    wires_.push_back(&add_port(machine_, host_mac(number), host_addr(number), transmit));
  }
  void make_lo_lossy() {
    net().hooks().add(nf_family::ipv4, nf_hooknum::prerouting,
                      {0, [this](cpu& cx, net_namespace&, skb_ptr& skb, const nf_state& at) {
                         if (!at.in->is_loopback()) return nf_verdict::accept;
                         const bool lost = (lost_on_lo_ & 1) != 0;
                         lost_on_lo_ = static_cast<u8>(lost_on_lo_ >> 1);
                         if (!lost) return nf_verdict::accept;
                         drop(cx, std::move(skb), drop_reason::fault_loss);
                         return nf_verdict::stolen;
                       }});
  }
  void add_default_route() {
    std::string why;
    auto route = fib_route_parse(net(), "default via 10.0.1.2 dev eth1", &why);
    ph_check(route.has_value());
    const rtnl_guard rtnl(machine_.rtnl());
    ph_check(ipv4_of(net()).fib.add(rtnl.held(), std::move(*route)).has_value());
  }

  int open(int type, int protocol) {
    const auto fd = sys_socket(enter(), uapi::af_inet, type, protocol);
    ph_check(fd.has_value());
    fds_.push_back(*fd);
    return *fd;
  }
  void open_sockets() {
    listener_ = open(uapi::sock_stream, 0);
    ph_check(sys_bind(enter(), listener_, inet_name({}, 80).view()).has_value());
    ph_check(sys_listen(enter(), listener_, 4).has_value());
    const int udp = open(uapi::sock_dgram, 0);
    ph_check(sys_bind(enter(), udp, inet_name({}, 53).view()).has_value());
    ph_check(sys_setsockopt_int(enter(), udp, uapi::sol_ip, uapi::ip_recverr, 1).has_value());
    open(uapi::sock_raw, uapi::ipproto_icmp);
    open(uapi::sock_raw, 253);  // for experiments (RFC 3692)
    const int ping = open(uapi::sock_dgram, uapi::ipproto_icmp);
    ph_check(sys_bind(enter(), ping, inet_name({}, 7).view()).has_value());
    // Whatever arrives is shared with these: nobody may write into it.
    for (const int protocol : {uapi::ipproto_tcp, uapi::ipproto_udp}) {
      listening_in_.push_back(*sys_socket(enter(), uapi::af_inet, uapi::sock_raw, protocol));
    }
    settle();
  }

  tcp_peer handshake(ipv4_addr addr, u16 port, u16 host_port, bool with_options) {
    tcp_peer& me = *(talking_ = std::make_unique<tcp_peer>());
    me.addr = addr;
    me.port = port;
    me.host_port = host_port;
    me.with_options = with_options;
    std::array<u8, 40> options{};
    tcp_out_options wanted;
    wanted.mss = 1460;
    if (with_options) {
      wanted.wscale_ok = wanted.sack_permitted = wanted.timestamps = true;
      wanted.wscale = 7;
      wanted.tsval = 1000;
    }
    const std::size_t len = tcp_options_write(options, wanted);
    const seq32 isn(0x10000000u + port);
    tcp_segment syn{.source = port, .dest = host_port, .seq = isn, .ack_seq = seq32(0),
                    .flags = tcphdr_syn, .window = 65535,
                    .options = byte_view(options).first(len), .payload = {}};
    receive_tcp(addr, syn);
    ph_check(me.heard && me.last_flags == (tcphdr_syn | tcphdr_ack) && me.snd_nxt == isn + 1u);
    send(me, tcphdr_ack, {});
    ph_check(me.last_flags == (tcphdr_syn | tcphdr_ack));  // a reset would have changed it
    const tcp_peer out = me;
    talking_.reset();
    return out;
  }
  /// A segment as it should be on a connection.
  void send(const tcp_peer& from, u8 flags, byte_view payload) {
    std::array<u8, 12> options{};
    std::size_t len = 0;
    if (from.with_options) {
      tcp_out_options stamps;
      stamps.timestamps = true;
      stamps.tsval = 1001;
      stamps.tsecr = from.tsval;
      len = tcp_options_write(options, stamps);
    }
    receive_tcp(from.addr, {.source = from.port, .dest = from.host_port, .seq = from.snd_nxt,
                            .ack_seq = from.host_snd_nxt, .flags = flags, .window = 1000,
                            .options = byte_view(options).first(len), .payload = payload});
  }

  /// The host sent a frame: it must be well formed.
  void transmitted(std::size_t port, byte_view frame) {
    const auto eth = ethernet_view::parse(frame);
    ph_check(eth.has_value() && eth->eth->h_source == host_mac(port));
    ph_check(eth->payload.size() <= 1500);
    switch (eth->eth->h_proto.value()) {
      case uapi::eth_p_arp: return transmitted_arp(port, eth->payload);
      case uapi::eth_p_ip: return transmitted_ip(eth->payload);
      default: ph_unreachable("the host sends only IPv4 and ARP");
    }
  }
  void transmitted_arp(std::size_t port, byte_view payload) {
    const auto arp = arp_view::parse(payload);
    ph_check(arp.has_value());
    const arp_message asked = arp->message();
    ph_check(asked.sha == host_mac(port));
    if (asked.op != uapi::arpop_request) return;
    if (asked.tip == asked.sip || (asked.tip.value() & 0xff) >= 200) return;
    const mac_addr mac = neighbour_mac(asked.tip);
    std::vector<u8> frame(sizeof(ethhdr) + sizeof(arp_ether_ipv4));
    emit(frame, ethernet_header{host_mac(port), mac, uapi::eth_p_arp});
    emit(byte_span(frame).subspan(sizeof(ethhdr)),
         arp_message{uapi::arpop_reply, mac, asked.tip, asked.sha, asked.sip});
    replies_.push_back({port, std::move(frame)});
  }
  void transmitted_ip(byte_view packet) {
    const auto ip = ipv4_view::parse(packet);
    ph_check(ip.has_value() && ip->checksum_ok() && ip->iph->ttl != 0);
    ph_check(packet.size() == ip->iph->tot_len.value());
    const ipv4_addr from = ip->iph->saddr, to = ip->iph->daddr;
    if ((from != host_addr(0) && from != host_addr(1)) || ip->iph->is_fragment()) return;
    switch (ip->iph->protocol) {
      case uapi::ipproto_tcp: return transmitted_tcp(from, to, ip->payload);
      case uapi::ipproto_udp: {
        const auto udp = udp_view::parse(ip->payload);
        ph_check(udp.has_value() && udp->checksum_ok(from, to));
        return;
      }
      case uapi::ipproto_icmp: {
        const auto icmp = icmp_view::parse(ip->payload);
        ph_check(icmp.has_value() && icmp->checksum_ok());
        if (icmp->icmph->type == uapi::icmp_echoreply) last_echo_ = icmp->icmph->rest();
        return;
      }
      default: return;
    }
  }
  void transmitted_tcp(ipv4_addr from, ipv4_addr to, byte_view bytes) {
    const auto tcp = tcp_view::parse(bytes);
    ph_check(tcp.has_value() && tcp->checksum_ok(from, to));
    const tcp_segment segment = tcp->segment();
    if (segment.syn() && segment.source != 80) note(peers_[2], to, segment);
    if (segment.syn() && segment.source == 80) note(peers_[3], to, segment);
    if (talking_) learn(*talking_, to, segment);
    for (tcp_peer& p : peers_) learn(p, to, segment);
  }
  static void note(tcp_peer& p, ipv4_addr to, const tcp_segment& syn) {
    p = {};
    p.addr = to;
    p.port = syn.dest;
    p.host_port = syn.source;
    p.with_options = tcp_parse_options(syn.options, true).saw_tstamp;
  }
  static void learn(tcp_peer& p, ipv4_addr to, const tcp_segment& segment) {
    if (to != p.addr || segment.dest != p.port || segment.source != p.host_port) return;
    p.heard = true;
    p.last_flags = segment.flags;
    if (segment.ack()) p.snd_nxt = segment.ack_seq;
    if (segment.syn() || segment.end_seq() > p.host_snd_nxt) {
      p.host_snd_nxt = segment.end_seq();
    }
    const auto options = tcp_parse_options(segment.options, segment.syn());
    if (options.saw_tstamp) p.tsval = options.rcv_tsval;
  }

  /// The host answers an echo request, accepts a connection and reads from it.
  void check_alive() {
    const ipv4_addr stranger(10, 0, 0, 77);
    last_echo_.reset();
    std::array<u8, 64> echo{};
    const std::size_t len =
        emit(echo, icmp_message{uapi::icmp_echo, 0, 0x12345678, bytes_of("are you there?"sv)});
    receive_ipv4(ip_header(uapi::ipproto_icmp, stranger, host_addr(0)),
                 byte_view(echo).first(len));
    advance(seconds(5));
    ph_check(last_echo_ == 0x12345678u);

    app_ = std::make_unique<task>(machine_, net(), "afterwards");
    listener_ = open(uapi::sock_stream, 0);
    ph_check(sys_bind(enter(), listener_, inet_name({}, 80).view()).has_value());
    ph_check(sys_listen(enter(), listener_, 16).has_value());
    const tcp_peer talk = handshake(stranger, 50000, 80, true);
    const auto accepted = sys_accept4(enter(), listener_, nullptr, 0);
    ph_check(accepted.has_value());
    send(talk, tcphdr_ack | tcphdr_psh, bytes_of("hello"sv));
    std::array<u8, 16> room{};
    const auto got = sys_recv(enter(), *accepted, room);
    ph_check(got == 5u && text_of(byte_view(room).first(5)) == "hello");
    fds_.clear();
  }

  packet_memory memory_;
  kernel machine_;
  std::vector<mem_port*> wires_;
  std::unique_ptr<task> app_;
  instant now_{seconds(1).ns};
  std::vector<reply> replies_;
  std::unique_ptr<tcp_peer> talking_;  ///< a handshake under way
  std::array<tcp_peer, 4> peers_{};
  std::vector<int> fds_;
  std::vector<int> listening_in_;  ///< raw sockets, of which no operation knows
  u8 lost_on_lo_ = 0;
  int listener_ = -1;
  u64 sockets_before_ = 0;
  std::optional<u32> last_echo_;
};

}  // namespace ph::fuzz
