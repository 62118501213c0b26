// A host under test and a peer that the test plays by hand, segment by segment: everything the host
// sends by TCP is caught, everything the peer says is written out.
//
//   segment_peer p;
//   const int fd = p.accepted();                   // a connection, numbers from zero both ways
//   p.send(A, 0, 0, "hello");                      // relative to the first data byte
//   p.expect(A, 0, 5);
//
// Sequence and acknowledgement numbers are relative: 0 is the first byte after the SYN, on both
// sides; -1 is the SYN itself.
#pragma once

#include <functional>

#include "net/tcp/tcp_sock.h"
#include "tests/support/two_hosts.h"
#include "wire/tcp.h"

namespace ph {

inline constexpr u8 F = tcphdr_fin, S = tcphdr_syn, R = tcphdr_rst, P = tcphdr_psh, A = tcphdr_ack,
                    U = tcphdr_urg, ECE = tcphdr_ece, CWR = tcphdr_cwr;

/// A segment that the host sent.
struct seen_segment {
  u8 flags = 0;
  u8 tos = 0;       ///< of the IP header
  bool ae = false;
  [[nodiscard]] u8 ecn() const { return tos & uapi::iptos_ecn_mask; }
  u16 source = 0, dest = 0, window = 0, urg_ptr = 0;
  seq32 seq, ack_seq;
  std::vector<u8> payload;
  std::vector<u8> raw;  ///< header and payload as they were
  tcp_options_received options;
  instant when;
  [[nodiscard]] std::string text() const {
    std::string out;
    for (const auto& [bit, letter] : {std::pair(S, 'S'), std::pair(F, 'F'), std::pair(R, 'R'),
                                      std::pair(P, 'P'), std::pair(U, 'U'), std::pair(A, '.'),
                                      std::pair(ECE, 'E'), std::pair(CWR, 'W')}) {
      if ((flags & bit) != 0) out += letter;
    }
    return out;
  }
};

class segment_peer : public two_hosts {
 public:
  explicit segment_peer(link_config config = {}, u32 cpus = 1) : two_hosts(config, cpus) {
    filter = [this](test_frame& frame) { return catch_frame(frame); };
    capture = false;
    // One packet each way, so that nobody asks for hardware addresses any more.
    const int fd = *sys_socket(a.app(), uapi::af_inet, uapi::sock_dgram, 0);
    EXPECT_TRUE(sys_sendto(a.app(), fd, bytes_of(std::string_view("x")), 0, addr4(peer, 9)));
    settle();
    EXPECT_TRUE(sys_close(a.app(), fd));
    host_port = 80;
    peer_port = 4000;
  }

  ~segment_peer() { filter = nullptr; }  // what dying sockets say goes nowhere

  // --- what the peer says ---------------------------------------------------------------------
  struct extra {
    u16 window = 65535;
    std::vector<u8> options{};
    u16 urg_ptr = 0;
    u8 ecn = 0;          ///< of the IP header
    bool ae = false;
  };
  /// Absolute numbers.
  void send_raw(u8 flags, seq32 seq, seq32 ack, byte_view payload, const extra& more) {
    tcp_segment segment;
    segment.source = peer_port;
    segment.dest = host_port;
    segment.seq = seq;
    segment.ack_seq = ack;
    segment.flags = flags;
    segment.window = more.window;
    segment.urg_ptr = more.urg_ptr;
    segment.ae = more.ae;
    segment.options = more.options;
    segment.payload = payload;
    std::vector<u8> packet(20 + 60 + payload.size());
    ipv4_header ip;
    ip.saddr = *ipv4_addr::parse(peer);
    ip.daddr = *ipv4_addr::parse(host);
    ip.protocol = uapi::ipproto_tcp;
    ip.tos = more.ecn;
    const std::size_t bytes =
        emit(byte_span(packet).subspan(20), segment, ip.saddr, ip.daddr);
    ph_check(bytes != 0 && emit(packet, ip, bytes) == 20);
    packet.resize(20 + bytes);
    if (sign) {
      const byte_span tcp = byte_span(packet).subspan(20);
      sign(tcp);
      view_as<tcphdr>(tcp)->check = be16(0);
      const csum_partial pseudo = csum_pseudo_ipv4(ip.saddr, ip.daddr, uapi::ipproto_tcp,
                                                   static_cast<u16>(bytes));
      view_as<tcphdr>(tcp)->check = csum_fold(csum_add_bytes(tcp, pseudo));
    }
    inject(a, packet);
  }
  void send(u8 flags, s64 seq, s64 ack, std::string_view payload, const extra& more) {
    send_raw(flags, peer_isn + static_cast<u32>(1 + seq), host_isn + static_cast<u32>(1 + ack),
             bytes_of(payload), more);
  }
  void send(u8 flags, s64 seq, s64 ack, std::string_view payload = {}) {
    send(flags, seq, ack, payload, extra{});
  }

  /// Fills the signature of each segment that the peer sends (header and payload).
  std::function<void(byte_span)> sign;

  // --- what the host said ---------------------------------------------------------------------
  std::deque<seen_segment> sent;
  /// The next segment that the host sent; a failure when there is none.
  seen_segment take(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    if (sent.empty()) {
      ADD_FAILURE_AT(file, line) << "the host sent nothing";
      return {};
    }
    seen_segment out = sent.front();
    sent.pop_front();
    return out;
  }
  /// The next segment has these flags (PSH aside) and relative numbers.
  seen_segment expect(u8 flags, s64 seq, s64 ack, std::size_t len = 0,
                      const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    const testing::ScopedTrace trace(file, line, "expected here");
    if (sent.empty()) {
      ADD_FAILURE() << "the host sent nothing";
      return {};
    }
    seen_segment out = take();
    EXPECT_EQ(out.flags & ~P, flags) << "flags " << out.text();
    EXPECT_EQ(seq_of(out), seq) << "sequence number";
    if ((flags & A) != 0) {
      EXPECT_EQ(ack_of(out), ack) << "acknowledgement number";
    }
    EXPECT_EQ(out.payload.size(), len) << "payload";
    return out;
  }
  void expect_nothing(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    const testing::ScopedTrace trace(file, line, "expected here");
    for (const seen_segment& s : sent) {
      ADD_FAILURE() << "unexpected " << s.text() << " seq " << seq_of(s) << " ack " << ack_of(s)
                    << " len " << s.payload.size();
    }
    sent.clear();
  }
  [[nodiscard]] s64 seq_of(const seen_segment& s) const { return s.seq - (host_isn + 1); }
  [[nodiscard]] s64 ack_of(const seen_segment& s) const { return s.ack_seq - (peer_isn + 1); }

  // --- connections ----------------------------------------------------------------------------
  static std::vector<u8> syn_options(const tcp_out_options& wanted) {
    std::vector<u8> out(tcp_options_size(wanted));
    tcp_options_write(out, wanted);
    return out;
  }
  static tcp_out_options plain() {
    tcp_out_options out;
    out.mss = 1000;
    return out;
  }
  static tcp_out_options with_sack() {
    tcp_out_options out = plain();
    out.sack_permitted = true;
    return out;
  }
  int listening(int backlog = 8) {
    const int fd = *sys_socket(a.app(), uapi::af_inet, uapi::sock_stream, 0);
    EXPECT_TRUE(sys_bind(a.app(), fd, addr4("0.0.0.0", host_port)));
    EXPECT_TRUE(sys_listen(a.app(), fd, backlog));
    return fd;
  }
  /// The peer's SYN and the host's answer.
  seen_segment begin_passive(const tcp_out_options& options, u16 window = 65535) {
    send_raw(S, peer_isn, seq32(0), {}, {window, syn_options(options)});
    const seen_segment answer = take();
    EXPECT_EQ(answer.flags, S | A);
    host_isn = answer.seq;
    return answer;
  }
  /// A connection that the host accepted. The listener stays open.
  int accepted(const tcp_out_options& options = plain(), u16 window = 65535) {
    if (listener < 0) listener = listening();
    begin_passive(options, window);
    send(A, 0, 0, {}, {window});
    const auto fd = sys_accept4(a.app(), listener, nullptr, 0);
    EXPECT_TRUE(fd);
    expect_nothing();
    return fd.value_or(-1);
  }
  /// The host's SYN is out.
  int connecting() {
    const int fd = *sys_socket(a.app(), uapi::af_inet, uapi::sock_stream, 0);
    EXPECT_EQ(sys_connect(a.app(), fd, addr4(peer, peer_port)).error(), errc::inprogress);
    settle();
    const seen_segment syn = take();
    EXPECT_EQ(syn.flags, S);
    host_isn = syn.seq;
    host_port = syn.source;
    return fd;
  }
  /// A connection that the host opened.
  int connected(const tcp_out_options& options = plain(), u16 window = 65535) {
    const int fd = connecting();
    send_raw(S | A, peer_isn, host_isn + 1, {}, {window, syn_options(options)});
    expect(A, 0, 0);
    return fd;
  }

  // --- the host's program ---------------------------------------------------------------------
  std::size_t write(int fd, std::string_view data, u32 flags = 0) {
    a.machine.enter(now());
    const auto n = sys_send(a.app(), fd, bytes_of(data), flags);
    settle();
    return n ? *n : 0;
  }
  std::string read(int fd, std::size_t most = 1 << 16, u32 flags = 0) {
    a.machine.enter(now());
    std::vector<u8> buffer(most);
    const auto n = sys_recv(a.app(), fd, buffer, flags);
    settle();
    last_error = n ? errc::ok : n.error();
    return n ? std::string(text_of(byte_view(buffer).first(*n))) : std::string();
  }
  /// Lets the host send its first byte and acknowledges it with a smaller window.
  void shrink_window(int fd, u16 window) {
    write(fd, "0");
    expect(A, 0, 0, 1);
    send(A, 0, 1, {}, {window});
  }
  void close(int fd) {
    a.machine.enter(now());
    EXPECT_TRUE(sys_close(a.app(), fd));
    settle();
  }
  void shut(int fd, int how) {
    a.machine.enter(now());
    EXPECT_TRUE(sys_shutdown(a.app(), fd, how));
    settle();
  }
  int opt(int fd, int level, int name) {
    return sys_getsockopt_int(a.app(), fd, level, name).value_or(-9999);
  }
  void set(int fd, int level, int name, int value) {
    a.machine.enter(now());
    EXPECT_TRUE(sys_setsockopt_int(a.app(), fd, level, name, value)) << name;
    settle();
  }
  uapi::tcp_info info(int fd) {
    a.machine.enter(now());
    std::array<u8, sizeof(uapi::tcp_info)> bytes{};
    EXPECT_EQ(sys_getsockopt(a.app(), fd, uapi::sol_tcp, uapi::tcp_info_opt, bytes).value_or(0),
              sizeof(uapi::tcp_info));
    uapi::tcp_info out;
    std::memcpy(&out, bytes.data(), sizeof out);
    return out;
  }
  ph::sock& sock(int fd) { return (*a.app().get(fd))->as_socket()->sk(); }
  uapi::tcp_state state(int fd) { return static_cast<uapi::tcp_state>(info(fd).tcpi_state); }

  static constexpr const char* host = "10.0.0.1";
  static constexpr const char* peer = "10.0.0.2";
  u16 host_port, peer_port;
  seq32 peer_isn{0xfffff000};  // so that every longer test wraps around
  seq32 host_isn;
  int listener = -1;
  errc last_error = errc::ok;

 private:
  bool catch_frame(const test_frame& frame) {
    if (frame.from != a.number || !frame.is_ip(uapi::ipproto_tcp)) return true;
    const ipv4_view ip = frame.ip();
    const auto view = tcp_view::parse(ip.payload);
    ph_check(view.has_value());
    EXPECT_TRUE(view->checksum_ok(ip.iph->saddr, ip.iph->daddr));
    const tcp_segment s = view->segment();
    seen_segment out;
    out.flags = s.flags;
    out.ae = s.ae;
    out.tos = ip.iph->tos;
    out.source = s.source;
    out.dest = s.dest;
    out.window = s.window;
    out.urg_ptr = s.urg_ptr;
    out.seq = s.seq;
    out.ack_seq = s.ack_seq;
    out.payload.assign(s.payload.begin(), s.payload.end());
    out.raw.assign(ip.payload.begin(), ip.payload.end());
    out.options = tcp_parse_options(s.options, s.syn());
    out.when = frame.when;
    sent.push_back(std::move(out));
    return false;
  }
};

}  // namespace ph
