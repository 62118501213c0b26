// The lines of a script that its #ifdef, #ifndef, #else and #endif choose.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sim/packetdrill/script.h"

namespace ph::packetdrill {

/// The text with the lines that are not chosen left empty, so that the numbers of the others stay.
/// `defined`: the names that count as defined, besides those that the text defines itself.
tl::expected<std::string, script_error> choose_lines(std::string_view text,
                                                     std::vector<std::string> defined);

}  // namespace ph::packetdrill
