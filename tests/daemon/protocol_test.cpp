// The drop-in protocol's checked readers: what is whole passes, whatever is cut or lies does not.
#include "daemon/protocol.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "daemon/anchor_name.h"

namespace ph::dropin {
namespace {

std::vector<u8> request_bytes(std::size_t data_len) {
  request_head head;
  head.kind = static_cast<u16>(request_kind::bind);
  head.sequence = 7;
  head.data_len = static_cast<u32>(data_len);
  std::vector<u8> out(sizeof head + data_len);
  std::memcpy(out.data(), &head, sizeof head);
  return out;
}

TEST(protocol, takes_a_whole_request_and_no_part_of_it) {
  const std::vector<u8> whole = request_bytes(16);
  request r;
  ASSERT_TRUE(parse_request(whole.data(), whole.size(), r));
  EXPECT_EQ(r.head.sequence, 7u);
  EXPECT_EQ(r.data, whole.data() + sizeof(request_head));
  for (std::size_t len = 0; len < whole.size(); ++len) {
    EXPECT_FALSE(parse_request(whole.data(), len, r)) << len;
  }
}

TEST(protocol, refuses_foreign_versions_kinds_and_lengths) {
  const auto refused = [](auto change) {
    std::vector<u8> bytes = request_bytes(4);
    request_head head;
    std::memcpy(&head, bytes.data(), sizeof head);
    change(head);
    std::memcpy(bytes.data(), &head, sizeof head);
    request r;
    return !parse_request(bytes.data(), bytes.size(), r);
  };
  EXPECT_TRUE(refused([](request_head& h) { h.magic ^= 1; }));
  EXPECT_TRUE(refused([](request_head& h) { ++h.version; }));
  EXPECT_TRUE(refused([](request_head& h) { h.kind = 0; }));
  EXPECT_TRUE(refused([](request_head& h) { h.kind = last_kind + 1; }));
  EXPECT_TRUE(refused([](request_head& h) { ++h.data_len; }));
  EXPECT_TRUE(refused([](request_head& h) { h.data_len = ~u32{0}; }));
  const std::vector<u8> large = request_bytes(max_data + 1);
  request r;
  EXPECT_FALSE(parse_request(large.data(), large.size(), r));
}

TEST(protocol, message_parts_must_fill_the_data_exactly) {
  std::vector<u8> bytes(sizeof(message_head) + 16 + 8 + 5);
  const auto put = [&](u16 name, u32 control, u32 payload) {
    const message_head head{name, 0, control, payload};
    std::memcpy(bytes.data(), &head, sizeof head);
    message_parts parts;
    return parse_message(bytes.data(), bytes.size(), parts);
  };
  EXPECT_TRUE(put(16, 8, 5));
  EXPECT_FALSE(put(16, 8, 6));
  EXPECT_FALSE(put(16, 8, 4));
  EXPECT_FALSE(put(16, ~u32{0}, 5));
  EXPECT_FALSE(put(16, 8, ~u32{0} - 18));
  message_parts parts;
  EXPECT_FALSE(parse_message(bytes.data(), sizeof(message_head) - 1, parts));
}

TEST(protocol, control_walk_stops_at_damage) {
  std::vector<u8> bytes(sizeof(control_item) + 4);
  const control_item item{0, 8, 4};
  std::memcpy(bytes.data(), &item, sizeof item);
  control_item seen;
  const u8* value = nullptr;
  control_walk whole{bytes.data(), bytes.size()};
  EXPECT_TRUE(whole.next(seen, value));
  EXPECT_EQ(value, bytes.data() + sizeof item);
  EXPECT_FALSE(whole.next(seen, value));
  control_walk cut{bytes.data(), bytes.size() - 1};
  EXPECT_FALSE(cut.next(seen, value));
}

anchor_name example(name_kind kind) {
  anchor_name name;
  name.kind = kind;
  name.instance = 0x1122334455667788;
  name.id = 99;
  name.domain = 2;
  name.type = 1;
  name.protocol = 6;
  if (kind == name_kind::stream) {
    name.local = {16, {2, 0, 0, 80, 10}};
    name.remote = {16, {2, 0, 1, 2, 10}};
    name.home = true;
  }
  return name;
}

TEST(anchor_names, round_trip_in_every_kind_and_never_when_cut) {
  for (const name_kind kind : {name_kind::anchor, name_kind::stream, name_kind::link,
                               name_kind::pair, name_kind::tombstone}) {
    const anchor_name name = example(kind);
    u8 path[max_name_len];
    const std::size_t len = encode_name(name, path);
    ASSERT_GT(len, 0u);
    anchor_name back;
    ASSERT_TRUE(decode_name(path, len, back));
    EXPECT_EQ(back.kind, kind);
    EXPECT_EQ(back.instance, name.instance);
    EXPECT_EQ(back.id, 99u);
    EXPECT_EQ(back.protocol, 6);
    EXPECT_EQ(back.home, name.home);
    EXPECT_EQ(std::memcmp(back.local.bytes, name.local.bytes, sizeof back.local.bytes), 0);
    EXPECT_EQ(std::memcmp(back.remote.bytes, name.remote.bytes, sizeof back.remote.bytes), 0);
    for (std::size_t cut = 0; cut < len; ++cut) EXPECT_FALSE(decode_name(path, cut, back)) << cut;
  }
}

TEST(anchor_names, the_longest_fits) {
  anchor_name name = example(name_kind::stream);
  name.local.len = name.remote.len = max_name_addr_len;
  u8 path[max_name_len];
  EXPECT_GT(encode_name(name, path), 0u);
}

}  // namespace
}  // namespace ph::dropin
