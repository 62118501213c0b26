// Journeys for people: while somebody asks, the lab's packets are traced into a ring; a sample is a
// packet that carried data from one host to another, with every step it took.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>

#include "kernel/trace_sinks.h"

namespace ph {

class journeys {
 public:
  explicit journeys(tracer& trace);
  journeys(const journeys&) = delete;
  journeys& operator=(const journeys&) = delete;
  ~journeys();

  /// Tracing costs every packet something: it is on only while asked for. What was seen is
  /// forgotten when it ends.
  void set_on(bool on);
  [[nodiscard]] bool on() const { return on_; }
  /// Forgets what was seen, so that the next sample is a new packet.
  void clear() { ring_.clear(); }
  /// The events of one packet that went from one host to another and was consumed there; the one
  /// with the most bytes among the recent. Nothing when none has passed yet.
  [[nodiscard]] std::optional<std::vector<trace_event>> sample() const;
  /// {"journey":7,"bytes":…,"events":[{"at_ns":…,"host":…,…}],"text":["line", …]}
  static nlohmann::json to_json(const std::vector<trace_event>& events);

 private:
  static constexpr std::size_t ring_events = 65536;
  tracer& trace_;
  ring_sink ring_;
  bool on_ = false;
};

}  // namespace ph
