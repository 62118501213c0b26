// Values of expressions; constants.cpp has the names.
#include "sim/packetdrill/values.h"

#include <charconv>

#include "wire/inet_addr.h"

namespace ph::packetdrill {
namespace {

std::optional<s64> number(std::string_view text) {
  const bool hex = text.starts_with("0x");
  if (hex) text.remove_prefix(2);
  s64 out = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), out, hex ? 16 : 10);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return out;
}

/// Addresses and ports stay in the order of the host.
std::optional<s64> evaluate_function(const expression& e, std::string* unknown) {
  if (e.items.size() != 1) return std::nullopt;
  const expression& argument = e.items.front();
  if (e.word == "htons" || e.word == "htonl" || e.word == "ntohs" || e.word == "ntohl") {
    return evaluate(argument, unknown);
  }
  if (e.word == "inet_addr") {
    const auto addr = ipv4_addr::parse(argument.word);
    if (addr) return addr->value();
  }
  if (unknown != nullptr) *unknown = e.word + "()";
  return std::nullopt;
}

}  // namespace

std::optional<s64> evaluate(const expression& e, std::string* unknown) {
  switch (e.kind) {
    case expression::kind_type::integer: return e.number;
    case expression::kind_type::negated: {
      const auto inner = evaluate(e.items.front(), unknown);
      if (!inner) return std::nullopt;
      return ~*inner;
    }
    case expression::kind_type::function: return evaluate_function(e, unknown);
    case expression::kind_type::list:
      if (e.items.size() == 1) return evaluate(e.items.front(), unknown);
      break;
    case expression::kind_type::word: {
      s64 out = 0;
      for (std::string_view rest = e.word; !rest.empty();) {
        const std::size_t bar = std::min(rest.find('|'), rest.size());
        const std::string_view word = rest.substr(0, bar);
        const auto value = number(word) ? number(word) : constant(word);
        if (!value) {
          if (unknown != nullptr) *unknown = word;
          return std::nullopt;
        }
        out |= *value;
        rest.remove_prefix(std::min(bar + 1, rest.size()));
      }
      return out;
    }
    default: break;
  }
  if (unknown != nullptr) *unknown = "a number";
  return std::nullopt;
}

std::optional<errc> errno_by_name(std::string_view name) {
  const auto value = constant(name == "EWOULDBLOCK" ? "EAGAIN" : name);
  if (!value || !name.starts_with("E")) return std::nullopt;
  return static_cast<errc>(*value);
}

}  // namespace ph::packetdrill
