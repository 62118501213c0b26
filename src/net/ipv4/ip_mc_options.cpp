// Joining and leaving groups; which of their packets a socket gets (RFC 3376 §3).
#include "net/ipv4/ip_mc_options.h"

#include <algorithm>

#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/ipv4_net.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph {

using namespace uapi;

namespace {

constexpr std::size_t most_groups = 20;   // net.ipv4.igmp_max_memberships
constexpr std::size_t most_sources = 10;  // net.ipv4.igmp_max_msf

/// A group, the device by its index or its address (neither: the route's), and a source.
struct group_request {
  ipv4_addr group, addr;
  s32 index = 0;
  ipv4_addr source;
};

result<net_device*> group_device(inet_sock& sk, const group_request& want) {
  net_namespace& net = sk.net();
  net_device* dev = nullptr;
  if (want.index != 0) {
    dev = net.device(ifindex(static_cast<u32>(want.index)));
  } else if (!want.addr.is_any()) {
    dev = ip_dev_find(net, want.addr);
  } else {
    flowi4 flow;
    flow.daddr = want.group;
    const result<fib_result> found = ipv4_of(net).fib.lookup(flow);
    if (found && found->nh != nullptr) dev = net.device(found->nh->oif);
  }
  if (dev == nullptr) return fail(errc::nodev);
  return dev;
}

// --- what programs hand over ------------------------------------------------------------------

/// struct ip_mreq or ip_mreqn.
result<group_request> parse_mreq(byte_view value) {
  if (value.size() < sizeof(ip_mreq)) return fail(errc::inval);
  group_request out;
  byte_reader reader(value);
  out.group = reader.take<ipv4_addr>();
  out.addr = reader.take<ipv4_addr>();
  if (value.size() >= sizeof(ip_mreqn)) out.index = reader.take<s32>();
  return out;
}

/// struct ip_mreq_source.
result<group_request> parse_mreq_source(byte_view value) {
  if (value.size() != sizeof(ip_mreq_source)) return fail(errc::inval);
  group_request out;
  byte_reader reader(value);
  out.group = reader.take<ipv4_addr>();
  out.addr = reader.take<ipv4_addr>();
  out.source = reader.take<ipv4_addr>();
  return out;
}

/// The address in a struct sockaddr_storage. Errors: `wrong` for another family.
result<ipv4_addr> parse_storage(byte_view value, errc wrong) {
  const auto* in = view_as<sockaddr_in>(value);
  if (in == nullptr || in->sin_family.value() != af_inet) return fail(wrong);
  ipv4_addr out;
  out.raw = in->sin_addr;
  return out;
}

/// struct group_req, and with a source struct group_source_req: aligned as in C.
result<group_request> parse_group_req(byte_view value, bool with_source) {
  constexpr std::size_t storage = 128, group_at = 8;
  if (value.size() < group_at + storage * (with_source ? 2 : 1)) return fail(errc::inval);
  group_request out;
  out.index = byte_reader(value).take<s32>();
  const errc wrong = with_source ? errc::addrnotavail : errc::inval;
  TRY(out.group, parse_storage(value.subspan(group_at), wrong));
  if (!with_source) return out;
  TRY(out.source, parse_storage(value.subspan(group_at + storage), wrong));
  return out;
}

// --- memberships ------------------------------------------------------------------------------

mc_membership* find(inet_sock& sk, ipv4_addr group, ifindex dev) {
  auto& all = sk.inet.memberships;
  const auto found = std::find_if(all.begin(), all.end(), [&](const mc_membership& m) {
    return m.group == inet_addr::of(group) && m.dev == dev;
  });
  return found != all.end() ? &*found : nullptr;
}

void leave(cpu& cx, inet_sock& sk, const mc_membership& m) {
  net_device* const dev = sk.net().device(m.dev);
  if (dev != nullptr) static_cast<void>(ip_mc_leave(cx, *dev, m.group.ipv4()));
  std::erase_if(sk.inet.memberships, [&](const mc_membership& other) { return &other == &m; });
}

/// Errors: addrinuse (it is a member), inval (no group), nodev, nobufs; proto (a stream. DIFFERS:
/// Linux takes it into a group by its newer options, and it hears nothing there either).
result<void> join(cpu& cx, inet_sock& sk, const group_request& want, bool include) {
  if (!want.group.is_multicast()) return fail(errc::inval);
  if (sk.type() == sock_stream) return fail(errc::proto);
  TRY(net_device* const dev, group_device(sk, want));
  if (find(sk, want.group, dev->index()) != nullptr) return fail(errc::addrinuse);
  if (sk.inet.memberships.size() >= most_groups) return fail(errc::nobufs);
  TRY_VOID(ip_mc_join(cx, *dev, want.group));
  mc_membership made;
  made.group = inet_addr::of(want.group);
  made.dev = dev->index();
  made.include = include;
  sk.inet.memberships.push_back(std::move(made));
  return {};
}

result<void> drop_membership(cpu& cx, inet_sock& sk, const group_request& want) {
  const result<net_device*> dev = group_device(sk, want);
  const bool any_device = want.index == 0 && want.addr.is_any();
  if (any_device && !dev) return fail(errc::nodev);
  for (const mc_membership& m : sk.inet.memberships) {
    if (m.group != inet_addr::of(want.group)) continue;
    if (!any_device && (!dev || (*dev)->index() != m.dev)) continue;
    leave(cx, sk, m);
    return {};
  }
  return fail(errc::addrnotavail);
}

/// Adds a source to a membership that is about such sources or about all others (`include`), or
/// takes it out. The last wanted one takes the membership with it.
result<void> change_source(cpu& cx, inet_sock& sk, const group_request& want, bool include,
                           bool add) {
  if (!want.group.is_multicast()) return fail(errc::inval);
  TRY(net_device* const dev, group_device(sk, want));
  mc_membership* const m = find(sk, want.group, dev->index());
  if (m == nullptr) return fail(errc::inval);
  if (m->include != include && !m->sources.empty()) return fail(errc::inval);
  m->include = include;
  const auto at = std::find(m->sources.begin(), m->sources.end(), inet_addr::of(want.source));
  if ((at != m->sources.end()) == add) return fail(errc::addrnotavail);
  if (add && m->sources.size() >= most_sources) return fail(errc::nobufs);
  if (add) {
    m->sources.push_back(inet_addr::of(want.source));
  } else if (m->sources.size() == 1 && include) {
    leave(cx, sk, *m);
  } else {
    m->sources.erase(at);
  }
  return {};
}

result<void> join_source(cpu& cx, inet_sock& sk, const group_request& want) {
  const result<void> joined = join(cx, sk, want, true);
  if (!joined && joined.error() != errc::addrinuse) return joined;
  return change_source(cx, sk, want, true, true);
}

result<void> set_multicast_if(inet_sock& sk, byte_view value) {
  if (sk.type() == sock_stream || value.size() < sizeof(be32)) return fail(errc::inval);
  ipv4_addr addr;
  s32 index = 0;
  if (value.size() >= sizeof(ip_mreq)) {
    TRY(const group_request want, parse_mreq(value));
    addr = want.addr;
    index = want.index;
  } else {
    addr = byte_reader(value).take<ipv4_addr>();
  }
  if (index == 0 && addr.is_any()) {
    sk.inet.mc_index = {};
    sk.inet.mc_addr = {};
    return {};
  }
  const net_device* dev =
      index != 0 ? sk.net().device(ifindex(static_cast<u32>(index))) : ip_dev_find(sk.net(), addr);
  if (dev == nullptr) return fail(errc::addrnotavail);
  if (sk.opt.bound_dev_if && sk.opt.bound_dev_if != dev->index()) return fail(errc::inval);
  sk.inet.mc_index = dev->index();
  sk.inet.mc_addr = inet_addr::of(addr);
  return {};
}

// --- source filters ---------------------------------------------------------------------------

constexpr u32 mcast_exclude = 0, mcast_include = 1;  // RFC 3678 §3

/// struct ip_msfilter or group_filter: the place of its numbers, and the size of a source.
struct filter_layout {
  std::size_t numbers, sources, source;
};
constexpr filter_layout layout_of(int name) {
  return name == ip_msfilter ? filter_layout{8, 16, sizeof(ipv4_addr)}
                             : filter_layout{136, 144, 128};
}

struct filter_head {
  group_request want;
  u32 mode = 0, count = 0;
};

result<filter_head> parse_filter(int name, byte_view value) {
  const filter_layout at = layout_of(name);
  if (value.size() < at.sources) return fail(errc::inval);
  filter_head out;
  byte_reader numbers(value.subspan(at.numbers));
  out.mode = numbers.take<u32>();
  out.count = numbers.take<u32>();
  byte_reader reader(value);
  if (name == ip_msfilter) {
    out.want.group = reader.take<ipv4_addr>();
    out.want.addr = reader.take<ipv4_addr>();
  } else {
    out.want.index = reader.take<s32>();
  }
  return out;
}

/// RFC 3678 §4.1.3, §5.1: the whole list at once. None wanted is to leave. Errors: inval (it is no
/// member, no group, no such mode), nobufs, nodev, addrnotavail (another family).
result<void> set_filter(cpu& cx, inet_sock& sk, int name, byte_view value) {
  constexpr std::size_t group_at = 8;
  TRY(filter_head head, parse_filter(name, value));
  if (head.count > most_sources) return fail(errc::nobufs);
  const filter_layout at = layout_of(name);
  if (value.size() < at.sources + head.count * at.source) return fail(errc::inval);
  if (name == mcast_msfilter) {
    TRY(head.want.group, parse_storage(value.subspan(group_at), errc::addrnotavail));
  }
  std::vector<inet_addr> sources;
  for (u32 i = 0; i < head.count; ++i) {
    const byte_view source = value.subspan(at.sources + i * at.source);
    if (name == ip_msfilter) {
      sources.push_back(inet_addr::of(byte_reader(source).take<ipv4_addr>()));
    } else {
      TRY(const ipv4_addr addr, parse_storage(source, errc::addrnotavail));
      sources.push_back(inet_addr::of(addr));
    }
  }
  if (!head.want.group.is_multicast()) return fail(errc::inval);
  if (head.mode != mcast_include && head.mode != mcast_exclude) return fail(errc::inval);
  TRY(net_device* const dev, group_device(sk, head.want));
  if (head.mode == mcast_include && sources.empty()) return drop_membership(cx, sk, head.want);
  mc_membership* const m = find(sk, head.want.group, dev->index());
  if (m == nullptr) return fail(errc::inval);
  m->include = head.mode == mcast_include;
  m->sources = std::move(sources);
  return {};
}

/// What an option asks about a source. Errors: noprotoopt.
result<void> source_option(cpu& cx, inet_sock& sk, int name, const group_request& want) {
  switch (name) {
    case ip_add_source_membership:
    case mcast_join_source_group: return join_source(cx, sk, want);
    case ip_drop_source_membership:
    case mcast_leave_source_group: return change_source(cx, sk, want, true, false);
    case ip_block_source:
    case mcast_block_source: return change_source(cx, sk, want, false, true);
    case ip_unblock_source:
    case mcast_unblock_source: return change_source(cx, sk, want, false, false);
    default: return fail(errc::noprotoopt);
  }
}

}  // namespace

result<void> ip_mc_setsockopt(cpu& cx, inet_sock& sk, int name, byte_view value) {
  if (name == ip_multicast_if) return set_multicast_if(sk, value);
  switch (name) {
    case ip_add_membership:
    case ip_drop_membership: {
      if (sk.type() == sock_stream) return fail(errc::proto);
      TRY(const group_request want, parse_mreq(value));
      return name == ip_add_membership ? join(cx, sk, want, false) : drop_membership(cx, sk, want);
    }
    case mcast_join_group:
    case mcast_leave_group: {
      TRY(const group_request want, parse_group_req(value, false));
      return name == mcast_join_group ? join(cx, sk, want, false) : drop_membership(cx, sk, want);
    }
    case mcast_join_source_group:
    case mcast_leave_source_group:
    case mcast_block_source:
    case mcast_unblock_source: {
      TRY(const group_request want, parse_group_req(value, true));
      return source_option(cx, sk, name, want);
    }
    case ip_msfilter:
    case mcast_msfilter: return set_filter(cx, sk, name, value);
    default: {
      TRY(const group_request want, parse_mreq_source(value));
      return source_option(cx, sk, name, want);
    }
  }
}

result<std::size_t> ip_mc_getsockopt(inet_sock& sk, int name, byte_span out) {
  constexpr std::size_t group_at = 8;
  TRY(filter_head head, parse_filter(name, out));
  if (name == mcast_msfilter) {
    TRY(head.want.group, parse_storage(byte_view(out).subspan(group_at), errc::inval));
  }
  if (!head.want.group.is_multicast()) return fail(errc::inval);
  TRY(net_device* const dev, group_device(sk, head.want));
  const mc_membership* const m = find(sk, head.want.group, dev->index());
  if (m == nullptr) return fail(errc::addrnotavail);
  const filter_layout at = layout_of(name);
  const auto count = static_cast<u32>(m->sources.size());
  copy_bytes(out.subspan(at.numbers), bytes_of(m->include ? mcast_include : mcast_exclude));
  copy_bytes(out.subspan(at.numbers + sizeof(u32)), bytes_of(count));
  const std::size_t room = (out.size() - at.sources) / at.source;
  const std::size_t told = std::min({std::size_t{count}, std::size_t{head.count}, room});
  for (std::size_t i = 0; i < told; ++i) {
    const byte_span to = out.subspan(at.sources + i * at.source, at.source);
    const ipv4_addr source = m->sources[i].ipv4();
    if (name == ip_msfilter) {
      copy_bytes(to, bytes_of(source));
    } else {
      sockaddr_in in;
      in.sin_family.set(af_inet);
      in.sin_addr = source.raw;
      std::fill(to.begin(), to.end(), u8{0});
      copy_bytes(to, bytes_of(in));
    }
  }
  return at.sources + told * at.source;
}

bool ip_mc_socket_wants(const inet_sock& sk, ipv4_addr group, ipv4_addr source, u32 iif) {
  if (!group.is_multicast()) return true;
  for (const mc_membership& m : sk.inet.memberships) {
    if (m.group != inet_addr::of(group) || (iif != 0 && m.dev.value != iif)) continue;
    const bool named =
        std::find(m.sources.begin(), m.sources.end(), inet_addr::of(source)) != m.sources.end();
    return named == m.include;
  }
  return sk.inet.mc_all;
}

void ip_mc_drop_socket(cpu& cx, inet_sock& sk) {
  while (!sk.inet.memberships.empty()) leave(cx, sk, sk.inet.memberships.back());
}

}  // namespace ph
