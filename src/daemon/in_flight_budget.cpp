// Counting tags by the memory of the datagrams that carry them.
#include "daemon/in_flight_budget.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

namespace ph::dropin {
namespace {

constexpr u32 unlimited = std::numeric_limits<u32>::max();
constexpr u32 least_datagram = 512;  // bytes; no kernel's packet takes less
constexpr u32 sharers = 16;
constexpr u32 least_share = 4;
constexpr std::chrono::milliseconds between_recounts{20};

u32 of_this_user() {
  rlimit limit{};
  if (::geteuid() == 0 || ::getrlimit(RLIMIT_NOFILE, &limit) != 0) return unlimited;
  return static_cast<u32>(std::clamp<rlim_t>(limit.rlim_cur / 4, 1, unlimited - 1));
}

}  // namespace

in_flight_budget::in_flight_budget() : most_(of_this_user()) {}

in_flight_budget::grant in_flight_budget::take(const handed_on& queue) {
  if (most_ == unlimited) return grant::given;
  u32& taken = taken_[&queue];
  const u32 share = std::max(most_ / sharers, least_share);
  if (taken >= share || total_ >= most_) recount(queue, taken);
  if (taken >= share) return grant::anchor_full;
  if (total_ >= most_ && taken != 0) recount_all();
  if (total_ >= most_ && taken != 0) return grant::all_used;
  ++taken;
  ++total_;
  return grant::given;
}

void in_flight_budget::give_back(const handed_on& queue) {
  const auto at = taken_.find(&queue);
  if (at == taken_.end() || at->second == 0) return;
  --at->second;
  --total_;
}

void in_flight_budget::forget(const handed_on& queue) {
  const auto at = taken_.find(&queue);
  if (at == taken_.end()) return;
  total_ -= at->second;
  taken_.erase(at);
}

void in_flight_budget::recount(const handed_on& queue, u32& taken) {
  const u32 most_there = queue.bytes() / least_datagram;
  if (taken <= most_there) return;
  total_ -= taken - most_there;
  taken = most_there;
}

/// It asks every queue, so not for every datagram that finds no place.
void in_flight_budget::recount_all() {
  const auto now = clock::now();
  if (now - recounted_ < between_recounts) return;
  recounted_ = now;
  for (auto& [queue, taken] : taken_) {
    if (taken != 0) recount(*queue, taken);
  }
}

}  // namespace ph::dropin
