// Neighbours: which link-layer address has a next hop. One table per family and namespace, with
// the reachability states of RFC 4861 §7.3.2 that Linux uses for ARP as well.
#pragma once

#include <map>

#include "base/hash.h"
#include "base/hash_table.h"
#include "kernel/timer_wheel.h"
#include "net/core/nf_hook.h"
#include "net/core/net_device.h"
#include "net/core/notifier.h"

namespace ph {

namespace drop_reason {
inline constexpr drop_reason_info neigh_failed{"neigh_failed",
                                               "The next hop did not answer address resolution."};
inline constexpr drop_reason_info neigh_queuefull{
    "neigh_queuefull",
    "Too many packets waited for the next hop's address; the oldest was dropped."};
inline constexpr drop_reason_info neigh_dead{"neigh_dead",
                                             "The neighbour entry was removed meanwhile."};
}  // namespace drop_reason

class neigh_table;

enum nud_state : u8 {
  nud_none = 0x00, nud_incomplete = 0x01, nud_reachable = 0x02, nud_stale = 0x04,
  nud_delay = 0x08, nud_probe = 0x10, nud_failed = 0x20, nud_noarp = 0x40, nud_permanent = 0x80,
};
inline constexpr u8 nud_valid =
    nud_permanent | nud_noarp | nud_reachable | nud_probe | nud_stale | nud_delay;
inline constexpr u8 nud_connected = nud_permanent | nud_noarp | nud_reachable;

/// A next-hop address: 4 bytes for IPv4, 16 for IPv6.
struct neigh_key {
  std::array<u8, 16> bytes{};
  u8 len = 0;
  friend bool operator==(const neigh_key&, const neigh_key&) = default;
  static neigh_key of(ipv4_addr a) {
    neigh_key out;
    out.len = 4;
    std::memcpy(out.bytes.data(), &a, 4);
    return out;
  }
  [[nodiscard]] ipv4_addr ipv4() const {
    ipv4_addr out;
    std::memcpy(&out, bytes.data(), 4);
    return out;
  }
};

/// What net.ipv4.neigh.default.* says, with Linux's units and defaults.
struct neigh_settings {
  s32 base_reachable_time_ms = 30'000;
  s32 retrans_time_ms = 1000;
  s32 delay_first_probe_time = 5;  ///< seconds
  s32 gc_stale_time = 60;          ///< seconds
  s32 locktime = 100;              ///< hundredths of a second
  s32 mcast_solicit = 3, ucast_solicit = 3, app_solicit = 0, mcast_resolicit = 0;
  s32 unres_qlen_bytes = 212'992;
};

/// The same for the neighbours on one device, which share what follows from it: its own where it is
/// set, else the default.
struct neigh_parms : counted {
  explicit neigh_parms(const neigh_settings& of_all) : defaults(of_all) {}
  [[nodiscard]] s32 get(s32 neigh_settings::*setting) const {
    return own.*setting >= 0 ? own.*setting : defaults.*setting;
  }
  [[nodiscard]] duration base_reachable_time() const {
    return milliseconds(get(&neigh_settings::base_reachable_time_ms));
  }
  [[nodiscard]] duration delay_probe_time() const {
    return seconds(get(&neigh_settings::delay_first_probe_time));
  }
  const neigh_settings& defaults;
  neigh_settings own{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1};  ///< below 0: not set
  duration reachable_time{};                                   ///< randomised
  duration reachable_time_base{};                              ///< what it was derived from
  instant reachable_time_until{};                              ///< when to draw again
};

/// How a family asks. Implemented by arp and ndisc.
class neigh_ops {
 public:
  virtual ~neigh_ops() = default;
  /// Sends a request for neigh's key: broadcast/multicast (unicast == false) or to its last
  /// known address. `waiting`: the first queued packet, may be nullptr (source address hint).
  virtual void solicit(cpu& cx, class neighbour& neigh, const sk_buff* waiting, bool unicast) = 0;
  /// A queued packet cannot be delivered: report (ICMP host unreachable) and drop.
  virtual void error_report(cpu& cx, class neighbour& neigh, skb_ptr skb) = 0;
  /// Sets up an entry that needs no resolution (broadcast, multicast, loopback, no_arp
  /// devices); returns false when it must be resolved.
  virtual bool constructor(class neighbour& neigh) = 0;
};

class neighbour : public counted, public hash_hook<struct neigh_tag> {
 public:
  neighbour(neigh_table& table, net_device& dev, const neigh_key& key, ref<neigh_parms> parms);
  ~neighbour();
  [[nodiscard]] const neigh_key& key() const { return key_; }
  [[nodiscard]] net_device& dev() const { return dev_; }
  [[nodiscard]] neigh_table& table() const { return table_; }
  [[nodiscard]] u8 state() const { return state_; }
  [[nodiscard]] const mac_addr& ha() const { return ha_; }
  [[nodiscard]] bool valid() const { return (state_ & nud_valid) != 0; }
  /// Removed from its table; a holder must look up again (dev() may be gone).
  [[nodiscard]] bool dead() const { return dead_; }
  [[nodiscard]] s64 probes() const { return probes_; }
  [[nodiscard]] instant updated() const { return updated_; }
  [[nodiscard]] instant confirmed() const { return confirmed_; }
  [[nodiscard]] instant used() const { return used_; }
  [[nodiscard]] const neigh_parms& parms() const { return *parms_; }
  /// The upper layer saw proof of reachability (TCP acknowledgement of new data).
  void confirm(instant now) { confirmed_ = now; }
  /// For constructor(): a fixed answer.
  void set_fixed(u8 state, const mac_addr& ha) {
    state_ = state;
    ha_ = ha;
  }

 private:
  friend class neigh_table;
  neigh_table& table_;
  net_device& dev_;
  neigh_key key_;
  ref<neigh_parms> parms_;
  u8 state_ = nud_none;
  s64 probes_ = 0;
  mac_addr ha_;
  instant updated_{}, confirmed_{}, used_{};
  bool dead_ = false;
  ref<neighbour> in_table_;  ///< to itself while the table has it
  timer timer_;
  skb_queue queue_;  ///< packets that wait for the answer
  u64 queue_bytes_ = 0;  ///< their truesize
};

/// What neigh_update may do (NEIGH_UPDATE_F_*).
enum neigh_update_flags : u32 {
  neigh_update_none = 0, neigh_update_override = 1, neigh_update_weak_override = 2,
  neigh_update_admin = 4,
};

/// A neighbour changed its state or address, or is gone (dead()): Linux's NETEVENT_NEIGH_UPDATE.
struct neigh_event {
  cpu* cx;
  const neighbour* neigh;
};

class neigh_table {
 public:
  neigh_table(net_namespace& net, u16 ethertype, std::unique_ptr<neigh_ops> ops);
  ~neigh_table();
  /// The entry or an empty ref.
  [[nodiscard]] ref<neighbour> lookup(const neigh_key& key, const net_device& dev) const;
  /// The entry, made if need be. Errors: nobufs when the table is full even after collection.
  result<ref<neighbour>> lookup_or_create(cpu& cx, const neigh_key& key, net_device& dev);
  /// News about a neighbour. lladdr nullptr: keep what is known. Without override a known
  /// address stays (success; a weak override makes it stale). Errors: perm (permanent and noarp
  /// entries change only with admin), inval (no address known or given, or dead).
  result<void> update(cpu& cx, neighbour& neigh, const mac_addr* lladdr, u8 new_state, u32 flags);
  /// Sends an IP packet (network header at data) to this neighbour: adds the link header, or
  /// queues it while resolving. The only user of egress_pass.
  xmit_result output(cpu& cx, neighbour& neigh, skb_ptr skb, const egress_pass& pass);
  /// Asks for an entry that is not known, though no packet waits for it yet.
  void resolve(cpu& cx, neighbour& neigh);
  /// Drops entries of a device that goes down or away; all but the permanent ones when it has
  /// only lost its carrier.
  void flush_dev(cpu& cx, net_device& dev, bool keep_permanent = false);
  result<void> erase(const rtnl_held&, cpu& cx, neighbour& neigh);
  template <class F>
  void for_each(F&& f) { entries_.for_each(f); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] net_namespace& net() const { return net_; }
  /// The device's settings.
  [[nodiscard]] neigh_parms& parms_of(const net_device& dev);
  /// The device goes; its neighbours keep what they have.
  void forget_parms(const net_device& dev) { by_device_.erase(dev.index().value); }
  neigh_settings defaults;
  /// How many entries there may be before those that nobody uses are collected, are collected at
  /// once, and are not made.
  s32 gc_thresh1 = 128, gc_thresh2 = 512, gc_thresh3 = 1024;
  notifier_chain<neigh_event> events;

 private:
  xmit_result transmit(cpu& cx, neighbour& neigh, skb_ptr skb);
  bool event_send(cpu& cx, neighbour& neigh, skb_ptr& skb);
  [[nodiscard]] duration gc_spacing() const;
  bool begin_asking(cpu& cx, neighbour& neigh);
  void queue_packet(cpu& cx, neighbour& neigh, skb_ptr skb);
  void send_queued(cpu& cx, neighbour& neigh);
  void timer_fired(cpu& cx, neighbour& neigh);
  void set_state(cpu& cx, neighbour& neigh, u8 state);
  void probe(cpu& cx, neighbour& neigh);
  void fail_queued(cpu& cx, neighbour& neigh);
  [[nodiscard]] static s64 max_probes(const neighbour& neigh);
  [[nodiscard]] static duration retrans_time(const neighbour& neigh);
  static duration reachable_time(cpu& cx, neigh_parms& parms);
  [[nodiscard]] bool has_room(cpu& cx);
  void collect_garbage(cpu& cx, bool forced);
  void remove(cpu& cx, neighbour& neigh, skb_drop_reason why);
  void arm(neighbour& neigh, instant when);
  void disarm(neighbour& neigh);
  [[nodiscard]] u64 hash_of(const neigh_key& key, const net_device& dev) const;
  net_namespace& net_;
  u16 ethertype_;
  std::unique_ptr<neigh_ops> ops_;
  siphash_key hash_key_;
  hash_table<neighbour, neigh_tag> entries_;
  timer gc_timer_;
  instant last_forced_gc_{};
  bool collected_ = false;  ///< so last_forced_gc_ means something
  std::map<u32, ref<neigh_parms>> by_device_;
};

}  // namespace ph
