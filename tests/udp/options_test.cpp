// What programs may say about the datagrams of their sockets: filters, groups, segments, marks,
// sources of groups, and datagrams that wait elsewhere.
#include "net/core/cbpf.h"
#include "net/socket/socket.h"
#include "tests/support/craft.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using namespace std::literals;

/// Instructions as SO_ATTACH_FILTER takes them.
std::vector<u8> program_of(std::initializer_list<cbpf_insn> code) {
  std::vector<u8> out;
  for (const cbpf_insn& insn : code) {
    const byte_view bytes = bytes_of(insn);
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}

constexpr u16 load_byte = 0x30, load_indirect = 0x50, load_length = 0x80, load_header = 0xb1;
constexpr u16 jump_equal = 0x15, give = 0x06, give_a = 0x16, divide_by_x = 0x3c, store = 0x02;

struct datagram_options : ::testing::Test {
  two_hosts lab;
  task& a = lab.a.app();
  task& b = lab.b.app();
  int socket_on(task& t) { return *sys_socket(t, af_inet, sock_dgram, 0); }
  int server(u16 port = 7, int option = 0) {
    const int fd = socket_on(b);
    if (option != 0) {
      EXPECT_TRUE(sys_setsockopt_int(b, fd, sol_socket, option, 1));
    }
    EXPECT_TRUE(sys_bind(b, fd, addr4("10.0.0.2", port)));
    return fd;
  }
  result<void> attach(int fd, std::initializer_list<cbpf_insn> code, int how = so_attach_filter) {
    return sys_setsockopt(b, fd, sol_socket, how, program_of(code));
  }
  void send(std::string_view what, u16 port = 7) {
    const int c = socket_on(a);
    ASSERT_TRUE(sys_sendto(a, c, bytes_of(what), 0, addr4("10.0.0.2", port)));
    lab.settle();
    ASSERT_TRUE(sys_close(a, c));
  }
  std::string text(task& t, int fd) {
    std::vector<u8> room(66000);
    const auto n = sys_recv(t, fd, room);
    return n ? std::string(text_of(byte_view(room).first(*n))) : std::string(errc_name(n.error()));
  }
};

TEST_F(datagram_options, a_filter_sees_the_packet_from_its_udp_header_on) {
  const int s = server();
  ASSERT_TRUE(attach(
      s, {{load_byte, 0, 0, 8}, {jump_equal, 0, 1, 'A'}, {give, 0, 0, 65535}, {give, 0, 0, 0}}));
  send("Bad");
  send("All");
  EXPECT_EQ(text(b, s), "All");
  EXPECT_EQ(text(b, s), "EAGAIN");
  EXPECT_EQ(lab.b.drops(drop_reason::socket_filter), 1u);
  EXPECT_EQ(lab.b.mib(mib::udp_in_errors), 1u);
  ASSERT_TRUE(attach(s, {{give, 0, 0, 10}}));
  send("hello");
  EXPECT_EQ(text(b, s), "he") << "a filter says how much is left";
  ASSERT_TRUE(sys_setsockopt_int(b, s, sol_socket, so_detach_filter, 0));
  EXPECT_EQ(sys_setsockopt_int(b, s, sol_socket, so_detach_filter, 0).error(), errc::noent);
  send("whole");
  EXPECT_EQ(text(b, s), "whole");
}

TEST_F(datagram_options, what_a_filter_loads_from_beyond_the_end_refuses_the_packet) {
  const int s = server();
  ASSERT_TRUE(attach(s, {{load_indirect, 0, 0, 0xffffffff}, {give, 0, 0, 65535}}));
  send("x");
  ASSERT_TRUE(attach(s, {{divide_by_x, 0, 0, 0}, {give, 0, 0, 65535}}));
  send("x");
  ASSERT_TRUE(attach(s, {{load_header, 0, 0, 60000}, {give, 0, 0, 65535}}));
  send("x");
  EXPECT_EQ(text(b, s), "EAGAIN");
  EXPECT_EQ(lab.b.drops(drop_reason::socket_filter), 3u);
  ASSERT_TRUE(attach(s, {{load_length, 0, 0, 0}, {give_a, 0, 0, 0}}));
  send("all of it");
  EXPECT_EQ(text(b, s), "all of it");
}

TEST_F(datagram_options, only_programs_that_end_are_taken) {
  const int s = server();
  EXPECT_EQ(attach(s, {}).error(), errc::inval);
  EXPECT_EQ(attach(s, {{load_byte, 0, 0, 8}}).error(), errc::inval) << "no return";
  EXPECT_EQ(attach(s, {{jump_equal, 1, 0, 0}, {give, 0, 0, 1}}).error(), errc::inval);
  EXPECT_EQ(attach(s, {{store, 0, 0, 16}, {give, 0, 0, 1}}).error(), errc::inval);
  EXPECT_EQ(attach(s, {{0xffff, 0, 0, 0}, {give, 0, 0, 1}}).error(), errc::inval);
  std::vector<u8> many;
  for (int i = 0; i < 4097; ++i) {
    const auto one = program_of({{give, 0, 0, 1}});
    many.insert(many.end(), one.begin(), one.end());
  }
  EXPECT_EQ(sys_setsockopt(b, s, sol_socket, so_attach_filter, many).error(), errc::inval);
  ASSERT_TRUE(sys_setsockopt_int(b, s, sol_socket, so_lock_filter, 1));
  EXPECT_EQ(attach(s, {{give, 0, 0, 1}}).error(), errc::perm);
  EXPECT_EQ(sys_setsockopt_int(b, s, sol_socket, so_lock_filter, 0).error(), errc::perm);
}

/// The raw socket's packet and UDP's share their bytes.
TEST_F(datagram_options, a_raw_socket_sees_what_no_udp_socket_wants) {
  const int raw = *sys_socket(b, af_inet, sock_raw, ipproto_udp);
  send("nobody", 9);
  const auto answer = *icmp_view::parse(lab.frames.back().ip().payload);
  EXPECT_EQ(answer.icmph->type, icmp_dest_unreach);
  EXPECT_EQ(text(b, raw).substr(28), "nobody");
}

TEST_F(datagram_options, a_filter_leaves_the_ip_header_of_a_raw_socket) {
  const int raw = *sys_socket(b, af_inet, sock_raw, ipproto_udp);
  ASSERT_TRUE(attach(raw, {{give, 0, 0, 1}}));
  server();
  send("hello");
  sockaddr_buf from;
  std::vector<u8> room(100);
  EXPECT_EQ(sys_recvfrom(b, raw, room, 0, &from).value_or(0), 20u);
}

TEST_F(datagram_options, a_program_chooses_in_its_group) {
  std::vector<int> group;
  for (int i = 0; i < 3; ++i) group.push_back(server(7, so_reuseport));
  ASSERT_TRUE(
      attach(group[0], {{load_byte, 0, 0, 0}, {give_a, 0, 0, 0}}, so_attach_reuseport_cbpf));
  for (const auto& [what, who] : {std::pair{"\2c"sv, 2}, {"\0a"sv, 0}, {"\1b"sv, 1}}) {
    send(what);
    EXPECT_EQ(text(b, group[static_cast<std::size_t>(who)]), what);
  }
  send("\377nobody's number: by the flow");
  int got = 0;
  for (const int fd : group) got += text(b, fd) != "EAGAIN" ? 1 : 0;
  EXPECT_EQ(got, 1);
  ASSERT_TRUE(sys_close(b, group[0]));
  send("\0z"sv);
  EXPECT_EQ(text(b, group[2]), "\0z"sv) << "the last one takes the place of the one that goes";
  ASSERT_TRUE(sys_setsockopt_int(b, group[1], sol_socket, so_detach_reuseport_bpf, 0));
  EXPECT_EQ(sys_setsockopt_int(b, group[1], sol_socket, so_detach_reuseport_bpf, 0).error(),
            errc::noent);
  EXPECT_EQ(attach(server(8), {{give, 0, 0, 0}}, so_attach_reuseport_cbpf).error(), errc::inval);
}

TEST_F(datagram_options, equals_come_and_go_in_any_order) {
  std::vector<int> all;
  for (int i = 0; i < 5; ++i) all.push_back(server(7, so_reuseaddr));
  for (const int last : {4, 3}) {
    send("to the youngest");
    EXPECT_EQ(text(b, all[static_cast<std::size_t>(last)]), "to the youngest");
    ASSERT_TRUE(sys_close(b, all[static_cast<std::size_t>(last)]));
  }
  ASSERT_TRUE(sys_close(b, all[0]));
  ASSERT_TRUE(sys_setsockopt(b, all[1], sol_socket, so_bindtodevice, bytes_of("eth0"sv)));
  send("to the one on the device");
  EXPECT_EQ(text(b, all[1]), "to the one on the device");
  ASSERT_TRUE(sys_close(b, all[1]));
  send("to the last one");
  EXPECT_EQ(text(b, all[2]), "to the last one");
  ASSERT_TRUE(sys_close(b, all[2]));
  send("to nobody");
  EXPECT_EQ(lab.b.mib(mib::udp_no_ports), 1u);
}

TEST_F(datagram_options, ports_are_shared_as_linux_shares_them) {
  const auto try_bind = [&](bool reuseaddr, bool reuseport) {
    const int fd = socket_on(a);
    EXPECT_TRUE(sys_setsockopt_int(a, fd, sol_socket, so_reuseaddr, reuseaddr ? 1 : 0));
    EXPECT_TRUE(sys_setsockopt_int(a, fd, sol_socket, so_reuseport, reuseport ? 1 : 0));
    const auto done = sys_bind(a, fd, addr4("0.0.0.0", 53));
    return done ? fd : -static_cast<int>(done.error());
  };
  const int in_use = -static_cast<int>(errc::addrinuse);
  const int first = try_bind(true, false);
  ASSERT_GE(first, 0);
  ASSERT_GE(try_bind(true, false), 0);
  EXPECT_EQ(try_bind(false, true), in_use);
  ASSERT_GE(try_bind(true, true), 0);
  EXPECT_GE(try_bind(false, true), 0) << "the youngest socket in the way decides";
  EXPECT_EQ(try_bind(true, false), in_use);
  // Whether a socket is willing is asked when another one comes.
  const int other = socket_on(a);
  ASSERT_TRUE(sys_setsockopt_int(a, other, sol_socket, so_reuseaddr, 1));
  ASSERT_TRUE(sys_bind(a, other, addr4("0.0.0.0", 54)));
  ASSERT_TRUE(sys_setsockopt_int(a, other, sol_socket, so_reuseaddr, 0));
  const int late = socket_on(a);
  ASSERT_TRUE(sys_setsockopt_int(a, late, sol_socket, so_reuseaddr, 1));
  EXPECT_EQ(sys_bind(a, late, addr4("0.0.0.0", 54)).error(), errc::addrinuse);
  ASSERT_TRUE(sys_setsockopt_int(a, other, sol_socket, so_reuseaddr, 1));
  EXPECT_TRUE(sys_bind(a, late, addr4("0.0.0.0", 54)));
}

TEST_F(datagram_options, segments_are_datagrams_of_their_own) {
  const int s = server();
  const int c = socket_on(a);
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_udp, udp_segment, 4));
  EXPECT_EQ(sys_sendto(a, c, bytes_of("abcdefghij"sv), 0, addr4("10.0.0.2", 7)).value_or(0), 10u);
  lab.settle();
  for (const char* const part : {"abcd", "efgh", "ij", "EAGAIN"}) EXPECT_EQ(text(b, s), part);
  EXPECT_EQ(lab.a.mib(mib::udp_out_datagrams), 3u);
  EXPECT_EQ(sys_setsockopt_int(a, c, sol_udp, udp_segment, -1).error(), errc::inval);
  EXPECT_EQ(sys_setsockopt_int(a, c, sol_udp, udp_segment, 65536).error(), errc::inval);
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_udp, udp_segment, 1));
  const std::vector<u8> many(129);
  EXPECT_EQ(sys_sendto(a, c, many, 0, addr4("10.0.0.2", 7)).error(), errc::inval);
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_udp, udp_segment, 1473));
  const std::vector<u8> large(3000);
  EXPECT_EQ(sys_sendto(a, c, large, 0, addr4("10.0.0.2", 7)).error(), errc::inval);
}

/// A control message with a number.
template <class T>
std::vector<u8> control_of(int level, int type, T value) {
  std::vector<u8> out(cmsg_space(sizeof value));
  cmsghdr head;
  head.cmsg_len = cmsg_len(sizeof value);
  head.cmsg_level = level;
  head.cmsg_type = type;
  std::memcpy(out.data(), &head, sizeof head);
  std::memcpy(out.data() + sizeof head, &value, sizeof value);
  return out;
}

TEST_F(datagram_options, a_mark_goes_with_one_datagram_and_is_told) {
  const int own = socket_on(a), c = socket_on(a);
  ASSERT_TRUE(sys_bind(a, own, addr4("127.0.0.1", 7)));
  ASSERT_TRUE(sys_setsockopt_int(a, own, sol_socket, so_rcvmark, 1));
  const byte_view payload = bytes_of("x"sv);
  const addr4 to("127.0.0.1", 7);
  const auto send_with = [&](const std::vector<u8>& control) {
    send_msg msg;
    msg.name = to;
    msg.iov = {&payload, 1};
    msg.control = control;
    return sys_sendmsg(a, c, msg);
  };
  ASSERT_TRUE(send_with(control_of(sol_socket, so_mark, u32{77})));
  lab.settle();
  std::vector<u8> bytes(10), control(100);
  const byte_span room(bytes);
  recv_msg msg;
  msg.iov = {&room, 1};
  msg.control = control;
  ASSERT_TRUE(sys_recvmsg(a, own, msg));
  EXPECT_EQ(std::vector<u8>(control.begin(), control.begin() + 24),
            control_of(sol_socket, so_mark, u32{77}));
  a.cred.net_admin = false;
  const int ordinary = socket_on(a);
  ASSERT_TRUE(sys_close(a, c));
  EXPECT_EQ(sys_setsockopt_int(a, ordinary, sol_socket, so_mark, 1).error(), errc::perm);
}

/// Linux: the first piece of a datagram that waits says all about it; those that follow only add
/// bytes to it.
TEST_F(datagram_options, the_first_piece_describes_a_datagram_that_waits) {
  const int s = server();
  const int c = socket_on(a);
  const auto send_piece = [&](std::string_view what, const std::vector<u8>& control, u32 flags,
                              const addr4& to = {"10.0.0.2", 7}) {
    const byte_view payload = bytes_of(what);
    send_msg msg;
    msg.name = to;
    msg.iov = {&payload, 1};
    msg.control = control;
    msg.flags = flags;
    const auto sent = sys_sendmsg(a, c, msg);
    lab.settle();
    return sent ? errc::ok : sent.error();
  };
  const auto segments = [](u16 size) { return control_of(sol_udp, udp_segment, size); };
  EXPECT_EQ(send_piece("abcd", segments(3), msg_more), errc::ok);
  EXPECT_EQ(send_piece("ef", segments(2), 0, {"9.9.9.9", 9}), errc::ok);
  for (const char* const part : {"abc", "def", "EAGAIN"}) EXPECT_EQ(text(b, s), part);
  EXPECT_EQ(send_piece("abcd", {}, msg_more), errc::ok);
  EXPECT_EQ(send_piece("ef", segments(2), 0), errc::ok);
  EXPECT_EQ(text(b, s), "abcdef");
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_udp, udp_segment, 3));
  EXPECT_EQ(send_piece("abcd", {}, msg_more), errc::ok);
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_udp, udp_segment, 0));
  EXPECT_EQ(send_piece("ef", {}, 0), errc::ok);
  for (const char* const part : {"abc", "def", "EAGAIN"}) EXPECT_EQ(text(b, s), part);
  // What is wrong with it is told at once, and nothing waits then.
  EXPECT_EQ(send_piece("x", {}, msg_more, {"9.9.9.9", 9}), errc::netunreach);
  EXPECT_EQ(send_piece("x", control_of(sol_ip, ip_ttl, u64{1}), msg_more), errc::inval);
  EXPECT_EQ(send_piece("alone", {}, 0), errc::ok);
  EXPECT_EQ(text(b, s), "alone");
  EXPECT_EQ(send_piece("ttl", control_of(sol_ip, ip_ttl, s32{9}), msg_more), errc::ok);
  EXPECT_EQ(send_piece("", {}, 0), errc::ok);
  EXPECT_EQ(lab.frames.back().ip().iph->ttl, 9);
}

/// MSG_PROXY, Linux's MSG_PROBE, is all of a send but the sending.
TEST_F(datagram_options, a_probe_adds_nothing_to_what_waits) {
  const int s = server();
  const int c = socket_on(a);
  ASSERT_TRUE(sys_connect(a, c, addr4("10.0.0.2", 7)));
  const auto piece = [&](std::string_view what, u32 flags) {
    const auto sent = sys_send(a, c, bytes_of(what), flags);
    lab.settle();
    return sent.value_or(999);
  };
  const u32 probe = msg_proxy, more = msg_more;
  EXPECT_EQ(piece("ab", more), 2u);
  EXPECT_EQ(piece("cd", more | probe), 2u);
  EXPECT_EQ(piece("e", 0), 1u);
  EXPECT_EQ(text(b, s), "abe");
  EXPECT_EQ(piece("ab", more), 2u);
  EXPECT_EQ(piece("", probe | u32{msg_confirm}), 0u);
  EXPECT_EQ(text(b, s), "ab") << "it is no piece, but the last one";
  EXPECT_EQ(piece("ab", more | probe), 2u);
  EXPECT_EQ(piece("cd", 0), 2u);
  EXPECT_EQ(text(b, s), "cd") << "nothing waited";
  const std::string large(60'000, 'x');
  EXPECT_EQ(piece(large, more), large.size());
  EXPECT_EQ(piece(large, probe), large.size());
  EXPECT_EQ(text(b, s), large);
  EXPECT_EQ(sys_sendto(a, c, bytes_of("x"sv), more | probe, addr4("10.0.0.2", 0)).error(),
            errc::inval);
}

/// As two namespaces of Linux 6.18 do it.
TEST_F(datagram_options, a_datagram_that_waits_goes_where_its_socket_was_told_last) {
  const int s = server(7), other = server(8);
  const auto piece = [&](int c, u32 flags) {
    const auto sent = sys_send(a, c, bytes_of("x"sv), flags);
    lab.settle();
    return sent ? errc::ok : sent.error();
  };
  const int c = socket_on(a);
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("x"sv), msg_more, addr4("10.0.0.2", 7)));
  EXPECT_NE(port_of(*sys_getsockname(a, c)), 0);
  ASSERT_TRUE(sys_connect(a, c, addr4("10.0.0.2", 8)));
  EXPECT_EQ(piece(c, 0), errc::ok);
  EXPECT_EQ(text(b, s), "EAGAIN");
  EXPECT_EQ(text(b, other), "xx");
  EXPECT_EQ(piece(c, msg_more), errc::ok);
  ASSERT_TRUE(sys_connect(a, c, addr4("10.0.0.2", 7)));
  EXPECT_EQ(piece(c, 0), errc::ok);
  EXPECT_EQ(text(b, s), "xx");
  EXPECT_EQ(piece(c, msg_more), errc::ok);
  ASSERT_TRUE(sys_connect(a, c, bytes_of(sockaddr_in{})));
  EXPECT_EQ(piece(c, 0), errc::ok);
  EXPECT_EQ(text(b, s), "xx");
  EXPECT_EQ(piece(c, 0), errc::destaddrreq);
  // What was admitted goes, whatever is shut down since; nothing new begins.
  ASSERT_TRUE(sys_connect(a, c, addr4("10.0.0.2", 7)));
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_udp, udp_cork, 1));
  EXPECT_EQ(piece(c, 0), errc::ok);
  ASSERT_TRUE(sys_shutdown(a, c, shut_wr));
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_udp, udp_cork, 0));
  lab.settle();
  EXPECT_EQ(text(b, s), "x");
  EXPECT_EQ(piece(c, msg_more), errc::pipe);
}

TEST_F(datagram_options, a_disconnected_socket_is_bound_to_no_device) {
  for (const auto& [type, protocol] :
       {std::pair{sock_dgram, 0}, {sock_dgram, ipproto_icmp}, {sock_raw, ipproto_icmp}}) {
    const int c = *sys_socket(a, af_inet, type, protocol);
    ASSERT_TRUE(sys_setsockopt(a, c, sol_socket, so_bindtodevice, bytes_of("eth0"sv)));
    ASSERT_TRUE(sys_connect(a, c, addr4("10.0.0.2", 7)));
    ASSERT_TRUE(sys_connect(a, c, bytes_of(sockaddr_in{})));
    u8 room[16];
    EXPECT_EQ(sys_getsockopt(a, c, sol_socket, so_bindtodevice, room).value_or(99), 0u);
  }
}

TEST_F(datagram_options, a_priority_goes_with_one_datagram_and_is_told) {
  const int own = socket_on(a), c = socket_on(a);
  ASSERT_TRUE(sys_bind(a, own, addr4("127.0.0.1", 7)));
  ASSERT_TRUE(sys_setsockopt_int(a, own, sol_socket, so_rcvpriority, 1));
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_socket, so_priority, 3));
  std::vector<u8> bytes(10), control(100);
  const auto told = [&](const std::vector<u8>& wanted) {
    const byte_view payload = bytes_of("x"sv);
    const addr4 to("127.0.0.1", 7);
    send_msg msg;
    msg.name = to;
    msg.iov = {&payload, 1};
    msg.control = wanted;
    EXPECT_TRUE(sys_sendmsg(a, c, msg));
    lab.settle();
    const byte_span room(bytes);
    recv_msg got;
    got.iov = {&room, 1};
    got.control = control;
    EXPECT_TRUE(sys_recvmsg(a, own, got));
    return std::vector<u8>(control.begin(), control.begin() + 24);
  };
  EXPECT_EQ(told({}), control_of(sol_socket, so_priority, u32{3}));
  EXPECT_EQ(told(control_of(sol_socket, so_priority, u32{5})),
            control_of(sol_socket, so_priority, u32{5}));
}

/// A socket of b that hears only groups it is a member of, and one of a that sends to one.
struct group_member : datagram_options {
  static constexpr ipv4_addr group{239, 1, 1, 1}, sender{10, 0, 0, 1}, stranger{10, 0, 0, 9};
  const int member = socket_on(b), c = socket_on(a);
  const u32 index = lab.b.dev().index().value;

  group_member() {
    EXPECT_TRUE(sys_bind(b, member, addr4("0.0.0.0", 7)));
    EXPECT_TRUE(sys_setsockopt_int(b, member, sol_ip, ip_multicast_all, 0));
    const ip_mreq by{group.raw, sender.raw};
    EXPECT_TRUE(sys_setsockopt(a, c, sol_ip, ip_multicast_if, bytes_of(by)));
  }
  bool heard() {
    EXPECT_TRUE(sys_sendto(a, c, bytes_of("x"sv), 0, addr4(group, 7)));
    lab.settle();
    return text(b, member) == "x";
  }
  errc set(int name, byte_view value) {
    const auto done = sys_setsockopt(b, member, sol_ip, name, value);
    return done ? errc::ok : done.error();
  }
  /// By the device's address.
  errc by_address(int name, ipv4_addr source) {
    return set(name, bytes_of(ip_mreq_source{group.raw, ipv4_addr(10, 0, 0, 2).raw, source.raw}));
  }
  static void put_name(byte_span at, ipv4_addr addr) {
    sockaddr_in name;
    name.sin_family.set(af_inet);
    name.sin_addr = addr.raw;
    copy_bytes(at, bytes_of(name));
  }
  /// By the device's index: struct group_source_req.
  errc by_device(int name, ipv4_addr source) {
    std::array<u8, 264> request{};
    copy_bytes(request, bytes_of(index));
    put_name(byte_span(request).subspan(8), group);
    put_name(byte_span(request).subspan(136), source);
    return set(name, request);
  }
  errc by_device(int name) {
    std::array<u8, 136> request{};
    copy_bytes(request, bytes_of(index));
    put_name(byte_span(request).subspan(8), group);
    return set(name, request);
  }
};

TEST_F(group_member, may_choose_its_sources) {
  EXPECT_EQ(by_address(ip_block_source, stranger), errc::inval) << "it is no member";
  EXPECT_EQ(by_address(ip_add_source_membership, stranger), errc::ok);
  EXPECT_FALSE(heard());
  EXPECT_EQ(by_address(ip_add_source_membership, sender), errc::ok);
  EXPECT_EQ(by_address(ip_add_source_membership, sender), errc::addrnotavail) << "wanted already";
  EXPECT_TRUE(heard());
  EXPECT_EQ(by_address(ip_block_source, sender), errc::inval) << "it wants only some";
  EXPECT_EQ(by_address(ip_drop_source_membership, sender), errc::ok);
  EXPECT_FALSE(heard());
  EXPECT_EQ(by_address(ip_drop_source_membership, stranger), errc::ok)
      << "and with the last the membership";
  const ip_mreq on_b{group.raw, ipv4_addr(10, 0, 0, 2).raw};
  ASSERT_EQ(set(ip_add_membership, bytes_of(on_b)), errc::ok);
  EXPECT_TRUE(heard());
  EXPECT_EQ(by_address(ip_block_source, sender), errc::ok);
  EXPECT_FALSE(heard());
  EXPECT_EQ(by_address(ip_unblock_source, sender), errc::ok);
  EXPECT_TRUE(heard());
  for (u32 i = 0; i < 12; ++i) {
    const ipv4_addr other(0x0a000100u + i);
    EXPECT_EQ(by_address(ip_block_source, other), i < 10 ? errc::ok : errc::nobufs);
  }
}

TEST_F(group_member, joins_by_the_device_too) {
  EXPECT_EQ(by_device(mcast_join_group), errc::ok);
  EXPECT_EQ(by_device(mcast_join_group), errc::addrinuse);
  EXPECT_EQ(by_device(mcast_leave_group), errc::ok);
  EXPECT_EQ(by_device(mcast_leave_group), errc::addrnotavail);
}

TEST_F(group_member, is_no_stream) {
  const int stream = *sys_socket(b, af_inet, sock_stream, 0);
  const auto refused = [&](int name, byte_view value) {
    return sys_setsockopt(b, stream, sol_ip, name, value).error();
  };
  const ip_mreq_source request{group.raw, ipv4_addr(10, 0, 0, 2).raw, sender.raw};
  const byte_view bytes = bytes_of(request);
  EXPECT_EQ(refused(ip_add_membership, bytes.first(8)), errc::proto);
  EXPECT_EQ(refused(ip_drop_membership, bytes.first(8)), errc::proto);
  EXPECT_EQ(refused(ip_add_source_membership, bytes), errc::proto);
  EXPECT_EQ(refused(ip_block_source, bytes), errc::inval);
  EXPECT_EQ(refused(ip_block_source, bytes.first(8)), errc::inval);
  EXPECT_EQ(refused(mcast_leave_group, bytes), errc::inval);
}

TEST_F(group_member, names_sources_by_the_device_too) {
  EXPECT_EQ(by_device(mcast_block_source, sender), errc::inval) << "it is no member";
  ASSERT_EQ(by_device(mcast_join_group), errc::ok);
  EXPECT_TRUE(heard());
  EXPECT_EQ(by_device(mcast_block_source, sender), errc::ok);
  EXPECT_FALSE(heard());
  EXPECT_EQ(by_device(mcast_block_source, sender), errc::addrnotavail) << "it is blocked already";
  EXPECT_EQ(by_device(mcast_unblock_source, sender), errc::ok);
  EXPECT_TRUE(heard());
  ASSERT_EQ(by_device(mcast_leave_group), errc::ok);
  EXPECT_EQ(by_device(mcast_join_source_group, sender), errc::ok);
  EXPECT_TRUE(heard());
  EXPECT_EQ(by_device(mcast_leave_source_group, sender), errc::ok);
  EXPECT_FALSE(heard());
}

/// IP_MSFILTER and MCAST_MSFILTER (RFC 3678): the whole list at once, as Linux 6.18 takes and tells
/// it.
TEST_F(group_member, sets_and_tells_the_list_of_its_sources) {
  constexpr u32 exclude = 0, include = 1;
  const std::vector<ipv4_addr> both{stranger, sender};
  const auto filter = [&](int name, u32 mode, u32 count, const std::vector<ipv4_addr>& sources) {
    const bool by_index = name == mcast_msfilter;
    const std::size_t numbers = by_index ? 136 : 8, size = by_index ? 128 : 4;
    std::vector<u8> out(numbers + 8 + size * sources.size());
    const byte_span bytes(out);
    if (by_index) put_name(bytes.subspan(8), group);
    if (by_index)
      copy_bytes(bytes, bytes_of(index));
    else
      copy_bytes(bytes, bytes_of(ip_mreq{group.raw, ipv4_addr(10, 0, 0, 2).raw}));
    copy_bytes(bytes.subspan(numbers), bytes_of(mode));
    copy_bytes(bytes.subspan(numbers + 4), bytes_of(count));
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const byte_span at = bytes.subspan(numbers + 8 + i * size);
      if (by_index)
        put_name(at, sources[i]);
      else
        copy_bytes(at, bytes_of(sources[i]));
    }
    return out;
  };
  const auto told = [&](int name, std::vector<u8> room) -> result<std::vector<u8>> {
    TRY(const std::size_t len, sys_getsockopt(b, member, sol_ip, name, room));
    room.resize(len);
    return room;
  };
  for (const int name : {ip_msfilter, mcast_msfilter}) {
    const std::vector<u8> wanted = filter(name, include, 2, both);
    EXPECT_EQ(set(name, wanted), errc::inval) << "it is no member";
    EXPECT_EQ(told(name, wanted).error(), errc::addrnotavail);
    ASSERT_EQ(by_device(mcast_join_group), errc::ok);
    EXPECT_EQ(set(name, filter(name, include, 3, both)), errc::inval) << "one is missing";
    EXPECT_EQ(set(name, filter(name, include, 11, both)), errc::nobufs);
    EXPECT_EQ(set(name, filter(name, 2, 2, both)), errc::inval);
    EXPECT_EQ(set(name, byte_view(wanted).first(15)), errc::inval);
    EXPECT_EQ(set(name, wanted), errc::ok);
    EXPECT_TRUE(heard());
    EXPECT_EQ(told(name, filter(name, 7, 2, {{}, {}})).value(), wanted);
    EXPECT_EQ(told(name, filter(name, 7, 1, {{}, {}})).value(),
              filter(name, include, 2, {stranger}));
    EXPECT_EQ(set(name, filter(name, exclude, 1, {sender})), errc::ok);
    EXPECT_FALSE(heard());
    EXPECT_EQ(told(name, filter(name, 7, 0, {})).value(), filter(name, exclude, 1, {}));
    EXPECT_EQ(set(name, filter(name, exclude, 0, {})), errc::ok);
    EXPECT_TRUE(heard());
    EXPECT_EQ(set(name, filter(name, include, 0, {})), errc::ok) << "which is to leave";
    EXPECT_EQ(by_device(mcast_leave_group), errc::addrnotavail);
  }
}

TEST_F(datagram_options, a_filter_can_be_read_again) {
  const int s = server();
  std::array<u8, 64> room{};
  const auto told = [&](byte_span to) {
    return sys_getsockopt(b, s, sol_socket, so_attach_filter, to);
  };
  EXPECT_EQ(told(room).value_or(9), 0u);
  const std::vector<cbpf_insn> code{
      {0x28, 0, 0, 12}, {0x15, 0, 1, 0x800}, {0x06, 0, 0, 99}, {0x06}};
  std::vector<u8> bytes;
  for (const cbpf_insn& insn : code) {
    const byte_view one = bytes_of(insn);
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  ASSERT_TRUE(sys_setsockopt(b, s, sol_socket, so_attach_filter, bytes));
  EXPECT_EQ(told(room).value_or(9), bytes.size());
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), room.begin()));
  EXPECT_EQ(told(byte_span(room).first(31)).error(), errc::inval);
}

struct one_elsewhere : handed_on {
  u32 waiting = 0;
  mutable int asked = 0;
  using handed_on::handed;
  [[nodiscard]] u32 bytes() const override {
    ++asked;
    return waiting;
  }
};

TEST_F(datagram_options, what_waits_elsewhere_fills_the_receive_buffer) {
  const int s = server();
  ASSERT_TRUE(sys_setsockopt_int(b, s, sol_socket, so_rcvbuf, 5000));
  one_elsewhere queue;
  sock& sk = (*b.get(s))->as_socket()->sk();
  sk.outside = &queue;
  queue.waiting = 10'000;
  queue.handed(10'000);
  send("no room");
  EXPECT_EQ(text(b, s), "EAGAIN");
  EXPECT_EQ(lab.b.mib(mib::udp_rcvbuf_errors), 1u);
  std::array<u32, sk_meminfo_vars> info{};
  const byte_span words{reinterpret_cast<u8*>(info.data()), sizeof info};
  ASSERT_TRUE(sys_getsockopt(b, s, sol_socket, so_meminfo, words));
  EXPECT_EQ(info[sk_meminfo_rmem_alloc], 10'000u);
  EXPECT_EQ(info[sk_meminfo_drops], 1u);
  queue.waiting = 5000;
  send("room");
  EXPECT_EQ(text(b, s), "room");
  // To ask costs: nobody does while the most that may wait leaves room.
  queue.waiting = 0;
  queue.ask();
  queue.asked = 0;
  for (int i = 0; i < 9; ++i) {
    queue.handed(1000);
    send("room still");
    EXPECT_EQ(text(b, s), "room still");
  }
  EXPECT_EQ(queue.asked, 0);
  queue.handed(1000);
  send("room again");
  EXPECT_EQ(text(b, s), "room again");
  EXPECT_EQ(queue.asked, 1);
  sk.outside = nullptr;
}

TEST_F(datagram_options, a_reassembled_datagram_tells_its_largest_fragment) {
  const int s = server();
  ASSERT_TRUE(sys_setsockopt_int(b, s, sol_ip, ip_recvfragsize, 1));
  const auto fragment_size = [&](std::size_t n) {
    const int c = socket_on(a);
    EXPECT_TRUE(sys_sendto(a, c, std::vector<u8>(n), 0, addr4("10.0.0.2", 7)));
    lab.settle();
    std::vector<u8> bytes(9000), control(100);
    const byte_span room(bytes);
    recv_msg msg;
    msg.iov = {&room, 1};
    msg.control = control;
    EXPECT_TRUE(sys_recvmsg(b, s, msg));
    if (msg.control_len == 0) return s32{0};
    return byte_reader(byte_view(control).subspan(sizeof(cmsghdr))).take<s32>();
  };
  EXPECT_EQ(fragment_size(100), 0);
  EXPECT_EQ(fragment_size(3000), 1500);
}

}  // namespace
}  // namespace ph
