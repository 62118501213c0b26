// The neighbour table: sending through an entry, the reachability state machine (RFC 4861 §7.3.2;
// for ARP RFC 1122 §2.3.2), news from the link, and garbage collection. All timers of a table
// run on the boot cpu. Does not: speak ARP or ND (neigh_ops does).
#include "net/core/neighbour.h"

#include "net/core/dev_tx.h"
#include "net/core/net_namespace.h"

namespace ph {
namespace {

/// States in which the timer runs.
constexpr u8 nud_in_timer = nud_incomplete | nud_reachable | nud_delay | nud_probe;
/// How long a drawn reachable time holds (RFC 4861 §6.3.4: re-drawn every few hours; Linux: 300 s).
constexpr duration redraw_after = seconds(300);
constexpr duration forced_gc_spacing = seconds(5);
/// A table that is full looks for room no more often than this, however many strangers ask, and
/// whatever the settings say.
constexpr duration full_gc_spacing = milliseconds(10);

}  // namespace

// --- HOT: sending -----------------------------------------------------------------------------

xmit_result neigh_table::output(cpu& cx, neighbour& neigh, skb_ptr skb, const egress_pass& pass) {
  PH_TRACE(cx, *skb);
  ph_check(pass.granted());
  neigh.used_ = cx.now();
  if ((neigh.state_ & (nud_connected | nud_delay | nud_probe)) != 0 && !neigh.dead_) {
    return transmit(cx, neigh, std::move(skb));
  }
  if (!event_send(cx, neigh, skb)) return xmit_result::sent;  // queued, or dropped as failed
  return transmit(cx, neigh, std::move(skb));
}

xmit_result neigh_table::transmit(cpu& cx, neighbour& neigh, skb_ptr skb) {
  net_device& dev = neigh.dev_;
  skb->dev = &dev;
  skb->protocol = ethertype_;
  if (dev.headers() != nullptr) {
    dev.headers()->create(cx, *skb, dev, ethertype_, &neigh.ha_, nullptr);
  }
  return dev_queue_xmit(cx, std::move(skb));
}

ref<neighbour> neigh_table::lookup(const neigh_key& key, const net_device& dev) const {
  return ref<neighbour>(entries_.find(hash_of(key, dev), [&](const neighbour& n) {
    return &n.dev_ == &dev && n.key_ == key;
  }));
}

u64 neigh_table::hash_of(const neigh_key& key, const net_device& dev) const {
  std::array<u8, 20> bytes{};
  copy_bytes(bytes, byte_view(key.bytes).first(key.len));
  copy_bytes(byte_span(bytes).subspan(16), bytes_of(dev.index().value));
  return siphash(hash_key_, bytes);
}

// --- resolving --------------------------------------------------------------------------------

/// A packet meets an entry that is not known to be reachable. True: send it now.
bool neigh_table::event_send(cpu& cx, neighbour& neigh, skb_ptr& skb) {
  skb->dev = &neigh.dev_;
  if (neigh.dead_) {
    skb->dev = nullptr;  // the device may be gone as well
    drop(cx, std::move(skb), drop_reason::neigh_dead);
    return false;
  }
  if (neigh.state_ == nud_stale) {
    set_state(cx, neigh, nud_delay);
    arm(neigh, cx.now() + neigh.parms_->delay_probe_time());
    return true;
  }
  if (neigh.state_ == nud_incomplete) {
    queue_packet(cx, neigh, std::move(skb));
    return false;
  }
  if (!begin_asking(cx, neigh)) {
    drop(cx, std::move(skb), drop_reason::neigh_failed);
    return false;
  }
  queue_packet(cx, neigh, std::move(skb));
  probe(cx, neigh);
  return false;
}

/// What is left is to probe. False: the settings let nobody be asked.
bool neigh_table::begin_asking(cpu& cx, neighbour& neigh) {
  const neigh_parms& parms = *neigh.parms_;
  if (s64{parms.get(&neigh_settings::mcast_solicit)} + parms.get(&neigh_settings::app_solicit) <=
      0) {
    set_state(cx, neigh, nud_failed);
    return false;
  }
  // The unicast probes count as done: nobody knows an address to ask.
  neigh.probes_ = parms.get(&neigh_settings::ucast_solicit);
  set_state(cx, neigh, nud_incomplete);
  arm(neigh, cx.now() + retrans_time(neigh));
  return true;
}

void neigh_table::resolve(cpu& cx, neighbour& neigh) {
  const bool asked = neigh.valid() || neigh.state_ == nud_incomplete || neigh.dead_;
  if (!asked && begin_asking(cx, neigh)) probe(cx, neigh);
}

void neigh_table::queue_packet(cpu& cx, neighbour& neigh, skb_ptr skb) {
  // RFC 1122 §2.3.2.2: keep the latest; Linux bounds the bytes and drops the oldest.
  const auto most = static_cast<u64>(neigh.parms_->get(&neigh_settings::unres_qlen_bytes));
  while (!neigh.queue_.empty() && neigh.queue_bytes_ + skb->truesize > most) {
    neigh.queue_bytes_ -= neigh.queue_.front()->truesize;
    drop(cx, neigh.queue_.pop_front(), drop_reason::neigh_queuefull);
  }
  neigh.queue_bytes_ += skb->truesize;
  neigh.queue_.push_back(std::move(skb));
}

void neigh_table::probe(cpu& cx, neighbour& neigh) {
  const bool unicast = neigh.probes_ < neigh.parms_->get(&neigh_settings::ucast_solicit);
  ++neigh.probes_;
  ops_->solicit(cx, neigh, neigh.queue_.front(), unicast);
}

void neigh_table::send_queued(cpu& cx, neighbour& neigh) {
  const ref<neighbour> keep(&neigh);
  while (neigh.valid() && !neigh.dead_ && !neigh.queue_.empty()) {
    neigh.queue_bytes_ -= neigh.queue_.front()->truesize;
    static_cast<void>(transmit(cx, neigh, neigh.queue_.pop_front()));
  }
}

void neigh_table::fail_queued(cpu& cx, neighbour& neigh) {
  const ref<neighbour> keep(&neigh);
  while (neigh.state_ == nud_failed && !neigh.queue_.empty()) {
    neigh.queue_bytes_ -= neigh.queue_.front()->truesize;
    ops_->error_report(cx, neigh, neigh.queue_.pop_front());
  }
}

// --- the state machine ------------------------------------------------------------------------

void neigh_table::set_state(cpu& cx, neighbour& neigh, u8 state) {
  neigh.state_ = state;
  neigh.updated_ = cx.now();
  events.tell({&cx, &neigh});
}

s64 neigh_table::max_probes(const neighbour& neigh) {
  // Known addresses are asked by unicast, and then by multicast only if mcast_resolicit says so.
  const neigh_parms& parms = *neigh.parms_;
  return s64{parms.get(&neigh_settings::ucast_solicit)} + parms.get(&neigh_settings::app_solicit) +
         (neigh.state_ == nud_probe ? parms.get(&neigh_settings::mcast_resolicit)
                                    : parms.get(&neigh_settings::mcast_solicit));
}

duration neigh_table::retrans_time(const neighbour& neigh) {
  return milliseconds(std::max(neigh.parms_->get(&neigh_settings::retrans_time_ms), 10));
}

duration neigh_table::reachable_time(cpu& cx, neigh_parms& parms) {
  const duration wanted = parms.base_reachable_time();
  if (cx.now() >= parms.reachable_time_until || parms.reachable_time_base != wanted) {
    // RFC 4861 §6.3.2: uniform between 0.5 and 1.5 times the base, so that hosts do not march
    // in step.
    parms.reachable_time_base = wanted;
    const u64 base = static_cast<u64>(std::max<s64>(wanted.ns, 2));
    parms.reachable_time = nanoseconds(static_cast<s64>(base / 2 + cx.random().below(base)));
    parms.reachable_time_until = cx.now() + redraw_after;
  }
  return parms.reachable_time;
}

void neigh_table::timer_fired(cpu& cx, neighbour& neigh) {
  const ref<neighbour> keep(&neigh);
  const instant now = cx.now();
  instant next = now + retrans_time(neigh);
  neigh_parms& parms = *neigh.parms_;
  switch (neigh.state_) {
    case nud_reachable:
      if (now < neigh.confirmed_ + reachable_time(cx, parms)) {
        next = neigh.confirmed_ + reachable_time(cx, parms);
      } else if (now <= neigh.used_ + parms.delay_probe_time()) {
        set_state(cx, neigh, nud_delay);
        next = now + parms.delay_probe_time();
      } else {
        return set_state(cx, neigh, nud_stale);
      }
      return arm(neigh, next);
    case nud_delay:
      if (now < neigh.confirmed_ + parms.delay_probe_time()) {
        set_state(cx, neigh, nud_reachable);
        return arm(neigh, neigh.confirmed_ + reachable_time(cx, parms));
      }
      set_state(cx, neigh, nud_probe);
      neigh.probes_ = 0;
      break;
    case nud_probe:
      // RFC 4861 §7.3.3: proof from above is as good as an answer.
      if (neigh.confirmed_ > neigh.updated_) {
        set_state(cx, neigh, nud_reachable);
        return arm(neigh, neigh.confirmed_ + reachable_time(cx, parms));
      }
      break;
    case nud_incomplete: break;
    default:
      return;
  }
  if (neigh.probes_ >= max_probes(neigh)) {
    set_state(cx, neigh, nud_failed);
    return fail_queued(cx, neigh);
  }
  arm(neigh, next);
  probe(cx, neigh);
}

result<void> neigh_table::update(cpu& cx, neighbour& neigh, const mac_addr* lladdr, u8 new_state,
                                 u32 flags) {
  const ref<neighbour> keep(&neigh);
  const u8 old = neigh.state_;
  const bool admin = (flags & neigh_update_admin) != 0;
  if (!admin && (old & (nud_noarp | nud_permanent)) != 0) return fail(errc::perm);
  if (neigh.dead_) return fail(errc::inval);
  const instant now = cx.now();
  if ((new_state & nud_valid) == 0) {
    disarm(neigh);
    set_state(cx, neigh, new_state);
    if (new_state == nud_failed) fail_queued(cx, neigh);
    return {};
  }
  const bool was_valid = (old & nud_valid) != 0;
  if (lladdr == nullptr && !was_valid) return fail(errc::inval);
  const bool moved = lladdr != nullptr && !(was_valid && *lladdr == neigh.ha_);
  mac_addr ha = moved ? *lladdr : neigh.ha_;
  if ((new_state & nud_connected) != 0) neigh.confirmed_ = now;
  if (was_valid && moved && (flags & neigh_update_override) == 0) {
    // A claim against a known address: ignored, or reason to verify what we know.
    if ((flags & neigh_update_weak_override) == 0 || (old & nud_connected) == 0) return {};
    ha = neigh.ha_;
    new_state = nud_stale;
  } else if (was_valid && !moved && new_state == nud_stale && !admin) {
    new_state = old;  // hearsay that confirms what we know changes nothing
  }
  if (new_state != old || ha != neigh.ha_) neigh.updated_ = now;
  if (ha != neigh.ha_) {
    neigh.ha_ = ha;
    // Not confirmed by a reply: far enough in the past to be verified when used.
    if ((new_state & nud_connected) == 0)
      neigh.confirmed_ = now - neigh.parms_->base_reachable_time() * 2;
  }
  if (new_state == old) {
    if (moved && ha == *lladdr) events.tell({&cx, &neigh});
    return {};
  }
  disarm(neigh);
  neigh.state_ = new_state;
  if (new_state == nud_probe) neigh.probes_ = 0;
  if ((new_state & nud_in_timer) != 0) {
    arm(neigh, new_state == nud_reachable ? now + reachable_time(cx, *neigh.parms_) : now);
  }
  events.tell({&cx, &neigh});
  if (!was_valid) send_queued(cx, neigh);
  return {};
}

// --- lifetime ---------------------------------------------------------------------------------

neighbour::neighbour(neigh_table& table, net_device& dev, const neigh_key& key,
                     ref<neigh_parms> parms)
    : table_(table), dev_(dev), key_(key), parms_(std::move(parms)) {}

neighbour::~neighbour() { ph_check(queue_.empty()); }

neigh_table::neigh_table(net_namespace& net, u16 ethertype, std::unique_ptr<neigh_ops> ops)
    : net_(net), ethertype_(ethertype), ops_(std::move(ops)) {
  std::array<u8, 16> secret{};
  net_.machine().secret(secret);
  byte_reader reader(secret);
  hash_key_.k0 = reader.take<le64>().value();
  hash_key_.k1 = reader.take<le64>().value();
  gc_timer_.set_callback([this](cpu& cx) { collect_garbage(cx, false); });
}

neigh_table::~neigh_table() {
  cpu& cx = net_.machine().boot_cpu();
  entries_.for_each([&](neighbour& neigh) { remove(cx, neigh, drop_reason::neigh_dead); });
}

result<ref<neighbour>> neigh_table::lookup_or_create(cpu& cx, const neigh_key& key,
                                                     net_device& dev) {
  if (ref<neighbour> found = lookup(key, dev)) return found;
  if (!has_room(cx)) return fail(errc::nobufs);
  neigh_parms& parms = parms_of(dev);
  ref<neighbour> neigh = make_ref<neighbour>(*this, dev, key, ref<neigh_parms>(&parms));
  neighbour* raw = neigh.get();
  raw->timer_.set_callback([this, raw](cpu& timer_cx) { timer_fired(timer_cx, *raw); });
  raw->used_ = raw->updated_ = cx.now();
  raw->confirmed_ = cx.now() - parms.base_reachable_time() * 2;
  ops_->constructor(*neigh);
  raw->in_table_ = neigh;
  entries_.insert(*raw, hash_of(key, dev));
  if (size() >= static_cast<std::size_t>(gc_thresh1) && !gc_timer_.armed()) {
    net_.machine().boot_cpu().timers().arm(gc_timer_, cx.now() + gc_spacing());
  }
  return neigh;
}

/// May there be one more? A table that is full is looked through for what may go. DIFFERS: Linux
/// does not count permanent entries; here whoever enters them must not take all memory.
bool neigh_table::has_room(cpu& cx) {
  const bool full = size() >= static_cast<std::size_t>(gc_thresh3);
  const duration spacing = full ? full_gc_spacing : forced_gc_spacing;
  if (size() < static_cast<std::size_t>(std::min(gc_thresh2, gc_thresh3))) return true;
  if (!collected_ || cx.now() >= last_forced_gc_ + spacing) collect_garbage(cx, true);
  return size() < static_cast<std::size_t>(gc_thresh3);
}

neigh_parms& neigh_table::parms_of(const net_device& dev) {
  ref<neigh_parms>& own = by_device_[dev.index().value];
  if (!own) own = make_ref<neigh_parms>(defaults);
  return *own;
}

/// Half of the time for which neighbours are taken to be reachable, which may be set to nothing.
duration neigh_table::gc_spacing() const {
  return std::max(milliseconds(defaults.base_reachable_time_ms) / 2, full_gc_spacing);
}

/// Periodic: entries nobody holds that failed or were not used for gc_staletime. Forced: those
/// nobody holds that are older than five seconds, down to gc_thresh2.
void neigh_table::collect_garbage(cpu& cx, bool forced) {
  const instant now = cx.now();
  const auto thresh2 = static_cast<std::size_t>(gc_thresh2);
  if (forced) {
    last_forced_gc_ = now;
    collected_ = true;
  }
  entries_.for_each([&](neighbour& neigh) {
    if (neigh.use_count() > 1 || neigh.state_ == nud_permanent) return;
    const instant used = std::max(neigh.used_, neigh.confirmed_);
    const bool old = forced
                         ? size() >= thresh2 && now >= neigh.updated_ + seconds(5)
                         : now >= used + seconds(neigh.parms_->get(&neigh_settings::gc_stale_time));
    if (old || neigh.state_ == nud_failed) remove(cx, neigh, drop_reason::neigh_dead);
  });
  if (!forced && size() >= static_cast<std::size_t>(gc_thresh1)) {
    net_.machine().boot_cpu().timers().arm(gc_timer_, now + gc_spacing());
  }
}

void neigh_table::remove(cpu& cx, neighbour& neigh, skb_drop_reason why) {
  const ref<neighbour> last = std::move(neigh.in_table_);
  disarm(neigh);
  neigh.dead_ = true;
  entries_.erase(neigh);
  neigh.queue_bytes_ = 0;
  neigh.queue_.purge(cx, why);
  events.tell({&cx, &neigh});
}

void neigh_table::flush_dev(cpu& cx, net_device& dev, bool keep_permanent) {
  entries_.for_each([&](neighbour& neigh) {
    if (&neigh.dev_ != &dev || (keep_permanent && neigh.state_ == nud_permanent)) return;
    remove(cx, neigh, drop_reason::dev_down);
  });
}

result<void> neigh_table::erase(const rtnl_held&, cpu& cx, neighbour& neigh) {
  if (neigh.dead_) return fail(errc::noent);
  remove(cx, neigh, drop_reason::neigh_dead);
  return {};
}

void neigh_table::arm(neighbour& neigh, instant when) {
  net_.machine().boot_cpu().timers().arm(neigh.timer_, when);
}

void neigh_table::disarm(neighbour& neigh) {
  net_.machine().boot_cpu().timers().cancel(neigh.timer_);
}

}  // namespace ph
