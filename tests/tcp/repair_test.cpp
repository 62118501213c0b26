// TCP_REPAIR: a connection moves to another host in the middle of a transfer, both ways, and its
// peer does not notice.
#include <gtest/gtest.h>

#include "tests/support/two_hosts.h"
#include "uapi/tcp_auth.h"
#include "wire/tcp.h"

namespace ph {
namespace {

using namespace uapi;

/// Hosts a and c behind a router; the address 10.9.9.9 is where the router's route says.
struct moving_hosts : test_lab {
  moving_hosts()
      : a(add_host("a")), c(add_host("c")), b(add_host("b")), router(add_host("router")) {
    link(a, "10.1.0.2/24", router, "10.1.0.1/24", {1500, netif_f_none, milliseconds(5)});
    link(c, "10.2.0.2/24", router, "10.2.0.1/24", {1500, netif_f_none, milliseconds(5)});
    link(b, "10.3.0.2/24", router, "10.3.0.1/24", {1500, netif_f_none, milliseconds(5)});
    router.sysctl("net.ipv4.ip_forward", "1");
    router.add_route("10.9.9.0/24 via 10.1.0.2");
    a.add_route("default via 10.1.0.1");
    b.add_route("default via 10.3.0.1");
    c.add_route("default via 10.2.0.1");
    a.add_address(a.dev(), "10.9.9.9/32");
    capture = false;
  }
  test_host &a, &c, &b, &router;
};

/// The state of a connection, as a checkpoint tool takes it.
struct saved_connection {
  u16 port = 0;
  u32 send_seq = 0, recv_seq = 0, stamp = 0;
  std::vector<u8> sent, unsent, received;
  tcp_info info;
  std::array<u8, 20> window{};
  std::array<u8, sizeof(tcp_ao_repair)> signing{};  ///< if segments are signed
};

int number(test_host& host, int fd, int name) {
  return sys_getsockopt_int(host.app(), fd, sol_tcp, name).value();
}
void set(test_host& host, int fd, int name, int value) {
  EXPECT_TRUE(sys_setsockopt_int(host.app(), fd, sol_tcp, name, value)) << name;
}
u32 queued(test_host& host, int fd, u32 command) {
  std::array<u8, 4> value{};
  EXPECT_TRUE(sys_ioctl(host.app(), fd, command, value));
  return byte_reader(value).take<u32>();
}
std::vector<u8> peek(test_host& host, int fd, std::size_t size) {
  std::vector<u8> out(size);
  if (size != 0) {
    EXPECT_EQ(sys_recv(host.app(), fd, out, msg_peek | msg_dontwait).value_or(0), size);
  }
  return out;
}

/// TCP-AO: signs what goes to `peer` and comes from there.
void add_key(test_host& host, int fd, const char* peer, bool is_signed) {
  if (!is_signed) return;
  tcp_ao_add key;
  copy_bytes(key.addr.bytes, addr4(peer, 0));
  std::ranges::copy(std::string_view("hmac(sha1)"), key.alg_name.begin());
  key.prefix = 32;
  key.sndid = key.rcvid = 7;
  key.keylen = 6;
  copy_bytes(key.key, bytes_of(std::string_view("secret")));
  EXPECT_TRUE(sys_setsockopt(host.app(), fd, sol_tcp, tcp_ao_add_key, bytes_of(key)));
}

saved_connection save(test_host& host, int fd, bool is_signed) {
  saved_connection out;
  out.port = port_of(*sys_getsockname(host.app(), fd));
  set(host, fd, tcp_repair, 1);
  const u32 in = queued(host, fd, siocinq);
  const u32 all = queued(host, fd, siocoutq), rest = queued(host, fd, siocoutqnsd);
  set(host, fd, uapi::tcp_repair_queue, 1);
  out.recv_seq = static_cast<u32>(number(host, fd, tcp_queue_seq)) - in;
  out.received = peek(host, fd, in);
  set(host, fd, uapi::tcp_repair_queue, 2);
  out.send_seq = static_cast<u32>(number(host, fd, tcp_queue_seq)) - all;
  out.sent = peek(host, fd, all);
  out.unsent.assign(out.sent.end() - rest, out.sent.end());
  out.sent.resize(all - rest);
  out.stamp = static_cast<u32>(number(host, fd, tcp_timestamp));
  std::array<u8, sizeof(tcp_info)> bytes{};
  EXPECT_TRUE(sys_getsockopt(host.app(), fd, sol_tcp, tcp_info_opt, bytes));
  out.info = byte_reader(bytes).take<tcp_info>();
  EXPECT_EQ(sys_getsockopt(host.app(), fd, sol_tcp, tcp_repair_window, out.window).value_or(0),
            out.window.size());
  if (is_signed) {
    EXPECT_EQ(sys_getsockopt(host.app(), fd, sol_tcp, tcp_ao_repair_opt, out.signing).value_or(0),
              out.signing.size());
  }
  EXPECT_TRUE(sys_close(host.app(), fd));
  return out;
}

void write_all(test_host& host, int fd, byte_view bytes) {
  if (bytes.empty()) return;
  EXPECT_EQ(sys_send(host.app(), fd, bytes, msg_dontwait).value_or(0), bytes.size());
}

int restore(test_host& host, const saved_connection& from, addr4 peer, bool is_signed) {
  const int fd = *sys_socket(host.app(), af_inet, sock_stream, 0);
  add_key(host, fd, "10.3.0.2", is_signed);
  set(host, fd, tcp_repair, 1);
  EXPECT_TRUE(sys_setsockopt_int(host.app(), fd, sol_socket, so_sndbuf, 1 << 20));
  EXPECT_TRUE(sys_bind(host.app(), fd, addr4("10.9.9.9", from.port)));
  set(host, fd, uapi::tcp_repair_queue, 1);
  set(host, fd, tcp_queue_seq, static_cast<int>(from.recv_seq));
  set(host, fd, uapi::tcp_repair_queue, 2);
  set(host, fd, tcp_queue_seq, static_cast<int>(from.send_seq));
  EXPECT_TRUE(sys_connect(host.app(), fd, peer));
  const u32 scales = from.info.tcpi_snd_wscale | (u32{from.info.tcpi_rcv_wscale} << 16);
  const std::array<u32, 8> options = {tcpopt_mss, 1460, tcpopt_window, scales,
                                      tcpopt_sack_perm, 0, tcpopt_timestamp, 0};
  EXPECT_TRUE(sys_setsockopt(host.app(), fd, sol_tcp, tcp_repair_options, bytes_of(options)));
  set(host, fd, tcp_timestamp, static_cast<int>(from.stamp));
  if (is_signed) {
    EXPECT_TRUE(sys_setsockopt(host.app(), fd, sol_tcp, tcp_ao_repair_opt, from.signing));
  }
  set(host, fd, uapi::tcp_repair_queue, 1);
  write_all(host, fd, from.received);
  set(host, fd, uapi::tcp_repair_queue, 2);
  write_all(host, fd, from.sent);
  EXPECT_TRUE(sys_setsockopt(host.app(), fd, sol_tcp, tcp_repair_window, from.window));
  set(host, fd, tcp_repair, 0);
  write_all(host, fd, from.unsent);
  return fd;
}

std::vector<u8> pattern(std::size_t size, u8 salt) {
  std::vector<u8> out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<u8>(i * 7 + i / 251 + salt);
  return out;
}

/// Writes as much of `data` as fits, reads what is there.
struct end_point {
  test_host* host;
  int fd;
  std::vector<u8> data;
  std::size_t written = 0;
  std::vector<u8> got{};
  void step(test_lab& lab) {
    host->machine.enter(lab.now());
    const byte_view rest = byte_view(data).subspan(written);
    if (!rest.empty()) {
      const auto n = sys_send(host->app(), fd, rest.first(std::min<std::size_t>(rest.size(), 9000)),
                              msg_dontwait);
      if (n) written += *n;
    }
    std::array<u8, 3000> buffer{};
    if (const auto n = sys_recv(host->app(), fd, buffer, msg_dontwait)) {
      got.insert(got.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(*n));
    }
    lab.settle();
  }
};

void move_in_the_middle(bool is_signed) {
  moving_hosts lab;
  const int listener = *sys_socket(lab.b.app(), af_inet, sock_stream, 0);
  add_key(lab.b, listener, "10.9.9.9", is_signed);
  ASSERT_TRUE(sys_bind(lab.b.app(), listener, addr4("0.0.0.0", 80)));
  ASSERT_TRUE(sys_listen(lab.b.app(), listener, 1));
  const int first = *sys_socket(lab.a.app(), af_inet, sock_stream, 0);
  add_key(lab.a, first, "10.3.0.2", is_signed);
  ASSERT_TRUE(sys_bind(lab.a.app(), first, addr4("10.9.9.9", 0)));
  ASSERT_EQ(sys_connect(lab.a.app(), first, addr4("10.3.0.2", 80)).error(), errc::inprogress);
  lab.advance(milliseconds(100));
  const int accepted = *sys_accept4(lab.b.app(), listener, nullptr, 0);

  end_point mover{&lab.a, first, pattern(400'000, 1)};
  end_point peer{&lab.b, accepted, pattern(300'000, 2)};
  for (int i = 0; i < 45; ++i) {
    mover.step(lab);
    peer.step(lab);
    lab.advance(milliseconds(3));
  }
  ASSERT_GT(peer.got.size(), 20'000u);
  ASSERT_LT(peer.got.size(), 300'000u);

  // The network toward the old place is cut while the state is taken.
  lab.filter = [&](test_frame& frame) {
    return frame.from != lab.a.number || !frame.is_ip(ipproto_tcp);
  };
  lab.a.machine.enter(lab.now());
  const saved_connection state = save(lab.a, first, is_signed);
  EXPECT_FALSE(state.sent.empty());
  EXPECT_FALSE(state.received.empty());
  lab.advance(milliseconds(30));  // whatever is in flight gets lost or refused

  lab.c.add_address(lab.c.dev(), "10.9.9.9/32");
  lab.router.add_route("10.9.9.9/32 via 10.2.0.2");
  lab.c.machine.enter(lab.now());
  mover.fd = restore(lab.c, state, addr4("10.3.0.2", 80), is_signed);
  mover.host = &lab.c;
  const auto done = [&] {
    mover.step(lab);
    peer.step(lab);
    return peer.got.size() >= mover.data.size() && mover.got.size() >= peer.data.size();
  };
  EXPECT_TRUE(lab.run_until(done, seconds(120), milliseconds(3)));
  EXPECT_EQ(peer.got, mover.data);
  EXPECT_EQ(mover.got, peer.data);
}

TEST(tcp_repair, a_connection_moves_to_another_host_in_the_middle_of_a_transfer) {
  move_in_the_middle(false);
}

TEST(tcp_repair, a_signed_connection_moves_with_the_numbers_of_its_keys) {
  move_in_the_middle(true);
}

/// RFC 5925 §6.2: how often the sequence number has wrapped is part of what is signed.
TEST(tcp_repair, wraps_of_sequence_numbers_move_along) {
  moving_hosts lab;
  const int listener = *sys_socket(lab.b.app(), af_inet, sock_stream, 0);
  add_key(lab.b, listener, "10.9.9.9", true);
  ASSERT_TRUE(sys_bind(lab.b.app(), listener, addr4("0.0.0.0", 80)));
  ASSERT_TRUE(sys_listen(lab.b.app(), listener, 1));
  const int fd = *sys_socket(lab.a.app(), af_inet, sock_stream, 0);
  add_key(lab.a, fd, "10.3.0.2", true);
  ASSERT_TRUE(sys_bind(lab.a.app(), fd, addr4("10.9.9.9", 0)));
  ASSERT_EQ(sys_connect(lab.a.app(), fd, addr4("10.3.0.2", 80)).error(), errc::inprogress);
  lab.advance(milliseconds(100));
  const int other = *sys_accept4(lab.b.app(), listener, nullptr, 0);
  const auto resume = [](test_host& host, int sock, u32 snd, u32 rcv) {
    set(host, sock, tcp_repair, 1);
    tcp_ao_repair numbers;
    std::array<u8, sizeof numbers> bytes{};
    ASSERT_TRUE(sys_getsockopt(host.app(), sock, sol_tcp, tcp_ao_repair_opt, bytes));
    std::memcpy(&numbers, bytes.data(), sizeof numbers);
    numbers.snd_sne = snd;
    numbers.rcv_sne = rcv;
    EXPECT_TRUE(sys_setsockopt(host.app(), sock, sol_tcp, tcp_ao_repair_opt, bytes_of(numbers)));
    ASSERT_TRUE(sys_getsockopt(host.app(), sock, sol_tcp, tcp_ao_repair_opt, bytes));
    std::memcpy(&numbers, bytes.data(), sizeof numbers);
    EXPECT_EQ(numbers.snd_sne, snd);
    EXPECT_EQ(numbers.rcv_sne, rcv);
    set(host, sock, tcp_repair, -1);  // without a word on the wire
  };
  resume(lab.a, fd, 3, 5);
  lab.a.machine.enter(lab.now());
  write_all(lab.a, fd, bytes_of(std::string_view("signed")));
  lab.advance(milliseconds(300));
  EXPECT_EQ(queued(lab.b, other, siocinq), 0u) << "here none has wrapped";
  resume(lab.b, other, 5, 3);
  lab.advance(seconds(3));
  EXPECT_EQ(queued(lab.b, other, siocinq), 6u);
  EXPECT_EQ(queued(lab.a, fd, siocoutq), 0u) << "the acknowledgement is signed so, too";
}

TEST(tcp_repair, keys_of_tcp_md5_alone_have_no_numbers) {
  two_hosts lab;
  const int fd = *sys_socket(lab.a.app(), af_inet, sock_stream, 0);
  tcp_md5sig key;
  copy_bytes(key.tcpm_addr.bytes, addr4("10.0.0.2", 0));
  key.tcpm_keylen = 3;
  ASSERT_TRUE(sys_setsockopt(lab.a.app(), fd, sol_tcp, tcp_md5sig_opt, bytes_of(key)));
  set(lab.a, fd, tcp_repair, 1);
  std::array<u8, sizeof(tcp_ao_repair)> numbers{};
  EXPECT_EQ(sys_getsockopt(lab.a.app(), fd, sol_tcp, tcp_ao_repair_opt, numbers).error(),
            errc::noent);
  EXPECT_EQ(sys_setsockopt(lab.a.app(), fd, sol_tcp, tcp_ao_repair_opt, numbers).error(),
            errc::noent);
}

/// Restoring takes no more than the receive buffer holds, however often a program asks.
TEST(tcp_repair, the_receive_queue_is_bounded) {
  two_hosts lab;
  task& app = lab.a.app();
  lab.a.machine.enter(lab.now());
  const int fd = *sys_socket(app, af_inet, sock_stream, 0);
  ASSERT_TRUE(sys_setsockopt_int(app, fd, sol_tcp, tcp_repair, 1));
  ASSERT_TRUE(sys_connect(app, fd, addr4("10.0.0.2", 80)));
  ASSERT_TRUE(sys_setsockopt_int(app, fd, sol_tcp, uapi::tcp_repair_queue, 1));
  const std::vector<u8> bytes(64 * 1024, u8{'x'});
  std::size_t taken = 0;
  errc refused = errc::ok;
  for (int i = 0; i < 1000 && refused == errc::ok; ++i) {
    const auto n = sys_send(app, fd, bytes, 0);
    if (n) taken += *n;
    else refused = n.error();
  }
  EXPECT_EQ(refused, errc::nomem);
  EXPECT_GT(taken, 0u);
  EXPECT_LT(taken, 33554432u);  // tcp_rmem
}

TEST(tcp_repair, asks_for_rights_and_order) {
  two_hosts lab;
  task& app = lab.a.app();
  const int fd = *sys_socket(app, af_inet, sock_stream, 0);
  const auto set_to = [&](int name, int value) {
    const auto done = sys_setsockopt_int(app, fd, sol_tcp, name, value);
    return done ? errc::ok : done.error();
  };
  EXPECT_EQ(set_to(uapi::tcp_repair_queue, 1), errc::perm);  // not in repair
  EXPECT_EQ(set_to(tcp_timestamp, 1), errc::perm);
  EXPECT_EQ(set_to(tcp_repair, 2), errc::inval);
  app.cred.net_admin = false;
  EXPECT_EQ(set_to(tcp_repair, 1), errc::perm);
  app.cred.net_admin = true;
  EXPECT_EQ(set_to(tcp_repair, 1), errc::ok);
  EXPECT_EQ(set_to(tcp_queue_seq, 5), errc::inval);  // of which queue?
  EXPECT_EQ(set_to(uapi::tcp_repair_queue, 3), errc::inval);
  EXPECT_EQ(set_to(uapi::tcp_repair_queue, 2), errc::ok);
  EXPECT_EQ(set_to(tcp_queue_seq, 5), errc::ok);
  EXPECT_EQ(sys_getsockopt_int(app, fd, sol_tcp, tcp_queue_seq).value_or(0), 5);
  const std::array<u32, 2> options = {tcpopt_mss, 1000};
  EXPECT_EQ(sys_setsockopt(app, fd, sol_tcp, tcp_repair_options, bytes_of(options)).error(),
            errc::perm);  // not connected
}

}  // namespace
}  // namespace ph
