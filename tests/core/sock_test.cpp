// Charging packets to sockets, pending errors, and what datagram sockets share.
#include "net/core/datagram.h"

#include "net/core/gso.h"
#include "tests/core/machine.h"
#include "tests/core/plain_sock.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph {
namespace {

using test::machine;
using test::make_skb;

/// Tells when it ends.
class plain_sock final : public test::plain_sock {
 public:
  plain_sock(net_namespace& net, cpu& home, bool& gone)
      : test::plain_sock(net, home), gone_(gone) {}
  ~plain_sock() override { gone_ = true; }

 private:
  bool& gone_;
};

struct sock_test : testing::Test {
  sock_test() : sk(make_ref<plain_sock>(m.net(), m.cx(), gone)) {
    waiter.set_callback([this](u32 events) { woken |= events; });
    sk->waiters.add(waiter);
  }
  skb_ptr packet(std::size_t n = 10) { return make_skb(m.cx(), std::vector<u8>(n, 7)); }
  u32 take_wakes() { return std::exchange(woken, 0); }
  machine m;
  bool gone = false;
  u32 woken = 0;
  wait_entry waiter;
  ref<sock> sk;
};

TEST_F(sock_test, a_namespace_knows_its_sockets) {
  EXPECT_EQ(m.net().sockets, 1u);
  sk.reset();
  EXPECT_TRUE(gone);
  EXPECT_EQ(m.net().sockets, 0u);
}

TEST_F(sock_test, charged_packets_keep_the_sock_until_they_end) {
  skb_ptr a = packet(), b = packet();
  sk->set_owner_w(*a);
  sk->set_owner_w(*b);
  EXPECT_EQ(sk->wmem_alloc, a->truesize + b->truesize);
  EXPECT_EQ(sk->use_count(), 2u);
  sk->close(m.cx());
  sk.reset();
  EXPECT_FALSE(gone);
  consume(m.cx(), std::move(a));
  EXPECT_FALSE(gone);
  drop(m.cx(), std::move(b), drop_reason::queue_purge);
  EXPECT_TRUE(gone);
}

TEST_F(sock_test, writers_are_woken_when_half_of_the_buffer_is_free) {
  std::vector<skb_ptr> out;
  skb_ptr probe = packet(1000);
  sk->opt.sndbuf = probe->truesize * 4;
  consume(m.cx(), std::move(probe));
  for (int i = 0; i < 4; ++i) {
    out.push_back(packet(1000));
    sk->set_owner_w(*out.back());
  }
  EXPECT_EQ(sk->sndbuf_space(), 0u);
  consume(m.cx(), std::move(out[0]));
  EXPECT_EQ(take_wakes(), 0u);
  EXPECT_EQ(sk->poll() & uapi::pollout, 0u);
  consume(m.cx(), std::move(out[1]));
  EXPECT_NE(take_wakes() & uapi::pollout, 0u);
  consume(m.cx(), std::move(out[2]));
  EXPECT_NE(sk->poll() & uapi::pollout, 0u);
  consume(m.cx(), std::move(out[3]));
  EXPECT_EQ(sk->wmem_alloc, 0u);
}

TEST_F(sock_test, orphaning_gives_the_charge_back_once) {
  skb_ptr skb = packet();
  sk->set_owner_w(*skb);
  skb_orphan(*skb);
  EXPECT_EQ(sk->wmem_alloc, 0u);
  EXPECT_EQ(skb->sk, nullptr);
  sk->set_owner_r(*skb);
  EXPECT_EQ(sk->rmem_alloc, skb->truesize);
  consume(m.cx(), std::move(skb));
  EXPECT_EQ(sk->rmem_alloc, 0u);
}

TEST_F(sock_test, an_error_is_told_once) {
  sk->set_error(errc::connrefused);
  EXPECT_NE(take_wakes() & uapi::pollerr, 0u);
  EXPECT_NE(sk->poll() & uapi::pollerr, 0u);
  EXPECT_EQ(sk->check_error().error(), errc::connrefused);
  EXPECT_TRUE(sk->check_error());
  EXPECT_EQ(sk->poll() & uapi::pollerr, 0u);
}

TEST_F(sock_test, calls_a_protocol_does_not_know_are_refused) {
  EXPECT_EQ(sk->listen(m.cx(), 1).error(), errc::opnotsupp);
  EXPECT_EQ(sk->accept(m.cx()).error(), errc::opnotsupp);
  EXPECT_EQ(sk->ioctl(m.cx(), 1, {}).error(), errc::notty);
}

TEST_F(sock_test, the_receive_buffer_is_bounded) {
  skb_ptr probe = packet();
  sk->opt.rcvbuf = probe->truesize * 3;
  consume(m.cx(), std::move(probe));
  int queued = 0;
  for (int i = 0; i < 6; ++i) queued += sock_queue_rcv_skb(m.cx(), *sk, packet()) ? 1 : 0;
  EXPECT_EQ(queued, 3);
  EXPECT_EQ(sk->drops, 3u);
  EXPECT_EQ(m.drops(drop_reason::socket_rcvbuff), 3u);
  EXPECT_NE(take_wakes() & uapi::pollin, 0u);
  sk_buff* first = *datagram_peek(m.cx(), *sk, 0);
  datagram_done(m.cx(), *sk, *first, 0);
  EXPECT_TRUE(sock_queue_rcv_skb(m.cx(), *sk, packet()));
}

TEST_F(sock_test, peeking_leaves_the_datagram) {
  EXPECT_EQ(datagram_peek(m.cx(), *sk, 0).error(), errc::again);
  ASSERT_TRUE(sock_queue_rcv_skb(m.cx(), *sk, packet(3)));
  ASSERT_TRUE(sock_queue_rcv_skb(m.cx(), *sk, packet(4)));
  sk_buff* skb = *datagram_peek(m.cx(), *sk, uapi::msg_peek);
  datagram_done(m.cx(), *sk, *skb, uapi::msg_peek);
  EXPECT_EQ(*datagram_peek(m.cx(), *sk, 0), skb);
  datagram_done(m.cx(), *sk, *skb, 0);
  EXPECT_EQ((*datagram_peek(m.cx(), *sk, 0))->len(), 4u);
  sk->set_error(errc::hostunreach);
  EXPECT_EQ(datagram_peek(m.cx(), *sk, 0).error(), errc::hostunreach) << "errors go first";
  datagram_done(m.cx(), *sk, **datagram_peek(m.cx(), *sk, 0), 0);
  sk->shutdown_state = rcv_shutdown;
  EXPECT_EQ(*datagram_peek(m.cx(), *sk, 0), nullptr);
  EXPECT_NE(sk->poll() & uapi::pollrdhup, 0u);
}

TEST_F(sock_test, copying_out_scatters_and_says_when_it_truncates) {
  std::vector<u8> bytes(50);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<u8>(i);
  skb_ptr source = make_skb(m.cx(), bytes);
  skb_ptr skb = alloc_skb(m.cx(), 100);
  skb->share_range(m.cx(), *source, 0, 20);
  skb->share_range(m.cx(), *source, 20, 30);
  std::vector<u8> a(7), b(20);
  const std::array<byte_span, 2> iov = {byte_span(a), byte_span(b)};
  recv_msg msg;
  msg.iov = iov;
  EXPECT_EQ(datagram_copy_out(*skb, 8, msg), 27u);
  EXPECT_EQ(msg.out_flags, static_cast<u32>(uapi::msg_trunc));
  EXPECT_TRUE(std::equal(a.begin(), a.end(), bytes.begin() + 8));
  EXPECT_TRUE(std::equal(b.begin(), b.end(), bytes.begin() + 15));
  recv_msg whole;
  whole.iov = iov;
  whole.flags = uapi::msg_trunc;
  EXPECT_EQ(datagram_copy_out(*skb, 8, whole), 42u) << "MSG_TRUNC asks for the true length";
  recv_msg fits;
  fits.iov = iov;
  EXPECT_EQ(datagram_copy_out(*skb, 40, fits), 10u);
  EXPECT_EQ(fits.out_flags, 0u);
  consume(m.cx(), std::move(source));
  consume(m.cx(), std::move(skb));
}

TEST_F(sock_test, timestamps_and_drops_come_as_control_messages) {
  skb_ptr skb = packet();
  skb->tstamp = instant{} + seconds(5) + microseconds(7);
  std::vector<u8> room(128);
  recv_msg msg;
  msg.control = room;
  sk->opt.timestamp = true;
  sk->opt.rxq_ovfl = true;
  sk->drops = 3;
  sock_recv_cmsgs(*sk, *skb, msg);
  std::vector<std::pair<int, u64>> seen;
  ASSERT_TRUE(for_each_cmsg(byte_view(room).first(msg.control_len),
                            [&](int level, int type, byte_view data) -> result<void> {
                              EXPECT_EQ(level, uapi::sol_socket);
                              byte_reader reader(data);
                              if (data.size() >= 16) reader.take<le64>();
                              seen.emplace_back(type, data.size() >= 16
                                                          ? reader.take<le64>().value()
                                                          : reader.take<le32>().value());
                              return {};
                            }));
  EXPECT_EQ(seen, (std::vector<std::pair<int, u64>>{{uapi::scm_timestamp, 7},
                                                    {uapi::so_rxq_ovfl, 3}}));
  EXPECT_EQ(sk->stamp, instant{}) << "SIOCGSTAMP is about what no message told";
  sk->opt.timestamp = false;
  sock_recv_cmsgs(*sk, *skb, msg);
  EXPECT_EQ(sk->stamp, skb->tstamp);
  consume(m.cx(), std::move(skb));
}

}  // namespace

// A protocol that nobody else knows: its counters and its reason.
namespace mib {
enum own_counters : u16 { own_in_msgs = first_of_mib_group(63), own_in_errors, own_counters_end };
}  // namespace mib
namespace drop_reason {
inline constexpr drop_reason_info own_malformed{"own_malformed", "Not a message of ours.",
                                                mib::own_in_msgs, mib::own_in_errors};
}  // namespace drop_reason

namespace {

constexpr mib_row own_rows[] = {{mib::own_in_msgs, "OwnInMsgs"},
                                {mib::own_in_errors, "OwnInErrors"}};
static_assert(mib_in_order(own_rows, mib::own_counters_end));
static_assert(!mib_in_order(std::span(own_rows).first(1), mib::own_counters_end));

TEST(drop_reasons, are_counted_with_the_namespaces_counters) {
  test::fake_driver::log log;
  machine m;
  m.net().mib().add_group(own_rows);
  net_device_config config;
  config.name = "eth0";
  net_device& dev = test::add_fake(m, log, std::move(config));
  skb_ptr skb = make_skb(m.cx(), std::vector<u8>(3));
  skb->dev = &dev;
  drop(m.cx(), std::move(skb), drop_reason::own_malformed);
  EXPECT_EQ(m.net().mib().get(mib::own_in_msgs), 1u);
  EXPECT_EQ(m.net().mib().get(mib::own_in_errors), 1u);
  EXPECT_EQ(m.drops(drop_reason::own_malformed), 1u);
  EXPECT_EQ(m.drops(drop_reason::netfilter_drop), 0u);
  EXPECT_EQ(skb_drop_reason(drop_reason::own_malformed).name(), "own_malformed");
  EXPECT_EQ(skb_drop_reason(), drop_reason::none);
}

TEST(mib_table, tells_groups_in_the_order_of_their_ranks) {
  static constexpr mib_row early[] = {{static_cast<mib::own_counters>(2 << 8), "EarlyOne"}};
  machine m;
  mib_table& counters = m.net().mib();
  counters.add_group(own_rows);
  counters.add_group(early);
  counters.add(m.cx(), mib::own_in_errors, 5);
  std::vector<std::pair<std::string_view, u64>> told;
  counters.for_each([&](mib_counter, std::string_view name, u64 n) { told.emplace_back(name, n); });
  EXPECT_EQ(told, (std::vector<std::pair<std::string_view, u64>>{
                      {"EarlyOne", 0}, {"OwnInMsgs", 0}, {"OwnInErrors", 5}}));
  EXPECT_EQ(counters.name(mib::own_in_errors), "OwnInErrors");
}

TEST(mib_table, does_not_count_what_nobody_registered) {
  machine m;
  m.net().mib().add(m.cx(), mib::own_in_errors);
  EXPECT_EQ(m.net().mib().get(mib::own_in_errors), 0u);
  EXPECT_EQ(m.net().mib().name(mib::own_in_errors), "none");
}

}  // namespace
}  // namespace ph
