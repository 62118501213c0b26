// TCP-AO, RFC 5925: the vectors of RFC 9235, connections signed at both ends, keys that change,
// segments that are refused, sequence numbers that wrap.
#include "net/tcp/tcp_ao.h"

#include "tests/sim/scenario.h"
#include "tests/tcp/segment_peer.h"
#include "uapi/tcp_auth.h"

namespace ph {
namespace {

std::vector<u8> unhex(std::string_view text) {
  std::vector<u8> out;
  int high = -1;
  for (const char c : text) {
    if (c == ' ') continue;
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (high < 0) {
      high = digit;
    } else {
      out.push_back(static_cast<u8>(high * 16 + digit));
      high = -1;
    }
  }
  return out;
}

struct vector_row {
  const char* section;
  tcp_ao_algorithm algorithm;
  bool all_options;
  u32 sisn, disn;
  const char* packet;       ///< from the IP header on
  const char* traffic_key;
  const char* mac;
};

constexpr auto sha = tcp_ao_algorithm::hmac_sha1;
constexpr auto aes = tcp_ao_algorithm::cmac_aes128;

// RFC 9235: master key "testvector".
const vector_row rows[] = {
    {"4.1.1", sha, true, 0xfbfbab5a, 0,
     "45e0004cdd0f4000ff06bf6b0a0b0c0dac1b1c1de9d700b3fbfbab5a00000000e002ffffcac40000020405b4"
     "01030308"
     "0402080a00155ab7000000001d103d542ee437c6f8ede6d7c4d602e7",
     "6d63ef1b02fe1509d4b1402707fd7b0416abb74f", "2ee437c6f8ede6d7c4d602e7"},
    {"4.1.2", sha, true, 0x11c14261, 0xfbfbab5a,
     "45e0004c65064000ff063775ac1b1c1d0a0b0c0d00b3e9d711c14261fbfbab5be012ffff37760000020405b4"
     "01030308"
     "0402080a84a50beb00155ab71d10543deeab0fe24c3010815116b3be",
     "d9e217e4834a80ca2f3fd8de2e41b8e6797fea96", "eeab0fe24c3010815116b3be"},
    {"4.1.3", sha, true, 0xfbfbab5a, 0x11c14261,
     "45e0008736a14000ff06659f0a0b0c0dac1b1c1de9d700b3fbfbab5b11c14262c0180104a16200000101080a"
     "00155ac184a50beb1d103d547064cf998cc6c315c2c2e2bfffffffffffffffffffffffffffffffff00430104"
     "dabf00b40a0b0c0d260206010400010001020280000202020002024200020641040000dabf02084006006400"
     "010100",
     "d2e59c65ffc7b1a39347656463b70edc24a13d71", "7064cf998cc6c315c2c2e2bf"},
    {"4.2.1", sha, false, 0xcb0efbee, 0,
     "45e0004c53994000ff0648e20a0b0c0dac1b1c1dff1200b3cb0efbee00000000e002ffff541f0000020405b4"
     "01030308"
     "0402080a00024cce000000001d103d5480af3cfeb85368937b8f9ec2",
     "30eaa1560cf0be57dab5c045229fb10a423cd7ea", "80af3cfeb85368937b8f9ec2"},
    {"5.1.1", aes, true, 0x787a1ddf, 0,
     "45e0004c7b9f4000ff0620dc0a0b0c0dac1b1c1dc4fa00b3787a1ddf00000000e002ffff5a0f0000020405b4"
     "01030308"
     "0402080a00017ed0000000001d103d54e477e99c8040765498e55091",
     "f5b8b3d5f34fdbb6eb8d4ab9660e60e3", "e477e99c8040765498e55091"},
    {"5.1.2", aes, true, 0xfadd6de9, 0x787a1ddf,
     "45e0004c4bad4000ff0650ceac1b1c1d0a0b0c0d00b3c4fafadd6de9787a1de0e012fffff3f20000020405b4"
     "01030308"
     "0402080a93f4e9e800017ed01d10543dd6ada7bc4cdd536d1769db5f",
     "4bc7571a486f3264bbd888474066b4b1", "d6ada7bc4cdd536d1769db5f"},
};

TEST(tcp_ao, vectors_of_rfc_9235) {
  segment_peer p;
  cpu& cx = p.a.machine.boot_cpu();
  for (const vector_row& row : rows) {
    const std::vector<u8> packet = unhex(row.packet);
    const iphdr& ip = *view_as<iphdr>(byte_view(packet));
    const byte_view tcp = byte_view(packet).subspan(20);
    const auto view = tcp_view::parse(tcp);
    ASSERT_TRUE(view) << row.section;
    tcp_ao_key key;
    key.algorithm = row.algorithm;
    key.flags = row.all_options ? u8{0} : uapi::tcp_ao_keyf_exclude_opt;
    key.len = static_cast<u8>(copy_bytes(key.key, bytes_of(std::string_view("testvector"))));
    const tcp_traffic_key traffic = tcp_ao_derive(
        key, {inet_addr::of(ip.saddr), inet_addr::of(ip.daddr), view->th->source.value(),
              view->th->dest.value(), row.sisn, row.disn});
    const auto want_key = unhex(row.traffic_key);
    EXPECT_TRUE(std::ranges::equal(traffic.view(), want_key)) << row.section;
    std::vector<u8> pseudo(packet.begin() + 12, packet.begin() + 20);
    pseudo.insert(pseudo.end(), {0, 6, static_cast<u8>(tcp.size() >> 8),
                                 static_cast<u8>(tcp.size())});
    skb_ptr payload = alloc_skb(cx, 200);
    payload->put_bytes(view->payload);
    const std::size_t header = view->th->header_bytes();
    const std::size_t mac_at = tcp_parse_options(view->options, true).ao_offset + 2u;
    const auto mac = tcp_ao_mac(key, traffic, 0, pseudo, tcp.first(header), mac_at, *payload, 0);
    EXPECT_TRUE(std::ranges::equal(byte_view(mac).first(12), unhex(row.mac))) << row.section;
    consume(cx, std::move(payload));
  }
}

TEST(tcp_ao, wraps_of_sequence_numbers_are_counted) {
  tcp_sne sne;
  sne.start(seq32(0xffffff00));
  EXPECT_EQ(sne.of(seq32(0xffffffff)), 0u);
  EXPECT_EQ(sne.of(seq32(0x10)), 1u) << "ahead, past the wrap";
  sne.note(seq32(0x10));
  EXPECT_EQ(sne.of(seq32(0xfffffff0)), 0u) << "a retransmission from before it";
  for (u32 turn = 0; turn < 4; ++turn) {
    sne.note(seq32(0x50000000));
    sne.note(seq32(0xa0000000));
    EXPECT_EQ(sne.of(seq32(0xf0000000)), turn + 1);
    sne.note(seq32(0xf0000000));
    sne.note(seq32(0x30000000));
    EXPECT_EQ(sne.of(seq32(0x30000000)), turn + 2);
  }
}

uapi::tcp_ao_add ao_value(const char* peer, u8 sndid, u8 rcvid, std::string_view key,
                          std::string_view algorithm = "hmac(sha1)") {
  uapi::tcp_ao_add out;
  copy_bytes(out.addr.bytes, addr4(peer, 0));
  std::ranges::copy(algorithm, out.alg_name.begin());
  out.prefix = 32;
  out.sndid = sndid;
  out.rcvid = rcvid;
  out.keylen = static_cast<u8>(key.size());
  copy_bytes(out.key, bytes_of(key));
  return out;
}

result<void> add_key(task& t, int fd, const uapi::tcp_ao_add& value) {
  return sys_setsockopt(t, fd, uapi::sol_tcp, uapi::tcp_ao_add_key, bytes_of(value));
}

uapi::tcp_ao_info_opt ao_info(task& t, int fd) {
  uapi::tcp_ao_info_opt out;
  std::array<u8, sizeof out> bytes{};
  EXPECT_TRUE(sys_getsockopt(t, fd, uapi::sol_tcp, uapi::tcp_ao_info, bytes));
  std::memcpy(&out, bytes.data(), sizeof out);
  return out;
}

/// A transfer between two hosts, each with its key; `during` runs at the client half-way.
struct ao_pair {
  sim::world w;
  uapi::tcp_ao_add at_client, at_server;
  std::function<void(sim::app&, int)> during = [](sim::app&, int) {};
  std::function<void(sim::app&, int)> server_keys = [](sim::app&, int) {};
  uapi::tcp_ao_info_opt client, server;

  void run(sim::link_config wire, std::size_t n) {
    using namespace sim;
    make_pair_of_hosts(w, wire);
    w.spawn("b", "server", [this, n](app& a) -> co<> {
      const int listener = a.listener(80);
      a.call([&](task& t) { EXPECT_TRUE(add_key(t, listener, at_server)); });
      server_keys(a, listener);
      const int fd = co_await a.accept(listener);
      const std::vector<u8> got = co_await a.recv_to_end(fd);
      EXPECT_EQ(got.size(), n);
      EXPECT_EQ(first_difference(got), n);
      a.call([&](task& t) { server = ao_info(t, fd); });
    });
    w.spawn("a", "client", [this, n](app& a) -> co<> {
      const int fd = a.call([](task& t) { return *sys_socket(t, af_inet, sock_stream, 0); });
      a.call([&](task& t) { EXPECT_TRUE(add_key(t, fd, at_client)); });
      co_await a.connect(fd, "10.0.0.2:80");
      const std::vector<u8> first = stream_bytes(0, n / 2);
      co_await a.send_all(fd, first);
      during(a, fd);
      const std::vector<u8> second = stream_bytes(n / 2, n - n / 2);
      co_await a.send_all(fd, second);
      a.shutdown(fd, shut_wr);
      std::vector<u8> rest(1);
      EXPECT_EQ(co_await a.recv(fd, rest), 0u);
      a.call([&](task& t) { client = ao_info(t, fd); });
    });
    w.run_apps();
  }
};

TEST(tcp_ao, a_transfer_is_signed_at_both_ends) {
  using namespace sim;
  for (const char* algorithm : {"hmac(sha1)", "cmac(aes128)"}) {
    ao_pair p;
    p.at_client = ao_value("10.0.0.2", 61, 84, "testvector", algorithm);
    p.at_server = ao_value("10.0.0.1", 84, 61, "testvector", algorithm);
    p.run({.delay = 2_ms, .loss = 0.02}, 200'000);
    EXPECT_GT(p.server.pkt_good, 100u);
    EXPECT_EQ(p.server.pkt_bad, 0u);
    EXPECT_GT(p.client.pkt_good, 50u);
    EXPECT_EQ(p.w.host_at("b").counter("TcpExtTCPAOBad"), 0u);
    EXPECT_EQ(p.w.host_at("b").counter("TcpExtTCPAORequired"), 0u);
  }
}

TEST(tcp_ao, the_key_changes_when_the_peer_asks_for_another) {
  using namespace sim;
  ao_pair p;
  p.at_client = ao_value("10.0.0.2", 1, 2, "first");
  p.at_server = ao_value("10.0.0.1", 2, 1, "first");
  p.server_keys = [](app& a, int fd) {
    a.call([&](task& t) { EXPECT_TRUE(add_key(t, fd, ao_value("10.0.0.1", 20, 10, "second"))); });
  };
  p.during = [](app& a, int fd) {
    a.call([&](task& t) {
      auto next = ao_value("10.0.0.2", 10, 20, "second");
      next.set_rnext = 1;
      EXPECT_TRUE(add_key(t, fd, next));
    });
  };
  p.run({.delay = 2_ms}, 200'000);
  EXPECT_EQ(p.server.current_key, 20) << "RFC 5925 §7.5: as RNextKeyID told";
  EXPECT_EQ(p.client.rnext, 20);
  EXPECT_EQ(p.client.pkt_bad + p.server.pkt_bad, 0u);
  EXPECT_EQ(p.client.pkt_key_not_found + p.server.pkt_key_not_found, 0u);
}

TEST(tcp_ao, who_has_no_key_or_another_is_not_heard) {
  segment_peer p;
  p.listener = p.listening();
  ASSERT_TRUE(add_key(p.a.app(), p.listener, ao_value(p.peer, 84, 61, "testvector")));
  p.send_raw(S, p.peer_isn, seq32(0), {}, {65535, p.syn_options(p.plain())});
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_ao_required), 1u);
  EXPECT_EQ(p.a.drops(drop_reason::tcp_ao_not_found), 1u);
  tcp_out_options options = p.plain();
  options.ao_mac_bytes = 12;
  options.ao_keyid = 61;
  p.send_raw(S, p.peer_isn, seq32(0), {}, {65535, p.syn_options(options)});
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_ao_bad), 1u);
  EXPECT_EQ(p.a.drops(drop_reason::tcp_ao_failure), 1u);
  options.ao_keyid = 62;
  p.send_raw(S, p.peer_isn, seq32(0), {}, {65535, p.syn_options(options)});
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_ao_key_not_found), 1u);
  EXPECT_EQ(p.a.drops(drop_reason::tcp_ao_key_not_found), 1u);
  p.expect_nothing();
}

TEST(tcp_ao, a_signature_that_nobody_asked_for_is_dropped) {
  segment_peer p;
  p.listener = p.listening();
  tcp_out_options options = p.plain();
  options.ao_mac_bytes = 12;
  p.send_raw(S, p.peer_isn, seq32(0), {}, {65535, p.syn_options(options)});
  p.expect_nothing();
  EXPECT_EQ(p.a.drops(drop_reason::tcp_ao_unexpected), 1u);
}

TEST(tcp_ao, keys_are_listed_and_deleted) {
  segment_peer p;
  const int fd = *sys_socket(p.a.app(), uapi::af_inet, uapi::sock_stream, 0);
  ASSERT_TRUE(add_key(p.a.app(), fd, ao_value(p.peer, 1, 2, "one")));
  EXPECT_EQ(add_key(p.a.app(), fd, ao_value(p.peer, 1, 3, "two")).error(), errc::exist);
  EXPECT_EQ(add_key(p.a.app(), fd, ao_value(p.peer, 5, 6, "x", "hmac(md5)")).error(),
            errc::noent);
  ASSERT_TRUE(add_key(p.a.app(), fd, ao_value(p.peer, 3, 4, "two", "cmac(aes128)")));
  std::array<u8, 3 * sizeof(uapi::tcp_ao_getsockopt)> room{};
  uapi::tcp_ao_getsockopt want;
  want.get_all = 1;
  want.nkeys = 3;
  copy_bytes(room, bytes_of(want));
  const auto bytes =
      sys_getsockopt(p.a.app(), fd, uapi::sol_tcp, uapi::tcp_ao_get_keys, room);
  ASSERT_TRUE(bytes);
  ASSERT_EQ(*bytes, 2 * sizeof want);
  uapi::tcp_ao_getsockopt second;
  std::memcpy(&second, room.data() + sizeof second, sizeof second);
  EXPECT_EQ(second.sndid, 3);
  EXPECT_EQ(second.rcvid, 4);
  EXPECT_EQ(second.prefix, 32);
  EXPECT_EQ(std::string_view(second.alg_name.data()), "cmac(aes128)");
  uapi::tcp_ao_del gone;
  copy_bytes(gone.addr.bytes, addr4(p.peer, 0));
  gone.prefix = 32;
  gone.sndid = 1;
  gone.rcvid = 2;
  const auto del = [&] {
    return sys_setsockopt(p.a.app(), fd, uapi::sol_tcp, uapi::tcp_ao_del_key, bytes_of(gone));
  };
  EXPECT_TRUE(del());
  EXPECT_EQ(del().error(), errc::noent);
}

}  // namespace
}  // namespace ph
