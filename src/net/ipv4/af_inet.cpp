// socket(AF_INET, …): from type and protocol to a sock, ip(7).
#include "net/ipv4/af_inet.h"

#include "kernel/kernel.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/ipv4_net.h"
#include "net/ipv4/raw.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph {

using namespace uapi;

namespace {

result<ref<sock>> create_ping(task& who, cpu& home) {
  const ipv4_sysctls& sysctl = ipv4_of(who.net()).sysctl;
  const s64 gid = who.cred.gid;
  if (gid < sysctl.ping_group_low || gid > sysctl.ping_group_high) return fail(errc::acces);
  return ping_create(who.net(), home);
}

result<ref<sock>> create_raw(task& who, cpu& home, int protocol) {
  if (protocol <= 0 || protocol > ipproto_raw) return fail(errc::protonosupport);
  if (!who.cred.net_admin) return fail(errc::perm);
  return raw_create(who.net(), home, static_cast<u8>(protocol));
}

}  // namespace

result<ref<sock>> inet_create(task& who, cpu& home, u16 type, int protocol) {
  const inet_family& family = who.machine().slots().get(inet_family_key);
  switch (type) {
    case sock_stream:
      if ((protocol != 0 && protocol != ipproto_tcp) || family.stream == nullptr) {
        return fail(errc::protonosupport);
      }
      return family.stream(who.net(), home, ipv4_af_ops());
    case sock_dgram:
      if (protocol == ipproto_icmp) return create_ping(who, home);
      if (protocol == ipproto_udplite && family.dgram_lite != nullptr) {
        return family.dgram_lite(who.net(), home, ipv4_af_ops());
      }
      if ((protocol != 0 && protocol != ipproto_udp) || family.dgram == nullptr) {
        return fail(errc::protonosupport);
      }
      return family.dgram(who.net(), home, ipv4_af_ops());
    case sock_raw: return create_raw(who, home, protocol);
    default: return fail(errc::socktnosupport);
  }
}

}  // namespace ph
