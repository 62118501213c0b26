// What the verbs of `ph` share: exit codes, the way they fail, and the state of one invocation.
// A verb is one file: its add_ function declares its options and what it does.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace ph::cli {

/// Exit codes besides a program's own (128 + N when signal N ended it), as env(1) has them.
inline constexpr int exit_usage = 2;
inline constexpr int exit_failed = 125;
inline constexpr int exit_not_executable = 126;
inline constexpr int exit_not_found = 127;

/// One run of `ph`.
struct invocation {
  std::vector<std::string> program;  // what follows `run`'s options
  std::string socket;                // --socket, or empty
  int exit_code = 0;
};

/// Says "ph: what" on standard error; fails silently when nobody can hear it.
void say(const std::string& what);

/// Says why; returns exit_failed.
int fail(const std::string& why);

/// The rest of "the lab has ended": programs ("12 (nginx)") that ended with it, and that run on.
std::string programs_text(const std::vector<std::string>& ended,
                          const std::vector<std::string>& left);

/// Adds --socket to a verb.
void add_socket_option(CLI::App& verb, invocation& call);

void add_capture(CLI::App& app, invocation& call);
void add_down(CLI::App& app, invocation& call);
void add_journey(CLI::App& app, invocation& call);
void add_packetdrill(CLI::App& app, invocation& call);
void add_run(CLI::App& app, invocation& call);
void add_sim(CLI::App& app, invocation& call);
void add_status(CLI::App& app, invocation& call);
void add_up(CLI::App& app, invocation& call);

}  // namespace ph::cli
