// A simulated wire between two mem ports: rate, queue, delay, jitter, and faults, for each
// direction on its own and with randomness of its own.
//
// A frame that a host hands over goes through three stages:
//   queue   if the wire has a rate: at most `queue_packets` frames wait or are being sent; more are
//           dropped (link_queue_full). Bytes are those of the frame from its Ethernet header on,
//           without preamble and check sequence.
//   wire    loss (single frames, and bursts), corruption (one bit of the frame turns), duplication
//   flight  delay, plus a share of -jitter … +jitter whose mean is zero; when what is under way
//           takes `flight_bytes` of memory, what else comes is dropped (link_flight_full)
// Frames arrive in the order they were sent: the share drifts from one uniform draw to the next
// just slowly enough that jitter squeezes the line and nothing overtakes. With `jitter_reorders`
// each frame draws for itself, as in netem. A frame that `reorder` befalls is held back up to one
// further delay, at least up to 1 ms, so later frames pass it.
// A wire without rate, delay and jitter delivers at the same instant.
//
// Whoever takes his end's device down takes the carrier from the other end's, as with a pair of
// veth devices.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <string>

#include "base/rng.h"
#include "drivers/net/mem.h"
#include "sim/event_queue.h"
#include "sim/frames_in_flight.h"

namespace ph::drop_reason {
inline constexpr drop_reason_info fault_loss{"fault_loss", "Lost on the wire (simulated loss)."};
inline constexpr drop_reason_info fault_corrupt{"fault_corrupt",
                                                "Damaged on the wire (simulated corruption)."};
inline constexpr drop_reason_info link_queue_full{"link_queue_full",
                                                  "The queue in front of the wire was full."};
inline constexpr drop_reason_info link_flight_full{
    "link_flight_full", "Too much was under way on the wire already (its delay is long)."};
}  // namespace ph::drop_reason

namespace ph::sim {

/// What a wire does in one direction; probabilities are per frame, 0.0 to 1.0.
struct link_config {
  bit_rate rate{};           ///< 0: unlimited
  duration delay{};          ///< one way
  duration jitter{};         ///< at most `delay` has an effect
  bool jitter_reorders = false;
  double loss = 0;
  double burst = 0;          ///< chance that a burst of losses begins with this frame
  double burst_frames = 8;   ///< mean length of a burst, the first frame included
  double reorder = 0;
  double duplicate = 0;
  double corrupt = 0;
  u32 queue_packets = 1000;  ///< in front of a wire with a rate
  /// Of memory for frames in one direction that have left the queue and not arrived. Ten flows of
  /// TCP with the largest windows that net.ipv4.tcp_rmem allows come nowhere near it; who sends
  /// without end into a long delay meets it before the memory is used up.
  u64 flight_bytes = u64{512} << 20;
  /// So many frames waiting, and IPv4 packets that are ECN capable are marked CE as they join
  /// (RFC 3168 §5; the threshold of RFC 8257 §3.1). 0: never.
  u32 ecn_threshold = 0;
  /// Lets the hosts leave checksums and the cutting of TCP segments to the wire, where they then
  /// do not happen. Only without rate and faults, which are about real frames.
  bool offload = false;
  [[nodiscard]] bool has_faults() const {
    return loss > 0 || burst > 0 || reorder > 0 || duplicate > 0 || corrupt > 0;
  }
};

struct link_stats {
  u64 frames = 0, bytes = 0;  ///< handed over by the sending host
  u64 delivered = 0;          ///< handed to the receiving host, copies included
  u64 lost = 0;               ///< dropped as fault_loss, bursts included
  u64 starved = 0;            ///< dropped as nomem
  u64 queue_full = 0;         ///< dropped as link_queue_full
  u64 flight_full = 0;        ///< dropped as link_flight_full
  u64 corrupt_dropped = 0;    ///< dropped as fault_corrupt: super-packets, never on a real wire
  u64 corrupted = 0, duplicated = 0, reordered = 0;
  u64 marked = 0;             ///< CE was set
  u32 longest_queue = 0;      ///< frames
};

/// The two ends of a link.
enum class link_end : u8 { a, b };
constexpr link_end other_end(link_end e) { return e == link_end::a ? link_end::b : link_end::a; }

class link {
 public:
  /// What an observer sees: each frame as it is handed to the wire, before anything befalls it, or
  /// as it is handed to the host at the other end.
  struct frame_seen {
    instant when;
    link_end from;    ///< who sent it
    byte_view bytes;  ///< linear part, from the Ethernet header on
    u32 len;          ///< of the whole frame
    const sk_buff& skb;
  };
  using observer = std::function<void(const frame_seen&)>;

  /// `chance` is the link's own stream. The ports stay the hosts' and must outlive the link.
  link(event_queue& events, std::string name, mem_port& a, mem_port& b, const link_config& config,
       const rng& chance);
  link(const link&) = delete;
  link& operator=(const link&) = delete;
  /// Frames in flight are dropped (dev_gone).
  ~link();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] mem_port& port(link_end e) const { return from(other_end(e)).to_; }
  [[nodiscard]] const link_config& config(link_end sender) const { return from(sender).config_; }
  [[nodiscard]] const link_stats& stats(link_end sender) const { return from(sender).stats_; }
  /// Frames on their way from `sender`, queued ones included.
  [[nodiscard]] std::size_t in_flight(link_end sender) const { return from(sender).line_.size(); }
  /// How long a frame handed over now would wait before its first bit is on the wire.
  [[nodiscard]] duration queue_delay(link_end sender) const {
    return std::max(from(sender).wire_free_ - events_.now(), duration{});
  }
  /// Changes one direction; frames that are under way keep what they got.
  void set_config(link_end sender, const link_config& config) { from(sender).config_ = config; }
  void set_config(const link_config& config);
  /// The machine at one of its ends died: what is under way to it and what others send to it is
  /// lost (dev_gone).
  void host_died(const kernel& machine);
  /// While `flag` is set there is hardly any memory, and what hosts send is lost (nomem). It
  /// outlives the link.
  void set_starved(const std::atomic<bool>& flag) { starved_ = &flag; }
  /// How the carrier of a device is changed, as an event of its own.
  using carrier_change = std::function<void(net_device&, bool on)>;
  void set_carrier_change(carrier_change how) { carrier_change_ = std::move(how); }
  /// A frame arrives now at the host opposite `pretended` that nobody there sent: what an attacker
  /// does. `observed`: the arrival observer sees it.
  void inject(link_end pretended, byte_view frame, bool observed);
  /// Observers must not throw and must not call into a host.
  void set_observer(observer o) { observer_ = std::move(o); }
  void set_arrival_observer(observer o) { arrival_observer_ = std::move(o); }

 private:
  class direction {
   public:
    direction(link& owner, link_end sender, mem_port& to, const link_config& config,
              const rng& chance);
    bool transmit(cpu& cx, skb_ptr& skb);
    void purge();
    void arrive(byte_view frame, bool observed);
    /// Nobody is at the other end any more; `cx` is of the sender.
    void lose_receiver(cpu& cx);
    /// The sender's device is up or down from now on.
    void set_sender_up(bool up);

   private:
    friend link;
    bool flight_is_full();
    bool enqueue(cpu& cx, skb_ptr& skb, instant& departure);
    void count_waiting(const sk_buff& skb);
    bool loses();
    bool corrupt(cpu& cx, skb_ptr& skb);
    void mark(cpu& cx, sk_buff& skb);
    void duplicate(cpu& cx, const sk_buff& skb, instant arrival);
    instant arrival_of(instant departure);
    s64 uniform_share(s64 reach);
    s64 drifting_share(s64 reach, instant departure);
    void send_at(skb_ptr skb, instant arrival);
    void deliver_due();
    void deliver(skb_ptr skb);

    link_config config_;
    link_stats stats_;
    frames_in_flight line_;
    mem_port& to_;
    instant wire_free_{};
    link& owner_;
    link_end sender_;
    rng chance_;
    event due_;
    event carrier_due_;
    bool sender_up_ = true;
    /// A frame that waits for the wire or is being sent.
    struct queued {
      instant departure;
      u32 truesize = 0;  ///< 0: will be lost on the wire
    };
    std::deque<queued> queue_;
    u64 queue_bytes_ = 0, line_bytes_ = 0;  ///< of memory; what waits and is not lost is in both
    bool in_burst_ = false;
    instant last_arrival_{};
    /// Jitter in order: from the share `from` at `begin` straight to the share `to` at `end`.
    struct drift {
      instant begin, end;
      s64 from = 0, to = 0;
    } drift_;
    instant last_departure_{};
    bool nobody_there_ = false;
  };

  [[nodiscard]] direction& from(link_end sender) {
    return sender == link_end::a ? a_to_b_ : b_to_a_;
  }
  [[nodiscard]] const direction& from(link_end sender) const {
    return sender == link_end::a ? a_to_b_ : b_to_a_;
  }

  event_queue& events_;
  std::string name_;
  observer observer_;
  observer arrival_observer_;
  carrier_change carrier_change_;
  const std::atomic<bool>* starved_ = nullptr;
  direction a_to_b_, b_to_a_;
};

}  // namespace ph::sim
