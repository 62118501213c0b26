// A device with its wire in this process: one receive ring per cpu, filled by the port.
#include "drivers/net/mem.h"

#include <vector>

#include "net/core/rss.h"
#include "net/ethernet/eth.h"
#include "uapi/packet.h"

namespace ph {
namespace {

class mem_device;

/// The receive ring of one cpu.
class mem_ring final : public napi {
 public:
  mem_ring(net_device& dev, cpu& home_cpu, u32 longest)
      : napi(dev), home(home_cpu), rx_longest(longest) {}
  ~mem_ring() override { queue.purge(home, drop_reason::dev_gone); }
  int poll(cpu& cx, int budget) override;
  cpu& home;
  u32 rx_longest;
  skb_queue queue;
};

class mem_device final : public netdev_ops, public mem_port {
 public:
  explicit mem_device(const mem_config& config)
      : rx_limit_(config.rx_limit), rx_longest_(config.rx_longest) {}

  // --- the host's side ------------------------------------------------------------------------
  netdev_tx xmit(cpu& cx, net_device& dev, skb_ptr& skb, bool) override {
    if (!transmit_) {
      ++dev.stats(cx).tx_carrier_errors;
      drop(cx, std::move(skb), drop_reason::dev_down);
      return netdev_tx::ok;
    }
    const u64 bytes = skb->len();
    if (skb->journey != 0) trace_packet(cx, *skb, trace_kind::sent, "mem_xmit");
    if (!transmit_(cx, skb)) return netdev_tx::busy;
    ++dev.stats(cx).tx_packets;
    dev.stats(cx).tx_bytes += bytes;
    return netdev_tx::ok;
  }

  result<void> open(cpu&, net_device&) override {
    if (on_state_) on_state_(true);
    return {};
  }

  void stop(cpu&, net_device&) override {
    for (auto& ring : rings_) ring->queue.purge(ring->home, drop_reason::dev_down);
    if (on_state_) on_state_(false);
  }

  /// Called once, when the device exists.
  void attach(net_device& dev) {
    dev_ = &dev;
    kernel& machine = dev.net().machine();
    for (u32 i = 0; i < machine.cpu_count(); ++i) {
      rings_.push_back(std::make_unique<mem_ring>(dev, machine.cpu_at(cpu_id(i)), rx_longest_));
    }
  }

  // --- the wire's side ------------------------------------------------------------------------
  void receive(skb_ptr frame) override {
    mem_ring& ring = ring_of(*frame);
    frame->dev = dev_;
    if (!dev_->is_up()) return drop(ring.home, std::move(frame), drop_reason::dev_down);
    if (ring.queue.size() >= rx_limit_) {
      ++dev_->stats(ring.home).rx_missed_errors;
      return drop(ring.home, std::move(frame), drop_reason::ring_full);
    }
    ring.queue.push_back(std::move(frame));
    ring.home.schedule(ring);
  }

  void receive_bytes(byte_view frame) override {
    skb_ptr skb = alloc_skb(dev_->net().machine().boot_cpu(),
                            max_header + static_cast<u32>(frame.size()));
    skb->reserve(max_header);
    skb->put_bytes(frame);
    receive(std::move(skb));
  }

  void set_transmit(transmit_fn fn) override { transmit_ = fn; }
  void set_on_state(state_fn fn) override { on_state_ = fn; }
  void ready() override {
    for (auto& queue : dev_->tx_queues()) {
      if (queue->stopped) netif_wake_queue(queue->home, *queue);
    }
  }
  net_device& device() override { return *dev_; }

 private:
  [[nodiscard]] mem_ring& ring_of(sk_buff& frame) {
    if (rings_.size() == 1) return *rings_.front();
    frame.hash = rx_flow_hash(frame);
    return *rings_[rx_flow_cpu(dev_->net().machine(), frame.hash).id().value];
  }

  net_device* dev_ = nullptr;
  std::size_t rx_limit_;
  u32 rx_longest_;
  transmit_fn transmit_;
  state_fn on_state_;
  std::vector<std::unique_ptr<mem_ring>> rings_;
};

int mem_ring::poll(cpu& cx, int budget) {
  netdev_stats& stats = dev().stats(cx);
  int done = 0;
  for (; done < budget && !queue.empty(); ++done) {
    skb_ptr skb = queue.pop_front();
    if (skb->journey != 0) trace_packet(cx, *skb, trace_kind::arrived, "mem_poll");
    trace_born(cx, *skb, "mem_poll");
    const u64 bytes = skb->len();
    // One VLAN tag is allowed beyond the MTU, as Linux does.
    const u32 longest = rx_longest != 0 ? rx_longest : dev().mtu() + uapi::eth_hlen + 4;
    if (skb->gso_size == 0 && bytes > longest) {
      ++stats.rx_errors;
      ++stats.rx_length_errors;
      drop(cx, std::move(skb), drop_reason::frame_too_long);
      continue;
    }
    if (!eth_type_trans(cx, *skb, dev())) {
      ++stats.rx_errors;
      ++stats.rx_length_errors;
      drop(cx, std::move(skb), drop_reason::frame_too_short);
      continue;
    }
    ++stats.rx_packets;
    stats.rx_bytes += bytes;
    if (skb->pkt_type == packet_type_for::multicast) ++stats.multicast;
    napi_gro_receive(cx, *this, std::move(skb));
  }
  return done;
}

}  // namespace

result<mem_port*> mem_create(const rtnl_held& rtnl, net_namespace& net, mem_config config) {
  auto device = std::make_unique<mem_device>(config);
  mem_device* port = device.get();
  net_device_config out;
  out.name = std::move(config.name);
  out.addr = config.addr;
  out.mtu = config.mtu;
  out.flags = uapi::iff_broadcast | uapi::iff_multicast;
  out.features = config.features;
  out.tx_queues = net.machine().cpu_count();
  TRY(net_device* const dev, net.register_device(rtnl, std::move(out), std::move(device)));
  dev->set_headers(&eth_header_ops());
  port->attach(*dev);
  return port;
}

}  // namespace ph
