// The preload shim as `ph run` sees it: where it lies, and how the loader is told.
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace ph::cli {

/// The path of libph_preload.so: beside `ph` in a build tree, in lib*/posthaste when installed.
/// Where that path has characters that LD_PRELOAD cannot hold, a link to it in the user's private
/// folder. For root, whose programs become other users, a copy under /tmp unless everybody can
/// reach it.
/// Errors: a sentence for the user.
tl::expected<std::string, std::string> find_preload();

/// Where execvp(3) would find a program; empty if nowhere.
std::string find_in_path(const std::string& program);

/// LD_PRELOAD's value with the shim first and what the user had there behind it.
std::string preload_value(const std::string& shim, const char* present);

/// ASAN_OPTIONS' value with what a program with the shim in it needs, and what the user had there.
std::string asan_value(const char* present);

}  // namespace ph::cli
