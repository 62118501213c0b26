// Finding a packet worth showing among the recent events.
#include "daemon/journeys.h"

#include <algorithm>
#include <map>

namespace ph {
namespace {

/// What is known of one journey after a walk over the ring.
struct outline {
  bool born = false;
  bool arrived = false;
  bool consumed = false;
  bool routed = false;  ///< an IP packet, not an ARP message
  u32 longest = 0;
};

}  // namespace

journeys::journeys(tracer& trace) : trace_(trace), ring_(ring_events) {}

journeys::~journeys() { set_on(false); }

void journeys::set_on(bool on) {
  if (on) {
    ring_.make_room();  // packets of hosts are no place to find that there is none
    trace_.add(ring_);
  } else {
    trace_.remove(ring_);
    ring_.clear();
  }
  on_ = on;
}

std::optional<std::vector<trace_event>> journeys::sample() const {
  std::map<u64, outline> seen;
  for (const trace_event& e : ring_.events()) {
    outline& o = seen[e.journey];
    o.born = o.born || e.kind == trace_kind::born || e.kind == trace_kind::cloned;
    o.arrived = o.arrived || e.kind == trace_kind::arrived;
    o.consumed = o.consumed || (e.kind == trace_kind::consumed && o.arrived);
    o.routed = o.routed || e.where == "ip_rcv";
    o.longest = std::max(o.longest, e.len);
  }
  u64 best = 0;
  u32 longest = 0;
  for (const auto& [journey, o] : seen) {
    if (o.born && o.arrived && o.consumed && o.routed && o.longest > longest) {
      best = journey;
      longest = o.longest;
    }
  }
  if (best == 0) return std::nullopt;
  return ring_.family(best);
}

nlohmann::json journeys::to_json(const std::vector<trace_event>& events) {
  nlohmann::json steps = nlohmann::json::array();
  nlohmann::json lines = nlohmann::json::array();
  u32 longest = 0;
  for (const trace_event& e : events) {
    longest = std::max(longest, e.len);
    nlohmann::json step = {{"at_ns", e.when.ns},  {"host", e.host}, {"cpu", e.cpu},
                           {"journey", e.journey}, {"kind", trace_kind_name(e.kind)},
                           {"where", e.where},    {"len", e.len}};
    if (!e.device.empty()) step["device"] = e.device;
    if (!e.reason.empty()) step["reason"] = e.reason;
    if (e.parent != 0) step["parent"] = e.parent;
    steps.push_back(std::move(step));
    lines.push_back(trace_line(e));
  }
  return {{"journey", events.empty() ? 0 : events.front().journey},
          {"bytes", longest},
          {"events", std::move(steps)},
          {"text", std::move(lines)}};
}

}  // namespace ph
