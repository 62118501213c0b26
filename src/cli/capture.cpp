// `ph capture`: writes what passes devices of the running lab into a pcapng file, until Ctrl-C or
// a number of packets. The daemon sends it to this process, which copies it into the file.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <memory>

#include "cli/verb.h"
#include "daemon/control_client.h"
#include "daemon/socket_path.h"

namespace ph::cli {
namespace {

struct capture_options {
  capture_request request;
  std::string file;
};

/// A descriptor that becomes readable instead of SIGINT, SIGTERM and SIGHUP ending the
/// process.
unique_fd catch_stop_signals() {
  sigset_t stop;
  ::sigemptyset(&stop);
  ::sigaddset(&stop, SIGINT);
  ::sigaddset(&stop, SIGTERM);
  ::sigaddset(&stop, SIGHUP);
  ::sigprocmask(SIG_BLOCK, &stop, nullptr);
  return unique_fd(::signalfd(-1, &stop, SFD_CLOEXEC));
}

/// What is wrong with a number of packets or bytes; empty: nothing.
template <class T>
std::string not_a_count(const std::string& text) {
  T value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && stop == end) return {};
  return fmt::format("expected a whole number up to {}, not {}", std::numeric_limits<T>::max(),
                     text);
}

int capture(const invocation& call, const capture_options& options) {
  const auto path = lab_socket_path(call.socket);
  if (!path) return fail(path.error());
  auto client = control_client::connect(*path);
  if (!client) return fail(client.error());
  const bool to_stdout = options.file == "-";
  const unique_fd output(
      to_stdout ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                : ::open(options.file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!output) {
    return fail(fmt::format("cannot write {}: {}", options.file, std::strerror(errno)));
  }
  const unique_fd stop = catch_stop_signals();
  if (!stop) return fail(fmt::format("cannot watch for signals: {}", std::strerror(errno)));
  if (const auto begun = client->start_capture(options.request, output.get()); !begun) {
    return fail(begun.error());
  }
  fmt::print(stderr, "capturing on {}; Ctrl-C ends it\n", fmt::join(options.request.on, ", "));
  if (const auto ended = client->wait_capture(stop.get()); !ended) return fail(ended.error());
  const auto result = client->finish_capture();
  if (!result) return fail(result.error());
  fmt::print(stderr, "{} packet{}{}\n", result->packets, result->packets == 1 ? "" : "s",
             to_stdout ? "" : " in " + options.file);
  if (result->left_out > 0) {
    fmt::print(stderr, "{} more were left out: the output did not take them fast enough\n",
               result->left_out);
  }
  return 0;
}

}  // namespace

void add_capture(CLI::App& app, invocation& call) {
  CLI::App* verb = app.add_subcommand("capture", "Write packets of the running lab to a file");
  add_socket_option(*verb, call);
  const auto options = std::make_shared<capture_options>();
  verb->add_option("--on", options->request.on,
                   "Where: host:device, host for all its devices, or any")
      ->required()
      ->allow_extra_args(false)
      ->type_name("WHERE");
  verb->add_option("-w,--write", options->file, "pcapng file to write; - is standard output")
      ->required()
      ->type_name("FILE");
  verb->add_option("-c,--packets", options->request.packets, "End after so many packets")
      ->check(not_a_count<decltype(options->request.packets)>)
      ->type_name("N");
  verb->add_option("-s,--snaplen", options->request.snaplen, "Keep so many bytes of each packet")
      ->check(not_a_count<decltype(options->request.snaplen)>)
      ->type_name("BYTES");
  verb->callback([&call, options] { call.exit_code = capture(call, *options); });
}

}  // namespace ph::cli
