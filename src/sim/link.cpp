// The life of a frame on a wire. Its whole fate is decided when it is handed over, from the
// direction's own random stream: traffic elsewhere changes nothing here.
#include "sim/link.h"

#include <algorithm>

#include "net/core/scarce_memory.h"
#include "uapi/packet.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"

namespace ph::sim {
namespace {

constexpr duration least_hold = milliseconds(1);

kernel& machine_of(mem_port& port) { return port.device().net().machine(); }

}  // namespace

link::link(event_queue& events, std::string name, mem_port& a, mem_port& b,
           const link_config& config, const rng& chance)
    : events_(events),
      name_(std::move(name)),
      a_to_b_(*this, link_end::a, b, config, chance.fork("a")),
      b_to_a_(*this, link_end::b, a, config, chance.fork("b")) {
  a.set_transmit([this](cpu& cx, skb_ptr& skb) { return a_to_b_.transmit(cx, skb); });
  b.set_transmit([this](cpu& cx, skb_ptr& skb) { return b_to_a_.transmit(cx, skb); });
  a.set_on_state([this](bool up) { a_to_b_.set_sender_up(up); });
  b.set_on_state([this](bool up) { b_to_a_.set_sender_up(up); });
}

link::~link() {
  const auto unplugged = [](cpu& cx, skb_ptr& skb) {
    drop(cx, std::move(skb), drop_reason::dev_gone);
    return true;
  };
  a_to_b_.to_.set_transmit(unplugged);
  b_to_a_.to_.set_transmit(unplugged);
  a_to_b_.to_.set_on_state({});
  b_to_a_.to_.set_on_state({});
  a_to_b_.purge();
  b_to_a_.purge();
}

void link::inject(link_end pretended, byte_view frame, bool observed) {
  from(pretended).arrive(frame, observed);
}

void link::direction::arrive(byte_view frame, bool observed) {
  if (nobody_there_) return;
  kernel& machine = machine_of(to_);
  machine.enter(owner_.events_.now());
  skb_ptr skb = alloc_skb(machine.boot_cpu(), max_header + static_cast<u32>(frame.size()));
  skb->reserve(max_header);
  skb->put_bytes(frame);
  if (observed && owner_.arrival_observer_) {
    owner_.arrival_observer_({owner_.events_.now(), sender_, skb->data(), skb->len(), *skb});
  }
  to_.receive(std::move(skb));
}

void link::host_died(const kernel& machine) {
  for (const link_end e : {link_end::a, link_end::b}) {
    if (&machine_of(port(e)) != &machine) continue;
    from(e).sender_up_ = false;  // the other end hears later of what went up in this turn
    from(other_end(e)).lose_receiver(machine_of(port(other_end(e))).boot_cpu());
  }
}

void link::direction::lose_receiver(cpu& cx) {
  nobody_there_ = true;
  stats_.lost += line_.size();
  line_.purge(cx, drop_reason::dev_gone);
  line_bytes_ = 0;
}

void link::direction::set_sender_up(bool up) {
  sender_up_ = up;
  owner_.events_.schedule(carrier_due_, owner_.events_.now());
}

void link::set_config(const link_config& config) {
  set_config(link_end::a, config);
  set_config(link_end::b, config);
}

link::direction::direction(link& owner, link_end sender, mem_port& to, const link_config& config,
                           const rng& chance)
    : config_(config),
      to_(to),
      owner_(owner),
      sender_(sender),
      chance_(chance),
      due_([this] { deliver_due(); }),
      carrier_due_([this] {
        if (owner_.carrier_change_) owner_.carrier_change_(to_.device(), sender_up_);
      }) {}

void link::direction::purge() {
  line_.purge(machine_of(to_).boot_cpu(), drop_reason::dev_gone);
}

/// Takes every frame a host sends; a full queue drops, as a switch port does.
bool link::direction::transmit(cpu& cx, skb_ptr& skb) {
  ++stats_.frames;
  stats_.bytes += skb->len();
  if (owner_.observer_) {
    owner_.observer_({owner_.events_.now(), sender_, skb->data(), skb->len(), *skb});
  }
  if (nobody_there_) {
    ++stats_.lost;
    drop(cx, std::move(skb), drop_reason::dev_gone);
    return true;
  }
  if (owner_.starved_ != nullptr && owner_.starved_->load(std::memory_order_relaxed)) {
    ++stats_.starved;
    drop(cx, std::move(skb), drop_reason::nomem);
    return true;
  }
  if (flight_is_full()) {
    ++stats_.flight_full;
    drop(cx, std::move(skb), drop_reason::link_flight_full);
    return true;
  }
  instant departure = owner_.events_.now();
  if (config_.rate.bps != 0 && !enqueue(cx, skb, departure)) return true;
  if (loses()) {
    ++stats_.lost;
    drop(cx, std::move(skb), drop_reason::fault_loss);
    return true;
  }
  if (chance_.chance(config_.corrupt) && !corrupt(cx, skb)) return true;
  if (config_.rate.bps != 0) count_waiting(*skb);
  const bool twice = chance_.chance(config_.duplicate);
  const instant arrival = arrival_of(departure);
  skb_scrub_packet(*skb);
  if (twice) duplicate(cx, *skb, arrival);
  send_at(std::move(skb), arrival);
  return true;
}

/// Forgets those that have left the queue.
bool link::direction::flight_is_full() {
  const instant now = owner_.events_.now();
  while (!queue_.empty() && queue_.front().departure <= now) {
    queue_bytes_ -= queue_.front().truesize;
    queue_.pop_front();
  }
  return line_bytes_ >= config_.flight_bytes + queue_bytes_;
}

/// Waits for its turn on a wire with a rate; false when the queue was full and the frame is gone.
bool link::direction::enqueue(cpu& cx, skb_ptr& skb, instant& departure) {
  if (queue_.size() >= config_.queue_packets) {
    ++stats_.queue_full;
    drop(cx, std::move(skb), drop_reason::link_queue_full);
    return false;
  }
  if (config_.ecn_threshold != 0 && queue_.size() >= config_.ecn_threshold) mark(cx, *skb);
  departure = std::max(owner_.events_.now(), wire_free_) + config_.rate.transmit_time(skb->len());
  wire_free_ = departure;
  queue_.push_back({departure});
  stats_.longest_queue = std::max(stats_.longest_queue, static_cast<u32>(queue_.size()));
  return true;
}

/// The frame that was enqueued last goes on to the other end.
void link::direction::count_waiting(const sk_buff& skb) {
  queue_.back().truesize = skb.truesize;
  queue_bytes_ += skb.truesize;
}

/// Single losses and bursts (Gilbert's model: in a burst everything is lost).
bool link::direction::loses() {
  const bool alone = chance_.chance(config_.loss);
  if (config_.burst <= 0) {
    in_burst_ = false;
    return alone;
  }
  if (in_burst_) {
    in_burst_ = !chance_.chance(1 / std::max(config_.burst_frames, 1.0));
  } else {
    in_burst_ = chance_.chance(config_.burst);
  }
  return alone || in_burst_;
}

/// Sets CE in an IPv4 packet that is ECN capable, and mends the header's checksum.
void link::direction::mark(cpu& cx, sk_buff& skb) {
  if (!skb.may_pull(cx, sizeof(ethhdr) + sizeof(iphdr))) return;
  if (view_as<ethhdr>(skb.data())->h_proto.value() != uapi::eth_p_ip) return;
  const u8 tos = view_as<iphdr>(skb.data(), sizeof(ethhdr))->tos;
  const u8 ecn = tos & uapi::iptos_ecn_mask;
  if (ecn == uapi::iptos_ecn_not_ect || ecn == uapi::iptos_ecn_ce) return;
  const std::size_t header = view_as<iphdr>(skb.data(), sizeof(ethhdr))->header_bytes();
  if (!skb.may_pull(cx, static_cast<u32>(sizeof(ethhdr) + header))) return;
  skb.unshare_head(cx);
  const byte_span ip = skb.writable().subspan(sizeof(ethhdr), header);
  view_as<iphdr>(ip)->tos = static_cast<u8>(tos | uapi::iptos_ecn_ce);
  ip_send_check(ip);
  ++stats_.marked;
}

/// Turns one bit in a private copy. A super-packet has no such bits: it is dropped (false).
bool link::direction::corrupt(cpu& cx, skb_ptr& skb) {
  const u64 bit = chance_.below(u64{skb->len()} * 8);
  if (skb->gso_size != 0 || !skb_checksum_help(cx, *skb)) {
    ++stats_.corrupt_dropped;
    drop(cx, std::move(skb), drop_reason::fault_corrupt);
    return false;
  }
  ++stats_.corrupted;
  skb->linearize(cx);
  skb->unshare_head(cx);
  u8& byte = skb->writable()[bit / 8];
  byte = static_cast<u8>(byte ^ (1u << (bit % 8)));
  skb->ip_summed = checksum_state::none;
  return true;
}

/// A second frame right in front of the first, with a journey of its own.
void link::direction::duplicate(cpu& cx, const sk_buff& skb, instant arrival) {
  ++stats_.duplicated;
  skb_ptr copy = skb_clone(cx, skb);
  if (skb.journey != 0) {
    copy->journey = cx.trace().begin();
    trace_event forked;
    forked.when = cx.now();
    forked.journey = copy->journey;
    forked.parent = skb.journey;
    forked.host = cx.machine().name();
    forked.cpu = cx.id().value;
    forked.kind = trace_kind::cloned;
    forked.where = owner_.name_;
    forked.len = skb.len();
    cx.trace().record(forked, skb.data());
  }
  send_at(std::move(copy), arrival);
}

s64 link::direction::uniform_share(s64 reach) {
  return static_cast<s64>(chance_.below(static_cast<u64>(2 * reach + 1))) - reach;
}

/// The share of a frame when none may overtake. Shares are drawn two reaches apart and lie on the
/// line between two draws, so they change by less than the time that passes. Their mean is that of
/// the draws, which a running maximum of arrivals would not keep. Who comes two reaches after the
/// frame before can overtake nothing and gets a draw of his own.
s64 link::direction::drifting_share(s64 reach, instant departure) {
  const duration step{2 * reach};
  if (departure - last_departure_ >= step || drift_.end == instant{}) {
    drift_ = {departure, departure + step, uniform_share(reach), uniform_share(reach)};
  } else if (departure >= drift_.end) {
    drift_ = {drift_.end, drift_.end + step, drift_.to, uniform_share(reach)};
  }
  last_departure_ = departure;
  const double part = (departure - drift_.begin).seconds() / (drift_.end - drift_.begin).seconds();
  const double way = part * static_cast<double>(drift_.to - drift_.from);
  const s64 share = drift_.from + static_cast<s64>(way);
  return std::clamp(share, -reach, reach);  // the configuration may have changed since the draw
}

instant link::direction::arrival_of(instant departure) {
  instant arrival = departure + config_.delay;
  const s64 reach = std::min(config_.jitter, config_.delay).ns;
  if (reach > 0 && config_.jitter_reorders) {
    arrival += {uniform_share(reach)};
  } else {
    if (reach > 0) arrival += {drifting_share(reach, departure)};
    arrival = std::max(arrival, last_arrival_);  // a shorter delay since does not reorder
  }
  if (chance_.chance(config_.reorder)) {
    ++stats_.reordered;
    const duration hold = std::max(config_.delay, least_hold);
    return arrival + duration{1 + static_cast<s64>(chance_.below(static_cast<u64>(hold.ns)))};
  }
  last_arrival_ = std::max(last_arrival_, arrival);
  return arrival;
}

void link::direction::send_at(skb_ptr skb, instant arrival) {
  if (arrival <= owner_.events_.now() && line_.empty()) {
    deliver(std::move(skb));
    return;
  }
  skb->tstamp = arrival;
  line_bytes_ += skb->truesize;
  line_.insert(std::move(skb));
  owner_.events_.schedule(due_, line_.next_arrival());
}

void link::direction::deliver_due() {
  const instant now = owner_.events_.now();
  while (!line_.empty() && line_.next_arrival() <= now) {
    skb_ptr skb = line_.pop_first();
    line_bytes_ -= skb->truesize;
    deliver(std::move(skb));
  }
  if (!line_.empty()) owner_.events_.schedule(due_, line_.next_arrival());
}

void link::direction::deliver(skb_ptr skb) {
  ++stats_.delivered;
  skb->tstamp = {};
  if (owner_.arrival_observer_) {
    owner_.arrival_observer_({owner_.events_.now(), sender_, skb->data(), skb->len(), *skb});
  }
  machine_of(to_).enter(owner_.events_.now());
  to_.receive(std::move(skb));
}

}  // namespace ph::sim
