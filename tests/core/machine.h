// A machine with one bare namespace, without protocols: what tests of net/core stand on. When it
// goes, every packet must have met its end, and with a reason.
#pragma once

#include <gtest/gtest.h>

#include "kernel/kernel.h"
#include "net/core/net_namespace.h"

namespace ph::test {

struct machine {
  explicit machine(u32 cpus = 1, u64 seed = 1)
      : host(std::make_unique<kernel>(
            kernel_config{.name = "host", .cpus = cpus, .seed = seed, .memory = &memory})),
        net_(std::make_unique<net_namespace>(*host, "init")) {}
  machine(const machine&) = delete;
  machine& operator=(const machine&) = delete;
  ~machine() {
    net_.reset();
    host.reset();
    EXPECT_EQ(memory.live_packets(), 0u);
    EXPECT_EQ(memory.live_blocks(), 0u);
    EXPECT_EQ(memory.unreasoned(), unreasoned);
  }

  [[nodiscard]] cpu& cx() { return host->boot_cpu(); }
  [[nodiscard]] net_namespace& net() { return *net_; }
  [[nodiscard]] u64 drops(skb_drop_reason why) { return host->drops().get(why.info()); }
  /// Runs until `until`, stopping at every deadline on the way.
  void run_until(instant until) {
    for (;;) {
      const instant next = host->next_deadline();
      if (next > until) break;
      host->run(std::max(next, now_));
      now_ = std::max(next, now_);
    }
    now_ = until;
    host->run(until);
  }
  void run_for(duration d) { run_until(now_ + d); }
  [[nodiscard]] instant now() const { return now_; }

  packet_memory memory;
  std::unique_ptr<kernel> host;
  u64 unreasoned = 0;  ///< packets that this test lets die without a reason

 private:
  std::unique_ptr<net_namespace> net_;
  instant now_{0};
};

/// A packet whose linear bytes are `bytes`, behind `headroom` bytes.
inline skb_ptr make_skb(cpu& cx, byte_view bytes, u32 headroom = max_header) {
  skb_ptr skb = alloc_skb(cx, headroom + static_cast<u32>(bytes.size()));
  skb->reserve(headroom);
  skb->put_bytes(bytes);
  return skb;
}

inline std::vector<u8> bytes_in(const sk_buff& skb) {
  std::vector<u8> out(skb.len());
  EXPECT_TRUE(skb.copy_bits(0, out));
  return out;
}

/// A driver that records what it is given and refuses when told to.
struct fake_driver final : netdev_ops {
  struct log {
    std::vector<std::vector<u8>> frames;
    std::vector<bool> more;
    std::vector<checksum_state> csum;
    std::vector<u16> gso_size;
    std::vector<bool> linear;
    std::size_t room = ~std::size_t{0};  ///< packets it still takes
    int opened = 0, stopped = 0;
    errc open_error = errc::ok;
  };
  explicit fake_driver(log& to) : log_(to) {}
  result<void> open(cpu&, net_device&) override {
    if (log_.open_error != errc::ok) return fail(log_.open_error);
    ++log_.opened;
    return {};
  }
  void stop(cpu&, net_device&) override { ++log_.stopped; }
  netdev_tx xmit(cpu& cx, net_device&, skb_ptr& skb, bool more) override {
    if (log_.room == 0) return netdev_tx::busy;
    --log_.room;
    log_.frames.push_back(bytes_in(*skb));
    log_.more.push_back(more);
    log_.csum.push_back(skb->ip_summed);
    log_.gso_size.push_back(skb->gso_size);
    log_.linear.push_back(!skb->is_nonlinear());
    consume(cx, std::move(skb));
    return netdev_tx::ok;
  }
  log& log_;
};

/// Registers and opens a device with a fake driver.
inline net_device& add_fake(machine& m, fake_driver::log& log, net_device_config config) {
  const rtnl_guard rtnl(m.host->rtnl());
  auto dev = m.net().register_device(rtnl.held(), std::move(config),
                                     std::make_unique<fake_driver>(log));
  EXPECT_TRUE(dev.has_value());
  EXPECT_TRUE((*dev)->open(rtnl.held(), m.cx()));
  return **dev;
}

}  // namespace ph::test
