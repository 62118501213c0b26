// What the requests of the control protocol do (docs/control.md).
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <set>

#include "daemon/anchor.h"
#include "daemon/server.h"
#include "daemon/status.h"

namespace ph {
namespace {

using nlohmann::json;

constexpr u64 longest_journey_wait_s = 600;
constexpr std::ptrdiff_t most_captures = 32;

}  // namespace

/// An answer is made of many small pieces, which is no place to find that there is no memory: there
/// is enough for it, or it is not begun.
void server::serve_request(connection& c, const control_request& request) {
  const std::string verb = request.text("verb");
  if (reserve_->nearly_out() && verb != "down") return say_no_memory(c);
  if (verb == "status") return do_status(c);
  if (verb == "attach") return do_attach(c, request);
  if (verb == "capture") return do_capture(c, request);
  if (verb == "journey") return do_journey(c, request);
  if (verb == "trace") return do_trace(c, request);
  if (verb == "down") return do_down(c, request);
  c.line.refuse(fmt::format("unknown verb '{}'", verb));
}

void server::do_status(connection& c) {
  json answer = lab_status(*lab_);
  answer["ok"] = true;
  answer["lab"] = options_.lab_name;
  answer["pid"] = ::getpid();
  answer["uptime_s"] = lab_now().ns / 1'000'000'000;
  answer["socket"] = listener_.path();
  answer["program_sockets"] = programs_->socket_count();
  c.line.answer(answer);
}

void server::do_attach(connection& c, const control_request& request) {
  const std::string name = request.text("host");
  sim::host* const where = lab_->find_host(name);
  if (where == nullptr) return c.line.refuse(lab_->no_such_host(name));
  if (where->dead()) return c.line.refuse(lab_->dead_host(*where));
  attached_.add(c.line.peer());
  json environment = json::object();
  for (const auto& [key, value] : programs_->environment(*where)) environment[key] = value;
  c.line.answer({{"ok", true}, {"env", environment}});
}

tl::expected<std::vector<capture_place>, std::string> server::capture_places(
    const std::vector<std::string>& on) {
  std::vector<capture_place> out;
  std::set<const net_device*> present;
  const auto add = [&](sim::host& h, net_device& dev) {
    if (present.insert(&dev).second) out.push_back({&dev, h.name() + ":" + dev.name()});
  };
  if (on.empty()) {
    return tl::unexpected(std::string("capture where? on: [\"host:device\", ...]"));
  }
  for (const std::string& place : std::set<std::string>(on.begin(), on.end())) {
    const std::size_t colon = place.find(':');
    const bool everywhere = place == "any";
    sim::host* const one = everywhere ? nullptr : lab_->find_host(place.substr(0, colon));
    if (!everywhere && one == nullptr) {
      return tl::unexpected(lab_->no_such_host(place.substr(0, colon)));
    }
    if (one != nullptr && one->dead()) return tl::unexpected(lab_->dead_host(*one));
    for (const auto& h : lab_->world().hosts()) {
      if (h->dead() || (!everywhere && h.get() != one)) continue;
      for (const auto& dev : h->net().devices()) {
        if (colon == std::string::npos || dev->name() == place.substr(colon + 1)) add(*h, *dev);
      }
    }
    if (colon != std::string::npos && one->net().device(place.substr(colon + 1)) == nullptr) {
      return tl::unexpected(
          fmt::format("{} has no device {}", one->name(), place.substr(colon + 1)));
    }
  }
  return out;
}

/// Answers with one end of a stream; the packets go into the other one.
void server::do_capture(connection& c, const control_request& request) {
  const auto places = capture_places(request.list("on"));
  if (!places) return c.line.refuse(places.error());
  const auto running = std::count_if(connections_.begin(), connections_.end(), [](const auto& at) {
    return at.second->recording != nullptr;
  });
  if (running >= most_captures) {
    return c.line.refuse(fmt::format("{} captures run already: end one of them", running));
  }
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return c.line.refuse(fmt::format("cannot begin a capture: {}", std::strerror(errno)));
  }
  unique_fd writing(ends[0]), reading(ends[1]);
  dropin::take_descriptors(writing.get(), false);  // only the daemon sends here
  ::shutdown(writing.get(), SHUT_RD);
  capture_limits limits;
  limits.snaplen = static_cast<u32>(
      std::min<u64>(request.number("snaplen", 0), std::numeric_limits<u32>::max()));
  limits.packets = request.number("packets", 0);
  auto recording = std::make_unique<capture>(std::move(writing), *places, limits,
                                             clocks_.wall_epoch(), capture_budget_);
  // Only ends the sleep: captures are served in every turn.
  if (!poller_.add(recording->fd(), EPOLLET, [](u32) {})) {
    return c.line.refuse("cannot wait for the reader of a capture");
  }
  c.recording = std::move(recording);
  c.line.answer({{"ok", true}}, std::move(reading));
}

/// Answers with the steps of a packet that carries data between hosts: the best of those seen if
/// tracing is on, else of those that pass within wait_s seconds.
void server::do_journey(connection& c, const control_request& request) {
  const u64 wait = std::min(request.number("wait_s", 10), longest_journey_wait_s);
  if (!journeys_->on()) journeys_->clear();
  journeys_->set_on(true);
  c.wants_journey = true;
  c.journey_until = lab_->world().now() + seconds(static_cast<s64>(wait));
}

void server::do_trace(connection& c, const control_request& request) {
  const auto on = request.flag("on");
  if (!on) return c.line.refuse("trace: on is true or false");
  tracing_ = *on;
  if (tracing_ && !journeys_->on()) journeys_->clear();
  journeys_->set_on(tracing_);
  c.line.answer({{"ok", true}});
}

/// Names the programs that there are; they end with the lab unless the request keeps them.
void server::do_down(connection& c, const control_request& request) {
  ending_ = true;  // whether there is memory to say more or not
  if (const auto keep = request.flag("keep_programs")) options_.end_programs = !*keep;
  spared_ = c.line.peer();
  json all = json::array();
  for (const lab_process& p : lab_processes()) all.push_back({{"pid", p.pid}, {"name", p.name}});
  c.line.answer({{"ok", true}, {"programs", all}, {"programs_end", options_.end_programs}});
}

}  // namespace ph
