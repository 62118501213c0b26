// Reading and writing anchor names. Part of both the daemon and the shim: no library beneath.
#include "daemon/anchor_name.h"

#include <cstring>

namespace ph::dropin {
namespace {

constexpr u8 prefix[4] = {0, 'p', 'h', '1'};
constexpr char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct fixed_part {
  u8 prefix[4];
  u8 kind;
  le64 instance;
  le64 id;
  u8 domain;
  u8 type;
  le16 protocol;
};
static_assert(sizeof(fixed_part) == 25 && alignof(fixed_part) == 1);

/// Puts length and bytes at sun_path[at]; moves `at`.
bool put_field(u8 (&sun_path)[max_name_len], std::size_t& at, const u8* bytes, u8 len) {
  if (at + 1u + len > max_name_len) return false;
  sun_path[at++] = len;
  std::memcpy(sun_path + at, bytes, len);
  at += len;
  return true;
}

bool take_field(const u8* sun_path, std::size_t len, std::size_t& at, u8* bytes, u8 room,
                u8& field_len) {
  if (at >= len) return false;
  const u8 n = sun_path[at];
  if (n > room || n > len - at - 1) return false;
  std::memcpy(bytes, sun_path + at + 1, n);
  field_len = n;
  at += 1u + n;
  return true;
}

bool take_addr(const u8* sun_path, std::size_t len, std::size_t& at, name_addr& out) {
  return take_field(sun_path, len, at, out.bytes, sizeof out.bytes, out.len);
}

/// What stands unencoded before the base64url part of a file's name: "ph1" and the kind.
constexpr std::size_t clear_len = 4;

/// Three bytes become four digits; one or two bytes become two or three.
std::size_t to_base64url(const u8* from, std::size_t len, u8* to, std::size_t room) {
  std::size_t out = 0;
  u32 bits = 0;
  unsigned held = 0;
  for (std::size_t i = 0; i < len || held > 0;) {
    if (held < 6 && i < len) {
      bits = bits << 8 | from[i++];
      held += 8;
      continue;
    }
    if (held < 6) {
      bits <<= 6 - held;
      held = 6;
    }
    if (out == room) return 0;
    held -= 6;
    to[out++] = static_cast<u8>(base64url[bits >> held & 63]);
  }
  return out;
}

int base64url_digit(u8 c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/// Returns the number of bytes, or 0 for text that to_base64url does not make.
std::size_t from_base64url(const u8* from, std::size_t len, u8* to, std::size_t room) {
  std::size_t out = 0;
  u32 bits = 0;
  unsigned held = 0;
  for (std::size_t i = 0; i < len; ++i) {
    const int digit = base64url_digit(from[i]);
    if (digit < 0) return 0;
    bits = bits << 6 | static_cast<u32>(digit);
    held += 6;
    if (held < 8) continue;
    if (out == room) return 0;
    held -= 8;
    to[out++] = static_cast<u8>(bits >> held);
  }
  const bool rest_is_zero = held < 6 && (bits & ((1u << held) - 1)) == 0;
  return rest_is_zero ? out : 0;
}

/// The file's name of an abstract-like layout `raw`, in its place.
std::size_t to_file_name(u8 (&raw)[max_name_len], std::size_t len) {
  u8 text[max_name_len];
  std::memcpy(text, raw + 1, clear_len);
  const std::size_t n = to_base64url(raw + 1 + clear_len, len - 1 - clear_len, text + clear_len,
                                     sizeof text - clear_len);
  std::memcpy(raw, text, clear_len + n);
  return n == 0 ? 0 : clear_len + n;
}

/// The layout behind a path that ends with a file's name; its length, or 0.
std::size_t from_path(const u8* path, std::size_t len, u8 (&raw)[max_name_len]) {
  while (len > 0 && path[len - 1] == 0) --len;
  std::size_t at = len;
  while (at > 0 && path[at - 1] != '/') --at;
  if (len - at < clear_len) return 0;
  raw[0] = 0;
  std::memcpy(raw + 1, path + at, clear_len);
  const std::size_t n = from_base64url(path + at + clear_len, len - at - clear_len,
                                       raw + 1 + clear_len, sizeof raw - 1 - clear_len);
  return n == 0 ? 0 : 1 + clear_len + n;
}

/// Reads the layout of an abstract name.
bool decode_layout(const u8* sun_path, std::size_t len, anchor_name& out) {
  fixed_part head;
  if (len < sizeof head || len > max_name_len) return false;
  std::memcpy(&head, sun_path, sizeof head);
  if (std::memcmp(head.prefix, prefix, sizeof prefix) != 0) return false;
  out = anchor_name{};
  out.kind = static_cast<name_kind>(head.kind);
  out.instance = head.instance.value();
  out.id = head.id.value();
  out.domain = head.domain;
  out.type = head.type;
  out.protocol = head.protocol.value();
  std::size_t at = sizeof head;
  switch (out.kind) {
    case name_kind::anchor:
    case name_kind::link:
    case name_kind::pair:
    case name_kind::refusal:
    case name_kind::tombstone: return at == len;
    case name_kind::stream:
      if (!take_addr(sun_path, len, at, out.local) || !take_addr(sun_path, len, at, out.remote) ||
          len - at != 1 || sun_path[at] > 1) {
        return false;
      }
      out.home = sun_path[at] == 1;
      return true;
  }
  return false;
}

}  // namespace

std::size_t encode_name(const anchor_name& name, u8 (&sun_path)[max_name_len]) {
  fixed_part head{};
  std::memcpy(head.prefix, prefix, sizeof prefix);
  head.kind = static_cast<u8>(name.kind);
  head.instance.set(name.instance);
  head.id.set(name.id);
  head.domain = name.domain;
  head.type = name.type;
  head.protocol.set(name.protocol);
  std::memcpy(sun_path, &head, sizeof head);
  std::size_t at = sizeof head;
  bool fits = true;
  if (name.kind == name_kind::stream) {
    fits = put_field(sun_path, at, name.local.bytes, name.local.len) &&
           put_field(sun_path, at, name.remote.bytes, name.remote.len) && at < max_name_len;
    if (fits) sun_path[at++] = name.home ? 1 : 0;
  }
  if (!fits) return 0;
  return is_file_name(name.kind) ? to_file_name(sun_path, at) : at;
}

bool decode_name(const u8* sun_path, std::size_t len, anchor_name& out) {
  if (len == 0 || len > max_name_len) return false;
  const bool abstract = sun_path[0] == 0;
  u8 raw[max_name_len];
  if (!abstract && (len = from_path(sun_path, len, raw)) == 0) return false;
  if (!decode_layout(abstract ? sun_path : raw, len, out)) return false;
  return is_file_name(out.kind) != abstract;
}

void accept_cookie(const anchor_name& end, u8 (&out)[cookie_len]) {
  // Values that no program's first bytes have by chance; nobody is kept from anything by them.
  const le64 first(end.instance ^ 0x9e3779b97f4a7c15), second(end.id ^ 0xc2b2ae3d27d4eb4f);
  std::memcpy(out, &first, sizeof first);
  std::memcpy(out + sizeof first, &second, sizeof second);
}

}  // namespace ph::dropin
