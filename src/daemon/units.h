// Quantities as people write them in lab files and on the command line: rates ("100mbit"), times
// ("10ms"), shares ("0.5%") and counts ("256"). A quantity without its unit is refused, except
// zero. Does not know what a value is for; callers check their own ranges.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "base/time.h"

namespace ph {

/// A value, or what would have been right ("a time such as 10ms (units: ns, us, ms, s)").
template <class T>
using parsed = tl::expected<T, std::string>;

/// A rate in bit, kbit, mbit or gbit (powers of 1,000, as in tc), from 1bit to 1000gbit.
parsed<bit_rate> parse_rate(std::string_view text);

/// A span of time in ns, us, ms or s, from 0 to 3600s.
parsed<duration> parse_duration(std::string_view text);

/// A share "0%" to "100%", returned as 0.0 to 1.0.
parsed<double> parse_percent(std::string_view text);

/// "yes" or "no", "true" or "false".
parsed<bool> parse_yes_no(std::string_view text);

/// A whole decimal number from `least` to `most`.
parsed<u64> parse_count(std::string_view text, u64 least, u64 most);

}  // namespace ph
