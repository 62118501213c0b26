// Names that scripts use for numbers (SOL_SOCKET, EINPROGRESS, TCP_CA_Open), and the little
// Python of %{ }% blocks.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/byteorder.h"
#include "sim/packetdrill/script.h"

namespace ph::packetdrill {

/// The value of a constant, if known.
std::optional<s64> constant(std::string_view name);
/// The value of "A|B|3" or a number; nullopt when a name is unknown (its name in *unknown).
std::optional<s64> evaluate(const expression& e, std::string* unknown);
/// errno by name ("EAGAIN"); nullopt when unknown.
std::optional<errc> errno_by_name(std::string_view name);

/// A number of Python: whole or real.
struct py_number {
  bool is_real = false;
  s64 whole = 0;
  double real = 0;
};

/// Variables of the code blocks of one script: tcpi_* are set anew before each block.
using variables = std::map<std::string, py_number, std::less<>>;
/// Runs assertions, assignments and prints. Returns the reason for a failure, empty when all
/// hold.
std::string run_code(std::string_view code, variables& vars);

}  // namespace ph::packetdrill
