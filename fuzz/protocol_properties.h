// What must hold for the readers of the control protocol (daemon/protocol.h) on any bytes; shared
// by the fuzzer and by the test that replays its corpus.
#pragma once

#include <vector>

#include "base/check.h"
#include "daemon/protocol.h"

namespace ph::fuzz {

/// [part, part + len) lies in the block.
inline void check_within(const u8* part, std::size_t len, const std::vector<u8>& block) {
  ph_check(part >= block.data() && part + len <= block.data() + block.size());
}

inline void message_properties(const std::vector<u8>& block, const u8* data, std::size_t len) {
  dropin::message_parts parts;
  if (!dropin::parse_message(data, len, parts)) return;
  check_within(parts.name, parts.head.name_len, block);
  check_within(parts.control, parts.head.control_len, block);
  check_within(parts.payload, parts.head.payload_len, block);
  dropin::control_walk walk{parts.control, parts.head.control_len};
  dropin::control_item item;
  const u8* value = nullptr;
  std::size_t seen = 0;
  while (walk.next(item, value)) {
    check_within(value, item.len, block);
    seen += sizeof item + item.len;
    ph_check(seen <= parts.head.control_len);
  }
}

/// The first byte chooses the reader. Aborts when some promise does not hold.
inline void protocol_properties(const u8* bytes, std::size_t size) {
  if (size == 0) return;
  // A block of its own, so that sanitizers see a read past its end.
  const std::vector<u8> block(bytes + 1, bytes + size);
  switch (bytes[0] % 3) {
    case 0: {
      dropin::request request;
      if (!dropin::parse_request(block.data(), block.size(), request)) return;
      check_within(request.data, request.head.data_len, block);
      return message_properties(block, request.data, request.head.data_len);
    }
    case 1: {
      dropin::reply reply;
      if (!dropin::parse_reply(block.data(), block.size(), reply)) return;
      check_within(reply.data, reply.head.data_len, block);
      return message_properties(block, reply.data, reply.head.data_len);
    }
    default: return message_properties(block, block.data(), block.size());
  }
}

}  // namespace ph::fuzz
