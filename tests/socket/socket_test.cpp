// The system-call door: descriptors, generic options, ioctls, and how long to wait.
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using namespace std::literals;

struct syscalls : ::testing::Test {
  two_hosts lab;
  task& t = lab.a.app();
  int fd = *sys_socket(t, af_inet, sock_dgram, 0);
  errc set(int name, int value) {
    const auto done = sys_setsockopt_int(t, fd, sol_socket, name, value);
    return done ? errc::ok : done.error();
  }
  int get(int name) { return sys_getsockopt_int(t, fd, sol_socket, name).value_or(-1); }
};

TEST_F(syscalls, socket_errors) {
  const auto error = [&](int domain, int type, int protocol) {
    return sys_socket(t, domain, type, protocol).error();
  };
  EXPECT_EQ(error(-1, sock_dgram, 0), errc::afnosupport);
  EXPECT_EQ(error(99, sock_dgram, 0), errc::afnosupport);
  EXPECT_EQ(error(af_bluetooth, sock_dgram, 0), errc::afnosupport);
  EXPECT_EQ(error(af_inet, 11, 0), errc::inval);
  EXPECT_EQ(error(af_inet, sock_dgram | 0x100, 0), errc::inval);
  EXPECT_EQ(error(af_inet, sock_dgram, ipproto_tcp), errc::protonosupport);
  EXPECT_EQ(error(af_inet, sock_stream, ipproto_udp), errc::protonosupport);
  EXPECT_EQ(error(af_inet, sock_dgram, 300), errc::inval);
  EXPECT_EQ(error(af_inet, sock_seqpacket, 0), errc::socktnosupport);
  EXPECT_EQ(error(af_inet, sock_raw, 0), errc::protonosupport);
  t.set_limit(t.open_files());
  EXPECT_EQ(error(af_inet, sock_dgram, 0), errc::mfile);
}

TEST_F(syscalls, bad_descriptors) {
  EXPECT_EQ(sys_send(t, 99, {}).error(), errc::badf);
  EXPECT_EQ(sys_poll(t, 99), pollnval);
  ASSERT_TRUE(sys_close(t, fd));
  EXPECT_EQ(sys_close(t, fd).error(), errc::badf);
}

TEST_F(syscalls, buffer_sizes_are_doubled_and_bounded) {
  EXPECT_EQ(get(so_rcvbuf), 212992);
  EXPECT_EQ(set(so_rcvbuf, 10000), errc::ok);
  EXPECT_EQ(get(so_rcvbuf), 20000);
  EXPECT_EQ(set(so_rcvbuf, 0), errc::ok);
  EXPECT_EQ(get(so_rcvbuf), 2304);
  EXPECT_EQ(set(so_sndbuf, 1), errc::ok);
  EXPECT_EQ(get(so_sndbuf), 4608);
  EXPECT_EQ(set(so_sndbuf, 1 << 30), errc::ok);
  EXPECT_EQ(get(so_sndbuf), 2 * (4 << 20));
  EXPECT_EQ(set(so_sndbuf, -1), errc::ok);
  EXPECT_EQ(get(so_sndbuf), 2 * (4 << 20));
  EXPECT_EQ(set(so_sndbufforce, 1 << 20), errc::ok);
  EXPECT_EQ(get(so_sndbuf), 2 << 20);
  t.cred.net_admin = false;
  EXPECT_EQ(set(so_rcvbufforce, 1 << 20), errc::perm);
}

TEST_F(syscalls, flags_and_numbers) {
  for (const int name : {so_reuseaddr, so_reuseport, so_keepalive, so_broadcast, so_dontroute,
                         so_oobinline, so_rxq_ovfl, so_no_check, so_timestamp}) {
    EXPECT_EQ(get(name), 0) << name;
    EXPECT_EQ(set(name, 7), errc::ok) << name;
    EXPECT_EQ(get(name), 1) << name;
  }
  EXPECT_EQ(get(so_type), sock_dgram);
  EXPECT_EQ(get(so_domain), af_inet);
  EXPECT_EQ(get(so_protocol), ipproto_udp);
  EXPECT_EQ(get(so_acceptconn), 0);
  EXPECT_EQ(get(so_debug), 0);
  EXPECT_EQ(sys_getsockopt_int(t, fd, sol_ip, ip_hdrincl).value_or(-1), 0);
  EXPECT_EQ(set(so_priority, 6), errc::ok);
  EXPECT_EQ(get(so_priority), 6);
  t.cred.net_admin = false;
  EXPECT_EQ(set(so_priority, 7), errc::perm);
  EXPECT_EQ(set(so_mark, 1), errc::perm);
  for (const int name : {so_type, so_domain, so_protocol, so_error, so_acceptconn, so_sndlowat,
                         so_peek_off, 12345}) {
    EXPECT_EQ(set(name, 1), errc::noprotoopt) << name;
  }
  EXPECT_EQ(sys_setsockopt(t, fd, sol_socket, so_reuseaddr, bytes_of(u16{1})).error(),
            errc::inval);
}

/// One call of setsockopt with an int, and what getsockopt says afterwards.
struct set_row {
  int type, name;
  int value;
  errc set;
  int seen;  ///< -1: getsockopt fails
  errc as_user = errc::ok;
};

/// Options that change nothing in a stack like this one, and what Linux 6.18 answers.
TEST_F(syscalls, options_without_effect_answer_as_on_linux) {
  constexpr int both = 0;
  constexpr set_row rows[] = {
      {both, so_debug, 5, errc::ok, 1, errc::acces},
      {both, so_debug, 0, errc::ok, 0},
      {both, so_wifi_status, -1, errc::ok, 1},
      {both, so_nofcs, 2, errc::ok, 1},
      {both, so_select_err_queue, 1, errc::ok, 1},
      {both, so_select_err_queue, 0, errc::ok, 0},
      {both, so_prefer_busy_poll, 2, errc::ok, 1, errc::perm},
      {both, so_prefer_busy_poll, 0, errc::ok, 0},
      {both, so_busy_poll_budget, 8, errc::ok, -1, errc::perm},
      {both, so_busy_poll_budget, 65536, errc::inval, -1, errc::perm},
      {both, so_busy_poll_budget, -1, errc::inval, -1, errc::inval},
      {both, so_buf_lock, 3, errc::ok, 3},
      {both, so_buf_lock, 4, errc::inval, 3, errc::inval},
      {both, so_buf_lock, 0, errc::ok, 0},
      {both, so_reserve_mem, 4096, errc::opnotsupp, 0, errc::opnotsupp},
      {both, so_reserve_mem, -1, errc::inval, 0, errc::inval},
      {both, so_cnx_advice, 1, errc::ok, -1},
      {both, so_bpf_extensions, 1, errc::noprotoopt, 64, errc::noprotoopt},
      {sock_stream, so_txrehash, 0, errc::ok, 0},
      {sock_stream, so_txrehash, 2, errc::inval, 0, errc::inval},
      {sock_stream, so_txrehash, -1, errc::ok, 1},
      {sock_dgram, so_txrehash, 1, errc::opnotsupp, -1, errc::opnotsupp},
      {both, so_passcred, 1, errc::opnotsupp, -1, errc::opnotsupp},
      {both, so_passsec, 1, errc::opnotsupp, -1, errc::opnotsupp},
      {both, so_passpidfd, 1, errc::opnotsupp, -1, errc::opnotsupp},
      {both, so_passrights, 1, errc::opnotsupp, -1, errc::opnotsupp},
      {both, so_peerpidfd, 1, errc::noprotoopt, -1, errc::noprotoopt},
      {both, so_peergroups, 1, errc::noprotoopt, -1, errc::noprotoopt},
  };
  for (const int type : {sock_stream, sock_dgram}) {
    fd = *sys_socket(t, af_inet, type, 0);
    const int of_user = *sys_socket(t, af_inet, type, 0);
    for (const set_row& row : rows) {
      if (row.type != both && row.type != type) continue;
      EXPECT_EQ(set(row.name, row.value), row.set) << row.name << " " << row.value;
      EXPECT_EQ(get(row.name), row.seen) << row.name << " " << row.value;
      t.cred.net_admin = false;
      const auto done = sys_setsockopt_int(t, of_user, sol_socket, row.name, row.value);
      EXPECT_EQ(done ? errc::ok : done.error(), row.as_user) << row.name << " " << row.value;
      t.cred.net_admin = true;
    }
  }
}

TEST_F(syscalls, the_time_to_send_at) {
  const auto set_clock = [&](s32 clock, u32 flags) {
    const std::array<u32, 2> value{static_cast<u32>(clock), flags};
    const auto done = sys_setsockopt(t, fd, sol_socket, so_txtime, bytes_of(value));
    return done ? errc::ok : done.error();
  };
  for (const s32 clock : {0, 1, 11}) EXPECT_EQ(set_clock(clock, 3), errc::ok) << clock;
  for (const s32 clock : {-1, 2, 7}) EXPECT_EQ(set_clock(clock, 0), errc::inval) << clock;
  EXPECT_EQ(set_clock(1, 4), errc::inval);
  std::array<u32, 2> seen{};
  ASSERT_TRUE(sys_getsockopt(t, fd, sol_socket, so_txtime,
                             {reinterpret_cast<u8*>(&seen), sizeof seen}));
  EXPECT_EQ(seen, (std::array<u32, 2>{11, 3}));
  EXPECT_EQ(set(so_txtime, 1), errc::inval);
  t.cred.net_admin = false;
  EXPECT_EQ(set_clock(0, 0), errc::perm);
  EXPECT_EQ(set_clock(1, 0), errc::ok);
}

TEST_F(syscalls, the_name_of_the_peer_and_of_the_namespace) {
  std::array<u8, 16> name{};
  EXPECT_EQ(sys_getsockopt(t, fd, sol_socket, so_peername, name).error(), errc::notconn);
  const addr4 peer("10.0.0.2", 7);
  ASSERT_TRUE(sys_connect(t, fd, peer));
  EXPECT_EQ(*sys_getsockopt(t, fd, sol_socket, so_peername, name), 16u);
  EXPECT_TRUE(std::equal(name.begin(), name.end(), byte_view(peer).begin()));
  std::array<u8, 17> longer{};
  EXPECT_EQ(sys_getsockopt(t, fd, sol_socket, so_peername, longer).error(), errc::inval);
  std::array<u8, 8> cookie{}, of_b{};
  ASSERT_TRUE(sys_getsockopt(t, fd, sol_socket, so_netns_cookie, cookie));
  const int other = *sys_socket(lab.b.app(), af_inet, sock_stream, 0);
  ASSERT_TRUE(sys_getsockopt(lab.b.app(), other, sol_socket, so_netns_cookie, of_b));
  EXPECT_NE(cookie, of_b);
  EXPECT_EQ(sys_getsockopt(t, fd, sol_socket, so_netns_cookie, longer).error(), errc::inval);
}

/// A level that a socket has nothing of: getsockopt says so in other words than setsockopt.
TEST_F(syscalls, levels_of_other_protocols) {
  constexpr std::array<std::array<int, 3>, 4> kinds{{{sock_stream, 0, sol_tcp},
                                                     {sock_dgram, 0, sol_udp},
                                                     {sock_dgram, ipproto_icmp, sol_ip},
                                                     {sock_raw, 99, sol_raw}}};
  for (const auto& [type, protocol, own] : kinds) {
    const int s = *sys_socket(t, af_inet, type, protocol);
    for (const int level : {-1, 2, 41, 58, 132, 270, 999}) {
      EXPECT_EQ(sys_getsockopt_int(t, s, level, 1).error(), errc::opnotsupp) << type << level;
      EXPECT_EQ(sys_setsockopt_int(t, s, level, 1, 1).error(), errc::noprotoopt) << type << level;
    }
    EXPECT_EQ(sys_getsockopt_int(t, s, own, 1000).error(), errc::noprotoopt);
  }
  EXPECT_EQ(*sys_getsockopt_int(t, fd, sol_udplite, udp_cork), 0);
}

/// SOL_IP by type of socket: int set, and what getsockopt says.
TEST_F(syscalls, ip_options_by_type_of_socket) {
  struct row { int name; errc stream, dgram, raw; };
  constexpr row rows[] = {
      {ip_checksum, errc::ok, errc::ok, errc::ok},
      {ip_passsec, errc::ok, errc::ok, errc::ok},
      {ip_recvfragsize, errc::inval, errc::ok, errc::ok},
      {ip_nodefrag, errc::noprotoopt, errc::noprotoopt, errc::ok},
      {ip_router_alert, errc::inval, errc::inval, errc::noprotoopt},
      {ip_protocol_opt, errc::noprotoopt, errc::noprotoopt, errc::noprotoopt},
  };
  const int stream = *sys_socket(t, af_inet, sock_stream, 0);
  const int raw = *sys_socket(t, af_inet, sock_raw, 99);
  const int header = *sys_socket(t, af_inet, sock_raw, ipproto_raw);  // it hears nothing
  EXPECT_EQ(sys_setsockopt_int(t, header, sol_ip, ip_router_alert, 1).error(), errc::inval);
  for (const row& r : rows) {
    const auto check = [&](int s, errc expected, int otherwise) {
      const auto done = sys_setsockopt_int(t, s, sol_ip, r.name, 1);
      EXPECT_EQ(done ? errc::ok : done.error(), expected) << r.name;
      EXPECT_EQ(*sys_getsockopt_int(t, s, sol_ip, r.name), done ? 1 : otherwise) << r.name;
    };
    check(stream, r.stream, 0);
    check(fd, r.dgram, 0);
    check(raw, r.raw, r.name == ip_protocol_opt ? 99 : 0);
  }
  constexpr std::array<u8, 1> one{1};
  EXPECT_TRUE(sys_setsockopt(t, fd, sol_ip, ip_multicast_all, one));
  EXPECT_EQ(sys_setsockopt(t, fd, sol_ip, ip_multicast_all, {}).error(), errc::inval);
}

/// As Linux: what was set or, of a connection that has had packets, where they came.
TEST_F(syscalls, the_cpu_of_incoming_packets) {
  const auto cpu = [&] { return *sys_getsockopt_int(t, fd, sol_socket, so_incoming_cpu); };
  EXPECT_EQ(cpu(), -1);
  for (const int wanted : {1, -5, 100'000, -1}) {
    ASSERT_TRUE(sys_setsockopt_int(t, fd, sol_socket, so_incoming_cpu, wanted));
    EXPECT_EQ(cpu(), wanted);
  }
  ASSERT_TRUE(sys_connect(t, fd, addr4("10.0.0.2", 7)));
  EXPECT_EQ(cpu(), -1);
}

TEST_F(syscalls, timeouts_become_the_policy_of_waiting) {
  const timeval two{2, 500000};
  ASSERT_TRUE(sys_setsockopt(t, fd, sol_socket, so_rcvtimeo, bytes_of(two)));
  timeval back;
  ASSERT_TRUE(sys_getsockopt(t, fd, sol_socket, so_rcvtimeo,
                             {reinterpret_cast<u8*>(&back), sizeof(back)}));
  EXPECT_EQ(back.tv_sec, 2);
  EXPECT_EQ(back.tv_usec, 500000);
  const timeval odd{0, 1000000};
  EXPECT_EQ(sys_setsockopt(t, fd, sol_socket, so_sndtimeo, bytes_of(odd)).error(), errc::dom);
  EXPECT_TRUE(sys_wait_policy(t, fd, wait_for::receive, 0).wait);
  EXPECT_EQ(sys_wait_policy(t, fd, wait_for::receive, 0).timeout, milliseconds(2500));
  EXPECT_EQ(sys_wait_policy(t, fd, wait_for::send, 0).timeout, duration{});
  EXPECT_FALSE(sys_wait_policy(t, fd, wait_for::receive, msg_dontwait).wait);
  EXPECT_FALSE(sys_wait_policy(t, fd, wait_for::receive, msg_errqueue).wait);
  ASSERT_TRUE(sys_set_nonblock(t, fd, true));
  EXPECT_FALSE(sys_wait_policy(t, fd, wait_for::receive, 0).wait);
  const int on = 0;
  std::array<u8, 4> arg{};
  copy_bytes(arg, bytes_of(on));
  ASSERT_TRUE(sys_ioctl(t, fd, fionbio, arg));
  EXPECT_FALSE(*sys_get_nonblock(t, fd));
}

TEST_F(syscalls, bind_to_device) {
  EXPECT_EQ(sys_setsockopt(t, fd, sol_socket, so_bindtodevice, bytes_of("eth7"sv)).error(),
            errc::nodev);
  ASSERT_TRUE(sys_setsockopt(t, fd, sol_socket, so_bindtodevice, bytes_of("eth0"sv)));
  std::array<u8, 16> name{};
  EXPECT_EQ(sys_getsockopt(t, fd, sol_socket, so_bindtodevice, name).value_or(0), 5u);
  EXPECT_EQ(text_of(byte_view(name).first(4)), "eth0");
  EXPECT_EQ(get(so_bindtoifindex), static_cast<int>(lab.a.dev().index().value));
  t.cred.net_admin = false;
  EXPECT_EQ(sys_setsockopt(t, fd, sol_socket, so_bindtodevice, bytes_of("lo"sv)).error(),
            errc::perm);
}

TEST_F(syscalls, cookies_name_sockets) {
  u64 one = 0, two = 0;
  const int other = *sys_socket(t, af_inet, sock_dgram, 0);
  const auto ask = [&](int of, u64& into) {
    ASSERT_TRUE(sys_getsockopt(t, of, sol_socket, so_cookie,
                               {reinterpret_cast<u8*>(&into), sizeof(into)}));
  };
  ask(fd, one);
  ask(other, two);
  EXPECT_NE(one, 0u);
  EXPECT_NE(one, two);
  const u64 first = one;
  ask(fd, one);
  EXPECT_EQ(one, first);
}

TEST_F(syscalls, interface_questions) {
  std::array<u8, ifreq_bytes> req{};
  const auto ask = [&](u32 command, std::string_view name) {
    req.fill(0);
    copy_bytes(req, bytes_of(name));
    const auto done = sys_ioctl(t, fd, command, req);
    return done ? errc::ok : done.error();
  };
  const auto number = [&] { return byte_reader(byte_view(req).subspan(16)).take<s32>(); };
  const auto addr = [&] {
    ipv4_addr out;
    out.raw = view_as<sockaddr_in>(byte_view(req), 16)->sin_addr;
    return out.to_string();
  };
  EXPECT_EQ(ask(siocgifindex, "eth0"), errc::ok);
  EXPECT_EQ(number(), static_cast<int>(lab.a.dev().index().value));
  EXPECT_EQ(ask(siocgifmtu, "eth0"), errc::ok);
  EXPECT_EQ(number(), 1500);
  EXPECT_EQ(ask(siocgifflags, "lo"), errc::ok);
  EXPECT_EQ(static_cast<u32>(number()) & (iff_up | iff_loopback), iff_up | iff_loopback);
  EXPECT_EQ(ask(siocgifhwaddr, "eth0"), errc::ok);
  EXPECT_EQ(req[18], 2);
  EXPECT_EQ(ask(siocgifaddr, "eth0"), errc::ok);
  EXPECT_EQ(addr(), "10.0.0.1");
  EXPECT_EQ(ask(siocgifnetmask, "eth0"), errc::ok);
  EXPECT_EQ(addr(), "255.255.255.0");
  EXPECT_EQ(ask(siocgifbrdaddr, "eth0"), errc::ok);
  EXPECT_EQ(addr(), "10.0.0.255");
  EXPECT_EQ(ask(siocgifaddr, "lo"), errc::ok);
  EXPECT_EQ(addr(), "127.0.0.1");
  EXPECT_EQ(ask(siocgifaddr, "eth9"), errc::nodev);
  EXPECT_EQ(ask(0x9999, "eth0"), errc::notty);
  req.fill(0);
  copy_bytes(byte_span(req).subspan(16), bytes_of(s32{1}));
  ASSERT_TRUE(sys_ioctl(t, fd, siocgifname, req));
  EXPECT_EQ(text_of(byte_view(req).first(2)), "lo");
  std::array<u8, 16 + 2 * ifreq_bytes> conf{};
  ASSERT_TRUE(sys_ioctl(t, fd, siocgifconf, conf));
  EXPECT_EQ(byte_reader(conf).take<s32>(), static_cast<int>(2 * ifreq_bytes));
}

TEST_F(syscalls, queue_lengths_and_stamps) {
  ASSERT_TRUE(sys_bind(t, fd, addr4("127.0.0.1", 5000)));
  std::array<u8, 16> arg{};
  EXPECT_EQ(sys_ioctl(t, fd, siocgstamp, arg).error(), errc::noent);
  ASSERT_TRUE(sys_sendto(t, fd, bytes_of("12345"sv), 0, addr4("127.0.0.1", 5000)));
  lab.settle();
  ASSERT_TRUE(sys_ioctl(t, fd, fionread, arg));
  EXPECT_EQ(byte_reader(arg).take<s32>(), 5);
  std::array<u8, 8> got;
  ASSERT_TRUE(sys_recv(t, fd, got));
  ASSERT_TRUE(sys_ioctl(t, fd, fionread, arg));
  EXPECT_EQ(byte_reader(arg).take<s32>(), 0);
}

TEST_F(syscalls, a_listener_says_so) {
  const int tcp = *sys_socket(t, af_inet, sock_stream | sock_nonblock, 0);
  EXPECT_TRUE(*sys_get_nonblock(t, tcp));
  ASSERT_TRUE(sys_bind(t, tcp, addr4("0.0.0.0", 80)));
  ASSERT_TRUE(sys_listen(t, tcp, 5));
  EXPECT_EQ(*sys_getsockopt_int(t, tcp, sol_socket, so_acceptconn), 1);
  EXPECT_EQ(sys_accept4(t, tcp, nullptr, 0).error(), errc::again);
  EXPECT_EQ(sys_accept4(t, tcp, nullptr, 1).error(), errc::inval);
}

TEST_F(syscalls, a_duplicate_keeps_the_socket_open) {
  ASSERT_TRUE(sys_bind(t, fd, addr4("127.0.0.1", 5000)));
  const int again = *t.dup(fd);
  ASSERT_TRUE(sys_close(t, fd));
  EXPECT_EQ(port_of(*sys_getsockname(t, again)), 5000);
  ASSERT_TRUE(sys_close(t, again));
  EXPECT_EQ(lab.a.net().sockets, 0u);
}

}  // namespace
}  // namespace ph
