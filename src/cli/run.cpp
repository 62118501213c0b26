// `ph run`: starts a program as a process of one of the lab's hosts. It becomes the program (exec),
// so terminal, signals, exit code and process id are the program's own.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "cli/background.h"
#include "cli/preload.h"
#include "cli/verb.h"
#include "daemon/control_client.h"
#include "daemon/socket_path.h"
#include "platform/socket_filter.h"

namespace ph::cli {
namespace {

/// Becomes the program; returns only an exit code for why it could not.
int execute(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  const int error = errno;
  fmt::print(stderr, "ph: {}: {}\n", words[0],
             error == ENOENT ? "no such program" : std::strerror(error));
  return error == ENOENT ? exit_not_found : exit_not_executable;
}

/// The control socket of the lab in which the program shall run. When nobody said which and none is
/// running, that is a lab of the program's own.
tl::expected<std::string, std::string> lab_of(const invocation& call, const std::string& host) {
  auto path = lab_socket_path(call.socket);
  const bool chosen =
      !call.socket.empty() || !host.empty() || std::getenv(lab_socket_variable) != nullptr;
  if (!path || chosen || control_client::somebody_listens(*path)) return path;
  if (::isatty(STDERR_FILENO) == 1) {
    fmt::print(stderr, "ph: no lab is running: the program gets a host with only its loopback\n");
  }
  return serve_this_process();
}

/// What the shim does not see must not reach this machine's network. It also takes the rights that
/// set-uid programs and file capabilities (ping) would give: the loader drops LD_PRELOAD for such
/// programs, and the lab's host grants what they need.
void close_ways_out() {
  const auto filtered = install_socket_filter();
  if (filtered) return;
  fmt::print(stderr,
             "ph: this kernel takes no system-call filter ({}): what the shim does not see, such as "
             "system calls that a program makes itself, reaches this machine's network\n",
             errc_name(filtered.error()));
}

int run(const invocation& call, const std::string& host) {
  const auto shim = find_preload();
  if (!shim) return fail(shim.error());
  const std::string program = find_in_path(call.program[0]);
  if (!program.empty() && is_static_program(program)) {
    return fail(fmt::format("{} is statically linked: its sockets would be this machine's, not "
                            "the lab's; use a dynamically linked build of it",
                            program));
  }
  const auto path = lab_of(call, host);
  if (!path) return fail(path.error());
  auto client = control_client::connect(*path);
  if (!client) return fail(client.error());
  const auto environment = client->run_env(host);
  if (!environment) return fail(environment.error());
  for (const auto& [name, value] : *environment) ::setenv(name.c_str(), value.c_str(), 1);
  ::setenv(lab_socket_variable, path->c_str(), 1);
  ::setenv("LD_PRELOAD", preload_value(*shim, std::getenv("LD_PRELOAD")).c_str(), 1);
  close_ways_out();
  return execute(call.program);
}

}  // namespace

void add_run(CLI::App& app, invocation& call) {
  CLI::App* verb = app.add_subcommand(
      "run", "Run a program on a host: ph run [--host HOST] -- PROGRAM [ARGUMENT...]");
  add_socket_option(*verb, call);
  const auto host = std::make_shared<std::string>();
  verb->add_option("--host", *host, "The host; not needed when the lab has only one")
      ->type_name("HOST");
  verb->footer("The exit code is the program's own; 125: ph failed, 126 and 127: as env(1).");
  verb->callback([&call, host] {
    if (call.program.empty()) throw CLI::RequiredError("PROGRAM");
    call.exit_code = run(call, *host);
  });
}

}  // namespace ph::cli
