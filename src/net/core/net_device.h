// One network interface: its state, its queues and its counters. What a driver must do is
// netdev_ops; what it may do besides are separate small interfaces.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/strong.h"
#include "kernel/percpu.h"
#include "kernel/rtnl.h"
#include "kernel/slots.h"
#include "net/core/skb_queue.h"

namespace ph {

class net_device;
class net_namespace;
class qdisc;

/// A driver's answer to xmit: `busy` leaves the packet with the caller (ring full); the driver
/// calls netif_wake_queue when there is room again.
enum class [[nodiscard]] netdev_tx : u8 { ok, busy };

/// What the device does by itself (NETIF_F_*).
enum netdev_features : u32 {
  netif_f_none = 0,
  netif_f_sg = 1u << 0,        ///< takes fragments
  netif_f_hw_csum = 1u << 1,   ///< fills in transport checksums
  netif_f_rxcsum = 1u << 2,    ///< verifies received ones
  netif_f_tso = 1u << 3,       ///< cuts TCP super-packets
  netif_f_tso6 = 1u << 4,
  netif_f_gso_udp = 1u << 5,
  netif_f_gro = 1u << 6,
  netif_f_loopback = 1u << 7,
  netif_f_rxhash = 1u << 8,
};

/// What every driver implements. Called with the device's own cpu.
class netdev_ops {
 public:
  virtual ~netdev_ops() = default;
  virtual result<void> open(cpu& cx, net_device& dev) = 0;
  virtual void stop(cpu& cx, net_device& dev) = 0;
  /// Consumes the packet (ok) or leaves it in `skb` (busy). `more`: others follow at once.
  virtual netdev_tx xmit(cpu& cx, net_device& dev, skb_ptr& skb, bool more) = 0;
  /// Errors: inval when the device cannot.
  virtual result<void> change_mtu(net_device& dev, u32 mtu);
  virtual result<void> set_mac_address(net_device& dev, const mac_addr& addr);
};

/// Builds link-layer headers (Ethernet; none for raw IP devices).
class header_ops {
 public:
  virtual ~header_ops() = default;
  /// Prepends a header; makes room itself. daddr nullptr: broadcast/none; saddr nullptr: dev's.
  virtual void create(cpu& cx, sk_buff& skb, net_device& dev, u16 ethertype,
                      const mac_addr* daddr, const mac_addr* saddr) const = 0;
};

struct netdev_stats {
  u64 rx_packets = 0, tx_packets = 0, rx_bytes = 0, tx_bytes = 0;
  u64 rx_errors = 0, tx_errors = 0, rx_dropped = 0, tx_dropped = 0;
  u64 multicast = 0, collisions = 0;
  u64 rx_length_errors = 0, rx_over_errors = 0, rx_crc_errors = 0, rx_frame_errors = 0;
  u64 rx_fifo_errors = 0, rx_missed_errors = 0;
  u64 tx_aborted_errors = 0, tx_carrier_errors = 0, tx_fifo_errors = 0;
};

/// One transmit queue: its discipline, and packets the driver would not take yet.
struct netdev_queue : poll_source {
  netdev_queue(net_device& device, cpu& home_cpu);
  ~netdev_queue() override;
  int poll(cpu& cx, int budget) override;  ///< net_tx_action: goes on sending
  net_device& dev;
  cpu& home;             ///< whose timers and poll list it uses
  std::unique_ptr<qdisc> discipline;  ///< none: straight to the driver (noqueue)
  skb_queue requeued;    ///< head of line: validated, given back by the driver
  bool head_tapped = false;  ///< taps have seen the first of `requeued`
  bool stopped = false;  ///< netif_stop_queue
  bool running = false;  ///< qdisc_run is on the stack
  timer watchdog;        ///< for disciplines that ask to be run later
};

struct net_device_config {
  std::string name;
  u16 type = 1;            ///< ARPHRD_ETHER
  u32 mtu = 1500;
  u32 min_mtu = 68, max_mtu = 65535;
  u32 flags = 0;           ///< IFF_BROADCAST | IFF_MULTICAST ...; not IFF_UP
  u32 features = netif_f_none;
  u32 hard_header_len = 14;
  u32 tx_queue_len = 1000;
  u32 tx_queues = 1;
  mac_addr addr;
  mac_addr broadcast = mac_addr::broadcast();
  std::string kind;        ///< IFLA_INFO_KIND: "", "veth", "tun" ...
};

class net_device {
 public:
  net_device(net_namespace& net, net_device_config config, std::unique_ptr<netdev_ops> ops);
  net_device(const net_device&) = delete;
  net_device& operator=(const net_device&) = delete;
  ~net_device();

  [[nodiscard]] const std::string& name() const { return config_.name; }
  [[nodiscard]] ifindex index() const { return index_; }
  [[nodiscard]] net_namespace& net() const { return *net_; }
  [[nodiscard]] u16 type() const { return config_.type; }
  [[nodiscard]] u32 mtu() const { return config_.mtu; }
  [[nodiscard]] u32 min_mtu() const { return config_.min_mtu; }
  [[nodiscard]] u32 max_mtu() const { return config_.max_mtu; }
  /// IFF_* as ifconfig shows them (IFF_UP, IFF_RUNNING, IFF_LOOPBACK ...).
  [[nodiscard]] u32 flags() const;
  [[nodiscard]] u32 features() const { return config_.features; }
  [[nodiscard]] u32 hard_header_len() const { return config_.hard_header_len; }
  [[nodiscard]] u32 tx_queue_len() const { return config_.tx_queue_len; }
  [[nodiscard]] const mac_addr& dev_addr() const { return config_.addr; }
  [[nodiscard]] const mac_addr& broadcast() const { return config_.broadcast; }
  [[nodiscard]] const std::string& kind() const { return config_.kind; }
  [[nodiscard]] bool is_up() const { return up_; }
  [[nodiscard]] bool carrier() const { return carrier_; }
  [[nodiscard]] bool is_loopback() const;
  /// True when frames need no neighbour resolution (IFF_NOARP, loopback).
  [[nodiscard]] bool no_arp() const;

  [[nodiscard]] netdev_ops& ops() { return *ops_; }
  [[nodiscard]] const header_ops* headers() const { return headers_; }
  void set_headers(const header_ops* headers) { headers_ = headers; }
  [[nodiscard]] std::vector<std::unique_ptr<netdev_queue>>& tx_queues() { return tx_; }
  /// Drops what waits in the queues' disciplines.
  void reset_tx_queues(skb_drop_reason why);
  [[nodiscard]] netdev_stats& stats(cpu& cx) { return stats_[cx.id()]; }
  [[nodiscard]] netdev_stats total_stats() const;
  /// Per-device state of protocols (in_device, inet6_dev).
  [[nodiscard]] ph::slots& slots() { return slots_; }
  /// Takes frames before the protocols do (bridge, bond); returns false to let them pass on.
  inline_fn<bool(cpu&, skb_ptr&)> rx_handler;

  // Control plane.
  result<void> open(const rtnl_held&, cpu& cx);
  void close(const rtnl_held&, cpu& cx);
  result<void> set_mtu(const rtnl_held&, u32 mtu);
  result<void> set_address(const rtnl_held&, const mac_addr& addr);
  /// A driver found its cable, or lost it.
  void set_carrier(cpu& cx, bool on);
  void set_promiscuity(const rtnl_held&, int delta) { promiscuity_ += delta; }
  [[nodiscard]] bool promiscuous() const { return promiscuity_ > 0; }

 private:
  friend class net_namespace;
  net_namespace* net_;
  net_device_config config_;
  ifindex index_;
  bool up_ = false;
  bool carrier_ = true;
  int promiscuity_ = 0;
  std::unique_ptr<netdev_ops> ops_;
  const header_ops* headers_ = nullptr;
  percpu<netdev_stats> stats_;
  ph::slots slots_;
  std::vector<std::unique_ptr<netdev_queue>> tx_;
};

/// The driver has no room; stop handing packets to this queue.
inline void netif_stop_queue(netdev_queue& queue) { queue.stopped = true; }
/// There is room again.
void netif_wake_queue(cpu& cx, netdev_queue& queue);

}  // namespace ph
