// A lab's daemon as a process of its own, that outlives the `ph` which started it.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "daemon/lab.h"
#include "daemon/serve.h"

namespace ph::cli {

/// Starts `serve` in a new session, its output appended to the file `log`; returns when the lab
/// answers. The daemon is no child of the caller. When `stop` is readable before, the lab ends, and
/// this returns then. Errors: why it did not start.
tl::expected<void, std::string> serve_in_background(const lab& what, serve_options options,
                                                    const std::string& log, int stop);

/// Starts the lab of a single program: one host that has only its loopback. It ends, and its folder
/// goes, when the calling process ends, whatever program that has become by then. Returns the path
/// of its control socket.
tl::expected<std::string, std::string> serve_this_process();

}  // namespace ph::cli
