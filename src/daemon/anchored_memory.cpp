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

anchored_memory::anchored_memory(std::size_t hosts) : anchored_memory(part_of_memory(), hosts) {}

anchored_memory::anchored_memory(u64 all, std::size_t hosts)
    : per_host_(all / 2 / std::max<std::size_t>(hosts, 1)), common_(all - all / 2) {}

bool anchored_memory::fits(const host_sockets& host) const {
  const auto at = hosts_.find(&host);
  return at == hosts_.end() || at->second < per_host_ || common_used_ < common_;
}

bool anchored_memory::has_room(const host_sockets& host) {
  if (fits(host)) return true;
  recount();
  return fits(host);
}

void anchored_memory::grew(const host_sockets& host, handed_on& queue) {
  share& of = queues_[&queue];
  of.host = &host;
  set(of, queue.most());
}

void anchored_memory::forget(handed_on& queue) {
  const auto at = queues_.find(&queue);
  if (at == queues_.end()) return;
  set(at->second, 0);
  queues_.erase(at);
}

void anchored_memory::set(share& of, u64 bytes) {
  u64& held = hosts_[of.host];
  common_used_ -= common_part(held);
  held += bytes;
  held -= of.bytes;
  common_used_ += common_part(held);
  of.bytes = bytes;
}

/// It asks every queue, so not for every datagram that finds no room.
void anchored_memory::recount() {
  const auto now = clock::now();
  if (now - recounted_ < between_recounts) return;
  recounted_ = now;
  for (auto& [queue, of] : queues_) {
    if (of.bytes != 0) set(of, queue->ask());
  }
}

}  // namespace ph::dropin
