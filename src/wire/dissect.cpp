// Finding the flow keys of a packet and hashing them.
#include "wire/dissect.h"

#include "wire/ethernet.h"
#include "wire/ipv4.h"

namespace ph {
namespace {

/// TCP and UDP (and SCTP, UDP-Lite, DCCP) begin with the two ports.
bool begins_with_ports(u8 protocol) {
  return protocol == uapi::ipproto_tcp || protocol == uapi::ipproto_udp ||
         protocol == uapi::ipproto_udplite || protocol == uapi::ipproto_sctp ||
         protocol == uapi::ipproto_dccp;
}

result<flow_keys> add_ipv4(flow_keys keys, byte_view packet) {
  TRY(const ipv4_view ip, ipv4_view::parse(packet));
  keys.ip_proto = ip.iph->protocol;
  keys.saddr = ip.iph->saddr;
  keys.daddr = ip.iph->daddr;
  keys.is_fragment = ip.iph->is_fragment();
  keys.transport_offset = static_cast<u16>(keys.network_offset + ip.iph->header_bytes());
  const auto* ports = view_as<std::array<be16, 2>>(ip.payload);
  if (!keys.is_fragment && begins_with_ports(keys.ip_proto) && ports != nullptr) {
    keys.has_ports = true;
    keys.source = (*ports)[0].value();
    keys.dest = (*ports)[1].value();
  }
  return keys;
}

}  // namespace

flow_keys flow_keys::reversed() const {
  flow_keys out = *this;
  std::swap(out.saddr, out.daddr);
  std::swap(out.source, out.dest);
  return out;
}

result<flow_keys> dissect_ethernet(byte_view frame) {
  TRY(const ethernet_view eth, ethernet_view::parse(frame));
  flow_keys keys;
  keys.n_proto = eth.eth->h_proto.value();
  byte_view payload = eth.payload;
  for (int tags = 0; tags < 2 && eth_type_vlan(keys.n_proto); ++tags) {
    const auto* vlan = view_as<vlan_hdr>(payload);
    if (vlan == nullptr) return fail(errc::badmsg);
    if (tags == 0) {
      keys.has_vlan = true;
      keys.vlan_tci = vlan->h_vlan_tci.value();
    }
    keys.n_proto = vlan->h_vlan_encapsulated_proto.value();
    payload = payload.subspan(sizeof(vlan_hdr));
  }
  keys.network_offset = static_cast<u16>(frame.size() - payload.size());
  if (keys.n_proto != uapi::eth_p_ip) return keys;
  return add_ipv4(keys, payload);
}

result<flow_keys> dissect_ipv4(byte_view packet) {
  flow_keys keys;
  keys.n_proto = uapi::eth_p_ip;
  return add_ipv4(keys, packet);
}

byte_view rss_input(const flow_keys& keys, rss_tuple& room) {
  if (keys.transport_offset == 0) return {};
  room = {keys.saddr, keys.daddr, be16(keys.source), be16(keys.dest)};
  return bytes_of(room).first(keys.has_ports ? sizeof(rss_tuple) : 8);
}

u32 rss_hash(const flow_keys& keys, byte_view key) {
  rss_tuple room;
  return toeplitz(key, rss_input(keys, room));
}

u64 flow_hash(const flow_keys& keys, const siphash_key& key) {
  struct {
    rss_tuple tuple;
    be16 n_proto;
    u8 ip_proto = 0;
    u8 zero = 0;
  } input;
  input.tuple = {keys.saddr, keys.daddr, be16(keys.source), be16(keys.dest)};
  input.n_proto.set(keys.n_proto);
  input.ip_proto = keys.ip_proto;
  return siphash(key, bytes_of(input));
}

}  // namespace ph
