// The `ph` program: reads the command line and hands over to one verb. Everything about a lab
// happens in its daemon; the verbs ask it over the control socket.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "cli/verb.h"

namespace ph::cli {

void say(const std::string& what) {
  const std::string line = fmt::format("ph: {}\n", what);
  std::fputs(line.c_str(), stderr);  // fmt::print() throws when standard error takes nothing
}

int fail(const std::string& why) {
  say(why);
  return exit_failed;
}

void add_socket_option(CLI::App& verb, invocation& call) {
  verb.add_option("--socket", call.socket, "The lab's control socket (default: a private one)")
      ->type_name("PATH");
}

namespace {

/// Descriptors 0 to 2 that came closed lead nowhere, or the first files opened here would be taken
/// for them. The program of `ph run` gets them closed, as they were.
void fill_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0) static_cast<void>(::open("/dev/null", O_RDWR | O_CLOEXEC));
  }
}

/// What was printed must have arrived: a full disk, or a reader that is gone, is a failure.
int finish_output(int exit_code) {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return exit_code;
  const int error = errno;
  const int failed = fail(fmt::format("cannot write to standard output: {}",
                                      error != 0 ? std::strerror(error) : "an error"));
  return exit_code == 0 ? failed : exit_code;
}

/// Cuts PROGRAM and its arguments off the command line of `run`: they begin after "--" or at the
/// first word that is no option, and none of them is ours to interpret.
std::vector<std::string> cut_program(std::vector<std::string>& words) {
  std::vector<std::string> program;
  std::size_t verb = 0;  // --socket may stand before it
  while (verb < words.size() && words[verb].starts_with("--socket")) {
    verb += words[verb] == "--socket" ? 2 : 1;
  }
  if (verb >= words.size() || words[verb] != "run") return program;
  std::size_t i = verb + 1;
  for (; i < words.size() && words[i] != "--" && words[i].starts_with('-'); ++i) {
    if (words[i] == "--host" || words[i] == "--socket") ++i;
  }
  if (i >= words.size()) return program;
  const std::size_t first = words[i] == "--" ? i + 1 : i;
  program.assign(words.begin() + static_cast<std::ptrdiff_t>(first), words.end());
  words.resize(i);
  return program;
}

/// One line on what is wrong with the command line, one on where to read more.
std::string usage_error(const CLI::App* app, const CLI::Error& error) {
  const CLI::App* about = app;
  std::string named = "ph";
  while (!about->get_subcommands().empty()) {
    about = about->get_subcommands().front();
    named += " " + about->get_name();
  }
  std::string verbs;
  for (const CLI::App* verb : about->get_subcommands({})) verbs += " " + verb->get_name();
  const bool needs_verb =
      dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && !verbs.empty();
  const std::vector<std::string> unknown =
      needs_verb ? about->remaining() : std::vector<std::string>();
  const std::string instead = unknown.empty() ? "" : fmt::format("`{}` is no verb; ", unknown[0]);
  const std::string what = needs_verb ? instead + "expected one of:" + verbs : error.what();
  return fmt::format("ph: {}\n`{} --help` says more\n", what, named);
}

int run_command_line(int argc, char** argv) {
  CLI::App app{"posthaste: a Linux-like network stack in user space, and labs made of it.", "ph"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "ph " PH_VERSION);
  app.failure_message(usage_error);
  invocation call;
  app.add_option("--socket", call.socket, "As of the verbs that know it")->type_name("PATH");
  add_up(app, call);
  add_run(app, call);
  add_status(app, call);
  add_capture(app, call);
  add_journey(app, call);
  add_down(app, call);
  add_packetdrill(app, call);
  add_sim(app, call);
  std::vector<std::string> words(argv + 1, argv + argc);
  call.program = cut_program(words);
  if (!words.empty() && words[0] == "help") {
    words.erase(words.begin());
    words.emplace_back("--help");
  }
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? finish_output(0) : exit_usage;
  }
  return finish_output(call.exit_code);
}

}  // namespace
}  // namespace ph::cli

int main(int argc, char** argv) {
  ph::cli::fill_standard_descriptors();
  try {
    return ph::cli::run_command_line(argc, argv);
  } catch (const std::exception& error) {
    return ph::cli::fail(error.what());
  }
}
