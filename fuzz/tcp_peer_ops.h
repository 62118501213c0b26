// A peer of one TCP connection, played by the fuzzer's bytes. Numbers are written relative to the
// live state of the connection, so that random bytes reach deep: every segment is an edit of what
// an honest peer could send.
//
// The first three bytes choose how the connection opens, what it agrees on and which congestion
// control it has. Then each operation begins with a byte whose low four bits say what happens:
//   0..5 a segment (flags, bases and distances of its numbers, window, length, options)
//   6 the last segment again, up to 64 times     7 the program writes     8 it reads
//   9 it shuts down or closes                   10 time passes           11 it sets an option
//  12 an honest acknowledgement of everything   13 honest data           14 an ICMP error about it
//  15 the peer acknowledges, segment by segment
// After each: the connection's invariants hold, its congestion window is no larger than what was
// delivered has earned, memory is bounded, and what the host sends keeps the rules of
// sim/checkers.h. At the end all is closed and nothing may be left.
#pragma once

#include <array>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "input.h"
#include "machine.h"
#include "net/tcp/tcp_sock.h"
#include "sim/checkers.h"
#include "uapi/packet.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace ph::fuzz {

class tcp_peer_ops {
 public:
  explicit tcp_peer_ops(byte_view bytes) : machine_(machine_config(memory_)), in_(bytes) {
    builtin_init(machine_);
    const auto transmit = [this](cpu& on, skb_ptr& skb) {
      std::vector<u8> frame(skb->len());
      ph_check(skb->copy_bits(0, frame));
      consume(on, std::move(skb));
      transmitted(frame);
      return true;
    };
    port_ = &add_port(machine_, host_mac, host_addr, transmit);
    advance(seconds(1));
    sockets_before_ = net().sockets;
    app_ = std::make_unique<task>(machine_, net(), "app");
  }
  tcp_peer_ops(const tcp_peer_ops&) = delete;
  ~tcp_peer_ops() {
    app_.reset();
    port_->set_transmit({});
  }

  void run() {
    open();
    for (int steps = 0; !in_.empty() && steps < 300; ++steps) {
      step(in_.byte());
      check();
    }
    app_.reset();
    advance(seconds(1200));
    require_empty(machine_, sockets_before_, "after the end of the connection");
  }
  [[nodiscard]] net_namespace& net() { return init_net(machine_); }

 private:
  static constexpr ipv4_addr host_addr{10, 0, 0, 1}, peer_addr{10, 0, 0, 2};
  static constexpr mac_addr host_mac{{2, 0, 0, 0, 0, 1}}, peer_mac{{2, 0, 0, 0, 0, 2}};
  static constexpr u16 peer_port = 4000, listen_port = 80;
  static constexpr u32 isn = 0xfffff000;

  // --- opening ----------------------------------------------------------------------------------
  void open() {
    const u8 how = in_.byte(), agreed = in_.byte(), mss = in_.byte();
    static constexpr std::array algorithms{"reno", "cubic", "bbr", "dctcp", "vegas"};
    algorithm_ = algorithms[how / 4 % algorithms.size()];
    ph_check(net().sysctls().set("net.ipv4.tcp_congestion_control", algorithm_).has_value());
    offer_.mss = static_cast<u16>(100 + mss * 6);
    offer_.sack_permitted = (agreed & 1) != 0;
    offer_.timestamps = (agreed & 2) != 0;
    offer_.wscale_ok = (agreed & 4) != 0;
    offer_.wscale = static_cast<u8>(agreed >> 3 & 15);
    offer_.tsval = tsval_;
    fd_ = *sys_socket(enter(), uapi::af_inet, uapi::sock_stream | uapi::sock_nonblock, 0);
    if (how % 4 == 0 || how % 4 == 3) {
      open_passive();
    } else {
      static_cast<void>(sys_connect(enter(), fd_, inet_name(peer_addr, peer_port).view()));
      settle();
      segment(how % 4 == 1 ? tcphdr_syn | tcphdr_ack : tcphdr_syn, seq32(isn),
              how % 4 == 1 ? host_nxt_ : seq32(0), 65535, {}, offer_);
      segment(tcphdr_ack, seq32(isn + 1), host_nxt_, 65535, {}, plain());
    }
    check();
  }
  void open_passive() {
    listener_ = fd_;
    host_port_ = listen_port;
    ph_check(sys_bind(enter(), fd_, inet_name({}, listen_port).view()).has_value());
    ph_check(sys_listen(enter(), fd_, 4).has_value());
    segment(tcphdr_syn, seq32(isn), seq32(0), 65535, {}, offer_);
    segment(tcphdr_ack, seq32(isn + 1), host_nxt_, 65535, {}, plain());
    const auto got = sys_accept4(enter(), listener_, nullptr, uapi::sock_nonblock);
    if (got) fd_ = *got;
  }

  // --- what happens -----------------------------------------------------------------------------
  void step(u8 op) {
    switch (op & 15) {
      case 6: {
        const std::vector<u8> again = last_packet_;
        for (int i = 0; i <= (op >> 4) * 4 && !again.empty(); ++i) arrive(again, last_);
        return;
      }
      case 7: {
        const std::vector<u8> data(in_.word() % 30'000, 'd');
        const u32 flags = uapi::msg_nosignal | (op >> 4 == 1 ? uapi::msg_oob : 0u);
        static_cast<void>(sys_send(enter(), fd_, data, flags));
        return settle();
      }
      case 8: {
        std::vector<u8> room(in_.word());
        static_cast<void>(sys_recv(enter(), fd_, room, op >> 4 == 1 ? uapi::msg_oob : 0u));
        return settle();
      }
      case 9: return end(op >> 4);
      case 10: return advance(milliseconds(1) * (s64{1} << (op >> 4)));
      case 11: return set_option();
      case 12: return honest({});
      case 13: return honest(std::vector<u8>(in_.word() % 1400 + 1, 'p'));
      case 14: return icmp_error(op >> 4);
      case 15: return acknowledge_in_pieces();
      default: return edited_segment();
    }
  }
  void end(u8 how) {
    if (how < 3) {
      static_cast<void>(sys_shutdown(enter(), fd_, how));
    } else if (how < 5) {
      if (how == 4) {
        const uapi::linger now{1, 0};
        static_cast<void>(
            sys_setsockopt(enter(), fd_, uapi::sol_socket, uapi::so_linger, bytes_of(now)));
      }
      static_cast<void>(sys_close(enter(), fd_));
    }
    settle();
  }
  void set_option() {
    using namespace uapi;
    struct choice {
      int level, name;
    };
    static constexpr std::array choices{
        choice{ipproto_tcp, tcp_nodelay},      choice{ipproto_tcp, tcp_cork},
        choice{ipproto_tcp, tcp_maxseg},       choice{ipproto_tcp, tcp_linger2},
        choice{ipproto_tcp, tcp_window_clamp}, choice{sol_socket, so_rcvbuf},
        choice{sol_socket, so_sndbuf},         choice{sol_socket, so_keepalive},
        choice{ipproto_tcp, tcp_user_timeout}, choice{ipproto_tcp, tcp_quickack},
        choice{ipproto_tcp, tcp_keepidle},     choice{sol_socket, so_oobinline}};
    const choice& c = choices[in_.byte() % choices.size()];
    static_cast<void>(sys_setsockopt_int(enter(), fd_, c.level, c.name, in_.word()));
    settle();
  }
  void honest(const std::vector<u8>& data) {
    const tcp_sock* tp = connection();
    const seq32 seq = tp != nullptr ? tp->rcv_nxt : seq32(isn + 1);
    segment(tcphdr_ack, seq, host_nxt_, 60'000, data, plain());
  }
  void acknowledge_in_pieces() {
    const u32 piece = in_.byte() + 1u;
    for (int i = 0; i < 200; ++i) {
      const tcp_sock* tp = connection();
      if (tp == nullptr || tp->snd_una >= tp->snd_nxt) return;
      const seq32 to = seq_min(tp->snd_una + piece, tp->snd_nxt);
      segment(tcphdr_ack, tp->rcv_nxt, to, 60'000, {}, plain());
    }
  }
  /// A number near one that means something.
  seq32 near(const tcp_sock* tp, bool ours) {
    const u8 base = in_.byte();
    seq32 from = ours ? seq32(isn + 1) : host_nxt_;
    if (tp != nullptr) {
      const std::array<seq32, 6> of_peer{tp->rcv_nxt, tp->rcv_wup, tp->rcv_wup + tp->rcv_wnd,
                                         tp->copied_seq, tp->irs, tp->last_ack_sent};
      const std::array<seq32, 6> of_host{tp->snd_una, tp->snd_nxt, tp->write_seq, tp->high_seq,
                                         tp->iss, tp->snd_una + tp->mss_cache};
      from = ours ? of_peer[base % 6] : of_host[base % 6];
    }
    if (base < 96) return from;
    return from + static_cast<u32>(static_cast<s32>(static_cast<s16>(in_.word())));
  }
  void edited_segment() {
    edited_ = true;
    const tcp_sock* tp = connection();
    u8 flags = in_.byte();
    flags = static_cast<u8>((flags & 0x80) != 0 ? flags & 0x3f : tcphdr_ack | (flags & tcphdr_psh));
    const seq32 seq = near(tp, true), ack = near(tp, false);
    const u16 window = in_.word();
    const std::vector<u8> payload(in_.byte() % 4 == 0 ? in_.word() % 1400 : 0, 'e');
    tcp_out_options options = plain();
    const u8 kinds = in_.byte();
    if ((kinds & 1) != 0) options.tsval = tsval_ + static_cast<u32>(static_cast<s16>(in_.word()));
    if ((kinds & 2) != 0) options.timestamps = !options.timestamps;
    options.num_sacks = std::min<u8>(kinds >> 2 & 7, options.timestamps ? 3 : 4);
    for (u8 i = 0; i < options.num_sacks; ++i) {
      const seq32 base = near(tp, false);
      const u32 ahead = u32{in_.byte()} * offer_.mss, len = u32{in_.byte()} * offer_.mss / 2;
      options.sacks[i] = {base + ahead, base + (ahead + len)};
    }
    if ((flags & tcphdr_syn) != 0) options.mss = offer_.mss;
    segment(flags, seq, ack, window, payload, options);
  }
  void icmp_error(u8 kind) {
    if (last_sent_.size() < 28) return;
    std::vector<u8> bytes(sizeof(icmphdr));
    icmphdr* header = view_as<icmphdr>(byte_span(bytes));
    header->type = uapi::icmp_dest_unreach;
    header->code = kind % 6;
    const u16 mtu = in_.word();
    std::memcpy(&bytes[6], &mtu, 2);
    bytes.insert(bytes.end(), last_sent_.begin(),
                 last_sent_.begin() + static_cast<std::ptrdiff_t>(
                                          std::min<std::size_t>(last_sent_.size(), 60)));
    header = view_as<icmphdr>(byte_span(bytes));
    header->checksum.set(0);
    header->checksum = csum_fold(csum_add_bytes(bytes));
    receive_ip(uapi::ipproto_icmp, bytes);
  }

  // --- frames -----------------------------------------------------------------------------------
  [[nodiscard]] tcp_out_options plain() const {
    tcp_out_options out;
    out.timestamps = offer_.timestamps;
    out.tsval = tsval_;
    out.tsecr = host_tsval_;
    return out;
  }
  void segment(u8 flags, seq32 seq, seq32 ack, u16 window, byte_view payload,
               const tcp_out_options& options) {
    std::vector<u8> option_bytes(tcp_options_size(options));
    if (option_bytes.size() > tcp_max_option_space) return;
    tcp_options_write(option_bytes, options);
    last_ = {.source = peer_port, .dest = host_port_, .seq = seq, .ack_seq = ack, .flags = flags,
             .window = window, .urg_ptr = 1, .options = {}, .payload = {}};
    last_options_ = option_bytes;
    last_len_ = static_cast<u32>(payload.size());
    tcp_segment whole = last_;
    whole.options = option_bytes;
    whole.payload = payload;
    std::vector<u8> bytes(80 + payload.size());
    const std::size_t len = emit(bytes, whole, peer_addr, host_addr);
    ph_check(len != 0);
    bytes.resize(len);
    last_packet_ = bytes;
    arrive(bytes, last_);
  }
  void arrive(const std::vector<u8>& bytes, tcp_segment seg) {
    seg.options = last_options_;
    // Timers fire at the same round instants: what arrives came right before.
    end_.received({now_.ns - 1}, seg, last_len_);
    ++tsval_;
    receive_ip(uapi::ipproto_tcp, bytes);
  }
  void receive_ip(u8 protocol, byte_view body) {
    ipv4_header ip;
    ip.protocol = protocol;
    ip.saddr = peer_addr;
    ip.daddr = host_addr;
    std::vector<u8> frame(sizeof(ethhdr) + 20 + body.size());
    emit(frame, ethernet_header{host_mac, peer_mac, uapi::eth_p_ip});
    emit(byte_span(frame).subspan(sizeof(ethhdr)), ip, body.size());
    copy_bytes(byte_span(frame).subspan(sizeof(ethhdr) + 20), body);
    port_->receive_bytes(frame);
    settle();
  }
  void transmitted(byte_view frame) {
    const auto eth = ethernet_view::parse(frame);
    ph_check(eth.has_value());
    if (eth->eth->h_proto.value() == uapi::eth_p_arp) {
      const auto arp = arp_view::parse(eth->payload);
      if (arp && arp->message().op == uapi::arpop_request) ask_ = arp->message();
      return;
    }
    const auto ip = ipv4_view::parse(eth->payload);
    ph_check(ip.has_value() && ip->checksum_ok());
    if (ip->iph->protocol != uapi::ipproto_tcp || ip->iph->is_fragment()) return;
    const auto tcp = tcp_view::parse(ip->payload);
    ph_check(tcp.has_value() && tcp->checksum_ok(ip->iph->saddr, ip->iph->daddr));
    last_sent_.assign(eth->payload.begin(), eth->payload.end());
    const tcp_segment seg = tcp->segment();
    if (seg.dest != peer_port) return;
    const auto payload = static_cast<u32>(seg.payload.size());
    const auto bad = end_.sent(now_, seg, payload, true);
    // The checker believes what an edited segment acknowledges, the host rightly may not: where it
    // is then looks like a probe.
    if (bad && !(edited_ && bad->rule == std::string_view("probe"))) {
      std::fputs(fmt::format("{}: {} (flags {:#x} after a segment with {:#x})\n", bad->rule,
                             bad->what, seg.flags, last_.flags)
                     .c_str(), stderr);
      ph_unreachable("the host breaks a rule of TCP");
    }
    if (seg.rst()) return;
    host_port_ = seg.source;
    if (seg.syn() || seg.end_seq() > host_nxt_) host_nxt_ = seg.end_seq();
    const tcp_options_received options = tcp_parse_options(seg.options, seg.syn());
    if (options.saw_tstamp) host_tsval_ = options.rcv_tsval;
  }

  // --- the machine ------------------------------------------------------------------------------
  task& enter() {
    machine_.enter(now_);
    return *app_;
  }
  void settle() {
    for (int rounds = 0; rounds < 100'000; ++rounds) {
      if (const auto asked = std::exchange(ask_, std::nullopt)) {
        std::vector<u8> frame(sizeof(ethhdr) + sizeof(arp_ether_ipv4));
        emit(frame, ethernet_header{host_mac, peer_mac, uapi::eth_p_arp});
        emit(byte_span(frame).subspan(sizeof(ethhdr)),
             arp_message{uapi::arpop_reply, peer_mac, asked->tip, asked->sha, asked->sip});
        port_->receive_bytes(frame);
      }
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
  tcp_sock* connection() {
    tcp_sock* found = nullptr;
    tcp_of(net()).ehash.for_each([&](ehash_entry& entry) {
      if (entry.kind == ehash_kind::established) found = static_cast<tcp_sock*>(&entry);
    });
    return found;
  }
  void check() {
    ph_check(memory_.live_packets() < 6000);
    tcp_sock* tp = connection();
    if (tp == nullptr) return;
    tcp_check_invariants(*tp);
    ph_check(tp->cong.cwnd <= tp->cong.cwnd_clamp);
    if (algorithm_ != "bbr") ph_check(tp->cong.cwnd <= 10 + tp->delivered);
  }

  packet_memory memory_;
  kernel machine_;
  input in_;
  mem_port* port_ = nullptr;
  instant now_{};
  u64 sockets_before_ = 0;
  std::unique_ptr<task> app_;
  int fd_ = -1, listener_ = -1;
  std::string algorithm_;
  tcp_out_options offer_;
  u16 host_port_ = 0;
  seq32 host_nxt_;             ///< after the highest number that the host sent
  u32 tsval_ = 1000, host_tsval_ = 0;
  tcp_segment last_;
  bool edited_ = false;  ///< a segment came that no honest peer sends
  std::vector<u8> last_options_, last_packet_, last_sent_;
  u32 last_len_ = 0;
  std::optional<arp_message> ask_;
  sim::tcp_end_checker end_;
};

inline void tcp_peer_input(byte_view bytes) { tcp_peer_ops(bytes).run(); }

}  // namespace ph::fuzz
