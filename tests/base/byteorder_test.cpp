// Stored integers: byte order, alignment, compile-time use.
#include "base/byteorder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "base/rng.h"

namespace ph {
namespace {

static_assert(be16(0x1234).bytes() == std::array<u8, 2>{0x12, 0x34});
static_assert(be32(0x12345678).bytes() == std::array<u8, 4>{0x12, 0x34, 0x56, 0x78});
static_assert(be64(0x0102030405060708).bytes() == std::array<u8, 8>{1, 2, 3, 4, 5, 6, 7, 8});
static_assert(le16(0x1234).bytes() == std::array<u8, 2>{0x34, 0x12});
static_assert(le32(0x12345678).bytes() == std::array<u8, 4>{0x78, 0x56, 0x34, 0x12});
static_assert(le64(0x0102030405060708).bytes() == std::array<u8, 8>{8, 7, 6, 5, 4, 3, 2, 1});
static_assert(be16().value() == 0 && le64().value() == 0);
static_assert(sizeof(be16) == 2 && sizeof(le64) == 8 && alignof(be32) == 1 && alignof(le16) == 1);
static_assert(!std::is_convertible_v<be16, u16> && !std::is_convertible_v<u16, be16>);
static_assert(swap_bytes(u16{0x1234}) == 0x3412 && swap_bytes(u64{1}) == u64{1} << 56);

template <class T>
class stored_int : public testing::Test {};
using stored_types = testing::Types<be16, be32, be64, le16, le32, le64>;
TYPED_TEST_SUITE(stored_int, stored_types);

TYPED_TEST(stored_int, any_value_comes_back) {
  using host = decltype(TypeParam().value());
  rng random(1);
  for (int i = 0; i < 1000; ++i) {
    const host value = static_cast<host>(random.next());
    TypeParam stored(value);
    ASSERT_EQ(stored.value(), value);
    stored.set(static_cast<host>(~value));
    ASSERT_EQ(stored.value(), static_cast<host>(~value));
  }
  EXPECT_EQ(TypeParam(std::numeric_limits<host>::max()).value(), std::numeric_limits<host>::max());
}

TYPED_TEST(stored_int, order_is_by_value) {
  using host = decltype(TypeParam().value());
  EXPECT_LT(TypeParam(host{0x00ff}), TypeParam(host{0x0100}));
  EXPECT_GT(TypeParam(host{0x0201}), TypeParam(host{0x0102}));
  EXPECT_EQ(TypeParam(host{7}), TypeParam(host{7}));
}

TYPED_TEST(stored_int, lies_at_any_address) {
  using host = decltype(TypeParam().value());
  u8 bytes[24] = {};
  for (std::size_t at = 0; at < 16; ++at) {
    auto* stored = reinterpret_cast<TypeParam*>(bytes + at);
    stored->set(static_cast<host>(0x1122334455667788));
    EXPECT_EQ(stored->value(), static_cast<host>(0x1122334455667788));
    EXPECT_EQ(std::memcmp(bytes + at, stored->bytes().data(), sizeof(TypeParam)), 0);
  }
}

}  // namespace
}  // namespace ph
