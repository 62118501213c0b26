// `ph status`: what the running lab is and has done, for people or (--json) for programs.
#include <fmt/format.h>

#include <iterator>
#include <memory>
#include <string_view>

#include "cli/verb.h"
#include "daemon/control_client.h"
#include "daemon/socket_path.h"

namespace ph::cli {
namespace {

using nlohmann::json;

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

u64 number_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<u64>() : 0;
}

const json& list_of(const json& object, const char* key, const json& empty) {
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : empty;
}

/// "1 socket", "2 sockets".
std::string counted(u64 n, std::string_view what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

/// Bytes with three digits: "812 B", "1.2 kB", "34 MB".
std::string bytes_text(u64 bytes) {
  constexpr std::string_view units[] = {"B", "kB", "MB", "GB", "TB"};
  double amount = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; amount >= 999.5 && unit + 1 < std::size(units); ++unit) amount /= 1000;
  return fmt::format("{:.{}f} {}", amount, unit > 0 && amount < 9.95 ? 1 : 0, units[unit]);
}

/// " (tcp 3, udp 1)".
std::string sockets_text(const json& host) {
  std::string out;
  const auto found = host.find("sockets_by_protocol");
  if (found == host.end() || !found->is_object()) return out;
  for (const auto& [protocol, n] : found->items()) {
    if (!n.is_number()) continue;
    out += fmt::format("{}{} {}", out.empty() ? " (" : ", ", protocol, n.get<u64>());
  }
  return out.empty() ? out : out + ")";
}

void print_device(const json& device, const json& empty) {
  std::string addresses;
  for (const json& address : list_of(device, "addresses", empty)) {
    if (!address.is_string()) continue;
    addresses += (addresses.empty() ? "" : " ") + address.get<std::string>();
  }
  const bool up = device.value("up", json(false)) == true;
  // Its TAP was deleted, or the other end of its wire is down.
  const bool cut = device.value("carrier", json(true)) == false;
  const u64 dropped = number_of(device, "rx_dropped") + number_of(device, "tx_dropped");
  fmt::print("  {:<15} {:<5} {:<18} in {:>9} pkt {:>7}   out {:>9} pkt {:>7}{}\n",
             text_of(device, "name"),
             !up   ? "down"
             : cut ? "no-carrier"
                   : "up",
             addresses, number_of(device, "rx_packets"), bytes_text(number_of(device, "rx_bytes")),
             number_of(device, "tx_packets"), bytes_text(number_of(device, "tx_bytes")),
             dropped == 0 ? "" : fmt::format("   {} dropped", dropped));
}

void print_status(const json& status) {
  const json empty = json::array();
  const std::string lab = text_of(status, "lab");
  fmt::print("lab {}: up {} s, seed {}, pid {}\n", lab.empty() ? "without a file" : lab,
             number_of(status, "uptime_s"), number_of(status, "seed"), number_of(status, "pid"));
  for (const json& host : list_of(status, "hosts", empty)) {
    if (const std::string death = text_of(host, "dead"); !death.empty()) {
      fmt::print("{}: dead since {:.3f} s: {}\n", text_of(host, "name"),
                 host.value("died_at_s", 0.0), death);
      continue;
    }
    fmt::print("{}: {}, {}{}\n", text_of(host, "name"), counted(number_of(host, "cpus"), "cpu"),
               counted(number_of(host, "sockets"), "socket"), sockets_text(host));
    for (const json& device : list_of(host, "devices", empty)) print_device(device, empty);
  }
}

int status(const invocation& call, bool as_json) {
  const auto path = lab_socket_path(call.socket);
  if (!path) return fail(path.error());
  auto client = control_client::connect(*path);
  if (!client) return fail(client.error());
  const auto status = client->status();
  if (!status) return fail(status.error());
  if (as_json) {
    fmt::print("{}\n", status->dump(2, ' ', false, json::error_handler_t::replace));
  } else {
    print_status(*status);
  }
  return 0;
}

}  // namespace

void add_status(CLI::App& app, invocation& call) {
  CLI::App* verb = app.add_subcommand("status", "Show the running lab");
  add_socket_option(*verb, call);
  const auto as_json = std::make_shared<bool>(false);
  verb->add_flag("--json", *as_json, "Everything, as JSON (docs/control.md)");
  verb->callback([&call, as_json] { call.exit_code = status(call, *as_json); });
}

}  // namespace ph::cli
