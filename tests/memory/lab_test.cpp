// A lab in which each allocation in turn finds no memory, while two hosts talk.
#include <gtest/gtest.h>

#include "daemon/stack_sockets.h"
#include "daemon/status.h"
#include "tests/memory/failing_allocations.h"
#include "tests/support/two_hosts.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph {
namespace {

using namespace uapi;

const ipv4_addr bobs(10, 0, 0, 2), daves(10, 0, 1, 2);

lab four_hosts() {
  return *parse_lab(R"(
hosts: { alice: {}, bob: {}, carol: {}, dave: {} }
links:
  - { ends: [ "alice:eth0 10.0.0.1/24", "bob:eth0 10.0.0.2/24" ], delay: 1ms }
  - { ends: [ "carol:eth0 10.0.1.1/24", "dave:eth0 10.0.1.2/24" ], delay: 1ms }
)",
                    "lab.yaml");
}

/// A socket that is closed at its end.
struct held_socket {
  held_socket(dropin::host_sockets& of, result<int> s) : host(of), number(s.value_or(-1)) {}
  held_socket(const held_socket&) = delete;
  ~held_socket() {
    if (number >= 0) host.close(number);
  }
  bool send_all(byte_view bytes, const std::function<void()>& wait) {
    for (int patience = 20; !bytes.empty() && patience > 0;) {
      send_msg msg;
      msg.iov = {&bytes, 1};
      msg.flags = msg_dontwait | msg_nosignal;
      const auto sent = host.sendmsg(number, msg);
      if (!sent && sent.error() != errc::again) return false;
      bytes = bytes.subspan(sent.value_or(0));
      if (!sent) --patience;
      wait();
    }
    return bytes.empty();
  }
  std::size_t receive(std::size_t wanted, const std::function<void()>& wait) {
    std::size_t all = 0;
    for (int patience = 20; all < wanted && patience > 0;) {
      std::array<u8, 4096> room{};
      const byte_span span{room};
      recv_msg msg;
      msg.iov = {&span, 1};
      msg.flags = msg_dontwait;
      const auto got = host.recvmsg(number, msg);
      if (!got && got.error() != errc::again) return all;
      all += got.value_or(0);
      if (!got) --patience;
      if (!got) wait();
    }
    return all;
  }
  dropin::host_sockets& host;
  int number;
};

struct talk {
  explicit talk(memory_reserve& reserve) { up->set_reserve(reserve); }
  seeded_entropy secrets{7};
  std::unique_ptr<running_lab> up = *running_lab::build(four_hosts(), secrets);
  dropin::stack_sockets alice{*up, *up->find_host("alice")}, bob{*up, *up->find_host("bob")};
  dropin::stack_sockets carol{*up, *up->find_host("carol")}, dave{*up, *up->find_host("dave")};
  u16 port = 7;

  void wait() { up->world().run_for(milliseconds(10)); }

  /// A connection and a datagram, both answered: true when all went well. Everything is closed.
  bool converse(dropin::host_sockets& client, dropin::host_sockets& server, ipv4_addr at) {
    const auto a_moment = [this] { wait(); };
    const std::vector<u8> question(20'000, 'q'), answer(3'000, 'a');
    const addr4 there(at, ++port);
    held_socket listener(server, server.open(af_inet, sock_stream, 0));
    if (!server.bind(listener.number, there) || !server.listen(listener.number, 5)) {
      return false;
    }
    held_socket end(client, client.open(af_inet, sock_stream, 0));
    const auto begun = client.connect(end.number, there);
    if (!begun && begun.error() != errc::inprogress) return false;
    result<int> accepted = fail(errc::again);
    for (int i = 0; i < 20 && !accepted; ++i) {
      wait();
      accepted = server.accept(listener.number);
    }
    held_socket other(server, accepted);
    return accepted && end.send_all(question, a_moment) &&
           other.receive(question.size(), a_moment) == question.size() &&
           other.send_all(answer, a_moment) &&
           end.receive(answer.size(), a_moment) == answer.size() && datagram(client, server, at);
  }
  bool datagram(dropin::host_sockets& client, dropin::host_sockets& server, ipv4_addr at) {
    const auto a_moment = [this] { wait(); };
    const addr4 there(at, port);
    held_socket in(server, server.open(af_inet, sock_dgram, 0));
    held_socket out(client, client.open(af_inet, sock_dgram, 0));
    const std::vector<u8> text(2'000, 'd');  // two fragments
    return server.bind(in.number, there) && client.connect(out.number, there) &&
           out.send_all(text, a_moment) && in.receive(text.size(), a_moment) == text.size();
  }
  /// What is left of a conversation is over: TIME-WAIT, and whoever waits for a peer that died.
  void come_to_rest() { up->world().run_for(seconds(600)); }
  [[nodiscard]] std::size_t dead() const {
    std::size_t out = 0;
    for (const auto& h : up->world().hosts()) out += h->dead() ? 1 : 0;
    return out;
  }
  /// Sockets of all hosts, and packets anywhere.
  [[nodiscard]] u64 held() const {
    u64 out = up->world().memory().live_packets();
    for (const auto& h : up->world().hosts()) out += h->net().sockets;
    return out;
  }
};

std::size_t allocations_of_a_conversation() {
  memory_reserve reserve;
  talk t(reserve);
  failing::begin(failing::how::once, ~std::size_t{0});
  EXPECT_TRUE(t.converse(t.alice, t.bob, bobs));
  return failing::end();
}

TEST(scarce_memory, after_one_allocation_that_fails_all_goes_on) {
  failing::afflict_this_thread();
  const std::size_t all = allocations_of_a_conversation();
  ASSERT_GT(all, 50u);
  for (std::size_t k = 1; k <= all; ++k) {
    SCOPED_TRACE(k);
    memory_reserve reserve;
    talk t(reserve);
    failing::begin(failing::how::once, k);
    (void)t.converse(t.alice, t.bob, bobs);
    failing::end();
    ASSERT_TRUE(failing::has_failed());
    ASSERT_TRUE(reserve.low());
    ASSERT_EQ(t.alice.open(af_inet, sock_stream, 0).error(), errc::nobufs);
    ASSERT_FALSE(reserve.refill()) << "complete for a moment only";
    ASSERT_TRUE(reserve.refill());
    ASSERT_TRUE(t.converse(t.alice, t.bob, bobs));
    t.come_to_rest();
    ASSERT_EQ(t.held(), 0u);
  }
}

TEST(scarce_memory, from_any_allocation_on_nothing_dies_and_all_goes_on_afterwards) {
  failing::afflict_this_thread();
  const std::size_t all = allocations_of_a_conversation();
  for (std::size_t k = 1; k <= all; ++k) {
    SCOPED_TRACE(k);
    memory_reserve reserve;
    talk t(reserve);
    failing::begin(failing::how::all, k);
    (void)t.converse(t.alice, t.bob, bobs);
    t.come_to_rest();
    failing::end();
    ASSERT_EQ(reserve.low(), failing::has_failed());  // or all could be had from what was freed
    ASSERT_EQ(t.dead(), 0u);
    reserve.refill();
    ASSERT_TRUE(reserve.refill());
    ASSERT_EQ(t.held(), 0u);
    ASSERT_TRUE(t.converse(t.alice, t.bob, bobs));
    ASSERT_TRUE(t.converse(t.carol, t.dave, daves));
  }
}

/// Ends the process with 0 when hosts died and the others did not notice.
void lose_hosts() {
  failing::afflict_this_thread();
  const std::size_t all = allocations_of_a_conversation();
  std::size_t deaths = 0;
  for (std::size_t k = 1; k <= all; ++k) {
    memory_reserve reserve({.pieces = 1, .for_the_end = 1});  // a machine gets nothing
    auto* const t = new talk(reserve);  // what a dead machine had is lost with it
    failing::begin(failing::how::once, k);
    (void)t->converse(t->alice, t->bob, bobs);
    failing::end();
    reserve.refill();
    reserve.refill();
    deaths += t->dead();
    for (const auto& h : t->up->world().hosts()) {
      if (h->dead() && h->death() != "out of memory") std::_Exit(2);
    }
    if (t->dead() > 1 || lab_status(*t->up)["hosts"].size() != 4) std::_Exit(3);
    const auto lives = [t](const char* name) { return !t->up->find_host(name)->dead(); };
    const bool first = lives("alice") && lives("bob"), second = lives("carol") && lives("dave");
    if (first && !t->converse(t->alice, t->bob, bobs)) std::_Exit(4);
    if (second && !t->converse(t->carol, t->dave, daves)) std::_Exit(5);
    t->come_to_rest();
    delete t;
  }
  std::_Exit(deaths > all / 4 ? 0 : 1);
}

TEST(scarce_memory, beyond_the_reserve_a_host_dies_and_the_lab_lives) {
  EXPECT_EXIT(lose_hosts(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace ph
