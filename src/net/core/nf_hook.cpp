// Runs the callbacks of a hook in the order of their priorities.
#include "net/core/nf_hook.h"

#include <algorithm>

#include "net/core/net_namespace.h"

namespace ph {

bool nf_hook(cpu& cx, net_namespace& net, skb_ptr& skb, const nf_state& state) {
  for (const nf_hook_entry& entry : net.hooks().at(state.family, state.hook)) {
    switch (entry.func(cx, net, skb, state)) {
      case nf_verdict::accept:
        break;
      case nf_verdict::drop:
        drop(cx, std::move(skb), drop_reason::netfilter_drop);
        return false;
      case nf_verdict::stolen:
        ph_check(!skb);
        return false;
    }
  }
  return true;
}

egress_pass nf_postrouting(cpu& cx, net_namespace& net, skb_ptr& skb, const nf_state& state) {
  ph_debug_check(state.hook == nf_hooknum::postrouting);
  return egress_pass(nf_hook(cx, net, skb, state));
}

void nf_hook_table::add(nf_family family, nf_hooknum hook, nf_hook_entry entry) {
  auto& entries = entries_[index(family, hook)];
  const auto later = std::upper_bound(
      entries.begin(), entries.end(), entry.priority,
      [](int priority, const nf_hook_entry& e) { return priority < e.priority; });
  entries.insert(later, entry);
}

}  // namespace ph
