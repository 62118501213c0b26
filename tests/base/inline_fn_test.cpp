// Callables of fixed size.
#include "base/inline_fn.h"

#include <gtest/gtest.h>

#include <memory>

#include "base/byteorder.h"

namespace ph {
namespace {

TEST(inline_fn, calls_what_it_holds) {
  int calls = 0;
  inline_fn<int(int)> fn;
  EXPECT_FALSE(fn);
  fn = [&calls](int n) { return calls += n; };
  EXPECT_TRUE(fn);
  EXPECT_EQ(fn(2), 2);
  const auto copy = fn;
  EXPECT_EQ(copy(3), 5);
  fn = [](int n) { return -n; };
  EXPECT_EQ(fn(4), -4);
  EXPECT_EQ(calls, 5);
}

TEST(inline_fn, passes_move_only_arguments_and_references) {
  const inline_fn<int(std::unique_ptr<int>, int&)> fn = [](std::unique_ptr<int> p, int& out) {
    out = *p;
    return *p + 1;
  };
  int out = 0;
  EXPECT_EQ(fn(std::make_unique<int>(7), out), 8);
  EXPECT_EQ(out, 7);
}

TEST(inline_fn, holds_as_much_as_it_says) {
  struct capture {
    u64 words[4];
    u64 operator()() const { return words[3]; }
  };
  const inline_fn<u64()> fn = capture{{1, 2, 3, 4}};
  EXPECT_EQ(fn(), 4u);
  EXPECT_LE(sizeof(fn), 48u);
}

}  // namespace
}  // namespace ph
