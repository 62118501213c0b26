// TCP-MD5, RFC 2385: what is signed, with which key, and what happens to segments that are not.
#include "net/tcp/tcp_md5.h"

#include "base/md5.h"
#include "tests/sim/scenario.h"
#include "tests/tcp/segment_peer.h"
#include "uapi/tcp_auth.h"

namespace ph {
namespace {

constexpr std::size_t digest_at = 24;  ///< in a header: NOP NOP kind length

/// The digest of a segment by RFC 2385 §2.0, in this file's own words.
std::array<u8, 16> digest_of(std::string_view key, const char* from, const char* to,
                             byte_view tcp) {
  md5 sum;
  sum.update(bytes_of(*ipv4_addr::parse(from)));
  sum.update(bytes_of(*ipv4_addr::parse(to)));
  sum.update(bytes_of(be16(6)));
  sum.update(bytes_of(be16(static_cast<u16>(tcp.size()))));
  std::vector<u8> header(tcp.begin(), tcp.begin() + 20);
  header[16] = header[17] = 0;
  sum.update(header);
  sum.update(tcp.subspan(view_as<tcphdr>(tcp)->header_bytes()));
  sum.update(bytes_of(key));
  return sum.finish();
}

uapi::tcp_md5sig md5_value(const char* addr, std::string_view key) {
  uapi::tcp_md5sig out;
  copy_bytes(out.tcpm_addr.bytes, addr4(addr, 0));
  out.tcpm_keylen = static_cast<u16>(key.size());
  copy_bytes(out.tcpm_key, bytes_of(key));
  return out;
}

struct md5_peer : segment_peer {
  std::string key = "secret";
  result<void> set_key(int fd, const char* addr, std::string_view k) {
    return sys_setsockopt(a.app(), fd, uapi::sol_tcp, uapi::tcp_md5sig_opt,
                          bytes_of(md5_value(addr, k)));
  }
  void sign_all() {
    sign = [this](byte_span tcp) {
      const auto digest = digest_of(key, peer, host, tcp);
      copy_bytes(tcp.subspan(digest_at), digest);
    };
  }
  static std::vector<u8> room(bool syn = false) {
    tcp_out_options out;
    out.md5 = true;
    if (syn) out.mss = 1000;
    return syn_options(out);
  }
  void say(u8 flags, s64 seq, s64 ack, std::string_view data = {}) {
    send(flags, seq, ack, data, {65535, room()});
  }
  void expect_signed(const seen_segment& s, int line = __builtin_LINE()) {
    ASSERT_EQ(s.options.md5_offset, digest_at) << "line " << line;
    const auto want = digest_of(key, host, peer, s.raw);
    EXPECT_TRUE(std::equal(want.begin(), want.end(), s.raw.begin() + digest_at))
        << "line " << line;
  }
  /// A connection of a listener with a key for the peer.
  int signed_accepted() {
    listener = listening();
    EXPECT_TRUE(set_key(listener, peer, key));
    sign_all();
    send_raw(S, peer_isn, seq32(0), {}, {65535, room(true)});
    const seen_segment answer = take();
    EXPECT_EQ(answer.flags, S | A);
    expect_signed(answer);
    host_isn = answer.seq;
    say(A, 0, 0);
    return sys_accept4(a.app(), listener, nullptr, 0).value_or(-1);
  }
};

TEST(tcp_md5, keys_count_against_optmem_max) {
  md5_peer p;
  const int fd = *sys_socket(p.a.app(), uapi::af_inet, uapi::sock_stream, 0);
  const auto peer_of = [](u32 i) {
    return "10.1." + std::to_string(i / 200) + "." + std::to_string(i % 200 + 1);
  };
  u32 taken = 0;
  errc refused = errc::ok;
  while (taken < 2000 && refused == errc::ok) {
    const auto set = p.set_key(fd, peer_of(taken).c_str(), "secret");
    if (set) {
      ++taken;
    } else {
      refused = set.error();
    }
  }
  EXPECT_EQ(taken, 963u);  // as on Linux with net.core.optmem_max = 131072
  EXPECT_EQ(refused, errc::nomem);
  // A known peer's key is exchanged, and one that goes makes room.
  EXPECT_TRUE(p.set_key(fd, peer_of(0).c_str(), "another"));
  EXPECT_TRUE(p.set_key(fd, peer_of(1).c_str(), ""));
  EXPECT_TRUE(p.set_key(fd, peer_of(5000).c_str(), "secret"));
  EXPECT_EQ(p.set_key(fd, peer_of(5001).c_str(), "secret").error(), errc::nomem);
}

TEST(tcp_md5, everything_of_a_passive_connection_is_signed) {
  md5_peer p;
  const int fd = p.signed_accepted();
  ASSERT_GE(fd, 0);
  p.say(A, 0, 0, "hello");
  p.expect_signed(p.expect(A, 0, 5));
  EXPECT_EQ(p.read(fd), "hello");
  p.write(fd, std::string(3000, 'x'));
  std::size_t bytes = 0;
  while (!p.sent.empty()) {
    const seen_segment s = p.take();
    p.expect_signed(s);
    EXPECT_LE(s.payload.size(), 1000u - 20) << "the option takes room";
    bytes += s.payload.size();
  }
  EXPECT_EQ(bytes, 3000u);
  p.say(A, 5, 3000);
  p.close(fd);
  p.expect_signed(p.expect(F | A, 3000, 5));
  p.say(F | A, 5, 3001);
  p.expect_signed(p.take());
  p.say(F | A, 5, 3001);  // again: TIME-WAIT answers
  p.expect_signed(p.take());
}

TEST(tcp_md5, an_active_connection_signs_its_syn) {
  md5_peer p;
  const int fd = *sys_socket(p.a.app(), uapi::af_inet, uapi::sock_stream, 0);
  ASSERT_TRUE(p.set_key(fd, p.peer, p.key));
  static_cast<void>(sys_connect(p.a.app(), fd, addr4(p.peer, p.peer_port)));
  p.settle();
  const seen_segment syn = p.take();
  p.expect_signed(syn);
  EXPECT_TRUE(syn.options.sack_ok);
  EXPECT_FALSE(syn.options.saw_tstamp) << "there is no room for blocks, then";
  p.host_isn = syn.seq;
  p.host_port = syn.source;
  p.sign_all();
  p.send_raw(S | A, p.peer_isn, p.host_isn + 1, {}, {65535, p.room(true)});
  p.expect_signed(p.expect(A, 0, 0));
  EXPECT_EQ(p.state(fd), uapi::tcp_state::established);
}

TEST(tcp_md5, an_unsigned_segment_is_dropped) {
  md5_peer p;
  const int fd = p.signed_accepted();
  p.sign = nullptr;
  p.send(A, 0, 0, "forged");
  p.send(R, 0, 0);
  p.expect_nothing();
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_md5_not_found), 2u);
  EXPECT_EQ(p.a.drops(drop_reason::tcp_md5_not_found), 2u);
  EXPECT_EQ(p.state(fd), uapi::tcp_state::established);
}

TEST(tcp_md5, a_wrong_signature_is_dropped) {
  md5_peer p;
  const int fd = p.signed_accepted();
  p.key = "guess";
  p.say(A, 0, 0, "forged");
  p.say(R, 0, 0);
  p.expect_nothing();
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_md5_failure), 2u);
  EXPECT_EQ(p.a.drops(drop_reason::tcp_md5_failure), 2u);
  EXPECT_EQ(p.state(fd), uapi::tcp_state::established);
}

TEST(tcp_md5, a_signature_that_nobody_asked_for_is_dropped) {
  md5_peer p;
  p.accepted();
  p.sign_all();
  p.say(A, 0, 0, "data");
  p.expect_nothing();
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_md5_unexpected), 1u);
  EXPECT_EQ(p.a.drops(drop_reason::tcp_md5_unexpected), 1u);
}

TEST(tcp_md5, a_reset_is_signed) {
  md5_peer p;
  p.listener = p.listening();
  ASSERT_TRUE(p.set_key(p.listener, p.peer, p.key));
  p.sign_all();
  p.say(A, 0, 0, "who are you");
  const seen_segment reset = p.take();
  EXPECT_EQ(reset.flags, R);
  p.expect_signed(reset);
}

TEST(tcp_md5, the_longest_prefix_wins_and_others_are_strangers) {
  md5_peer p;
  p.listener = p.listening();
  auto net = md5_value("10.0.0.0", "of the net");
  net.tcpm_flags = uapi::tcp_md5sig_flag_prefix;
  net.tcpm_prefixlen = 24;
  ASSERT_TRUE(sys_setsockopt(p.a.app(), p.listener, uapi::sol_tcp, uapi::tcp_md5sig_ext,
                             bytes_of(net)));
  p.key = "of the net";
  p.sign_all();
  p.send_raw(S, p.peer_isn, seq32(0), {}, {65535, p.room(true)});
  p.expect_signed(p.take());
  ASSERT_TRUE(p.set_key(p.listener, p.peer, "of the host"));
  p.peer_port = 4001;
  p.send_raw(S, p.peer_isn, seq32(0), {}, {65535, p.room(true)});
  p.expect_nothing();
  p.key = "of the host";
  p.send_raw(S, p.peer_isn, seq32(0), {}, {65535, p.room(true)});
  p.expect_signed(p.take());
}

TEST(tcp_md5, an_empty_key_deletes) {
  md5_peer p;
  p.listener = p.listening();
  ASSERT_TRUE(p.set_key(p.listener, p.peer, p.key));
  EXPECT_TRUE(p.set_key(p.listener, p.peer, ""));
  EXPECT_EQ(p.set_key(p.listener, p.peer, "").error(), errc::noent);
  p.accepted();
  auto bad = md5_value(p.peer, "x");
  bad.tcpm_keylen = 81;
  EXPECT_EQ(sys_setsockopt(p.a.app(), p.listener, uapi::sol_tcp, uapi::tcp_md5sig_opt,
                           bytes_of(bad))
                .error(),
            errc::inval);
}

TEST(tcp_md5, a_transfer_over_a_bad_wire_arrives) {
  using namespace sim;
  world w;
  make_pair_of_hosts(w, {.delay = 2_ms, .loss = 0.02});
  constexpr std::size_t n = 300'000;
  const auto with_key = [](app& a, int fd, const char* peer) {
    a.call([&](task& t) {
      EXPECT_TRUE(sys_setsockopt(t, fd, sol_tcp, tcp_md5sig_opt,
                                 bytes_of(md5_value(peer, "both know it"))));
    });
  };
  w.spawn("b", "server", [&](app& a) -> co<> {
    const int listener = a.listener(80);
    with_key(a, listener, "10.0.0.1");
    const int fd = co_await a.accept(listener);
    const std::vector<u8> got = co_await a.recv_to_end(fd);
    EXPECT_EQ(got.size(), n);
    EXPECT_EQ(first_difference(got), n);
  });
  w.spawn("a", "client", [&](app& a) -> co<> {
    const int fd = a.call([](task& t) { return *sys_socket(t, af_inet, sock_stream, 0); });
    with_key(a, fd, "10.0.0.2");
    co_await a.connect(fd, "10.0.0.2:80");
    const std::vector<u8> bytes = stream_bytes(0, n);
    co_await a.send_all(fd, bytes);
    a.close(fd);
  });
  w.run_apps();
  EXPECT_EQ(w.host_at("b").counter("TcpExtTCPMD5Failure"), 0u);
  EXPECT_EQ(w.host_at("b").counter("TcpExtTCPMD5NotFound"), 0u);
}

}  // namespace
}  // namespace ph
