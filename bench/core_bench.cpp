// What a packet costs below the protocols: buffers, checksums, the queue of a device, the way
// through a neighbour entry, segmentation.
#include <benchmark/benchmark.h>

#include "kernel/kernel.h"
#include "net/core/dev_tx.h"
#include "net/core/gso.h"
#include "net/core/neighbour.h"
#include "net/core/net_namespace.h"
#include "net/ethernet/eth.h"
#include "net/sched/sch_pfifo.h"
#include "uapi/inet.h"
#include "uapi/packet.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace ph {
namespace {

/// Takes everything and forgets it.
struct sink_driver final : netdev_ops {
  result<void> open(cpu&, net_device&) override { return {}; }
  void stop(cpu&, net_device&) override {}
  netdev_tx xmit(cpu& cx, net_device&, skb_ptr& skb, bool) override {
    consume(cx, std::move(skb));
    return netdev_tx::ok;
  }
};

struct bench_machine {
  bench_machine()
      : host(kernel_config{.memory = &memory}), net(host, "init") {
    net.default_qdisc = pfifo_fast_create;
    net_device_config config;
    config.name = "eth0";
    config.features = netif_f_sg | netif_f_hw_csum;
    const rtnl_guard rtnl(host.rtnl());
    dev = *net.register_device(rtnl.held(), std::move(config), std::make_unique<sink_driver>());
    dev->set_headers(&eth_header_ops());
    static_cast<void>(dev->open(rtnl.held(), host.boot_cpu()));
  }
  cpu& cx() { return host.boot_cpu(); }
  skb_ptr packet(u32 bytes) {
    skb_ptr skb = alloc_skb(cx(), max_header + bytes);
    skb->reserve(max_header);
    std::fill_n(skb->put(bytes).data(), bytes, u8{1});
    skb->dev = dev;
    return skb;
  }
  packet_memory memory;
  kernel host;
  net_namespace net;
  net_device* dev = nullptr;
};

void skb_alloc_free(benchmark::State& state) {
  bench_machine m;
  const u32 bytes = static_cast<u32>(state.range(0));
  for (auto _ : state) {
    skb_ptr skb = alloc_skb(m.cx(), bytes);
    benchmark::DoNotOptimize(skb.get());
    consume(m.cx(), std::move(skb));
  }
}
BENCHMARK(skb_alloc_free)->Arg(200)->Arg(1600)->Arg(65536);

void skb_clone_free(benchmark::State& state) {
  bench_machine m;
  skb_ptr skb = m.packet(100);
  skb_ptr piece = m.packet(1000);
  for (s64 i = 0; i < state.range(0); ++i) {
    skb->share_range(m.cx(), *piece, static_cast<u32>(i * 10), 5);
  }
  for (auto _ : state) consume(m.cx(), skb_clone(m.cx(), *skb));
  consume(m.cx(), std::move(skb));
  consume(m.cx(), std::move(piece));
}
BENCHMARK(skb_clone_free)->Arg(0)->Arg(1)->Arg(17);

void skb_checksum(benchmark::State& state) {
  bench_machine m;
  const u32 bytes = static_cast<u32>(state.range(0));
  skb_ptr skb = m.packet(bytes);
  for (auto _ : state) benchmark::DoNotOptimize(skb->checksum(0, bytes));
  state.SetBytesProcessed(static_cast<s64>(state.iterations()) * bytes);
  consume(m.cx(), std::move(skb));
}
BENCHMARK(skb_checksum)->Arg(20)->Arg(64)->Arg(1460)->Arg(65536);

void qdisc_enqueue_dequeue(benchmark::State& state) {
  bench_machine m;
  std::unique_ptr<qdisc> q = pfifo_fast_create(*m.dev);
  for (int i = 0; i < 32; ++i) static_cast<void>(q->enqueue(m.cx(), m.packet(60)));
  skb_ptr skb = m.packet(60);
  for (auto _ : state) {
    static_cast<void>(q->enqueue(m.cx(), std::move(skb)));
    skb = q->dequeue(m.cx());
  }
  consume(m.cx(), std::move(skb));
  q->reset(m.cx(), drop_reason::queue_purge);
}
BENCHMARK(qdisc_enqueue_dequeue);

void device_transmit(benchmark::State& state) {
  bench_machine m;
  for (auto _ : state) static_cast<void>(dev_queue_xmit(m.cx(), m.packet(60)));
}
BENCHMARK(device_transmit);

struct no_arp final : neigh_ops {
  void solicit(cpu&, neighbour&, const sk_buff*, bool) override {}
  void error_report(cpu& cx, neighbour&, skb_ptr skb) override {
    drop(cx, std::move(skb), drop_reason::neigh_failed);
  }
  bool constructor(neighbour& neigh) override {
    neigh.set_fixed(nud_permanent, mac_addr{{2, 0, 0, 0, 0, 2}});
    return true;
  }
};

void neighbour_output(benchmark::State& state) {
  bench_machine m;
  neigh_table table(m.net, uapi::eth_p_ip, std::make_unique<no_arp>());
  const neigh_key key = neigh_key::of(ipv4_addr(10, 0, 0, 2));
  const ref<neighbour> keep = *table.lookup_or_create(m.cx(), key, *m.dev);
  for (auto _ : state) {
    skb_ptr skb = m.packet(60);
    const ref<neighbour> neigh = table.lookup(key, *m.dev);
    const nf_state hook{nf_family::ipv4, nf_hooknum::postrouting, nullptr, m.dev, nullptr};
    const egress_pass pass = nf_postrouting(m.cx(), m.net, skb, hook);
    static_cast<void>(table.output(m.cx(), *neigh, std::move(skb), pass));
  }
}
BENCHMARK(neighbour_output);

/// 44 segments of 1448 bytes: cost of the whole super-packet.
void gso_tcp_64k(benchmark::State& state) {
  bench_machine m;
  constexpr u32 payload = 44 * 1448;
  skb_ptr whole = m.packet(14 + 20 + 20 + payload);
  whole->set_mac_header();
  whole->set_network_header(14);
  whole->set_transport_header(34);
  iphdr& iph = whole->network_header_mut<iphdr>();
  iph.set_header_bytes(20);
  iph.protocol = uapi::ipproto_tcp;
  whole->transport_header_mut<tcphdr>().set_header_bytes(20);
  whole->gso_type = gso_tcpv4;
  whole->gso_size = 1448;
  const u32 features = static_cast<u32>(state.range(0));
  skb_queue out;
  for (auto _ : state) {
    skb_gso_segment(m.cx(), skb_clone(m.cx(), *whole), features, out);
    while (skb_ptr seg = out.pop_front()) consume(m.cx(), std::move(seg));
  }
  state.SetBytesProcessed(static_cast<s64>(state.iterations()) * payload);
  consume(m.cx(), std::move(whole));
}
BENCHMARK(gso_tcp_64k)->Arg(netif_f_none)->Arg(netif_f_sg | netif_f_hw_csum);

}  // namespace
}  // namespace ph
