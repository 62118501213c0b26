// Chains of listeners that come and go while they are told.
#include "net/core/notifier.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace ph {
namespace {

struct event {
  int number;
};
using listener = notifier<event>;

struct chain_of : testing::Test {
  std::unique_ptr<listener> hears(char who) {
    auto out = std::make_unique<listener>();
    out->set_callback([this, who](const event& e) { note(who, e); });
    return out;
  }
  void note(char who, const event& e) { told += who + std::to_string(e.number) + " "; }
  std::string take() { return std::exchange(told, {}); }

  notifier_chain<event> chain;
  std::string told;
  std::unique_ptr<listener> a = hears('a'), b = hears('b'), c = hears('c');
};

TEST_F(chain_of, listeners_hear_in_the_order_in_which_they_came) {
  chain.tell({0});
  EXPECT_EQ(take(), "");
  chain.add(*b);
  chain.add(*a);
  chain.tell({1});
  EXPECT_EQ(take(), "b1 a1 ");
  b.reset();
  chain.tell({2});
  EXPECT_EQ(take(), "a2 ");
}

TEST_F(chain_of, a_listener_may_end_itself_and_others) {
  listener ends;
  ends.set_callback([this](const event& e) {
    note('x', e);
    a.reset();
    b.reset();
  });
  chain.add(*a);
  chain.add(ends);
  chain.add(*b);
  chain.add(*c);
  chain.tell({1});
  EXPECT_EQ(take(), "a1 x1 c1 ");
  auto self = std::make_unique<listener>();
  self->set_callback([&self](const event&) { self->unlink(); });
  chain.add(*self);
  chain.tell({2});
  chain.tell({3});
  EXPECT_EQ(take(), "x2 c2 x3 c3 ");
}

TEST_F(chain_of, a_listener_may_add_others_and_tell_of_more) {
  listener tells;
  tells.set_callback([this](const event& e) {
    if (e.number != 1) return;
    chain.add(*b);
    chain.tell({2});
  });
  chain.add(*a);
  chain.add(tells);
  chain.tell({1});
  EXPECT_EQ(take(), "a1 a2 b2 b1 ");
}

}  // namespace
}  // namespace ph
