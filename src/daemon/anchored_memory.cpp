// Counting by what each queue takes at most, and by asking them all when that is too much.
#include "daemon/anchored_memory.h"

#include <algorithm>
#include <limits>

#include "platform/memory_limit.h"

namespace ph::dropin {
namespace {

constexpr std::chrono::milliseconds between_recounts{100};

u64 part_of_memory() {
  const auto all = process_memory();
  return all ? *all / 8 : std::numeric_limits<u64>::max();
}

}  // namespace

anchored_memory::anchored_memory(std::size_t hosts)
    : anchored_memory(part_of_memory(), hosts, between_recounts) {}

anchored_memory::anchored_memory(u64 all, std::size_t hosts, std::chrono::milliseconds pause)
    : per_host_(all / 2 / std::max<std::size_t>(hosts, 1)), common_(all - all / 2), pause_(pause) {}

/// It asks every queue, so not for every datagram that finds no room.
void anchored_memory::recount() {
  const auto now = clock::now();
  if (now - recounted_ < pause_) return;
  recounted_ = now;
  for (anchored_queue& one : queues_) {
    if (one.bytes_ != 0) one.set(one.queue_.ask());
  }
}

anchored_queue::anchored_queue(anchored_memory& all, const host_sockets& host, handed_on& queue)
    : all_(all), held_(all.hosts_[&host]), queue_(queue) {
  all.queues_.push_back(*this);
}

bool anchored_queue::has_room() {
  if (all_.fits(held_)) return true;
  all_.recount();
  return all_.fits(held_);
}

void anchored_queue::set(u64 bytes) {
  all_.common_used_ -= all_.common_part(held_);
  held_ += bytes;
  held_ -= bytes_;
  all_.common_used_ += all_.common_part(held_);
  bytes_ = bytes;
}

}  // namespace ph::dropin
