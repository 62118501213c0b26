// Intrusive lists and trees, and counted references.
#include "base/intrusive.h"

#include <gtest/gtest.h>

#include <iterator>
#include <optional>

namespace ph {
namespace {

struct node : list_hook<>, tree_hook<> {
  explicit node(int v) : value(v) {}
  int value;
};
struct by_value {
  bool operator()(const node& a, const node& b) const { return a.value < b.value; }
};

TEST(intrusive, a_destroyed_node_leaves_its_containers) {
  intrusive_list<node> list;
  intrusive_multiset<node, by_value> tree;
  node first(2);
  std::optional<node> second(std::in_place, 1);
  for (node* n : {&first, &*second}) {
    list.push_back(*n);
    tree.insert(*n);
  }
  EXPECT_EQ(list.front().value, 2);
  EXPECT_EQ(tree.begin()->value, 1);
  second.reset();
  EXPECT_EQ(std::distance(list.begin(), list.end()), 1);
  EXPECT_EQ(tree.begin()->value, 2);
  EXPECT_TRUE(first.list_hook<>::is_linked());
  list.clear();
  EXPECT_FALSE(first.list_hook<>::is_linked());
}

struct thing : counted {
  explicit thing(int& alive) : alive_(alive) { ++alive_; }
  ~thing() { --alive_; }
  int& alive_;
};

TEST(ref, the_last_one_deletes) {
  int alive = 0;
  ref<thing> a = make_ref<thing>(alive);
  EXPECT_EQ(a->use_count(), 1u);
  {
    const ref<thing> b = a;
    EXPECT_EQ(a->use_count(), 2u);
    EXPECT_TRUE(a == b);
  }
  EXPECT_EQ(a->use_count(), 1u);
  ref<thing> moved = std::move(a);
  EXPECT_EQ(moved->use_count(), 1u);
  EXPECT_EQ(alive, 1);
  moved.reset();
  EXPECT_EQ(alive, 0);
  EXPECT_FALSE(moved);
  moved.reset();
}

TEST(ref, assignment_keeps_counts_right) {
  int alive = 0;
  ref<thing> a = make_ref<thing>(alive);
  ref<thing> b = make_ref<thing>(alive);
  thing* const second = b.get();
  const ref<thing>& alias = b;
  b = alias;
  EXPECT_EQ(b->use_count(), 1u);
  a = b;
  EXPECT_EQ(alive, 1);
  EXPECT_EQ(a.get(), second);
  EXPECT_EQ(a->use_count(), 2u);
  a = nullptr;
  b = std::move(a);
  EXPECT_EQ(alive, 0);
}

struct recycled : counted {
  static void release_last(recycled* object) { object->released = true; }
  bool released = false;
};
struct derived : recycled {};

TEST(ref, a_type_may_say_how_it_ends) {
  derived object;
  {
    ref<derived> narrow(&object);
    const ref<recycled> wide = narrow;
    narrow.reset();
    EXPECT_FALSE(object.released);
  }
  EXPECT_TRUE(object.released);
  EXPECT_EQ(object.use_count(), 0u);
}

}  // namespace
}  // namespace ph
