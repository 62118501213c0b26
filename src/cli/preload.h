// The preload shim as `ph run` sees it: where it lies and which programs it can reach.
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace ph::cli {

/// The path of libph_preload.so: beside `ph` in a build tree, in lib*/posthaste when installed.
/// Errors: a sentence for the user.
tl::expected<std::string, std::string> find_preload();

/// Where execvp(3) would find a program; empty if nowhere.
std::string find_in_path(const std::string& program);

/// True for an ELF program without an interpreter: LD_PRELOAD has no effect on it.
bool is_static_program(const std::string& path);

/// LD_PRELOAD's value with the shim first and what the user had there behind it.
std::string preload_value(const std::string& shim, const char* present);

}  // namespace ph::cli
