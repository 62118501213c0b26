// `ph down`: ends the running lab.
#include <fmt/format.h>

#include "cli/verb.h"
#include "daemon/control_client.h"
#include "daemon/socket_path.h"

namespace ph::cli {
namespace {

int down(const invocation& call) {
  const auto path = lab_socket_path(call.socket);
  if (!path) return fail(path.error());
  auto client = control_client::connect(*path);
  if (!client) return fail(client.error());
  if (const auto ended = client->down(); !ended) return fail(ended.error());
  fmt::print("the lab has ended\n");
  return 0;
}

}  // namespace

void add_down(CLI::App& app, invocation& call) {
  CLI::App* verb = app.add_subcommand("down", "End the running lab");
  add_socket_option(*verb, call);
  verb->callback([&call] { call.exit_code = down(call); });
}

}  // namespace ph::cli
