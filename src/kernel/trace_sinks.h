// Listeners for a tracer: a ring that remembers and answers questions, a text printer, a running
// hash that two runs of a seed must agree on, a capture file.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/inline_fn.h"
#include "kernel/pcapng_writer.h"
#include "kernel/trace.h"

namespace ph {

/// "dropped", "step" ...
std::string_view trace_kind_name(trace_kind kind);

/// One line without an end of line: time in seconds, host/cpu, journey, what happened, where,
/// device, length, reason or parent.
std::string trace_line(const trace_event& event);

/// Remembers the last `capacity` events. Keeps copies of the names in them, so that
/// it may outlive them.
class ring_sink final : public trace_sink {
 public:
  explicit ring_sink(std::size_t capacity);
  void record(const trace_event& event, byte_view packet) override;
  /// All remembered events, oldest first.
  [[nodiscard]] std::vector<trace_event> events() const;
  /// Those of one journey, oldest first.
  [[nodiscard]] std::vector<trace_event> journey(u64 number) const;
  /// Those of a journey, of the journeys it was cloned from and of all clones of these.
  [[nodiscard]] std::vector<trace_event> family(u64 number) const;
  /// How many events came in all, remembered or not.
  [[nodiscard]] u64 recorded() const { return recorded_; }
  /// Forgets all, and gives its memory back.
  void clear();
  /// From now on record() needs no memory but for names that it has not seen.
  void make_room() { ring_.reserve(capacity_); }

 private:
  std::string_view keep(std::string_view name);
  std::size_t capacity_;
  u64 recorded_ = 0;
  std::vector<trace_event> ring_;  ///< the oldest lies at recorded_ % capacity_ once full
  std::set<std::string, std::less<>> names_;
};

/// Prints each event as a line.
class text_sink final : public trace_sink {
 public:
  using printer = inline_fn<void(std::string_view line), 16>;
  explicit text_sink(printer print) : print_(print) {}
  void record(const trace_event& event, byte_view) override { print_(trace_line(event)); }

 private:
  printer print_;
};

/// A hash over every field of every event and all packet bytes, in order.
class hash_sink final : public trace_sink {
 public:
  void record(const trace_event& event, byte_view packet) override;
  [[nodiscard]] u64 value() const { return hash_; }
  [[nodiscard]] u64 recorded() const { return recorded_; }

 private:
  void absorb(u64 word);
  void absorb(byte_view bytes);
  u64 hash_ = 0;
  u64 recorded_ = 0;
};

/// Writes what crosses a wire (sent and arrived, whole frames) to a capture file, one interface
/// per host and device, the journey in the packet's comment.
class pcapng_sink final : public trace_sink {
 public:
  explicit pcapng_sink(pcapng_output& out) : writer_(out) {}
  void record(const trace_event& event, byte_view packet) override;

 private:
  pcapng_writer writer_;
  std::map<std::string, u32, std::less<>> interfaces_;
  std::string name_;  ///< kept for its memory
};

}  // namespace ph
