// What a composition may define to go on without the machine in which a check failed. Nothing calls
// it but check_failed(); without a definition the process ends there.
#pragma once

namespace ph {

/// Called with the words of the check that failed. Leaves by longjmp, or returns: then the process
/// ends. The call chain below it is never returned to.
[[gnu::weak]] void on_check_failed(const char* expression, const char* file, int line);

}  // namespace ph
