// Numbers with units: one decimal number, then one unit out of a short table.
#include "daemon/units.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <span>

namespace ph {
namespace {

struct unit {
  std::string_view name;
  double factor;
};

constexpr unit rate_units[] = {{"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}};
constexpr unit time_units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};

/// The value in base units; nullopt when the text is not "number unit". "0" needs no unit.
std::optional<double> parse_quantity(std::string_view text, std::span<const unit> units) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc()) return std::nullopt;
  const std::string_view name(rest, static_cast<std::size_t>(end - rest));
  if (name.empty() && number == 0) return 0;
  for (const unit& u : units) {
    if (u.name == name) return number * u.factor;
  }
  return std::nullopt;
}

}  // namespace

parsed<bit_rate> parse_rate(std::string_view text) {
  const auto bits = parse_quantity(text, rate_units);
  if (!bits) {
    return tl::unexpected<std::string>("a rate such as 100mbit (units: bit, kbit, mbit, gbit)");
  }
  if (*bits < 1 || *bits > 1e12) {
    return tl::unexpected<std::string>("a rate from 1bit to 1000gbit");
  }
  return bit_rate{static_cast<u64>(std::llround(*bits))};
}

parsed<duration> parse_duration(std::string_view text) {
  const auto ns = parse_quantity(text, time_units);
  if (!ns) return tl::unexpected<std::string>("a time such as 10ms (units: ns, us, ms, s)");
  if (*ns > 3600e9) return tl::unexpected<std::string>("a time of at most 3600s");
  return nanoseconds(std::llround(*ns));
}

parsed<double> parse_percent(std::string_view text) {
  constexpr unit percent[] = {{"%", 0.01}};
  const auto share = parse_quantity(text, percent);
  if (!share) return tl::unexpected<std::string>("a percentage such as 0.5%");
  if (*share > 1) return tl::unexpected<std::string>("a percentage from 0% to 100%");
  return *share;
}

parsed<bool> parse_yes_no(std::string_view text) {
  if (text == "yes" || text == "true") return true;
  if (text == "no" || text == "false") return false;
  return tl::unexpected<std::string>("yes or no");
}

parsed<u64> parse_count(std::string_view text, u64 least, u64 most) {
  u64 number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || rest != end || number < least || number > most) {
    return tl::unexpected<std::string>(fmt::format("a number from {} to {}", least, most));
  }
  return number;
}

}  // namespace ph
