// `ph up`: runs a lab, here or (--detach) as a daemon of its own.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "cli/background.h"
#include "cli/held_signals.h"
#include "cli/verb.h"
#include "daemon/control_client.h"
#include "daemon/lab.h"
#include "daemon/leftovers.h"
#include "daemon/obituary.h"
#include "daemon/serve.h"
#include "daemon/socket_path.h"

namespace ph::cli {
namespace {

struct up_options {
  std::string file;
  bool detach = false;
  bool keep_programs = false;
};

std::string started(const lab& l, const std::string& path) {
  return fmt::format("{} host{}, {} link{}: up at {}\n", l.hosts.size(),
                     l.hosts.size() == 1 ? "" : "s", l.links.size(), l.links.size() == 1 ? "" : "s",
                     path);
}

int up(const invocation& call, const up_options& options) {
  const auto loaded = load_lab(options.file);
  if (!loaded) return fail(loaded.error().to_string());
  const auto path = lab_socket_path(call.socket);
  if (!path) return fail(path.error());
  sweep_leftovers();
  serve_options serving;
  serving.socket_path = *path;
  serving.lab_name = options.file;
  serving.end_programs = !options.keep_programs;
  if (options.detach) {
    // An interrupted start leaves no lab, or says that there is one.
    const held_signals held;
    const std::string log = log_path(*path);
    const auto ready = serve_in_background(*loaded, serving, log, held.fd());
    if (!ready) return fail(ready.error());
    fmt::print("{}its log: {}\n", started(*loaded, *path), log);
    if (std::fflush(stdout) == 0) return 0;
    // Who is not told that the lab is up gives up, and would leave it behind.
    const int error = errno;
    if (auto client = control_client::connect(*path)) static_cast<void>(client->down(false));
    return fail(fmt::format("cannot write to standard output: {}; the lab has ended",
                            std::strerror(error)));
  }
  serving.on_ready = [&] {
    fmt::print("{}Ctrl-C ends it\n", started(*loaded, *path));
    std::fflush(stdout);
  };
  serving.on_programs = [](const std::vector<lab_process>& all) {
    std::vector<std::string> ended, left;
    for (const lab_process& p : all) {
      (p.has_ended() ? ended : left).push_back(fmt::format("{} ({})", p.pid, p.name));
    }
    fmt::print("the lab has ended{}\n", programs_text(ended, left));
  };
  if (const auto served = serve(*loaded, serving); !served) return fail(served.error());
  return 0;
}

}  // namespace

void add_up(CLI::App& app, invocation& call) {
  CLI::App* verb = app.add_subcommand("up", "Start a lab");
  add_socket_option(*verb, call);
  const auto options = std::make_shared<up_options>();
  verb->add_option("FILE,-f,--file", options->file, "The lab file (docs/lab.md)")
      ->type_name("FILE");
  verb->add_flag("--detach", options->detach, "Return when it is up, and leave it running");
  verb->add_flag("--keep-programs", options->keep_programs,
                 "When the lab ends, leave its programs running");
  verb->callback([&call, options] {
    if (options->file.empty()) throw CLI::RequiredError("FILE");
    call.exit_code = up(call, *options);
  });
}

}  // namespace ph::cli
