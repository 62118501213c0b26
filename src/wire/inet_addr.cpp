// Text forms of addresses.
#include "wire/inet_addr.h"

#include <fmt/format.h>

#include <charconv>

namespace ph {
namespace {

/// Parses an unsigned number that is the whole of `text`, at most `max`.
std::optional<unsigned> whole_number(std::string_view text, unsigned max, int base = 10) {
  unsigned out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  if (error != std::errc{} || end != text.data() + text.size() || out > max) return std::nullopt;
  return out;
}

}  // namespace

std::string ipv4_addr::to_string() const {
  const u32 v = value();
  return fmt::format("{}.{}.{}.{}", v >> 24, (v >> 16) & 255, (v >> 8) & 255, v & 255);
}

std::optional<ipv4_addr> ipv4_addr::parse(std::string_view text) {
  u32 out = 0;
  for (int part = 0; part < 4; ++part) {
    const std::size_t dot = part < 3 ? text.find('.') : text.size();
    if (dot == std::string_view::npos || dot == 0 || dot > 3) return std::nullopt;
    const auto number = whole_number(text.substr(0, dot), 255);
    if (!number || (dot > 1 && text[0] == '0')) return std::nullopt;  // "010": octal or not?
    out = (out << 8) | *number;
    text.remove_prefix(part < 3 ? dot + 1 : dot);
  }
  return ipv4_addr(out);
}

std::string ipv4_prefix::to_string() const { return fmt::format("{}/{}", addr.to_string(), len); }

std::optional<ipv4_prefix> ipv4_prefix::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto addr = ipv4_addr::parse(text.substr(0, slash));
  if (!addr) return std::nullopt;
  if (slash == std::string_view::npos) return ipv4_prefix{*addr, 32};
  const auto len = whole_number(text.substr(slash + 1), 32);
  if (!len) return std::nullopt;
  return ipv4_prefix{*addr, static_cast<u8>(*len)};
}

std::string mac_addr::to_string() const {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2],
                     bytes[3], bytes[4], bytes[5]);
}

std::optional<mac_addr> mac_addr::parse(std::string_view text) {
  if (text.size() != 17) return std::nullopt;
  mac_addr out;
  for (std::size_t i = 0; i < 6; ++i) {
    const auto number = whole_number(text.substr(i * 3, 2), 255, 16);
    if (!number || (i < 5 && text[i * 3 + 2] != ':')) return std::nullopt;
    out.bytes[i] = static_cast<u8>(*number);
  }
  return out;
}

}  // namespace ph
