// Objects of a machine by key: how they end.
#include "kernel/slots.h"

#include <gtest/gtest.h>

#include <memory>

namespace ph {
namespace {

struct sees_itself : slot_object {
  sees_itself(slots& home, bool& found) : home_(home), found_(found) {}
  ~sees_itself() override { found_ = home_.find(slot_key<sees_itself>{"user"}) == this; }
  slots& home_;
  bool& found_;
};

/// A table that dies ends its connections, and these look the table up.
TEST(slots, an_object_is_found_until_it_is_gone) {
  bool found = false;
  slots all;
  const slot_key<sees_itself> key{"user"};
  all.set(key, std::make_unique<sees_itself>(all, found));
  all.reset(key);
  EXPECT_TRUE(found);
  EXPECT_EQ(all.find(key), nullptr);

  found = false;
  all.set(key, std::make_unique<sees_itself>(all, found));
  all.clear();
  EXPECT_TRUE(found);
  EXPECT_EQ(all.find(key), nullptr);
}

}  // namespace
}  // namespace ph
