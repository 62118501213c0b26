// The way out: queue discipline, validation (checksum, segmentation, linear data), taps, driver.
#include "net/core/dev_tx.h"

#include "net/core/gso.h"
#include "net/core/net_namespace.h"
#include "net/core/sock.h"

namespace ph {
namespace {

constexpr int tx_quota = 64;  // packets per qdisc_run, as net.core.dev_weight

// --- HOT --------------------------------------------------------------------------------------

/// True when the device takes the packet as it is.
bool is_valid(const sk_buff& skb, u32 features) {
  if (skb.ip_summed == checksum_state::partial && (features & netif_f_hw_csum) == 0) return false;
  if (skb.is_nonlinear() && (features & netif_f_sg) == 0) return false;
  return skb.gso_size == 0 || !skb_needs_gso(skb, features);
}

/// Makes the packet digestible for the device and appends what becomes of it.
void validate_into(cpu& cx, net_device& dev, skb_ptr skb, skb_queue& out) {
  const u32 features = dev.features();
  if (skb_needs_gso(*skb, features)) {
    if (!skb_gso_segment(cx, std::move(skb), features, out)) ++dev.stats(cx).tx_dropped;
    return;
  }
  if ((features & netif_f_sg) == 0) skb->linearize(cx);
  if ((features & netif_f_hw_csum) == 0 && !skb_checksum_help(cx, *skb)) {
    ++dev.stats(cx).tx_dropped;
    return drop(cx, std::move(skb), drop_reason::bad_offload);
  }
  out.push_back(std::move(skb));
}

/// Tells the packet's socket, once, that the packet got this far (SO_TIMESTAMPING).
void report_tx(cpu& cx, sk_buff& skb, u8 kind) {
  if ((skb.tx_flags & kind) == 0 || skb.sk == nullptr) return;
  skb.tx_flags &= static_cast<u8>(~kind);
  skb.sk->tx_timestamp(cx, skb, kind);
}

/// Hands a valid packet to taps and driver; busy leaves it in skb and the queue stopped.
netdev_tx xmit_one(cpu& cx, netdev_queue& queue, skb_ptr& skb, bool more) {
  net_device& dev = queue.dev;
  if (!queue.head_tapped && dev.net().tapped()) {
    skb->set_mac_header();
    dev.net().deliver_taps(cx, *skb, dev, true);
  }
  if (skb->tx_flags != 0) report_tx(cx, *skb, skb_tx_software);
  const netdev_tx answer = dev.ops().xmit(cx, dev, skb, more);
  queue.head_tapped = answer == netdev_tx::busy;
  if (answer == netdev_tx::busy) {
    ph_debug_check(static_cast<bool>(skb));
    netif_stop_queue(queue);
    if (queue.discipline) ++queue.discipline->stats.requeues;
  }
  return answer;
}

/// Sends the head of line. False: the driver has no room.
bool flush_requeued(cpu& cx, netdev_queue& queue, bool more) {
  while (!queue.requeued.empty()) {
    if (queue.stopped) return false;
    skb_ptr skb = queue.requeued.pop_front();
    if (xmit_one(cx, queue, skb, more || !queue.requeued.empty()) == netdev_tx::busy) {
      queue.requeued.push_front(std::move(skb));
      return false;
    }
  }
  return !queue.stopped;
}

/// Sends one packet when nothing stands before it. False: the driver has no room (more).
bool send(cpu& cx, netdev_queue& queue, skb_ptr skb, bool more) {
  if (!is_valid(*skb, queue.dev.features())) {
    validate_into(cx, queue.dev, std::move(skb), queue.requeued);
    return flush_requeued(cx, queue, more);
  }
  if (xmit_one(cx, queue, skb, more) == netdev_tx::busy) {
    queue.requeued.push_front(std::move(skb));
    return false;
  }
  return !queue.stopped;
}

skb_ptr dequeue(cpu& cx, qdisc& q) {
  skb_ptr skb = q.dequeue(cx);
  if (skb) {
    q.stats.packets += skb->gso_segs > 1 ? skb->gso_segs : 1;
    q.stats.bytes += skb->len();
  }
  return skb;
}

/// Dequeues and sends until the quota is spent (then true), nothing is left, or no room.
bool run_queue_locked(cpu& cx, netdev_queue& queue) {
  if (!flush_requeued(cx, queue, false) || !queue.discipline) return false;
  qdisc& q = *queue.discipline;
  int quota = tx_quota;
  skb_ptr skb = dequeue(cx, q);
  while (skb) {
    // One packet ahead, so that the driver knows whether another follows at once.
    skb_ptr next = --quota > 0 ? dequeue(cx, q) : skb_ptr{};
    if (!send(cx, queue, std::move(skb), static_cast<bool>(next))) {
      if (next) validate_into(cx, queue.dev, std::move(next), queue.requeued);
      return false;
    }
    skb = std::move(next);
  }
  if (quota == 0) return true;
  const instant wake = q.len() != 0 ? q.next_wake() : never;
  if (wake != never) queue.home.timers().arm(queue.watchdog, wake);
  return false;
}

bool run_queue(cpu& cx, netdev_queue& queue) {
  if (queue.running) return false;
  queue.running = true;
  const bool more = run_queue_locked(cx, queue);
  queue.running = false;
  return more;
}

xmit_result xmit_noqueue(cpu& cx, netdev_queue& queue, skb_ptr skb) {
  if (queue.stopped || queue.running || !queue.requeued.empty()) {
    ++queue.dev.stats(cx).tx_dropped;
    drop(cx, std::move(skb), drop_reason::qdisc_overlimit);
    return xmit_result::dropped;
  }
  queue.running = true;
  static_cast<void>(send(cx, queue, std::move(skb), false));
  queue.running = false;
  return xmit_result::sent;
}

/// A flow stays on its cpu, so packets of a flow stay on one queue.
netdev_queue& pick_queue(cpu& cx, net_device& dev) {
  auto& queues = dev.tx_queues();
  return queues.size() == 1 ? *queues.front() : *queues[cx.id().value % queues.size()];
}

}  // namespace

xmit_result dev_queue_xmit(cpu& cx, skb_ptr skb) {
  PH_TRACE(cx, *skb);
  net_device& dev = *skb->dev;
  if (!dev.is_up() || !dev.carrier()) {
    ++dev.stats(cx).tx_dropped;
    drop(cx, std::move(skb), drop_reason::dev_down);
    // Linux takes the discipline of a device without carrier away: what stands in for it loses
    // everything, and says so no louder than a full queue's mark.
    return dev.is_up() ? xmit_result::congested : xmit_result::refused;
  }
  if (skb->tx_flags != 0) report_tx(cx, *skb, skb_tx_sched);
  netdev_queue& queue = pick_queue(cx, dev);
  qdisc* q = queue.discipline.get();
  if (q == nullptr) return xmit_noqueue(cx, queue, std::move(skb));
  if (q->len() == 0 && q->can_bypass() && queue.requeued.empty() && !queue.stopped &&
      !queue.running) {
    q->stats.packets += skb->gso_segs > 1 ? skb->gso_segs : 1;
    q->stats.bytes += skb->len();
    queue.running = true;
    const bool room = send(cx, queue, std::move(skb), false);
    queue.running = false;
    if (room && q->len() != 0) qdisc_run(cx, queue);
    return xmit_result::sent;
  }
  const xmit_result answer = q->enqueue(cx, std::move(skb));
  qdisc_run(cx, queue);
  return answer;
}

void qdisc_run(cpu& cx, netdev_queue& queue) {
  if (run_queue(cx, queue)) queue.home.schedule(queue);
}

int netdev_queue::poll(cpu& cx, int budget) { return run_queue(cx, *this) ? budget : 0; }

void netif_wake_queue(cpu&, netdev_queue& queue) {
  queue.stopped = false;
  if (!queue.requeued.empty() || (queue.discipline && queue.discipline->len() != 0)) {
    queue.home.schedule(queue);
  }
}

}  // namespace ph
