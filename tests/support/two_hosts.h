// Hosts in one process whose mem devices are joined by wires, under a clock that the test moves.
//
//   two_hosts lab;                          // a 10.0.0.1/24 — b 10.0.0.2/24
//   const int fd = *sys_socket(lab.a.app, af_inet, sock_dgram, 0);
//   ...
//   lab.settle();                           // everything that happens at this instant
//   lab.advance(milliseconds(10));          // everything up to 10 ms later
//
// `filter` may look at, change or lose each frame; `frames` keeps a copy of each one. At its end
// a lab checks that no packet was freed without a reason.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "drivers/net/mem.h"
#include "init/builtin.h"
#include "kernel/task.h"
#include "net/ethernet/eth.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/fib.h"
#include "net/ipv4/ipv4_net.h"
#include "net/socket/syscall.h"
#include "net/tcp/tcp_drop_reasons.h"
#include "net/udp/udp_drop_reasons.h"
#include "sim/link.h"
#include "uapi/inet.h"
#include "uapi/packet.h"
#include "uapi/socket.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/udp.h"

namespace ph {

/// sockaddr_in as a view that lives as long as this object.
struct addr4 {
  addr4(const char* text, u16 port) : addr4(*ipv4_addr::parse(text), port) {}
  addr4(ipv4_addr addr, u16 port) {
    in.sin_family.set(uapi::af_inet);
    in.sin_port.set(port);
    in.sin_addr = addr.raw;
  }
  operator byte_view() const { return bytes_of(in); }
  uapi::sockaddr_in in;
};
inline ipv4_addr addr_of(const sockaddr_buf& name) {
  ipv4_addr out;
  out.raw = view_as<uapi::sockaddr_in>(name.view())->sin_addr;
  return out;
}
inline u16 port_of(const sockaddr_buf& name) {
  return view_as<uapi::sockaddr_in>(name.view())->sin_port.value();
}

struct test_host {
  test_host(kernel_config config, int number_) : machine(std::move(config)), number(number_) {
    builtin_init(machine);
    app_task = std::make_unique<task>(machine, init_net(machine), "app");
  }
  [[nodiscard]] net_namespace& net() { return init_net(machine); }
  [[nodiscard]] cpu& cx() { return machine.boot_cpu(); }
  [[nodiscard]] task& app() { return *app_task; }
  [[nodiscard]] ipv4_net& ipv4() { return ipv4_of(net()); }
  [[nodiscard]] net_device& dev(std::size_t i = 0) { return ports[i]->device(); }
  [[nodiscard]] u64 mib(mib_counter counter) { return net().mib().get(counter); }
  [[nodiscard]] u64 drops(skb_drop_reason why) { return machine.drops().get(why.info()); }
  /// Sets a sysctl, which must accept it.
  void sysctl(std::string_view name, std::string_view value) {
    ph_check(net().sysctls().set(name, value).has_value());
  }
  /// "10.0.0.1/24"
  void add_address(net_device& to, std::string_view text) {
    const auto prefix = *ipv4_prefix::parse(text);
    in_ifaddr ifa;
    ifa.local = ifa.address = prefix.addr;
    ifa.prefix_len = prefix.len;
    const ipv4_addr last(prefix.addr.value() | ~ipv4_mask(prefix.len).value());
    ifa.broadcast = prefix.len < 31 ? last : ipv4_addr();
    const rtnl_guard rtnl(machine.rtnl());
    ph_check(inet_addr_add(rtnl.held(), cx(), to, ifa).has_value());
  }
  /// The words of `ip route`.
  void add_route(std::string_view words) {
    std::string why;
    const auto route = fib_route_parse(net(), words, &why);
    ph_check(route.has_value());
    const rtnl_guard rtnl(machine.rtnl());
    ph_check(ipv4().fib.add(rtnl.held(), *route).has_value());
  }

  kernel machine;
  int number;
  std::vector<mem_port*> ports;
  std::unique_ptr<task> app_task;
};

/// A frame as it left a host.
struct test_frame {
  instant when;
  int from = 0, to = 0;       ///< numbers of hosts in the order of add_host
  std::vector<u8> bytes;      ///< Ethernet header first
  bool lost = false;          ///< the filter said so
  [[nodiscard]] u16 ethertype() const { return view_as<ethhdr>(byte_view(bytes))->h_proto.value(); }
  /// The IPv4 packet; ph_check fails when it is none.
  [[nodiscard]] ipv4_view ip() const {
    const auto view = ipv4_view::parse(byte_view(bytes).subspan(sizeof(ethhdr)));
    ph_check(ethertype() == uapi::eth_p_ip && view.has_value());
    return *view;
  }
  [[nodiscard]] bool is_ip(u8 protocol) const {
    return ethertype() == uapi::eth_p_ip && ip().iph->protocol == protocol;
  }
};

class test_lab {
 public:
  test_lab() = default;
  test_lab(const test_lab&) = delete;
  ~test_lab() {
    flying_.clear();
    for (test_host& host : hosts_) {
      host.app_task.reset();
      EXPECT_EQ(host.drops(drop_reason::unreasoned), 0u) << "host " << host.machine.name();
    }
  }

  test_host& add_host(std::string name, u32 cpus = 1) {
    kernel_config config;
    config.name = std::move(name);
    config.cpus = cpus;
    config.seed = 1 + hosts_.size();
    config.memory = &memory;
    return hosts_.emplace_back(std::move(config), static_cast<int>(hosts_.size()));
  }
  struct link_config {
    u32 mtu = 1500;
    u32 features = netif_f_none;
    duration delay{};         ///< one way
  };
  /// Joins two hosts by a new pair of devices with these addresses ("10.0.0.1/24"), both up.
  void link(test_host& x, std::string_view addr_x, test_host& y, std::string_view addr_y,
            link_config config) {
    const end from_x = add_end(x, config), from_y = add_end(y, config);
    wires_.push_back({this, &x, &y, from_y.port, config.delay});
    from_x.port->set_transmit(sender(wires_.back()));
    wires_.push_back({this, &y, &x, from_x.port, config.delay});
    from_y.port->set_transmit(sender(wires_.back()));
    for (const auto& [host, port, text] : {std::tuple(&x, from_x.port, addr_x),
                                           std::tuple(&y, from_y.port, addr_y)}) {
      {
        const rtnl_guard rtnl(host->machine.rtnl());
        ph_check(port->device().open(rtnl.held(), host->cx()).has_value());
      }
      if (!text.empty()) host->add_address(port->device(), text);
    }
  }
  void link(test_host& x, std::string_view addr_x, test_host& y, std::string_view addr_y) {
    link(x, addr_x, y, addr_y, link_config{});
  }

  [[nodiscard]] instant now() const { return now_; }
  /// Everything that happens without time passing.
  void settle() {
    for (int round = 0; round < 100'000; ++round) {
      bool busy = false;
      for (std::size_t i = 0; i < flying_.size();) {
        if (flying_[i].due > now_) {
          ++i;
          continue;
        }
        flight arrived = std::move(flying_[i]);
        flying_.erase(flying_.begin() + static_cast<std::ptrdiff_t>(i));
        arrived.to->receive(std::move(arrived.skb));
        busy = true;
      }
      for (test_host& host : hosts_) {
        host.machine.enter(now_);
        if (host.machine.next_deadline() > now_) continue;
        host.machine.run(now_);
        busy = true;
      }
      if (!busy) return;
    }
    ADD_FAILURE() << "hosts do not come to rest at " << now_.ns;
  }
  /// Everything up to `d` later.
  void advance(duration d) {
    const instant target = now_ + d;
    for (;;) {
      settle();
      instant next = never;
      for (test_host& host : hosts_) next = std::min(next, host.machine.next_deadline());
      for (const flight& f : flying_) next = std::min(next, f.due);
      if (next > target) break;
      now_ = next;
    }
    now_ = target;
    settle();
  }
  /// Until `done()`, at most `limit`; returns whether it came true.
  bool run_until(const std::function<bool()>& done, duration limit,
                 duration step = milliseconds(1)) {
    const instant end_at = now_ + limit;
    settle();
    while (!done() && now_ < end_at) advance(step);
    return done();
  }
  /// An IP packet (or other payload) arrives on host's i-th device, addressed to its MAC.
  void inject(test_host& host, byte_view payload, u16 ethertype = uapi::eth_p_ip,
              std::size_t i = 0) {
    inject_to(host, payload, host.dev(i).dev_addr(), ethertype, i);
  }
  void inject_to(test_host& host, byte_view payload, const mac_addr& dest,
                 u16 ethertype = uapi::eth_p_ip, std::size_t i = 0) {
    std::vector<u8> frame(sizeof(ethhdr) + payload.size());
    emit(frame, ethernet_header{dest, mac_addr{{2, 0, 0, 0, 0xee, 1}}, ethertype});
    copy_bytes(byte_span(frame).subspan(sizeof(ethhdr)), payload);
    host.ports[i]->receive_bytes(frame);
    settle();
  }
  [[nodiscard]] test_host& host(std::size_t i) {
    return *std::next(hosts_.begin(), static_cast<std::ptrdiff_t>(i));
  }

  packet_memory memory;
  /// Copies of all frames, in the order they left (unless `capture` is off).
  std::vector<test_frame> frames;
  bool capture = true;
  /// Returns false to lose the frame; may change `bytes`.
  std::function<bool(test_frame&)> filter;

 private:
  struct end {
    mem_port* port;
  };
  struct wire {
    test_lab* lab;
    test_host* from;
    test_host* to;
    mem_port* far;
    duration delay;
  };
  struct flight {
    instant due;
    mem_port* to;
    skb_ptr skb;
  };
  end add_end(test_host& host, const link_config& config) {
    const rtnl_guard rtnl(host.machine.rtnl());
    mem_config mem;
    mem.addr = mac_addr{{2, 0, 0, 0, static_cast<u8>(host.number),
                         static_cast<u8>(host.ports.size())}};
    mem.mtu = config.mtu;
    mem.features = config.features;
    mem_port* port = *mem_create(rtnl.held(), host.net(), mem);
    host.ports.push_back(port);
    return {port};
  }
  static mem_port::transmit_fn sender(wire& w) {
    return [&w](cpu& cx, skb_ptr& skb) {
      w.lab->carry(w, cx, std::move(skb));
      return true;
    };
  }
  void carry(wire& w, cpu& cx, skb_ptr skb) {
    if (capture || filter) {
      test_frame frame{now_, w.from->number, w.to->number, std::vector<u8>(skb->len()), false};
      ph_check(skb->copy_bits(0, frame.bytes));
      const std::vector<u8> before = filter ? frame.bytes : std::vector<u8>();
      frame.lost = filter && !filter(frame);
      const bool lost = frame.lost;
      const bool changed = filter && frame.bytes != before;
      if (changed && !lost) {
        skb_ptr fresh = alloc_skb(cx, static_cast<u32>(frame.bytes.size()) + max_header);
        fresh->reserve(max_header);
        fresh->put_bytes(frame.bytes);
        consume(cx, std::exchange(skb, std::move(fresh)));
      }
      if (capture) frames.push_back(std::move(frame));
      if (lost) return drop(cx, std::move(skb), drop_reason::fault_loss);
    }
    skb_scrub_packet(*skb);
    flying_.push_back({now_ + w.delay, w.far, std::move(skb)});
  }

  std::list<wire> wires_;
  std::list<test_host> hosts_;
  std::deque<flight> flying_;
  instant now_ = instant{} + seconds(1);
};

/// a 10.0.0.1/24 — 10.0.0.2/24 b.
struct two_hosts : test_lab {
  explicit two_hosts(link_config config = {}, u32 cpus = 1)
      : a(add_host("a", cpus)), b(add_host("b", cpus)) {
    link(a, "10.0.0.1/24", b, "10.0.0.2/24", config);
    settle();
    frames.clear();
  }
  test_host& a;
  test_host& b;
};

/// a 10.0.1.2/24 — 10.0.1.1/24 router 10.0.2.1/24 — 10.0.2.2/24 b, with default routes.
struct routed_hosts : test_lab {
  explicit routed_hosts(link_config left = {}, link_config right = {})
      : a(add_host("a")), router(add_host("router")), b(add_host("b")) {
    link(a, "10.0.1.2/24", router, "10.0.1.1/24", left);
    link(router, "10.0.2.1/24", b, "10.0.2.2/24", right);
    router.sysctl("net.ipv4.ip_forward", "1");
    a.add_route("default via 10.0.1.1 dev eth0");
    b.add_route("default via 10.0.2.1 dev eth0");
    settle();
    frames.clear();
  }
  test_host& a;
  test_host& router;
  test_host& b;
};

}  // namespace ph
