// Hook slots per family, filled by netfilter, looked at in straight-line code:
// `if (!nf_hook(cx, net, hook, skb, state)) return;` A packet that is queued stores its
// resume point itself.
#pragma once

#include <array>
#include <vector>

#include "base/inline_fn.h"
#include "net/core/skbuff.h"

namespace ph {

class net_namespace;

enum class nf_family : u8 { ipv4, ipv6, arp, bridge, count };
enum class nf_hooknum : u8 { prerouting, input, forward, output, postrouting, count };
enum class nf_verdict : u8 { accept, drop, stolen };

struct nf_state {
  nf_family family;
  nf_hooknum hook;
  net_device* in = nullptr;
  net_device* out = nullptr;
  sock* sk = nullptr;
};

/// Priority order as Linux's NF_IP_PRI_*. `stolen`: the callback kept the packet.
struct nf_hook_entry {
  int priority = 0;
  inline_fn<nf_verdict(cpu&, net_namespace&, skb_ptr&, const nf_state&)> func;
};

class nf_hook_table {
 public:
  void add(nf_family family, nf_hooknum hook, nf_hook_entry entry);
  [[nodiscard]] const std::vector<nf_hook_entry>& at(nf_family family, nf_hooknum hook) const {
    return entries_[index(family, hook)];
  }

 private:
  static std::size_t index(nf_family family, nf_hooknum hook) {
    return static_cast<std::size_t>(family) * static_cast<std::size_t>(nf_hooknum::count) +
           static_cast<std::size_t>(hook);
  }
  static constexpr std::size_t places =
      static_cast<std::size_t>(nf_family::count) * static_cast<std::size_t>(nf_hooknum::count);
  std::array<std::vector<nf_hook_entry>, places> entries_;
};

/// Runs the hooks. False: the packet is no longer yours (dropped or stolen).
[[nodiscard]] bool nf_hook(cpu& cx, net_namespace& net, skb_ptr& skb, const nf_state& state);

/// Proof that a packet passed the post-routing hook; only nf_postrouting makes one, and
/// neigh_output demands it: code that skips netfilter does not compile.
class egress_pass {
 public:
  egress_pass(const egress_pass&) = delete;
  egress_pass& operator=(const egress_pass&) = delete;
  [[nodiscard]] bool granted() const { return granted_; }

 private:
  friend egress_pass nf_postrouting(cpu&, net_namespace&, skb_ptr&, const nf_state&);
  explicit egress_pass(bool granted) : granted_(granted) {}
  bool granted_;
};
/// Runs the post-routing hooks; not granted: the packet is gone.
[[nodiscard]] egress_pass nf_postrouting(cpu& cx, net_namespace& net, skb_ptr& skb,
                                         const nf_state& state);

}  // namespace ph
