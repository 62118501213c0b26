// What the fuzzers of whole machines share: furnishing, and what must hold when all is over.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "drivers/net/mem.h"
#include "init/builtin.h"
#include "kernel/task.h"
#include "net/ipv4/devinet.h"
#include "net/socket/syscall.h"
#include "sim/link.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::fuzz {

inline sockaddr_buf inet_name(ipv4_addr addr, u16 port) {
  uapi::sockaddr_in in;
  in.sin_family.set(uapi::af_inet);
  in.sin_port.set(port);
  in.sin_addr = addr.raw;
  sockaddr_buf out;
  out.set(in);
  return out;
}

inline kernel_config machine_config(packet_memory& memory, const char* name = "host") {
  kernel_config out;
  out.name = name;
  out.memory = &memory;
  return out;
}

/// A device that is up, with an address of a /24. `transmit`: where its frames go.
inline mem_port& add_port(kernel& machine, mac_addr mac, ipv4_addr local,
                          mem_port::transmit_fn transmit, u32 mtu = 1500,
                          u32 features = netif_f_none) {
  cpu& cx = machine.boot_cpu();
  const rtnl_guard rtnl(machine.rtnl());
  mem_config mem;
  mem.addr = mac;
  mem.mtu = mtu;
  mem.features = features;
  mem_port* port = *mem_create(rtnl.held(), init_net(machine), mem);
  port->set_transmit(transmit);
  ph_check(port->device().open(rtnl.held(), cx).has_value());
  in_ifaddr addr;
  addr.local = addr.address = local;
  addr.prefix_len = 24;
  addr.broadcast = ipv4_addr(local.value() | 0xff);
  ph_check(inet_addr_add(rtnl.held(), cx, port->device(), addr).has_value());
  return *port;
}

/// Packets of this machine that ended without a reason.
inline u64 unreasoned(kernel& machine) { return machine.drops().get(drop_reason::unreasoned); }

/// No packet lives, none ended without a reason, and `sockets` are what is expected.
inline void require_empty(kernel& machine, u64 sockets_before, const char* when) {
  const packet_memory& memory = machine.memory();
  const u64 sockets = init_net(machine).sockets - sockets_before;
  const u64 lost = memory.unreasoned() + unreasoned(machine);
  if (memory.live_packets() == 0 && memory.live_blocks() == 0 && lost == 0 && sockets == 0) return;
  std::fputs(fmt::format("{}, {}: {} packets, {} blocks and {} sockets are left, {} packets "
                         "ended without a reason\n", machine.name(), when, memory.live_packets(),
                         memory.live_blocks(), sockets, lost)
                 .c_str(), stderr);
  ph_unreachable("the machine is not empty");
}

}  // namespace ph::fuzz
