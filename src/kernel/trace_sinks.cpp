// Remembering, printing, hashing and capturing of trace events.
#include "kernel/trace_sinks.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"

namespace ph {

std::string_view trace_kind_name(trace_kind kind) {
  switch (kind) {
    case trace_kind::born: return "born";
    case trace_kind::step: return "step";
    case trace_kind::cloned: return "cloned";
    case trace_kind::sent: return "sent";
    case trace_kind::arrived: return "arrived";
    case trace_kind::consumed: return "consumed";
    case trace_kind::dropped: return "dropped";
  }
  return "?";
}

std::string trace_line(const trace_event& event) {
  const s64 ns_per_s = 1'000'000'000;
  std::string line = fmt::format("{:>6}.{:09} {:<12} #{:<6} {:<8} {:<26} {:<8} {:>5}",
                                 event.when.ns / ns_per_s, event.when.ns % ns_per_s,
                                 fmt::format("{}/{}", event.host, event.cpu), event.journey,
                                 trace_kind_name(event.kind), event.where,
                                 event.device.empty() ? "-" : event.device, event.len);
  if (event.kind == trace_kind::cloned) line += fmt::format(" from #{}", event.parent);
  if (!event.reason.empty()) line += fmt::format(" {}", event.reason);
  return line;
}

ring_sink::ring_sink(std::size_t capacity) : capacity_(capacity) { ph_check(capacity > 0); }

std::string_view ring_sink::keep(std::string_view name) {
  auto found = names_.find(name);
  if (found == names_.end()) found = names_.emplace(name).first;
  return *found;
}

void ring_sink::record(const trace_event& event, byte_view) {
  trace_event kept = event;
  kept.host = keep(event.host);
  kept.device = keep(event.device);
  kept.where = keep(event.where);
  kept.reason = keep(event.reason);
  if (ring_.size() < capacity_) ring_.push_back(kept);
  else ring_[recorded_ % capacity_] = kept;
  ++recorded_;
}

std::vector<trace_event> ring_sink::events() const {
  std::vector<trace_event> out;
  out.reserve(ring_.size());
  const std::size_t oldest = ring_.size() < capacity_ ? 0 : recorded_ % capacity_;
  out.insert(out.end(), ring_.begin() + static_cast<std::ptrdiff_t>(oldest), ring_.end());
  out.insert(out.end(), ring_.begin(), ring_.begin() + static_cast<std::ptrdiff_t>(oldest));
  return out;
}

std::vector<trace_event> ring_sink::journey(u64 number) const {
  std::vector<trace_event> out = events();
  std::erase_if(out, [number](const trace_event& e) { return e.journey != number; });
  return out;
}

std::vector<trace_event> ring_sink::family(u64 number) const {
  std::vector<trace_event> out = events();
  std::set<u64> members{number};
  // A clone is recorded after its parent began: backwards finds ancestors, forwards descendants.
  for (auto e = out.rbegin(); e != out.rend(); ++e) {
    if (e->kind == trace_kind::cloned && members.contains(e->journey)) members.insert(e->parent);
  }
  for (const trace_event& e : out) {
    if (e.kind == trace_kind::cloned && members.contains(e.parent)) members.insert(e.journey);
  }
  std::erase_if(out, [&members](const trace_event& e) { return !members.contains(e.journey); });
  return out;
}

void ring_sink::clear() {
  ring_ = {};
  names_.clear();
  recorded_ = 0;
}

void hash_sink::absorb(u64 word) { hash_ = mix64(hash_ ^ word) + 0x9e3779b97f4a7c15; }

void hash_sink::absorb(byte_view bytes) {
  absorb(siphash({hash_, bytes.size()}, bytes));
}

void hash_sink::record(const trace_event& event, byte_view packet) {
  absorb(static_cast<u64>(event.when.ns));
  absorb(event.journey);
  absorb(event.parent);
  absorb(u64{event.cpu} << 40 | u64{static_cast<u8>(event.kind)} << 32 | event.len);
  for (const std::string_view text : {event.host, event.where, event.device, event.reason}) {
    absorb(bytes_of(text));
  }
  absorb(packet);
  ++recorded_;
}

void pcapng_sink::record(const trace_event& event, byte_view packet) {
  if (event.kind != trace_kind::sent && event.kind != trace_kind::arrived) return;
  name_.clear();
  fmt::format_to(std::back_inserter(name_), "{}:{}", event.host, event.device);
  auto found = interfaces_.find(name_);
  if (found == interfaces_.end()) {
    const u32 number = writer_.add_interface(name_, pcapng_writer::linktype_ethernet);
    found = interfaces_.emplace(name_, number).first;
  }
  const auto way = event.kind == trace_kind::sent ? pcapng_writer::direction::outbound
                                                  : pcapng_writer::direction::inbound;
  writer_.packet(found->second, event.when, packet, event.len, way,
                 fmt::format("journey {}, {} on cpu {}", event.journey, event.where, event.cpu));
}

}  // namespace ph
