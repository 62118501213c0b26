// `ph down`: ends the running lab.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "cli/verb.h"
#include "daemon/control_client.h"
#include "daemon/socket_path.h"

namespace ph::cli {

namespace {

std::string some_of(const std::vector<std::string>& programs) {
  constexpr std::size_t most = 10;
  const std::size_t shown = std::min(programs.size(), most);
  std::string names = fmt::format(
      "{}", fmt::join(programs.begin(), programs.begin() + static_cast<long>(shown), ", "));
  if (shown < programs.size()) names += fmt::format(" and {} more", programs.size() - shown);
  return names;
}

}  // namespace

std::string programs_text(const std::vector<std::string>& ended,
                          const std::vector<std::string>& left) {
  std::string out;
  if (!ended.empty()) out += ", and its programs: " + some_of(ended);
  if (!left.empty()) out += "; without a network still run: " + some_of(left);
  return out;
}

namespace {

int down(const invocation& call, bool keep_programs) {
  const auto path = lab_socket_path(call.socket);
  if (!path) return fail(path.error());
  auto client = control_client::connect(*path);
  if (!client) return fail(client.error());
  const auto ended = client->down(keep_programs);
  if (!ended) return fail(ended.error());
  fmt::print("the lab has ended{}\n", programs_text(ended->ended, ended->left));
  return 0;
}

}  // namespace

void add_down(CLI::App& app, invocation& call) {
  CLI::App* verb = app.add_subcommand("down", "End the running lab");
  add_socket_option(*verb, call);
  const auto keep = std::make_shared<bool>(false);
  verb->add_flag("--keep-programs", *keep, "Leave the lab's programs running, without a network");
  verb->callback([&call, keep] { call.exit_code = down(call, *keep); });
}

}  // namespace ph::cli
