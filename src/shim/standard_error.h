// What the shim itself has to say to the user of a program. The program knows nothing of it, so it
// must not come to harm by it: what descriptor 2 is, only the program knows.
#pragma once

#include <cstddef>

namespace ph::shim {

/// Writes a line to descriptor 2 where that is a terminal, or a pipe that has a reader and room.
/// Never waits, raises no signal, and touches no file and no socket, which hold the program's own
/// data: there the line is left out. At most PIPE_BUF bytes. For signal handlers and vfork
/// children, too.
void say_on_standard_error(const char* line, std::size_t len);

}  // namespace ph::shim
