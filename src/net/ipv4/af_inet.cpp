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
  if (type == sock_raw) return create_raw(who, home, protocol);
  if (type == sock_dgram && protocol == ipproto_icmp) return create_ping(who, home);
  bool known_type = false;
  for (const inet_protosw& p : who.machine().slots().get(inet_family_key).transports) {
    if (p.type != type) continue;
    known_type = true;
    if (protocol == 0 || protocol == p.protocol) {
      return p.create(who.net(), home, ipv4_af_ops());
    }
  }
  return fail(known_type ? errc::protonosupport : errc::socktnosupport);
}

}  // namespace ph
