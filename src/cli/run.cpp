// `ph run`: starts a program as a process of one of the lab's hosts. It becomes the program (exec),
// so terminal, signals, exit code and process id are the program's own.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "cli/background.h"
#include "cli/preload.h"
#include "cli/verb.h"
#include "daemon/control_client.h"
#include "daemon/protocol.h"
#include "daemon/socket_path.h"
#include "platform/asan_options.h"
#include "platform/machine_settings.h"
#include "platform/program_file.h"
#include "platform/socket_filter.h"
#include "platform/unique_fd.h"

namespace ph::cli {
namespace {

/// Becomes the program, which lies at `path`; returns only an exit code for why it could not.
int execute(const std::vector<std::string>& words, const std::string& path,
            const program_file& file) {
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  if (file.reach == preload_reach::by_loader) {
    std::vector<const char*> with_loader(argv.size() + loader_words);
    loader_arguments(file, path.c_str(), argv.data(), with_loader.data());
    ::execv(with_loader[0], const_cast<char* const*>(with_loader.data()));
  } else {
    ::execvp(argv[0], argv.data());
  }
  const int error = errno;
  say(fmt::format("{}: {}", words[0], error == ENOENT ? "no such program" : std::strerror(error)));
  return error == ENOENT ? exit_not_found : exit_not_executable;
}

/// A lab's programs and its daemon meet at names that belong to a network namespace of the
/// machine. True when this process is in the daemon's.
bool meets_daemon(const std::string& address) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  if (!address.starts_with('@') || address.size() >= sizeof at.sun_path) return true;
  std::memcpy(at.sun_path + 1, address.data() + 1, address.size() - 1);
  const auto len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  const unique_fd s(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return !s || ::connect(s.get(), reinterpret_cast<const sockaddr*>(&at), len) == 0 ||
         errno != ECONNREFUSED;
}

/// A user namespace without a map of users shows everybody as nobody: programs in it would not know
/// the lab's daemon from an impostor.
bool knows_users() {
  std::ifstream map("/proc/self/uid_map");
  return !map || map.peek() != std::ifstream::traits_type::eof();
}

/// The control socket of the lab in which the program shall run. When nobody said which and none is
/// running, that is a lab of the program's own.
tl::expected<std::string, std::string> lab_of(const invocation& call, const std::string& host) {
  auto path = lab_socket_path(call.socket);
  const bool chosen =
      !call.socket.empty() || !host.empty() || std::getenv(lab_socket_variable) != nullptr;
  if (chosen || (path && control_client::somebody_listens(*path))) return path;
  if (::isatty(STDERR_FILENO) == 1) {
    say("no lab is running: the program gets a host with only its loopback");
  }
  return serve_this_process();
}

/// What the shim does not see must not reach this machine's network. This also takes the rights
/// that set-uid programs and file capabilities (ping) would give: the loader drops LD_PRELOAD for
/// such programs, and the lab's host grants what they need.
void close_ways_out() {
  if (::geteuid() == 0 && !seal_machine_settings()) {
    say("this machine lets nobody mount here: what the shim does not see, such as system calls "
        "that a program makes itself, may change this machine's network settings");
  }
  const auto filtered = install_socket_filter();
  if (filtered) return;
  const auto why = errc_name(filtered.error());
  say(fmt::format(
      "this kernel takes no system-call filter ({}): what the shim does not see, such as "
      "system calls that a program makes itself, reaches this machine's network",
      why));
}

/// Puts into the environment what makes a program one of the lab's.
tl::expected<void, std::string> enter_lab(const std::string& path, const std::string& host,
                                          const std::string& shim) {
  if (!knows_users()) {
    return tl::unexpected(std::string(
        "this user namespace maps no users, so programs in it cannot tell whose lab it is: map "
        "them (`unshare --map-root-user`), or run outside of it"));
  }
  auto client = control_client::connect(path);
  if (!client) return tl::unexpected(client.error());
  const auto environment = client->run_env(host);
  if (!environment) return tl::unexpected(environment.error());
  for (const auto& [name, value] : *environment) {
    if (name == dropin::env_socket && !meets_daemon(value)) {
      return tl::unexpected(fmt::format(
          "the lab at {} runs in another network namespace of this machine, where its programs "
          "cannot meet it: start `ph run` in the namespace in which `ph up` was started",
          path));
    }
    ::setenv(name.c_str(), value.c_str(), 1);
  }
  // The program may change its folder.
  std::error_code ignored;
  const std::string from_everywhere = std::filesystem::absolute(path, ignored).string();
  ::setenv(lab_socket_variable, from_everywhere.c_str(), 1);
  // Containers have it in the environment, and shells believe it.
  const char* const own_name = std::getenv(dropin::env_host);
  if (own_name != nullptr && std::getenv("HOSTNAME") != nullptr) ::setenv("HOSTNAME", own_name, 1);
  ::setenv("LD_PRELOAD", preload_value(shim, std::getenv("LD_PRELOAD")).c_str(), 1);
  ::setenv(asan_variable, asan_value(std::getenv(asan_variable)).c_str(), 1);
  return {};
}

/// Advice on a program that will not do what it is started for; nullptr for others.
const char* better_way(const std::vector<std::string>& words) {
  const std::string name = std::filesystem::path(words[0]).filename().string();
  const auto reads_a_file = [](const std::string& word) { return word.starts_with("-r"); };
  if (std::any_of(words.begin(), words.end(), reads_a_file)) return nullptr;
  for (const char* const sniffer : {"tcpdump", "tshark", "dumpcap", "wireshark", "ngrep"}) {
    if (name != sniffer) continue;
    return "hosts have no packet sockets: `ph capture --on HOST:DEVICE -w - | tcpdump -r -` shows "
           "a host's packets";
  }
  if (name != "valgrind") return nullptr;
  return "valgrind's own programs are static, so the lab's library cannot be loaded into them: "
         "build the program with a sanitizer instead";
}

int run(const invocation& call, const std::string& host) {
  const auto shim = find_preload();
  if (!shim) return fail(shim.error());
  const std::string program = find_in_path(call.program[0]);
  program_file file;
  if (!program.empty()) inspect_program(AT_FDCWD, program.c_str(), file);
  if (const char* why = why_not_preloaded(file.reach)) {
    const std::string runs = program_of(file, program.c_str());
    say(file.levels == 0 ? fmt::format("{} {}", program, why)
                         : fmt::format("{} is run by {}, which {}", program, runs, why));
    return exit_not_executable;
  }
  if (const char* const instead = better_way(call.program)) say(instead);
  const auto path = lab_of(call, host);
  if (!path) return fail(path.error());
  if (const auto entered = enter_lab(*path, host, *shim); !entered) return fail(entered.error());
  close_ways_out();
  return execute(call.program, program, file);
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
