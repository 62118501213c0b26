// Checked readers of the control protocol. Part of the daemon and of the shim: no library beneath.
#include "daemon/protocol.h"

#include <cstring>

namespace ph::dropin {
namespace {

template <class Head, class Message>
bool parse_head(const void* bytes, std::size_t len, Message& out) {
  if (len < sizeof(Head) || len > sizeof(Head) + max_data) return false;
  std::memcpy(&out.head, bytes, sizeof(Head));
  out.data = static_cast<const u8*>(bytes) + sizeof(Head);
  return out.head.magic == protocol_magic && out.head.version == protocol_version &&
         out.head.kind >= first_kind && out.head.kind <= last_kind &&
         out.head.data_len == len - sizeof(Head);
}

}  // namespace

bool parse_request(const void* bytes, std::size_t len, request& out) {
  return parse_head<request_head>(bytes, len, out);
}

bool parse_reply(const void* bytes, std::size_t len, reply& out) {
  return parse_head<reply_head>(bytes, len, out);
}

bool parse_message(const u8* data, std::size_t len, message_parts& out) {
  if (len < sizeof(message_head)) return false;
  std::memcpy(&out.head, data, sizeof(message_head));
  const std::size_t rest = len - sizeof(message_head);
  const std::size_t name_len = out.head.name_len;
  const std::size_t control_len = out.head.control_len;
  const std::size_t payload_len = out.head.payload_len;
  if (control_len > rest || payload_len > rest || name_len + control_len + payload_len != rest) {
    return false;
  }
  out.name = data + sizeof(message_head);
  out.control = out.name + name_len;
  out.payload = out.control + control_len;
  return true;
}

bool control_walk::next(control_item& item, const u8*& value) {
  if (left < sizeof item) return false;
  std::memcpy(&item, at, sizeof item);
  if (item.len > left - sizeof item) return false;
  value = at + sizeof item;
  at += sizeof item + item.len;
  left -= sizeof item + item.len;
  return true;
}

}  // namespace ph::dropin
