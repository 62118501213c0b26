// Each call, with the k-th access to the program's memory failing, for every k: it says EFAULT or
// what it would say anyway, nobody keeps a socket that the program was not given, the channel to
// the daemon works on, and the same call without a fault then does its work.
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include <functional>
#include <string>

#include "tests/calls/fake_program.h"

namespace ph::calls {
namespace {

/// One call: what must be there before it, and the call.
struct faulty_call {
  const char* name;
  std::function<std::function<long()>(fake_program& p)> prepare;
  long right;
  bool partly = false;  ///< may end after some of several messages
};

/// A pair of bound datagram sockets.
struct pair {
  long from, to;
  u64 address;
  explicit pair(fake_program& p)
      : from(p.bound(SOCK_DGRAM)),
        to(p.bound(SOCK_DGRAM)),
        address(p.put_loopback(p.port_of(to))) {}
  void send(fake_program& p) const {
    p.call(SYS_sendto, from, p.put("abcd", 4), 4, 0, address, sizeof(sockaddr_in));
  }
};

msghdr message_to(fake_program& p, u64 address, std::size_t count) {
  test_message m;
  m.name = address;
  m.name_len = sizeof(sockaddr_in);
  const std::vector<piece> pieces(count, {p.put("x", 1), 1});
  m.pieces = p.put(pieces.data(), pieces.size() * sizeof(piece));
  m.piece_count = count;
  cmsghdr control{};
  control.cmsg_level = IPPROTO_IP;
  control.cmsg_type = IP_TTL;
  control.cmsg_len = CMSG_LEN(sizeof(int));
  u8 bytes[CMSG_SPACE(sizeof(int))] = {};
  std::memcpy(bytes, &control, sizeof control);
  bytes[CMSG_LEN(0)] = 5;
  m.control = p.put(bytes, sizeof bytes);
  m.control_len = sizeof bytes;
  return m.header();
}

msghdr message_from(fake_program& p) {
  test_message m;
  m.name = p.put(nullptr, 16);
  m.name_len = 16;
  const piece pieces[2] = {{p.put(nullptr, 2), 2}, {p.put(nullptr, 8), 8}};
  m.pieces = p.put(pieces, sizeof pieces);
  m.piece_count = 2;
  m.control = p.put(nullptr, 64);
  m.control_len = 64;
  return m.header();
}

/// A listener to which somebody has connected.
long awaited_listener(fake_program& p) {
  const long l = p.bound(SOCK_STREAM), c = p.socket(SOCK_STREAM);
  p.call(SYS_listen, l, 4);
  p.call(SYS_connect, c, p.put_loopback(p.port_of(l)), sizeof(sockaddr_in));
  return l;
}

const faulty_call names[] = {
    {"bind",
     [](fake_program& p) {
       const long s = p.socket(SOCK_DGRAM);
       return [&p, s] { return p.call(SYS_bind, s, p.put_loopback(0), sizeof(sockaddr_in)); };
     },
     0},
    {"connect",
     [](fake_program& p) {
       const pair s(p);
       return [&p, s] { return p.call(SYS_connect, s.from, s.address, sizeof(sockaddr_in)); };
     },
     0},
    {"getsockname",
     [](fake_program& p) {
       const long s = p.bound(SOCK_DGRAM);
       const u64 name = p.put(nullptr, 16);
       return [&p, s, name] { return p.call(SYS_getsockname, s, name, p.put(u32{16})); };
     },
     0},
    {"accept4",
     [](fake_program& p) {
       const long l = awaited_listener(p);
       const u64 name = p.put(nullptr, 16);
       return [&p, l, name] {
         const long made = p.call(SYS_accept4, l, name, p.put(u32{16}), SOCK_CLOEXEC);
         return made > 0 ? 0 : made;
       };
     },
     0},
    {"setsockopt",
     [](fake_program& p) {
       const long s = p.bound(SOCK_DGRAM);
       return [&p, s] { return p.call(SYS_setsockopt, s, IPPROTO_IP, IP_TTL, p.put(9), 4); };
     },
     0},
    {"getsockopt",
     [](fake_program& p) {
       const long s = p.bound(SOCK_DGRAM);
       return [&p, s] {
         return p.call(SYS_getsockopt, s, IPPROTO_IP, IP_TTL, p.put(9), p.put(u32{4}));
       };
     },
     0},
    {"ioctl",
     [](fake_program& p) {
       const long s = p.bound(SOCK_DGRAM);
       return [&p, s] {
         ifreq wanted{};
         std::memcpy(wanted.ifr_name, "lo", 3);
         return p.call(SYS_ioctl, s, SIOCGIFFLAGS, p.put(wanted));
       };
     },
     0},
};

const faulty_call messages[] = {
    {"sendto",
     [](fake_program& p) {
       const pair s(p);
       return [&p, s] {
         return p.call(SYS_sendto, s.from, p.put("abc", 3), 3, 0, s.address, sizeof(sockaddr_in));
       };
     },
     3},
    {"sendmsg",
     [](fake_program& p) {
       const pair s(p);
       return
           [&p, s] { return p.call(SYS_sendmsg, s.from, p.put(message_to(p, s.address, 20)), 0); };
     },
     20},
    {"sendmsg_more",
     [](fake_program& p) {
       const long l = awaited_listener(p), s = p.call(SYS_accept, l, 0, 0);
       return [&p, s] {
         msghdr m = message_to(p, 0, 3);
         m.msg_namelen = 0;
         return p.call(SYS_sendmsg, s, p.put(m), MSG_MORE);
       };
     },
     3},
    {"sendmmsg",
     [](fake_program& p) {
       const pair s(p);
       return [&p, s] {
         mmsghdr all[2] = {};
         all[0].msg_hdr = all[1].msg_hdr = message_to(p, s.address, 1);
         return p.call(SYS_sendmmsg, s.from, p.put(all), 2, 0);
       };
     },
     2, true},
    {"recvfrom",
     [](fake_program& p) {
       const pair s(p);
       s.send(p);
       return [&p, s] {
         return p.call(SYS_recvfrom, s.to, p.put(nullptr, 8), 8, 0, p.put(nullptr, 16),
                       p.put(u32{16}));
       };
     },
     4},
    {"recvmsg",
     [](fake_program& p) {
       const pair s(p);
       p.call(SYS_setsockopt, s.to, IPPROTO_IP, IP_RECVTTL, p.put(1), 4);
       s.send(p);
       return [&p, s] { return p.call(SYS_recvmsg, s.to, p.put(message_from(p)), 0); };
     },
     4},
    {"recvmmsg",
     [](fake_program& p) {
       const pair s(p);
       s.send(p);
       s.send(p);
       return [&p, s] {
         mmsghdr all[2] = {};
         all[0].msg_hdr = message_from(p);
         all[1].msg_hdr = message_from(p);
         return p.call(SYS_recvmmsg, s.to, p.put(all), 2, 0, p.put(timespec{60, 0}));
       };
     },
     2, true},
};

class faults : public ::testing::TestWithParam<faulty_call> {};

TEST_P(faults, leave_nothing_behind) {
  const faulty_call& wanted = GetParam();
  const dropin::daemon_thread daemon;
  fake_program p(daemon);
  unsigned faulty = 0;
  for (unsigned k = 1;; ++k) {
    ASSERT_LT(k, 1000u);
    const auto call = wanted.prepare(p);
    p.whose().fail_at(k);
    const long got = call();
    const bool failed = p.whose().failed();
    p.whose().fail_at(0);
    const bool whole = got == wanted.right;
    const bool partly = wanted.partly && got > 0 && got < wanted.right;
    EXPECT_TRUE(whole || (failed && (got == -EFAULT || partly))) << "access " << k << ": " << got;
    if (!failed) break;
    ++faulty;
    ASSERT_TRUE(p.whose().works()) << "access " << k;
    p.whose().close_all();
    const auto again = wanted.prepare(p);
    EXPECT_EQ(again(), wanted.right) << "after access " << k;
    p.whose().close_all();
  }
  EXPECT_GT(faulty, 0u);
  p.whose().close_all();
  EXPECT_TRUE(daemon.sockets_gone());
}

const auto name_of = [](const auto& one) { return std::string(one.param.name); };
INSTANTIATE_TEST_SUITE_P(names, faults, ::testing::ValuesIn(names), name_of);
INSTANTIATE_TEST_SUITE_P(messages, faults, ::testing::ValuesIn(messages), name_of);

}  // namespace
}  // namespace ph::calls
