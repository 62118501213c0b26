// lo: every frame sent is received again. It takes super-packets and leaves checksums out,
// because nothing can damage a packet between sender and receiver. A packet keeps the route by
// which it was sent, as on Linux: what a host sends itself meets no checks for strangers.
#include "drivers/net/loopback.h"

#include "net/ethernet/eth.h"
#include "uapi/packet.h"

namespace ph {
namespace {

class loopback_ops final : public netdev_ops {
 public:
  result<void> open(cpu&, net_device&) override { return {}; }
  void stop(cpu&, net_device&) override {}

  netdev_tx xmit(cpu& cx, net_device& dev, skb_ptr& skb, bool) override {
    skb_orphan(*skb);
    skb->tstamp = {};
    netdev_stats& stats = dev.stats(cx);
    if (!eth_type_trans(cx, *skb, dev)) {
      ++stats.rx_errors;
      drop(cx, std::move(skb), drop_reason::frame_too_short);
      return netdev_tx::ok;
    }
    skb->pkt_type = packet_type_for::host;
    if (skb->ip_summed == checksum_state::partial) skb->ip_summed = checksum_state::unnecessary;
    const u64 bytes = skb->len() + uapi::eth_hlen;
    ++stats.tx_packets;
    stats.tx_bytes += bytes;
    ++stats.rx_packets;
    stats.rx_bytes += bytes;
    netif_rx(cx, std::move(skb));
    return netdev_tx::ok;
  }
};

}  // namespace

result<net_device*> loopback_create(const rtnl_held& rtnl, net_namespace& net) {
  net_device_config config;
  config.name = "lo";
  config.type = uapi::arphrd_loopback;
  config.mtu = 65536;
  config.min_mtu = 0;
  config.max_mtu = 0x7fffffff;
  config.flags = uapi::iff_loopback;
  config.features = netif_f_sg | netif_f_hw_csum | netif_f_rxcsum | netif_f_tso | netif_f_tso6 |
                    netif_f_gso_udp | netif_f_loopback;
  config.hard_header_len = uapi::eth_hlen;
  config.tx_queue_len = 0;  // noqueue
  config.broadcast = {};
  TRY(net_device* const dev,
      net.register_device(rtnl, std::move(config), std::make_unique<loopback_ops>()));
  dev->set_headers(&eth_header_ops());
  net.loopback = dev;
  return dev;
}

}  // namespace ph
