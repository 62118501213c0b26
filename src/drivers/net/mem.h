// mem: a network device whose other side is in this process: frames are handed to and fed from
// C++ code (the simulated wire, an embedding program, a test).
#pragma once

#include "net/core/napi.h"
#include "net/core/net_namespace.h"

namespace ph {

namespace drop_reason {
inline constexpr drop_reason_info frame_too_long{"frame_too_long",
                                                 "Longer than the device's MTU allows."};
}  // namespace drop_reason

/// The side of a mem device that faces its creator. Valid while the device exists.
class mem_port {
 public:
  /// What happens to frames the host sends: the callee owns them; the Ethernet header is at
  /// data. Return false (leaving the packet) when there is no room: the queue stops until ready().
  using transmit_fn = inline_fn<bool(cpu&, skb_ptr&), 32>;
  virtual ~mem_port() = default;
  virtual void set_transmit(transmit_fn fn) = 0;
  /// Told when the host takes its device up or down, in the middle of that call.
  using state_fn = inline_fn<void(bool up), 16>;
  virtual void set_on_state(state_fn fn) = 0;
  /// A frame arrives: Ethernet header at data, scrubbed. Schedules the device's NAPI on the cpu
  /// its flow hashes to; delivered at the kernel's next run.
  virtual void receive(skb_ptr frame) = 0;
  /// Copies bytes into a fresh packet and receives it (tests, fuzzers).
  virtual void receive_bytes(byte_view frame) = 0;
  /// There is room again after transmit_fn said no.
  virtual void ready() = 0;
  [[nodiscard]] virtual net_device& device() = 0;
};

struct mem_config {
  std::string name = "eth%d";
  mac_addr addr{};
  u32 mtu = 1500;
  /// With netif_f_sg | netif_f_hw_csum | netif_f_tso super-packets reach the port.
  u32 features = netif_f_none;
  u32 rx_longest = 0;           ///< longest frame received; 0: the MTU and a VLAN tag, as a NIC
  u32 rx_limit = 4096;          ///< frames waiting for NAPI; more are dropped (ring_full)
};

/// Makes and registers the device (down). Errors: as net_namespace::register_device.
result<mem_port*> mem_create(const rtnl_held& rtnl, net_namespace& net, mem_config config);

}  // namespace ph
