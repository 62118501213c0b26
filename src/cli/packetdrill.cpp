// `ph packetdrill`: runs scripts in the packetdrill language against the stack, on a virtual clock.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "cli/verb.h"
#include "sim/packetdrill/runner.h"
#include "sim/packetdrill/settings.h"

namespace ph::cli {
namespace {

namespace pd = packetdrill;

const char* outcome_word(pd::outcome o) {
  switch (o) {
    case pd::outcome::pass: return "PASS";
    case pd::outcome::fail: return "FAIL";
    case pd::outcome::skip: return "SKIP";
  }
  return "?";
}

struct settings {
  std::vector<std::string> files;
  std::vector<std::string> defines;
  std::vector<std::pair<std::string, std::string>> options;  ///< as the genuine tool's
  std::string family = "ipv4";
  std::string lenient;
};

/// Runs every file and prints a line for each; returns the exit code.
int run_files(const settings& s) {
  pd::run_options options;
  options.family = s.family == "ipv6"     ? pd::ip_family::ipv6
                   : s.family == "mapped" ? pd::ip_family::mapped
                                          : pd::ip_family::ipv4;
  options.lenient_freebsd = s.lenient == "freebsd";
  options.defines = pd::usual_defines();
  options.options = s.options;
  for (const std::string& define : s.defines) {
    const std::size_t equals = std::min(define.find('='), define.size());
    options.defines.insert(options.defines.begin(),
                           {define.substr(0, equals),
                            equals < define.size() ? define.substr(equals + 1) : ""});
  }
  int counts[3] = {};
  for (const std::string& file : s.files) {
    if (::access(file.c_str(), R_OK) == 0) continue;
    return fail(fmt::format("cannot read {}: {}", file, std::strerror(errno)));
  }
  for (const std::string& file : s.files) {
    options.sysctls = pd::suite_defaults(file);
    const pd::run_report report = pd::run_file(file, options);
    ++counts[static_cast<int>(report.result)];
    fmt::print("{} {}{}{}{}\n", outcome_word(report.result), file,
               report.line > 0 && report.result == pd::outcome::fail
                   ? fmt::format(":{}", report.line) : "",
               report.reason.empty() ? "" : ": ", report.reason);
  }
  fmt::print("{} passed, {} failed, {} skipped\n", counts[0], counts[1], counts[2]);
  return counts[1] == 0 ? 0 : 1;
}

}  // namespace

void add_packetdrill(CLI::App& app, invocation& call) {
  CLI::App* verb = app.add_subcommand("packetdrill", "Run packetdrill scripts on a virtual clock");
  const auto s = std::make_shared<settings>();
  verb->add_option("FILE", s->files, "Scripts (.pkt)")->required();
  verb->add_option("--family", s->family, "ipv4, ipv6 or mapped (IPv4 through IPv6 sockets)")
      ->check(CLI::IsMember({"ipv4", "ipv6", "mapped"}));
  verb->add_option("--lenient", s->lenient,
                   "freebsd: scripts with FreeBSD's windows, option order and setting names")
      ->check(CLI::IsMember({"freebsd"}));
  verb->add_option("-D", s->defines, "NAME=VALUE replaces NAME in the scripts");
  for (const char* name : {"tolerance_usecs", "tolerance_percent", "tcp_ts_tick_usecs", "mtu",
                           "mss", "local_ip", "remote_ip"}) {
    const auto keep = [s, name](const std::string& value) { s->options.emplace_back(name, value); };
    verb->add_option_function<std::string>(std::string("--") + name, keep,
                                           "As packetdrill's; a script's own wins");
  }
  verb->callback([s, &call] { call.exit_code = run_files(*s); });
}

}  // namespace ph::cli
