// The daemon's front door: runs one lab in the calling process until it is told to end.
#pragma once

#include <functional>
#include <string>
#include <tl/expected.hpp>

#include "daemon/lab.h"
#include "daemon/lab_processes.h"

namespace ph {

struct serve_options {
  std::string socket_path;        // control socket (daemon/socket_path.h)
  std::string lab_name;           // the lab file as the user named it; shown by status
  int until_readable = -1;        // a descriptor (such as a pidfd) whose readability ends the lab
  std::function<void()> on_ready; // called once the control socket answers
  std::function<void()> on_end;   // called when all has ended, before it is told to clients
  bool end_programs = true;       // at the lab's end, unless `down` says otherwise
  duration grace = seconds(2);    // then they are killed, or as soon as the end is asked for again
  /// Called at the end with the programs that there were; some may run on.
  std::function<void(const std::vector<lab_process>& all)> on_programs;
};

/// Builds the lab's hosts and links and serves programs and control requests. Returns when a
/// `down` request, SIGTERM, SIGINT or `until_readable` ended it; the lab's programs have a grace to
/// end as well, with their network. The caller has started no
/// threads and blocked no signals. Errors: why it could not start, a sentence for the user.
tl::expected<void, std::string> serve(const lab& what, const serve_options& options);

}  // namespace ph
