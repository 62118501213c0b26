// From a tap of the stack to blocks of a capture file.
#include "drivers/net/pcap_tap.h"

#include <algorithm>

namespace ph {

pcap_tap::pcap_tap(net_namespace& net, net_device* dev, pcapng_writer& to, u32 snaplen,
                   duration boot)
    : to_(to), snaplen_(snaplen), boot_(boot) {
  tap_.dev = dev;
  tap_.func = [this](cpu& cx, const sk_buff& skb, net_device& on, bool outgoing) {
    frame(cx, skb, on, outgoing);
  };
  net.add_tap(tap_);
}

void pcap_tap::frame(const cpu& cx, const sk_buff& skb, const net_device& dev, bool outgoing) {
  // An incoming frame's data begins behind the link header, which lies before it.
  const u32 header = static_cast<u32>(-std::min(skb.mac_offset(), s32{0}));
  const u32 original = header + skb.len();
  bytes_.resize(std::min(original, snaplen_));
  const byte_span out(bytes_);
  copy_bytes(out, skb.mac_bytes().first(header));
  if (out.size() > header) ph_check(skb.copy_bits(0, out.subspan(header)));
  to_.packet(interface_of(dev), cx.now() + boot_, bytes_, original,
             outgoing ? pcapng_writer::direction::outbound : pcapng_writer::direction::inbound,
             {});
}

u32 pcap_tap::interface_of(const net_device& dev) {
  for (const auto& [index, number] : interfaces_) {
    if (index == dev.index()) return number;
  }
  const bool ethernet = dev.headers() != nullptr;
  const u32 number = to_.add_interface(
      dev.name(), ethernet ? pcapng_writer::linktype_ethernet : pcapng_writer::linktype_raw);
  interfaces_.emplace_back(dev.index(), number);
  return number;
}

}  // namespace ph
