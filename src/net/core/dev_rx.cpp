// The way in: steering, taps, rx handler, and delivery by ethertype; the per-cpu backlog.
#include "net/core/dev_rx.h"

#include "net/core/napi.h"
#include "net/core/net_namespace.h"
#include "net/core/softnet.h"

namespace ph {
namespace {

/// The rest of netif_receive_skb, on the cpu that keeps the packet.
void receive_here(cpu& cx, skb_ptr skb) {
  net_device& dev = *skb->dev;
  net_namespace& net = dev.net();
  skb->set_network_header();
  if (skb->skb_iif == 0) skb->skb_iif = dev.index().value;
  if (skb->tstamp == instant{}) skb->tstamp = cx.machine().stamp(cx.now());
  if (net.tapped()) net.deliver_taps(cx, *skb, dev, false);
  if (dev.rx_handler && dev.rx_handler(cx, skb)) return;
  // In Linux each protocol looks at this by itself; nothing but taps and handlers wants them.
  if (skb->pkt_type == packet_type_for::otherhost) {
    return drop(cx, std::move(skb), drop_reason::other_host);
  }
  packet_type* type = net.find_packet_type(skb->protocol, dev);
  if (type == nullptr) {
    ++dev.stats(cx).rx_dropped;
    return drop(cx, std::move(skb), drop_reason::unhandled_proto);
  }
  type->func(cx, std::move(skb), dev);
}

}  // namespace

// --- HOT --------------------------------------------------------------------------------------

void netif_receive_skb(cpu& cx, skb_ptr skb) {
  PH_TRACE(cx, *skb);
  net_device& dev = *skb->dev;
  if (!dev.is_up()) return drop(cx, std::move(skb), drop_reason::dev_down);
  softnet& soft = cx.machine().slots().get(softnet_key);
  if (soft.steer) {
    cpu& target = soft.steer(cx, *skb);
    if (&target != &cx) return soft.enqueue(cx, target, std::move(skb));
  }
  receive_here(cx, std::move(skb));
}

void napi_gro_receive(cpu& cx, napi&, skb_ptr skb) { netif_receive_skb(cx, std::move(skb)); }

void netif_rx(cpu& cx, skb_ptr skb) {
  PH_TRACE(cx, *skb);
  softnet& soft = cx.machine().slots().get(softnet_key);
  cpu& target = soft.steer ? soft.steer(cx, *skb) : cx;
  soft.enqueue(cx, target, std::move(skb));
}

int softnet_backlog::poll(cpu& cx, int budget) {
  int done = 0;
  while (done < budget && !queue.empty()) {
    skb_ptr skb = queue.pop_front();
    ++done;
    if (!skb->dev->is_up()) {
      drop(cx, std::move(skb), drop_reason::dev_down);
    } else {
      receive_here(cx, std::move(skb));
    }
  }
  return done;
}

void softnet::enqueue(cpu& cx, cpu& target, skb_ptr skb) {
  softnet_backlog& backlog = of(target);
  if (backlog.queue.size() >= max_backlog) {
    ++skb->dev->stats(cx).rx_dropped;
    return drop(cx, std::move(skb), drop_reason::cpu_backlog);
  }
  backlog.queue.push_back(std::move(skb));
  // The CPUs of one kernel run by turns on one thread, so the packet needs no mailbox.
  target.schedule(backlog);
}

// --- lifetime ---------------------------------------------------------------------------------

softnet::softnet(kernel& machine) : machine_(machine), backlogs_(machine.cpu_count()) {}

softnet::~softnet() {
  for (u32 i = 0; i < machine_.cpu_count(); ++i) {
    cpu& cx = machine_.cpu_at(cpu_id(i));
    of(cx).queue.purge(cx, drop_reason::queue_purge);
  }
}

void softnet::flush_dev(net_device& dev) {
  for (u32 i = 0; i < machine_.cpu_count(); ++i) {
    cpu& cx = machine_.cpu_at(cpu_id(i));
    skb_queue& queue = of(cx).queue;
    for (sk_buff* at = queue.front(); at != nullptr;) {
      sk_buff* next = queue.next(*at);
      if (at->dev == &dev) drop(cx, queue.remove(*at), drop_reason::dev_gone);
      at = next;
    }
  }
}

}  // namespace ph
