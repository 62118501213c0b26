// A capture: writes the frames of a device, in and out, to a pcapng file as they pass.
#pragma once

#include "kernel/pcapng_writer.h"
#include "net/core/net_namespace.h"

namespace ph {

/// Captures from when it is made until it is destroyed. The writer must outlive it.
class pcap_tap {
 public:
  /// Frames of `dev`, or of every device of the namespace when nullptr; at most `snaplen` bytes
  /// of each. `boot` is added to the machine's time, so that a file can show the time of day.
  pcap_tap(net_namespace& net, net_device* dev, pcapng_writer& to, u32 snaplen = 262144,
           duration boot = {});

 private:
  void frame(const cpu& cx, const sk_buff& skb, const net_device& dev, bool outgoing);
  /// The number of the device in the file.
  u32 interface_of(const net_device& dev);

  pcapng_writer& to_;
  u32 snaplen_;
  duration boot_;
  std::vector<std::pair<ifindex, u32>> interfaces_;
  std::vector<u8> bytes_;  ///< kept for its memory
  packet_tap tap_;
};

}  // namespace ph
