// The books of acknowledgements of a lenient run.
#include "sim/packetdrill/acks.h"

#include <fmt/format.h>

#include <algorithm>

namespace ph::packetdrill {
namespace {

bool after(u32 a, u32 b) { return static_cast<s32>(a - b) > 0; }

bool has_sack(const packet_spec& spec) {
  return std::any_of(spec.options.begin(), spec.options.end(), [](const tcp_option_spec& o) {
    return o.kind == tcp_option_spec::kind_type::sack;
  });
}

}  // namespace

bool is_pure_ack(const packet_spec& spec) {
  return spec.flags == tcphdr_ack && spec.payload == 0 && !spec.icmp && !spec.any_seq &&
         spec.ack.has_value();
}

bool ack_ledger::fresh(u32 ack) const {
  return (!acked_ || after(ack, *acked_)) && peer_end_ && !after(ack, *peer_end_);
}

void ack_ledger::injected(const packet_spec& spec) {
  if ((spec.flags & tcphdr_rst) != 0) owed_.reset();
  if (spec.icmp || (spec.flags & tcphdr_rst) != 0) return;
  const bool syn = (spec.flags & tcphdr_syn) != 0;
  // A SYN's number is absolute; behind it scripts count from 1.
  u32 end = (syn ? 1 : spec.seq) + spec.payload;
  if ((spec.flags & tcphdr_fin) != 0) ++end;
  if (!peer_end_ || after(end, *peer_end_)) peer_end_ = end;
}

void ack_ledger::settle(const packet_spec& live) {
  const bool ends = (live.flags & tcphdr_rst) != 0;
  if (ends || (owed_ && live.ack && !after(owed_->first, *live.ack))) owed_.reset();
}

void ack_ledger::sent(const packet_spec& live) {
  window_ = live.window;
  if (!live.ack) return;
  if ((live.flags & tcphdr_syn) != 0) {
    if (!acked_) acked_ = 1;
    return;
  }
  settle(live);
  if (!acked_ || after(*live.ack, *acked_)) acked_ = *live.ack;
}

void ack_ledger::matched(const packet_spec& expected, const packet_spec& live) {
  if (expected.window) expected_window_ = expected.window;
  sent(live);
}

bool ack_ledger::only_widens(const packet_spec& expected) const {
  return is_pure_ack(expected) && !has_sack(expected) && acked_ == expected.ack &&
         expected.window && expected_window_ && *expected.window > *expected_window_;
}

u32 ack_ledger::place(const packet_spec& spec) const {
  if (spec.icmp || spec.payload != 0 || !peer_end_ || !window_) return spec.seq;
  const u32 offset = spec.seq - *peer_end_;
  return offset >= *window_ && offset < buffer_ ? *peer_end_ + *window_ - 1u : spec.seq;
}

bool ack_ledger::pass_over(const packet_spec& live) {
  if (!is_pure_ack(live) || has_sack(live) || !fresh(*live.ack)) return false;
  passed_.push_back(*live.ack);
  sent(live);
  return true;
}

bool ack_ledger::came_earlier(const packet_spec& expected) {
  if (!is_pure_ack(expected) || has_sack(expected)) return false;
  const auto found = std::find(passed_.begin(), passed_.end(), *expected.ack);
  if (found == passed_.end()) return false;
  passed_.erase(passed_.begin(), found + 1);
  return true;
}

bool ack_ledger::may_come_later(const packet_spec& expected, instant now) {
  if (!is_pure_ack(expected) || has_sack(expected) || !fresh(*expected.ack)) return false;
  owed_ = {*expected.ack, owed_ ? owed_->second : now + longest_delay};
  return true;
}

std::string ack_ledger::owed() const {
  return owed_ ? fmt::format("nothing acknowledged {} within half a second", owed_->first)
               : std::string();
}

}  // namespace ph::packetdrill
