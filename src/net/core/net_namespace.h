// One isolated network: its devices, protocol tables, hooks, settings and counters. (Linux's
// struct net.) Everything of the network is found from here; process state is not.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/kernel.h"
#include "kernel/sysctl.h"
#include "net/core/dev_rx.h"
#include "net/core/mib.h"
#include "net/core/nf_hook.h"
#include "net/core/notifier.h"
#include "net/core/qdisc.h"
#include "net/core/sock_list.h"

namespace ph {

class net_namespace {
 public:
  net_namespace(kernel& machine, std::string name);
  net_namespace(const net_namespace&) = delete;
  net_namespace& operator=(const net_namespace&) = delete;
  ~net_namespace();

  [[nodiscard]] kernel& machine() const { return machine_; }
  [[nodiscard]] const std::string& name() const { return name_; }

  // --- devices --------------------------------------------------------------------------------
  /// Registers a device; "%d" in the name becomes the lowest free number. Errors: exist,
  /// inval (name empty, over 15 characters, or with '/' or blanks).
  result<net_device*> register_device(const rtnl_held& rtnl, net_device_config config,
                                      std::unique_ptr<netdev_ops> ops);
  /// Closes it, tells everyone, destroys it.
  void unregister_device(const rtnl_held& rtnl, net_device& dev);
  [[nodiscard]] net_device* device(std::string_view name) const;
  [[nodiscard]] net_device* device(ifindex index) const;
  [[nodiscard]] const std::vector<std::unique_ptr<net_device>>& devices() const {
    return devices_;
  }
  net_device* loopback = nullptr;
  /// net.core.default_qdisc: for devices with a tx_queue_len; set by init/builtin.
  qdisc_factory default_qdisc;

  // --- receive --------------------------------------------------------------------------------
  void add_packet_type(packet_type& type);
  void add_tap(packet_tap& tap) { taps_.push_back(tap); }
  [[nodiscard]] bool tapped() const { return !taps_.empty(); }
  void deliver_taps(cpu& cx, const sk_buff& skb, net_device& dev, bool outgoing);
  /// The handler for an ethertype on a device, or nullptr.
  [[nodiscard]] packet_type* find_packet_type(u16 ethertype, const net_device& dev);

  [[nodiscard]] nf_hook_table& hooks() { return hooks_; }
  [[nodiscard]] sysctl_table& sysctls() { return sysctls_; }
  [[nodiscard]] mib_table& mib() { return mib_; }
  [[nodiscard]] ph::slots& slots() { return slots_; }
  [[nodiscard]] notifier_chain<netdev_event>& netdev_events() { return netdev_events_; }

  /// net.core.optmem_max: bytes of options that one socket may hold (sock::charge_omem).
  s32 optmem_max = 131072;
  /// Sockets that exist, for the leak checks of tests.
  u64 sockets = 0;
  /// The same by protocol, in the order in which the protocols came.
  [[nodiscard]] intrusive_list<sock_list, sock_lists_tag>& sock_lists() { return sock_lists_; }

 private:
  kernel& machine_;
  std::string name_;
  u32 next_index_ = 1;
  mib_table mib_;
  sysctl_table sysctls_;
  nf_hook_table hooks_;
  intrusive_list<packet_tap, ptap_tag> taps_;
  std::array<intrusive_list<packet_type, ptype_tag>, 16> ptypes_;
  notifier_chain<netdev_event> netdev_events_;
  intrusive_list<sock_list, sock_lists_tag> sock_lists_;
  ph::slots slots_;
  std::vector<std::unique_ptr<net_device>> devices_;
};

/// The namespaces of a kernel; the first is the initial one.
struct net_namespaces : slot_object {
  std::vector<std::unique_ptr<net_namespace>> all;
};
inline constexpr slot_key<net_namespaces> net_namespaces_key{"net namespaces"};
/// The initial namespace of a machine that init/builtin has furnished.
net_namespace& init_net(kernel& machine);

}  // namespace ph
