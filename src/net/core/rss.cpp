// Hashes of received frames, and the cpu a hash belongs to.
#include "net/core/rss.h"

#include "base/hash.h"
#include "kernel/kernel.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"

namespace ph {

u32 rx_flow_hash(const flow_keys& keys) { return rss_hash(keys, rss_default_key); }

u32 rx_flow_hash(const sk_buff& frame) {
  if (!frame.is_nonlinear()) {
    const auto keys = dissect_ethernet(frame.data());
    return keys ? rx_flow_hash(*keys) : 0;
  }
  // The headers of a fragmented frame, with a total length that agrees with the copy: dissecting
  // refuses packets that end before their length says.
  std::array<u8, 128> copy{};
  const std::size_t n = std::min<std::size_t>(copy.size(), frame.len());
  const byte_span head = byte_span(copy).first(n);
  ph_check(frame.copy_bits(0, head));
  const ethhdr* eth = view_as<ethhdr>(byte_view(head));
  iphdr* iph = view_as<iphdr>(head, sizeof(ethhdr));
  if (eth == nullptr || eth->h_proto.value() != uapi::eth_p_ip || iph == nullptr) return 0;
  iph->tot_len.set(static_cast<u16>(std::min<std::size_t>(iph->tot_len.value(),
                                                          n - sizeof(ethhdr))));
  const auto keys = dissect_ethernet(head);
  return keys ? rx_flow_hash(*keys) : 0;
}

cpu& rx_flow_cpu(kernel& machine, u32 hash) {
  return machine.cpu_at(cpu_id(hash % machine.cpu_count()));
}

}  // namespace ph
