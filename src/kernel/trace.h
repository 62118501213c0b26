// Journeys: the story of each packet through functions, CPUs and hosts, up to its end. A packet
// carries a journey number; 0 means that nobody watches it, and tracing it costs one comparison.
#pragma once

#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"

namespace ph {

enum class trace_kind : u8 {
  born,      ///< made by a protocol or received by a driver
  step,      ///< entered the function `where`
  cloned,    ///< journey continues here from `parent`
  sent,      ///< left on a wire
  arrived,   ///< came off a wire at another host
  consumed,  ///< its data was delivered or its work is done
  dropped,   ///< thrown away; `reason` says why
};

/// One line of a journey. Strings are literals or live as long as the kernel.
struct trace_event {
  instant when;
  u64 journey = 0;
  u64 parent = 0;              ///< for cloned
  std::string_view host;       ///< name of the kernel
  u32 cpu = 0;
  trace_kind kind = trace_kind::step;
  std::string_view where;      ///< function name
  std::string_view device;     ///< name of the device at hand, may be empty
  std::string_view reason;     ///< drop reason's name
  u32 len = 0;                 ///< bytes of the packet now
};

/// What a sink wants to hear of; an empty name is any.
struct trace_filter {
  std::string_view host{};
  std::string_view device{};
  u32 kinds = ~0u;  ///< one bit a trace_kind: `1u << kind`
  [[nodiscard]] bool wants(const trace_event& e) const {
    return (kinds >> static_cast<unsigned>(e.kind) & 1u) != 0 && (host.empty() || host == e.host) &&
           (device.empty() || device == e.device);
  }
};

class trace_sink {
 public:
  virtual ~trace_sink() = default;
  /// `packet`: the linear bytes at this point, valid during the call.
  virtual void record(const trace_event& event, byte_view packet) = 0;
};

/// Shared by the kernels of one world. With no sink, no journey starts.
class tracer {
 public:
  /// `sink` hears of what `filter` lets through, after those that came before it. Both the sink and
  /// the names in the filter outlive its stay. A sink that is there already gets the new filter.
  void add(trace_sink& sink, const trace_filter& filter = {}) {
    remove(sink);
    sinks_.push_back({&sink, filter});
  }
  void remove(const trace_sink& sink) {
    std::erase_if(sinks_, [&sink](const listener& l) { return l.sink == &sink; });
  }
  [[nodiscard]] bool active() const { return !sinks_.empty(); }
  /// A number for a new packet; 0 when nobody listens.
  u64 begin() { return active() ? ++last_ : 0; }
  void record(const trace_event& event, byte_view packet) {
    for (const listener& l : sinks_) {
      if (l.filter.wants(event)) l.sink->record(event, packet);
    }
  }

 private:
  struct listener {
    trace_sink* sink;
    trace_filter filter;
  };
  std::vector<listener> sinks_;
  u64 last_ = 0;
};

}  // namespace ph
