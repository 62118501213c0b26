// tap: an interface whose wire is a TAP device of the real machine: what our stack sends, the
// machine receives on the TAP, and the other way round. Checksums and TCP segmentation are left
// out in both directions (virtio-net headers), so bulk data crosses in 64 KiB super-packets.
//
// Descriptors are non-blocking and owned by the device; the composition watches them and calls
// on_readable / on_writable. Does not: configure the TAP's addresses on the real machine.
#pragma once

#include <atomic>
#include <span>
#include <string>

#include "net/core/napi.h"
#include "net/core/net_namespace.h"

namespace ph {

namespace drop_reason {
inline constexpr drop_reason_info bad_vnet_header{"bad_vnet_header",
                                                  "The virtio-net header contradicts the frame."};
inline constexpr drop_reason_info host_write_failed{"host_write_failed",
                                                    "The real machine refused the frame."};
}  // namespace drop_reason

struct tap_config {
  std::string name = "eth%d";  ///< of our interface
  std::string host_name{};     ///< of the TAP on the real machine; "%d" lets the machine choose
  bool create = true;          ///< make the TAP when it does not exist (needs CAP_NET_ADMIN)
  u32 queues = 0;              ///< 0: one per cpu; more than one needs a multi-queue TAP
  bool offload = true;         ///< checksum and segmentation offload
  mac_addr addr{};             ///< ours; must differ from the TAP's own. Zero: derived, local
  u32 mtu = 1500;
};

/// The side of a tap device that faces the composition. Valid while the device exists.
class tap_port {
 public:
  virtual ~tap_port() = default;
  /// One descriptor per queue; queue i belongs to cpu i % cpu_count.
  [[nodiscard]] virtual std::span<const int> fds() const = 0;
  /// fds()[queue] can be read: schedules the queue's NAPI, which reads until nothing is left (so
  /// edge- and level-triggered watching both work). Delivered at the kernel's next run.
  virtual void on_readable(std::size_t queue) = 0;
  /// fds()[queue] can be written again after wants_write.
  virtual void on_writable(std::size_t queue) = 0;
  /// True while frames wait because the machine would not take them: watch for writability.
  [[nodiscard]] virtual bool wants_write(std::size_t queue) const = 0;
  /// Told when wants_write turns true.
  virtual void set_on_wants_write(inline_fn<void(std::size_t queue), 16> fn) = 0;
  /// The TAP was deleted: the carrier is off, the descriptors need no more watching.
  [[nodiscard]] virtual bool gone() const = 0;
  /// While `flag` is set there is hardly any memory, and what the machine sends is dropped (nomem).
  /// It outlives the device.
  virtual void set_starved(const std::atomic<bool>& flag) = 0;
  /// The TAP's name on the real machine.
  [[nodiscard]] virtual const std::string& host_name() const = 0;
  [[nodiscard]] virtual net_device& device() = 0;
};

/// Why a TAP could not be had, and what to do about it.
struct tap_error {
  errc code;
  std::string text;  ///< "tap0: no permission to …; …"
};

/// Opens or makes the TAP and registers our interface (down). Errors name the device and the
/// remedy: no such device and create is false, permission, in use by another program, made with
/// other flags (multi-queue), or as net_namespace::register_device.
tl::expected<tap_port*, tap_error> tap_create(const rtnl_held& rtnl, net_namespace& net,
                                              const tap_config& config);

}  // namespace ph
