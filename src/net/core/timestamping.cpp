// What programs may ask to be timed, and how arrival times are told.
#include "net/core/timestamping.h"

#include "kernel/kernel.h"
#include "uapi/socket.h"

namespace ph {

using namespace uapi;

namespace {

constexpr s64 second = 1'000'000'000;

/// What says which events are recorded when a packet is sent.
constexpr u32 record_flags = sof_timestamping_tx_hardware | sof_timestamping_tx_software |
                             sof_timestamping_tx_sched | sof_timestamping_tx_ack;
/// Hardware clocks may be asked for; no device has one, so nothing comes of it.
constexpr u32 known_flags = record_flags | sof_timestamping_rx_hardware |
                            sof_timestamping_rx_software | sof_timestamping_software |
                            sof_timestamping_sys_hardware | sof_timestamping_raw_hardware |
                            sof_timestamping_opt_id | sof_timestamping_opt_tsonly |
                            sof_timestamping_opt_tx_swhw | sof_timestamping_opt_id_tcp;

u8 tx_flags_of(u32 flags) {
  u8 out = 0;
  if ((flags & sof_timestamping_tx_sched) != 0) out |= skb_tx_sched;
  if ((flags & sof_timestamping_tx_software) != 0) out |= skb_tx_software;
  if ((flags & sof_timestamping_tx_ack) != 0) out |= skb_tx_ack;
  return out;
}

}  // namespace

result<void> sock_set_timestamping(sock& sk, u32 flags) {
  if ((flags & ~known_flags) != 0) return fail(errc::inval);
  const bool next_write = (flags & sof_timestamping_opt_id_tcp) != 0;
  const bool with_id = (flags & sof_timestamping_opt_id) != 0;
  if (next_write && !with_id) return fail(errc::inval);
  if (with_id && (sk.opt.timestamping & sof_timestamping_opt_id) == 0) {
    TRY(sk.tskey, sk.timestamp_base(next_write));
  }
  sk.opt.timestamping = flags;
  return {};
}

namespace {

/// socket(7): a priority above 6 needs CAP_NET_ADMIN.
constexpr u32 highest_free_priority = 6;

result<void> one_cmsg(const sock& sk, int type, byte_view data, u32& flags, sock_send_cmsg& out) {
  if (type == scm_rights || type == scm_credentials) return {};  // of AF_UNIX: nobody looks
  if (type == scm_txtime) {
    return sk.opt.txtime && data.size() == sizeof(u64) ? result<void>{} : fail(errc::inval);
  }
  if (data.size() != sizeof(u32)) return fail(errc::inval);
  const u32 value = byte_reader(data).take<u32>();
  switch (type) {
    case so_mark:
      if (!sk.opt.net_admin) return fail(errc::perm);
      out.mark = value;
      return {};
    case so_priority:
      if (value > highest_free_priority && !sk.opt.net_admin) return fail(errc::perm);
      out.priority = value;
      return {};
    case so_timestamping:
      if ((value & ~record_flags) != 0) return fail(errc::inval);
      flags = (flags & ~record_flags) | value;
      return {};
    default: return fail(errc::inval);
  }
}

}  // namespace

result<sock_send_cmsg> sock_cmsg_send(const sock& sk, byte_view control) {
  sock_send_cmsg out{0, sk.opt.mark, sk.opt.priority};
  u32 flags = sk.opt.timestamping;
  TRY_VOID(for_each_cmsg(control, [&](int level, int type, byte_view data) -> result<void> {
    return level == sol_socket ? one_cmsg(sk, type, data, flags, out) : result<void>{};
  }));
  out.tx_flags = tx_flags_of(flags);
  return out;
}

void sock_recv_timestamps(const sock& sk, instant came, recv_msg& msg) {
  const instant when = sk.net().machine().wall_clock(came);
  const s64 whole = when.ns / second, rest = when.ns % second;
  if (sk.opt.timestamp_ns) {
    const int type = sk.opt.timestamp_new ? so_timestampns_new : scm_timestampns;
    put_cmsg(msg, sol_socket, type, bytes_of(timespec{whole, rest}));
  } else if (sk.opt.timestamp) {
    const int type = sk.opt.timestamp_new ? so_timestamp_new : scm_timestamp;
    put_cmsg(msg, sol_socket, type, bytes_of(timeval{whole, rest / 1000}));
  }
  constexpr u32 arrival = sof_timestamping_rx_software | sof_timestamping_software;
  if ((sk.opt.timestamping & arrival) == arrival) {
    scm_timestamping_value value{};
    value.ts[0] = {whole, rest};
    put_cmsg(msg, sol_socket, scm_timestamping, bytes_of(value));
  }
}

}  // namespace ph
