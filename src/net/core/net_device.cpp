// The life of an interface: open, close, addresses and MTU, and its transmit queues.
#include "net/core/net_device.h"

#include "net/core/dev_tx.h"
#include "net/core/net_namespace.h"
#include "net/core/qdisc.h"
#include "uapi/packet.h"

namespace ph {

netdev_queue::netdev_queue(net_device& device, cpu& home_cpu) : dev(device), home(home_cpu) {
  watchdog.set_callback([this](cpu& cx) { qdisc_run(cx, *this); });
}

netdev_queue::~netdev_queue() {
  requeued.purge(home, drop_reason::dev_gone);
  if (discipline) discipline->reset(home, drop_reason::dev_gone);
}

result<void> netdev_ops::change_mtu(net_device&, u32) { return {}; }
result<void> netdev_ops::set_mac_address(net_device&, const mac_addr&) { return {}; }

net_device::net_device(net_namespace& net, net_device_config config,
                       std::unique_ptr<netdev_ops> ops)
    : net_(&net),
      config_(std::move(config)),
      ops_(std::move(ops)),
      stats_(net.machine().cpu_count()) {
  ph_check(config_.tx_queues >= 1);
  for (u32 i = 0; i < config_.tx_queues; ++i) {
    cpu& home = net.machine().cpu_at(cpu_id(i % net.machine().cpu_count()));
    tx_.push_back(std::make_unique<netdev_queue>(*this, home));
  }
}

net_device::~net_device() = default;

u32 net_device::flags() const {
  u32 out = config_.flags;
  if (up_) out |= uapi::iff_up;
  if (up_ && carrier_) out |= uapi::iff_running | uapi::iff_lower_up;
  if (promiscuous()) out |= uapi::iff_promisc;
  return out;
}

bool net_device::is_loopback() const { return (config_.flags & uapi::iff_loopback) != 0; }

bool net_device::no_arp() const {
  return (config_.flags & (uapi::iff_noarp | uapi::iff_loopback)) != 0;
}

netdev_stats net_device::total_stats() const {
  netdev_stats out;
  stats_.for_each([&](const netdev_stats& s) {
    out.rx_packets += s.rx_packets;
    out.tx_packets += s.tx_packets;
    out.rx_bytes += s.rx_bytes;
    out.tx_bytes += s.tx_bytes;
    out.rx_errors += s.rx_errors;
    out.tx_errors += s.tx_errors;
    out.rx_dropped += s.rx_dropped;
    out.tx_dropped += s.tx_dropped;
    out.multicast += s.multicast;
    out.collisions += s.collisions;
    out.rx_length_errors += s.rx_length_errors;
    out.rx_over_errors += s.rx_over_errors;
    out.rx_crc_errors += s.rx_crc_errors;
    out.rx_frame_errors += s.rx_frame_errors;
    out.rx_fifo_errors += s.rx_fifo_errors;
    out.rx_missed_errors += s.rx_missed_errors;
    out.tx_aborted_errors += s.tx_aborted_errors;
    out.tx_carrier_errors += s.tx_carrier_errors;
    out.tx_fifo_errors += s.tx_fifo_errors;
  });
  return out;
}

// --- control plane ----------------------------------------------------------------------------

result<void> net_device::open(const rtnl_held& rtnl, cpu& cx) {
  if (up_) return {};
  for (auto& queue : tx_) {
    queue->stopped = false;
    if (queue->discipline || config_.tx_queue_len == 0 || !net_->default_qdisc) continue;
    queue->discipline = net_->default_qdisc(*this);
  }
  TRY_VOID(ops_->open(cx, *this));
  up_ = true;
  net_->netdev_events().tell({netdev_event_kind::up, &rtnl, &cx, this});
  return {};
}

void net_device::close(const rtnl_held& rtnl, cpu& cx) {
  if (!up_) return;
  net_->netdev_events().tell({netdev_event_kind::going_down, &rtnl, &cx, this});
  up_ = false;
  ops_->stop(cx, *this);
  reset_tx_queues(drop_reason::dev_down);
  net_->netdev_events().tell({netdev_event_kind::down, &rtnl, &cx, this});
}

void net_device::reset_tx_queues(skb_drop_reason why) {
  for (auto& queue : tx_) {
    queue->home.timers().cancel(queue->watchdog);
    if (queue->scheduled()) queue->unlink();
    queue->requeued.purge(queue->home, why);
    queue->head_tapped = false;
    if (queue->discipline) queue->discipline->reset(queue->home, why);
  }
}

void net_device::set_carrier(cpu& cx, bool on) {
  if (std::exchange(carrier_, on) == on) return;
  net_->netdev_events().tell({netdev_event_kind::change, nullptr, &cx, this});
}

result<void> net_device::set_mtu(const rtnl_held& rtnl, u32 mtu) {
  if (mtu < config_.min_mtu || mtu > config_.max_mtu) return fail(errc::inval);
  if (mtu == config_.mtu) return {};
  TRY_VOID(ops_->change_mtu(*this, mtu));
  config_.mtu = mtu;
  net_->netdev_events().tell(
      {netdev_event_kind::change_mtu, &rtnl, &net_->machine().boot_cpu(), this});
  return {};
}

result<void> net_device::set_address(const rtnl_held& rtnl, const mac_addr& addr) {
  if (addr.is_multicast()) return fail(errc::addrnotavail);  // as eth_mac_addr
  TRY_VOID(ops_->set_mac_address(*this, addr));
  config_.addr = addr;
  net_->netdev_events().tell(
      {netdev_event_kind::change_addr, &rtnl, &net_->machine().boot_cpu(), this});
  return {};
}

}  // namespace ph
