// RFC 6528: the initial sequence number rises with time for each pair of ends, by a secret start.
#include "net/tcp/tcp_isn.h"

namespace ph {

seq32 tcp_init_seq(const cpu& cx, const tcp_net& tn, const inet_tuple& tuple) {
  const u64 hash = inet_tuple_hash(tn.isn_key, tuple);
  const u64 clock = static_cast<u64>(cx.now().ns) / 64;
  return seq32(static_cast<u32>(hash + clock));
}

u32 tcp_ts_offset(const tcp_net& tn, const inet_addr& laddr, const inet_addr& raddr) {
  std::array<u8, 32> bytes{};
  copy_bytes(byte_span(bytes).first(16), laddr.bytes);
  copy_bytes(byte_span(bytes).last(16), raddr.bytes);
  return static_cast<u32>(siphash(tn.ts_key, bytes));
}

}  // namespace ph
