// Views, readers and writers at the edges of their bytes.
#include "base/bytes.h"

#include <gtest/gtest.h>

#include <vector>

namespace ph {
namespace {

struct pair_overlay {
  be16 first;
  be16 second;
};

TEST(view_as, only_where_the_bytes_suffice) {
  const std::vector<u8> bytes = {0, 1, 2, 3, 4, 5};
  EXPECT_EQ(view_as<pair_overlay>(byte_view(bytes))->second.value(), 0x0203);
  EXPECT_EQ(view_as<pair_overlay>(byte_view(bytes), 2)->second.value(), 0x0405);
  EXPECT_EQ(view_as<pair_overlay>(byte_view(bytes), 3), nullptr);
  EXPECT_EQ(view_as<pair_overlay>(byte_view(bytes), 6), nullptr);
  EXPECT_EQ(view_as<pair_overlay>(byte_view(bytes), 7), nullptr);
  EXPECT_EQ(view_as<pair_overlay>(byte_view(bytes), ~std::size_t{0}), nullptr);
  EXPECT_EQ(view_as<pair_overlay>(byte_view()), nullptr);
}

TEST(view_as, writes_through_a_span) {
  std::vector<u8> bytes(4);
  view_as<pair_overlay>(byte_span(bytes))->second.set(0xabcd);
  EXPECT_EQ(bytes, (std::vector<u8>{0, 0, 0xab, 0xcd}));
  EXPECT_EQ(view_as<pair_overlay>(byte_span(bytes), 1), nullptr);
}

TEST(bytes, of_objects_and_text) {
  EXPECT_EQ(bytes_of(be32(0x01020304))[3], 4);
  EXPECT_EQ(text_of(bytes_of(std::string_view("abc"))), "abc");
  EXPECT_TRUE(bytes_of(std::string_view()).empty());
}

TEST(bytes, copy_takes_what_fits) {
  const u8 from[] = {1, 2, 3};
  std::vector<u8> small(2), large(5);
  EXPECT_EQ(copy_bytes(small, from), 2u);
  EXPECT_EQ(small, (std::vector<u8>{1, 2}));
  EXPECT_EQ(copy_bytes(large, from), 3u);
  EXPECT_EQ(large, (std::vector<u8>{1, 2, 3, 0, 0}));
  EXPECT_EQ(copy_bytes({}, from), 0u);
  EXPECT_EQ(copy_bytes(large, {}), 0u);
}

TEST(byte_reader, reads_in_order_and_fails_for_good) {
  const std::vector<u8> bytes = {1, 2, 3, 4, 5, 6, 7};
  byte_reader in(bytes);
  EXPECT_EQ(in.take<u8>(), 1);
  EXPECT_EQ(in.take<be16>().value(), 0x0203);
  EXPECT_EQ(in.take_bytes(2)[1], 5);
  EXPECT_EQ(in.remaining(), 2u);
  EXPECT_EQ(in.rest()[0], 6);
  EXPECT_TRUE(in.ok());
  EXPECT_EQ(in.take<be32>().value(), 0u);
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.take<u8>(), 0);  // though one would still be there
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.remaining(), 0u);
}

TEST(byte_reader, every_length) {
  for (std::size_t n = 0; n < 12; ++n) {
    const std::vector<u8> bytes(n, 1);
    byte_reader in(bytes);
    in.take<be64>();
    EXPECT_EQ(in.ok(), n >= 8);
    EXPECT_EQ(in.remaining(), n >= 8 ? n - 8 : 0);
  }
  byte_reader empty{byte_view()};
  EXPECT_TRUE(empty.take_bytes(0).empty());
  EXPECT_TRUE(empty.ok());
}

TEST(byte_writer, writes_in_order_and_never_past_the_end) {
  std::vector<u8> bytes(6, 0xee);
  byte_writer out(byte_span(bytes).first(5));
  out.put(be16(0x0102));
  out.put(u8{3});
  EXPECT_TRUE(out.ok());
  EXPECT_EQ(out.written(), 3u);
  out.put(be32(0xffffffff));
  EXPECT_FALSE(out.ok());
  out.put(u8{4});  // fits, but what should precede it is missing
  EXPECT_FALSE(out.ok());
  EXPECT_EQ(out.written(), 3u);
  EXPECT_EQ(out.done().size(), 3u);
  EXPECT_EQ(bytes, (std::vector<u8>{1, 2, 3, 0xee, 0xee, 0xee}));
}

}  // namespace
}  // namespace ph
