// Which UDP socket a datagram is for: the table of a namespace's sockets by address, port, peer,
// device and cpu, and the groups of SO_REUSEPORT. Not: which ports may be bound (inet_ports), and
// datagrams for groups of hosts, which all sockets of their port may hear (udp_ipv4.cpp).
//
// Linux scores the sockets of a port: connected before bound to a device before bound to an address
// alone, then those of SO_INCOMING_CPU, then the youngest; any address comes last. Here each rank
// is a key of its own, so that a datagram finds its socket by a few looks, however many there are.
// A group of SO_REUSEPORT ends Linux's walk, so that older sockets of a higher score get nothing.
#pragma once

#include "base/hash.h"
#include "net/inet/inet_ports.h"
#include "net/udp/udp_sock.h"

namespace ph {

/// One namespace's UDP sockets.
struct udp_table : slot_object {
  udp_table(net_namespace& net, std::string_view name);
  sock_list sockets;
  inet_ports ports;
  siphash_key key;

  /// The best socket for a datagram that `cpu` handles, or nullptr; groups are not looked at.
  [[nodiscard]] udp_sock* find(const udp_flow& flow, s32 cpu) const;
  [[nodiscard]] u64 hash_of(const udp_flow& flow) const;
  /// The socket was bound: it is the youngest, and with SO_REUSEPORT joins those like it.
  void insert(udp_sock& sk);
  /// What the socket is to be found by may have changed. As Linux: another address makes it the
  /// youngest; another address, another device and a peer take it out of its group for good.
  void rehash(udp_sock& sk);
  /// Nothing when it is not in the table.
  void erase(udp_sock& sk);

 private:
  void place(udp_sock& sk, const udp_demux_key& key);
  void take_out(udp_sock& sk);
  static udp_sock* partner(const udp_sock& sk);
  static void join_group(udp_sock& sk);
  static void leave_group(udp_sock& sk);
  void count(const udp_demux_key& of, s32 more);
  [[nodiscard]] u64 hash_of(const udp_demux_key& of) const;
  [[nodiscard]] udp_sock* best_of(const udp_demux_key& of) const;
  [[nodiscard]] udp_sock* best_for(udp_demux_key of, s32 cpu) const;
  [[nodiscard]] udp_sock* best_connected(const udp_flow& flow, s32 cpu) const;
  [[nodiscard]] udp_sock* best_at(const inet_addr& addr, const udp_flow& flow, s32 cpu) const;
  [[nodiscard]] udp_demux_key key_of(const udp_sock& sk) const;
  hash_table<udp_sock, udp_tag> by_key_;
  const s32 cpus_;  ///< of the machine
  u64 last_age_ = 0;
  /// How many are connected, connected to all ports of their peer, bound to devices, and to cpus:
  /// where there are none, nobody looks.
  u32 connected_ = 0, to_all_ports_ = 0, on_devices_ = 0, on_cpus_ = 0;
};

}  // namespace ph
