// What a daemon that died of a bug left in its log, for those who find only its socket.
#pragma once

#include <string>

namespace ph {

/// The log of a lab that runs in the background, beside its control socket.
std::string log_path(const std::string& socket_path);

/// "; it died of a bug: check failed: ... (file.cpp:12); its log: PATH", as far as the log tells;
/// empty when there is none that this user may trust.
std::string obituary(const std::string& socket_path);

/// A new lab begins at the socket: what the log has told until now is no longer the reason of a
/// death.
void end_obituary(const std::string& socket_path);

}  // namespace ph
