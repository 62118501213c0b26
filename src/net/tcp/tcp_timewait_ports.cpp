// Counts of TIME-WAIT by port, address, device and willingness to share.
#include "net/tcp/tcp_timewait_ports.h"

#include "base/check.h"

namespace ph {
namespace {

tcp_timewait_ports::place on_all_addresses(tcp_timewait_ports::place at) {
  at.addr = {};
  return at;
}

}  // namespace

void tcp_timewait_ports::add(const place& at) {
  ++counts_[at];
  ++counts_[on_all_addresses(at)];
  ++size_;
}

void tcp_timewait_ports::remove(const place& at) {
  for (const place& counted : {at, on_all_addresses(at)}) {
    const auto found = counts_.find(counted);
    ph_check(found != counts_.end());
    if (--found->second == 0) counts_.erase(found);
  }
  --size_;
}

bool tcp_timewait_ports::blocks(const place& wanted) const {
  const inet_addr addr = wanted.addr.is_any() ? inet_addr{} : wanted.addr;
  for (auto at = counts_.lower_bound({wanted.port, addr}); at != counts_.end(); ++at) {
    const place& held = at->first;
    if (held.port != wanted.port || held.addr != addr) break;
    if (wanted.dev && held.dev && wanted.dev != held.dev) continue;
    const bool shared =
        (wanted.reuseaddr && held.reuseaddr) || (wanted.reuseport && held.reuseport);
    if (!shared) return true;
  }
  return false;
}

}  // namespace ph
