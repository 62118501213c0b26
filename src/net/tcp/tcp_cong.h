// Congestion control: the interface between the machinery that detects loss and sends, and the
// algorithms that decide how much may be in flight (RFC 5681, RFC 5033).
//
// An algorithm is a `final` class of tcp_congestion. One object lives inside each socket, in at
// most tcp_congestion_bytes; it sees acknowledgements and losses and changes nothing but the
// congestion_state that it is given. It knows neither sockets nor retransmission.
#pragma once

#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "kernel/kernel.h"
#include "kernel/slots.h"
#include "uapi/inet.h"

namespace ph {

/// What an algorithm may change. Units are segments unless said otherwise.
struct congestion_state {
  u32 cwnd = 10;                  ///< congestion window
  u32 ssthresh = 0x7fffffff;      ///< slow start below, congestion avoidance at or above
  u32 cwnd_cnt = 0;               ///< progress towards the next linear increase
  u32 cwnd_clamp = ~u32{0};       ///< never above
  u64 pacing_rate = ~u64{0};      ///< bytes per second, all ones: no pacing
  bool app_limited = false;       ///< the algorithm sends less than it could: take no rate samples
  [[nodiscard]] bool in_slow_start() const { return cwnd < ssthresh; }
};

/// What one acknowledgement said.
struct ack_sample {
  u32 acked_segs = 0;             ///< newly delivered, cumulative or selective
  u64 acked_bytes = 0;            ///< newly acknowledged, cumulative
  u32 in_flight_segs = 0;         ///< outstanding before it
  u32 lost_segs = 0;              ///< newly marked lost by it
  u32 mss_bytes = 0;
  duration rtt{-1};               ///< of the segment just acknowledged; negative: none
  duration srtt{};                ///< smoothed, zero: none yet
  duration min_rtt{};             ///< smallest of late, zero: none yet
  bool cwnd_limited = false;      ///< the window, not the program, held the sender back
  bool in_recovery = false;       ///< fast recovery is under way
  u64 delivery_rate = 0;          ///< bytes per second, 0: no sample
  bool app_limited = false;       ///< the rate sample is bounded by the program
  u32 in_flight_now_segs = 0;     ///< outstanding after it
  u32 ce_segs = 0;                ///< of acked_segs, those acknowledged with an ECN echo
  u64 delivered = 0;              ///< segments delivered since the connection began, these included
  s64 prior_delivered = -1;       ///< `delivered` when the newest of them left; negative: unknown
  u32 tx_in_flight_segs = 0;      ///< outstanding when the newest of them left, itself included
  u32 lost_since_segs = 0;        ///< marked lost since it left
  bool selective_acks = true;     ///< several losses in a round trip can be told apart
  uapi::tcp_ca_state ca_state = uapi::tcp_ca_state::open;
};

/// Segments that were just marked lost, as the connection stood when they left.
struct lost_sample {
  u32 segs = 0;
  u32 tx_in_flight_segs = 0;      ///< outstanding when they left, themselves included
  u32 lost_since_segs = 0;        ///< marked lost since they left, themselves included
  u64 delivered = 0;              ///< by now
  bool app_limited = false;       ///< the program, not the window, bounded what was outstanding
  bool selective_acks = true;
};

/// Why the window must shrink.
enum class loss_kind : u8 { fast_retransmit, timeout, local_congestion, ecn_echo };
struct loss_event {
  loss_kind kind = loss_kind::fast_retransmit;
  u32 in_flight_segs = 0;         ///< outstanding when the loss was found
  u32 mss_bytes = 0;
};

inline constexpr std::size_t tcp_congestion_bytes = 152;  ///< private state of an algorithm

class tcp_congestion {
 public:
  virtual ~tcp_congestion() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// True: cwnd is the algorithm's alone. It neither shrinks after idle times nor at the end of a
  /// recovery, unless the algorithm says so.
  [[nodiscard]] virtual bool owns_cwnd() const { return false; }
  /// True: works by marks. Connections ask for ECN, and all that they send may be marked.
  [[nodiscard]] virtual bool needs_ecn() const { return false; }
  /// The connection begins, or changes to this algorithm. The sample tells what is known by now.
  virtual void on_init(cpu&, const ack_sample&, congestion_state&) {}
  /// Every acknowledgement that delivers something.
  virtual void on_ack(cpu& cx, const ack_sample& sample, congestion_state& state) = 0;
  /// Once per window with losses: sets ssthresh and cwnd for the recovery that begins.
  virtual void on_loss(cpu& cx, const loss_event& event, congestion_state& state) = 0;
  /// The retransmission timer fired for new losses: sets ssthresh; the caller sets cwnd.
  virtual void on_rto(cpu& cx, const loss_event& event, congestion_state& state) {
    on_loss(cx, event, state);
  }
  /// An ECN echo arrived (RFC 3168 §6.1.2); by default as a loss.
  virtual void on_ecn(cpu& cx, const loss_event& event, congestion_state& state) {
    on_loss(cx, event, state);
  }
  /// Segments are marked lost: each time, also within a recovery.
  virtual void on_lost(cpu&, const lost_sample&, congestion_state&) {}
  /// The last on_loss or on_rto was needless: nothing had been lost. cwnd (unless owned) and
  /// ssthresh are restored already.
  virtual void on_undo(cpu&, congestion_state&) {}
  /// Data leave after nothing was in flight for that long. `app_limited`: the program had nothing
  /// to send; otherwise the window or the peer held it back.
  virtual void on_tx_start(cpu&, duration /*idle*/, bool /*app_limited*/, congestion_state&) {}
  /// A segment leaves.
  virtual void on_sent(cpu&, u32 /*bytes*/, congestion_state&) {}
  /// Value of TCP_CC_INFO; returns its length (0: none).
  virtual std::size_t info(byte_span /*out*/) const { return 0; }
};

/// Holds one algorithm object in place.
class congestion_holder {
 public:
  congestion_holder() = default;
  congestion_holder(const congestion_holder&) = delete;
  congestion_holder& operator=(const congestion_holder&) = delete;
  ~congestion_holder() { reset(); }
  template <class T>
  void emplace() {
    static_assert(sizeof(T) <= tcp_congestion_bytes + sizeof(void*));
    reset();
    object_ = ::new (static_cast<void*>(storage_)) T();
  }
  void reset() {
    if (object_ != nullptr) std::exchange(object_, nullptr)->~tcp_congestion();
  }
  tcp_congestion* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  alignas(8) std::byte storage_[tcp_congestion_bytes + sizeof(void*)]{};
  tcp_congestion* object_ = nullptr;
};

/// One known algorithm.
struct congestion_entry {
  std::string name;
  void (*emplace)(congestion_holder&);
};

/// The algorithms of a kernel; the first added is what remains when none of a name is known.
class tcp_congestion_registry final : public slot_object {
 public:
  template <class T>
  void add(std::string name) {
    entries_.push_back({std::move(name), [](congestion_holder& in) { in.emplace<T>(); }});
  }
  /// nullptr: unknown.
  [[nodiscard]] const congestion_entry* find(std::string_view name) const;
  [[nodiscard]] const std::vector<congestion_entry>& all() const { return entries_; }

 private:
  std::vector<congestion_entry> entries_;
};
inline constexpr slot_key<tcp_congestion_registry> tcp_congestion_key{"tcp congestion"};

// --- shared parts of algorithms ---------------------------------------------------------------

/// Tells round trips apart: one is over when something is acknowledged that left after it began.
/// (The same as RFC 9406's windowEnd, but counted in deliveries, which losses do not disturb.)
class round_counter {
 public:
  /// True: this acknowledgement begins a round trip.
  bool on_ack(const ack_sample& sample) {
    if (sample.prior_delivered < 0) return false;
    if (static_cast<s32>(static_cast<u32>(sample.prior_delivered) - begun_at_) < 0) return false;
    restart(sample);
    return true;
  }
  /// A round trip begins now.
  void restart(const ack_sample& sample) { begun_at_ = static_cast<u32>(sample.delivered); }

 private:
  u32 begun_at_ = 0;  ///< segments delivered; wraps
};

/// RFC 5681 §3.1 slow start by segments; returns those left over once ssthresh is reached.
u32 tcp_slow_start(congestion_state& state, u32 acked_segs);
/// RFC 5681 §3.1 linear increase: one segment per `w` acknowledged.
void tcp_cong_avoid_ai(congestion_state& state, u32 w, u32 acked_segs);

}  // namespace ph
