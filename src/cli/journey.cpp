// `ph journey`: the story of one packet of the running lab, function by function and host by host.
#include <fmt/format.h>

#include <memory>

#include "cli/verb.h"
#include "daemon/control_client.h"
#include "daemon/socket_path.h"

namespace ph::cli {
namespace {

struct journey_options {
  u64 wait_s = 10;
  bool as_json = false;
};

int journey(const invocation& call, const journey_options& options) {
  const auto path = lab_socket_path(call.socket);
  if (!path) return fail(path.error());
  auto client = control_client::connect(*path);
  if (!client) return fail(client.error());
  const auto still_waiting = [&] {
    fmt::print(stderr, "waiting up to {} s for a packet that goes from one host to another ...\n",
               options.wait_s);
  };
  auto story = client->journey(options.wait_s, still_waiting);
  if (!story) return fail(story.error());
  if (options.as_json) {
    fmt::print("{}\n", story->dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return 0;
  }
  const auto lines = story->find("text");
  if (lines == story->end() || !lines->is_array()) return fail("the lab told no story");
  for (const auto& line : *lines) {
    if (line.is_string()) fmt::print("{}\n", line.get<std::string>());
  }
  return 0;
}

}  // namespace

void add_journey(CLI::App& app, invocation& call) {
  CLI::App* verb = app.add_subcommand("journey", "Show the way of one packet through the lab");
  add_socket_option(*verb, call);
  const auto options = std::make_shared<journey_options>();
  verb->add_option("--wait", options->wait_s, "Wait so long for a packet between hosts (10)")
      ->type_name("SECONDS")
      ->check(CLI::Range(1, 600));
  verb->add_flag("--json", options->as_json, "Every step with all its values, as JSON");
  verb->callback([&call, options] { call.exit_code = journey(call, *options); });
}

}  // namespace ph::cli
