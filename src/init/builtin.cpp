// The list: everything a machine is furnished with, in order. No static constructors anywhere.
#include "init/builtin.h"

#include "drivers/net/loopback.h"
#include "net/core/softnet.h"
#include "net/ipv4/af_inet.h"
#include "net/ipv4/arp.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/fib_frontend.h"
#include "net/ipv4/ipv4_net.h"
#include "net/sched/sch_pfifo.h"
#include "net/socket/socket.h"
#include "net/tcp/tcp.h"
#include "net/udp/udp.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph {
namespace {

/// What sockets can be made, and who answers ioctls about addresses.
void register_families(kernel& machine) {
  auto& families = machine.slots().set(net_families_key, std::make_unique<net_families>());
  inet_family& inet =
      machine.slots().set(inet_family_key, std::make_unique<inet_family>());
  inet.transports = {{uapi::sock_stream, uapi::ipproto_tcp, tcp_create},
                     {uapi::sock_dgram, uapi::ipproto_udp, udp_create},
                     {uapi::sock_dgram, uapi::ipproto_udplite, udplite_create}};
  families.create[uapi::af_inet] = inet_create;
  for (const family_ioctl_fn answers : {inet_ioctl, ip_rt_ioctl, arp_ioctl}) {
    families.ioctls.push_back(answers);
  }
}

void furnish(net_namespace& net) {
  net.default_qdisc = pfifo_fast_create;
  socket_init(net);
  ipv4_init(net);
  tcp_init(net);
  udp_init(net);
  auto& handlers = ipv4_of(net).protocols.handlers;
  handlers[uapi::ipproto_tcp] = tcp_v4_protocol();
  handlers[uapi::ipproto_udp] = udp_v4_protocol();
  handlers[uapi::ipproto_udplite] = udplite_v4_protocol();

  const rtnl_guard rtnl(net.machine().rtnl());
  const result<net_device*> lo = loopback_create(rtnl.held(), net);
  ph_check(lo.has_value());
  // IPv4 gives it 127.0.0.1/8 when it comes up.
  ph_check((*lo)->open(rtnl.held(), net.machine().boot_cpu()).has_value());
}

}  // namespace

void builtin_init(kernel& machine) {
  // Before the namespaces, so that it outlives their devices.
  machine.slots().set(softnet_key, std::make_unique<softnet>(machine));
  tcp_kernel_init(machine);
  register_families(machine);
  machine.slots().set(net_namespaces_key, std::make_unique<net_namespaces>());
  builtin_new_namespace(machine, "init");
}

net_namespace& builtin_new_namespace(kernel& machine, std::string name) {
  auto& all = machine.slots().get(net_namespaces_key).all;
  net_namespace& net =
      *all.emplace_back(std::make_unique<net_namespace>(machine, std::move(name)));
  furnish(net);
  return net;
}

}  // namespace ph
