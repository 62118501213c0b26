// Ethernet II on the way in and out (IEEE 802.3 §3.2). Does not: 802.2 LLC, VLAN tags.
#include "net/ethernet/eth.h"

#include "wire/ethernet.h"

namespace ph {
namespace {

class eth_headers final : public header_ops {
 public:
  void create(cpu& cx, sk_buff& skb, net_device& dev, u16 ethertype, const mac_addr* daddr,
              const mac_addr* saddr) const override {
    skb.cow_head(cx, sizeof(ethhdr));
    ethhdr& eth = *view_as<ethhdr>(skb.push(sizeof(ethhdr)));
    eth.h_dest = daddr != nullptr ? *daddr : dev.broadcast();
    eth.h_source = saddr != nullptr ? *saddr : dev.dev_addr();
    eth.h_proto = be16(ethertype);
    skb.set_mac_header();
  }
};

const eth_headers headers;

}  // namespace

result<u16> eth_type_trans(cpu& cx, sk_buff& skb, net_device& dev) {
  if (!skb.may_pull(cx, sizeof(ethhdr))) return fail(errc::badmsg);
  skb.dev = &dev;
  skb.set_mac_header();
  const ethhdr& eth = skb.mac_header<ethhdr>();
  skb.pull(sizeof(ethhdr));
  if (eth.h_dest.is_multicast()) {
    skb.pkt_type = eth.h_dest == dev.broadcast() ? packet_type_for::broadcast
                                                 : packet_type_for::multicast;
  } else {
    skb.pkt_type =
        eth.h_dest == dev.dev_addr() ? packet_type_for::host : packet_type_for::otherhost;
  }
  const u16 type = eth.h_proto.value();
  // A length instead of a type: IEEE 802.3 with LLC, which nothing here speaks.
  skb.protocol = type >= uapi::eth_p_802_3_min ? type : uapi::eth_p_802_2;
  return skb.protocol;
}

const header_ops& eth_header_ops() { return headers; }

}  // namespace ph
