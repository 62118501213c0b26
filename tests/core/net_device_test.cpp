// The registry of devices, their control plane, and the way in.
#include "net/core/net_device.h"

#include "net/core/napi.h"
#include "net/core/softnet.h"
#include "net/ethernet/eth.h"
#include "tests/core/machine.h"
#include "uapi/packet.h"

namespace ph {
namespace {

using test::add_fake;
using test::fake_driver;
using test::machine;
using test::make_skb;

net_device_config named(std::string name) {
  net_device_config config;
  config.name = std::move(name);
  config.addr = mac_addr{{2, 0, 0, 0, 0, 1}};
  return config;
}

struct device_registry : testing::Test {
  result<net_device*> add(const std::string& name) {
    const rtnl_guard rtnl(m.host->rtnl());
    return m.net().register_device(rtnl.held(), named(name), std::make_unique<fake_driver>(log));
  }
  fake_driver::log log;
  machine m;
};

TEST_F(device_registry, names_and_numbers) {
  net_device& a = **add("eth%d");
  net_device& b = **add("eth%d");
  net_device& c = **add("wan");
  EXPECT_EQ(a.name(), "eth0");
  EXPECT_EQ(b.name(), "eth1");
  EXPECT_EQ(a.index().value, 1u);
  EXPECT_EQ(c.index().value, 3u);
  EXPECT_EQ(m.net().device("eth1"), &b);
  EXPECT_EQ(m.net().device(ifindex(3)), &c);
  EXPECT_EQ(m.net().device("nope"), nullptr);
  {
    const rtnl_guard rtnl(m.host->rtnl());
    m.net().unregister_device(rtnl.held(), a);
  }
  EXPECT_EQ(m.net().device("eth0"), nullptr);
  EXPECT_EQ((*add("eth%d"))->name(), "eth0") << "the lowest free number";
  EXPECT_EQ(m.net().device("eth0")->index().value, 4u) << "indexes are not used again";
}

/// "default" and "all" are names of settings.
TEST_F(device_registry, refuses_bad_names) {
  EXPECT_TRUE(add("eth0"));
  EXPECT_EQ(add("eth0").error(), errc::exist);
  for (const char* bad :
       {"", "a b", "a/b", "sixteen_bytes_xx", ".", "..", "eth0:1", "a\tb", "default", "all"}) {
    EXPECT_EQ(add(bad).error(), errc::inval) << bad;
  }
  EXPECT_TRUE(add("fifteen_bytes_x"));
}

TEST_F(device_registry, tells_what_happens_in_order) {
  std::vector<netdev_event_kind> seen;
  notifier<netdev_event> listener([&seen](const netdev_event& e) { seen.push_back(e.kind); });
  m.net().netdev_events().add(listener);
  net_device& dev = **add("eth0");
  const rtnl_guard rtnl(m.host->rtnl());
  EXPECT_TRUE(dev.open(rtnl.held(), m.cx()));
  EXPECT_TRUE(dev.open(rtnl.held(), m.cx())) << "opening twice is no event";
  EXPECT_EQ(dev.flags() & (uapi::iff_up | uapi::iff_running), uapi::iff_up | uapi::iff_running);
  EXPECT_TRUE(dev.set_mtu(rtnl.held(), 9000));
  EXPECT_EQ(dev.set_mtu(rtnl.held(), 67).error(), errc::inval);
  EXPECT_EQ(dev.mtu(), 9000u);
  EXPECT_TRUE(dev.set_address(rtnl.held(), mac_addr{{2, 0, 0, 0, 0, 9}}));
  EXPECT_EQ(dev.set_address(rtnl.held(), mac_addr::broadcast()).error(), errc::addrnotavail);
  m.net().unregister_device(rtnl.held(), dev);
  using kind = netdev_event_kind;
  EXPECT_EQ(seen, (std::vector<kind>{kind::registered, kind::up, kind::change_mtu,
                                     kind::change_addr, kind::going_down, kind::down,
                                     kind::unregister}));
  EXPECT_EQ(log.opened, 1);
  EXPECT_EQ(log.stopped, 1);
}

TEST_F(device_registry, a_driver_may_refuse_to_open) {
  log.open_error = errc::nodev;
  net_device& dev = **add("eth0");
  const rtnl_guard rtnl(m.host->rtnl());
  EXPECT_EQ(dev.open(rtnl.held(), m.cx()).error(), errc::nodev);
  EXPECT_FALSE(dev.is_up());
}

// --- the way in -------------------------------------------------------------------------------

struct dev_rx : testing::Test {
  dev_rx() : dev(add_fake(m, log, named("eth0"))) {
    ipv4.type = uapi::eth_p_ip;
    ipv4.func = [this](cpu& cx, skb_ptr skb, net_device& on) {
      EXPECT_EQ(&on, skb->dev);
      EXPECT_EQ(skb->network_offset(), 0);
      got.push_back(test::bytes_in(*skb));
      consume(cx, std::move(skb));
    };
    m.net().add_packet_type(ipv4);
  }
  skb_ptr frame(const mac_addr& to, u16 type, std::vector<u8> payload = {1, 2, 3}) {
    skb_ptr skb = make_skb(m.cx(), payload);
    eth_header_ops().create(m.cx(), *skb, dev, type, &to, nullptr);
    return skb;
  }
  void receive(skb_ptr skb) {
    ASSERT_TRUE(eth_type_trans(m.cx(), *skb, dev));
    netif_receive_skb(m.cx(), std::move(skb));
  }
  fake_driver::log log;
  machine m;
  net_device& dev;
  packet_type ipv4;
  std::vector<std::vector<u8>> got;
};

TEST_F(dev_rx, delivers_by_ethertype) {
  receive(frame(dev.dev_addr(), uapi::eth_p_ip));
  receive(frame(mac_addr::broadcast(), uapi::eth_p_ip, {9}));
  EXPECT_EQ(got, (std::vector<std::vector<u8>>{{1, 2, 3}, {9}}));
  receive(frame(dev.dev_addr(), 0x1234));
  EXPECT_EQ(m.drops(drop_reason::unhandled_proto), 1u);
  receive(frame(mac_addr{{2, 0, 0, 0, 0, 7}}, uapi::eth_p_ip));
  EXPECT_EQ(m.drops(drop_reason::other_host), 1u);
  receive(frame(dev.dev_addr(), 46));  // an 802.3 length
  EXPECT_EQ(m.drops(drop_reason::unhandled_proto), 2u);
  EXPECT_EQ(got.size(), 2u);
}

TEST_F(dev_rx, knows_to_whom_a_frame_is_addressed) {
  const auto type_of = [&](mac_addr to) {
    skb_ptr skb = frame(to, uapi::eth_p_ip);
    EXPECT_EQ(eth_type_trans(m.cx(), *skb, dev).value(), uapi::eth_p_ip);
    EXPECT_EQ(skb->mac_offset(), -14);
    const packet_type_for out = skb->pkt_type;
    consume(m.cx(), std::move(skb));
    return out;
  };
  EXPECT_EQ(type_of(dev.dev_addr()), packet_type_for::host);
  EXPECT_EQ(type_of(mac_addr::broadcast()), packet_type_for::broadcast);
  EXPECT_EQ(type_of(mac_addr{{1, 0, 0x5e, 0, 0, 1}}), packet_type_for::multicast);
  EXPECT_EQ(type_of(mac_addr{{2, 0, 0, 0, 0, 2}}), packet_type_for::otherhost);
  const std::vector<u8> stub(13);
  skb_ptr skb = make_skb(m.cx(), stub);
  EXPECT_EQ(eth_type_trans(m.cx(), *skb, dev).error(), errc::badmsg);
  consume(m.cx(), std::move(skb));
}

TEST_F(dev_rx, a_type_bound_to_the_device_goes_first) {
  int bound = 0;
  packet_type special;
  special.type = uapi::eth_p_ip;
  special.dev = &dev;
  special.func = [&bound](cpu& cx, skb_ptr skb, net_device&) {
    ++bound;
    consume(cx, std::move(skb));
  };
  m.net().add_packet_type(special);
  receive(frame(dev.dev_addr(), uapi::eth_p_ip));
  EXPECT_EQ(bound, 1);
  EXPECT_TRUE(got.empty());
}

TEST_F(dev_rx, taps_see_what_others_do_not_want) {
  std::vector<std::pair<bool, u32>> seen;
  packet_tap tap;
  tap.func = [&seen](cpu&, const sk_buff& skb, net_device&, bool outgoing) {
    seen.emplace_back(outgoing, static_cast<u32>(skb.mac_bytes().size()));
  };
  m.net().add_tap(tap);
  receive(frame(mac_addr{{2, 0, 0, 0, 0, 7}}, 0x4321));
  EXPECT_EQ(seen, (std::vector<std::pair<bool, u32>>{{false, 17u}}));
  tap.unlink();
  EXPECT_FALSE(m.net().tapped());
}

TEST_F(dev_rx, an_rx_handler_may_take_the_packet) {
  int taken = 0;
  dev.rx_handler = [&taken](cpu& cx, skb_ptr& skb) {
    if (skb->len() != 3) return false;
    ++taken;
    consume(cx, std::move(skb));
    return true;
  };
  receive(frame(dev.dev_addr(), uapi::eth_p_ip));
  receive(frame(dev.dev_addr(), uapi::eth_p_ip, {1}));
  EXPECT_EQ(taken, 1);
  EXPECT_EQ(got.size(), 1u);
}

TEST_F(dev_rx, a_device_that_is_down_receives_nothing) {
  skb_ptr skb = frame(dev.dev_addr(), uapi::eth_p_ip);
  {
    const rtnl_guard rtnl(m.host->rtnl());
    dev.close(rtnl.held(), m.cx());
  }
  receive(std::move(skb));
  EXPECT_EQ(m.drops(drop_reason::dev_down), 1u);
}

TEST_F(dev_rx, the_backlog_waits_for_the_next_poll_and_is_bounded) {
  softnet& soft = m.host->slots().get(softnet_key);
  soft.max_backlog = 100;
  for (int i = 0; i < 150; ++i) {
    skb_ptr skb = frame(dev.dev_addr(), uapi::eth_p_ip, {static_cast<u8>(i)});
    ASSERT_TRUE(eth_type_trans(m.cx(), *skb, dev));
    netif_rx(m.cx(), std::move(skb));
  }
  EXPECT_TRUE(got.empty());
  EXPECT_EQ(m.drops(drop_reason::cpu_backlog), 50u);
  m.run_for(seconds(1));
  ASSERT_EQ(got.size(), 100u);
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i][0], i);
}

TEST_F(dev_rx, packets_of_a_device_that_goes_away_leave_the_backlog) {
  for (int i = 0; i < 3; ++i) {
    skb_ptr skb = frame(dev.dev_addr(), uapi::eth_p_ip);
    ASSERT_TRUE(eth_type_trans(m.cx(), *skb, dev));
    netif_rx(m.cx(), std::move(skb));
  }
  {
    const rtnl_guard rtnl(m.host->rtnl());
    m.net().unregister_device(rtnl.held(), dev);
  }
  EXPECT_EQ(m.drops(drop_reason::dev_gone), 3u);
  m.run_for(seconds(1));
  EXPECT_TRUE(got.empty());
}

TEST(dev_rx_cpus, steering_moves_packets_to_another_cpu) {
  fake_driver::log log;
  machine m(2);
  net_device& dev = add_fake(m, log, named("eth0"));
  std::vector<u32> on;
  packet_type type;
  type.type = uapi::eth_p_ip;
  type.func = [&on](cpu& cx, skb_ptr skb, net_device&) {
    on.push_back(cx.id().value);
    consume(cx, std::move(skb));
  };
  m.net().add_packet_type(type);
  m.host->slots().get(softnet_key).steer = [](cpu& cx, const sk_buff& skb) -> cpu& {
    return cx.machine().cpu_at(cpu_id(skb.data()[0] % 2u));
  };
  for (u8 i = 0; i < 4; ++i) {
    const std::vector<u8> payload = {i};
    skb_ptr skb = make_skb(m.cx(), payload);
    eth_header_ops().create(m.cx(), *skb, dev, uapi::eth_p_ip, &dev.dev_addr(), nullptr);
    ASSERT_TRUE(eth_type_trans(m.cx(), *skb, dev));
    netif_receive_skb(m.cx(), std::move(skb));
  }
  m.run_for(seconds(1));
  EXPECT_EQ(on, (std::vector<u32>{0, 0, 1, 1}));
}

}  // namespace
}  // namespace ph
