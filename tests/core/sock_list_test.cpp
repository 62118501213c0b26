// Walks over a protocol's sockets while sockets come and go.
#include "net/core/sock_list.h"

#include <set>

#include "net/core/sock.h"
#include "tests/core/machine.h"
#include "tests/core/plain_sock.h"

namespace ph {
namespace {

using test::machine;
using test::plain_sock;

struct sock_lists : testing::Test {
  ref<sock> made() {
    ref<sock> out = make_ref<plain_sock>(m.net(), m.cx());
    list.add(*out);
    return out;
  }
  machine m;
  sock_list list{m.net(), "own"};
};

TEST_F(sock_lists, a_walk_meets_each_socket_once_in_the_order_of_their_making) {
  std::vector<ref<sock>> all;
  for (int i = 0; i < 5; ++i) all.push_back(made());
  EXPECT_EQ(list.size(), 5u);
  sock_cursor walk(list);
  for (const auto& sk : all) EXPECT_EQ(walk.next(), sk.get());
  EXPECT_EQ(walk.next(), nullptr);
  EXPECT_EQ(walk.next(), nullptr);
  all.push_back(made());
  EXPECT_EQ(walk.next(), all.back().get()) << "it rests, it does not end";
}

TEST_F(sock_lists, sockets_may_end_before_and_after_where_a_walk_rests) {
  std::vector<ref<sock>> all;
  for (int i = 0; i < 6; ++i) all.push_back(made());
  sock_cursor walk(list);
  EXPECT_EQ(walk.next(), all[0].get());
  EXPECT_EQ(walk.next(), all[1].get());
  all[1].reset();
  all[2].reset();
  all[0].reset();
  EXPECT_EQ(walk.next(), all[3].get());
  all[4].reset();
  all[5].reset();
  EXPECT_EQ(walk.next(), nullptr);
  EXPECT_EQ(list.size(), 1u);
}

TEST_F(sock_lists, walks_do_not_see_each_other) {
  const ref<sock> one = made(), two = made();
  sock_cursor first(list), second(list);
  EXPECT_EQ(second.next(), one.get());
  EXPECT_EQ(first.next(), one.get());
  EXPECT_EQ(first.next(), two.get());
  EXPECT_EQ(second.next(), two.get());
  EXPECT_EQ(first.next(), nullptr);
  EXPECT_EQ(second.next(), nullptr);
}

TEST_F(sock_lists, whatever_comes_and_goes_who_stays_is_met_once) {
  rng random(5);
  std::vector<ref<sock>> all;
  for (int i = 0; i < 200; ++i) all.push_back(made());
  const std::set<sock*> stay = [&] {
    std::set<sock*> out;
    for (std::size_t i = 0; i < all.size(); i += 3) out.insert(all[i].get());
    return out;
  }();
  std::multiset<sock*> met;
  sock_cursor walk(list);
  for (int steps = 0;; ++steps) {
    sock* const sk = walk.next();
    if (sk == nullptr) break;
    if (stay.contains(sk)) met.insert(sk);
    const std::size_t at = random.below(all.size());
    if (all[at] && !stay.contains(all[at].get())) all[at].reset();
    if (steps < 100) all.push_back(made());
  }
  EXPECT_EQ(met, (std::multiset<sock*>(stay.begin(), stay.end())));
}

TEST(sock_list, may_end_before_its_sockets_and_its_walks) {
  machine m;
  ref<sock> sk = make_ref<plain_sock>(m.net(), m.cx());
  auto list = std::make_unique<sock_list>(m.net(), "own");
  list->add(*sk);
  sock_cursor walk(*list);
  EXPECT_EQ(m.net().sock_lists().size(), 1u);
  list.reset();
  EXPECT_TRUE(m.net().sock_lists().empty());
  EXPECT_EQ(walk.next(), nullptr);
}

}  // namespace
}  // namespace ph
