// Journeys: the story of each packet through functions, CPUs and hosts, up to its end. A packet
// carries a journey number; 0 means that nobody watches it, and tracing it costs one comparison.
#pragma once

#include <string_view>

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

class trace_sink {
 public:
  virtual ~trace_sink() = default;
  /// `packet`: the linear bytes at this point, valid during the call.
  virtual void record(const trace_event& event, byte_view packet) = 0;
};

/// Shared by the kernels of one world. With no sink, no journey starts.
class tracer {
 public:
  void set_sink(trace_sink* sink) { sink_ = sink; }
  [[nodiscard]] bool active() const { return sink_ != nullptr; }
  /// A number for a new packet; 0 when nobody listens.
  u64 begin() { return active() ? ++last_ : 0; }
  void record(const trace_event& event, byte_view packet) {
    if (sink_ != nullptr) sink_->record(event, packet);
  }

 private:
  trace_sink* sink_ = nullptr;
  u64 last_ = 0;
};

}  // namespace ph
