// Small integers with a meaning.
#include "base/strong.h"

#include <gtest/gtest.h>

#include <type_traits>

namespace ph {
namespace {

TEST(strong, zero_means_none_and_kinds_do_not_mix) {
  EXPECT_FALSE(ifindex());
  EXPECT_TRUE(ifindex(1));
  EXPECT_LT(port_no(1), port_no(2));
  static_assert(!std::is_convertible_v<u16, port_no> && !std::is_convertible_v<ifindex, mark32>);
}

}  // namespace
}  // namespace ph
