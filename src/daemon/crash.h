// What a dying daemon says: which signal, and the calls that led there.
#pragma once

namespace ph {

/// Handles SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT (a failed check has printed itself by then)
/// where nobody else, such as a sanitizer, does; then lets the process die of the signal.
void install_crash_handler();

}  // namespace ph
