// Filling and reading the error queue.
#include "net/inet/inet_error_queue.h"

#include "kernel/kernel.h"
#include "net/core/timestamping.h"

#include "uapi/socket.h"

namespace ph {

using namespace uapi;

namespace {

/// Values of ee_info when the origin is a time stamp.
enum : u32 { scm_tstamp_snd = 0, scm_tstamp_sched = 1, scm_tstamp_ack = 2 };

u32 info_of(u8 kind) {
  switch (kind) {
    case skb_tx_sched: return scm_tstamp_sched;
    case skb_tx_ack: return scm_tstamp_ack;
    default: return scm_tstamp_snd;
  }
}

void put_time(const inet_sock& sk, const sk_buff& skb, recv_msg& msg) {
  if ((sk.opt.timestamping & sof_timestamping_software) == 0) return;
  constexpr s64 second = 1'000'000'000;
  scm_timestamping_value value{};
  const instant when = sk.net().machine().wall_clock(skb.tstamp);
  value.ts[0] = {when.ns / second, when.ns % second};
  put_cmsg(msg, sol_socket, scm_timestamping, bytes_of(value));
}

void put_extended(const inet_exterr& what, recv_msg& msg) {
  struct {
    sock_extended_err ee;
    sockaddr_in offender;
  } answer{what.ee, {}};
  if (what.ee.ee_origin == so_ee_origin_icmp) {
    answer.offender.sin_family.set(af_inet);
    answer.offender.sin_addr = what.offender.ipv4().raw;
  }
  put_cmsg(msg, sol_ip, ip_recverr, bytes_of(answer));
}

}  // namespace

void inet_queue_error(cpu& cx, inet_sock& sk, const inet_exterr& what, byte_view payload,
                      const inet_reporter& from) {
  if (sk.rmem_alloc >= sk.opt.rcvbuf) {
    ++sk.drops;
    return;
  }
  skb_ptr skb = alloc_skb(cx, static_cast<u32>(from.header.size() + payload.size()));
  skb->put_bytes(from.header);
  skb->set_network_header();
  skb->put_bytes(payload);
  skb->pull(static_cast<u32>(from.header.size()));
  skb->init_cb<inet_exterr>() = what;
  skb->skb_iif = from.iif;
  skb->tstamp = from.when;
  sk.set_owner_r(*skb);
  sk.error_queue.push_back(std::move(skb));
  sk.wake(pollerr);
}

void inet_queue_timestamp(cpu& cx, inet_sock& sk, u8 what, u32 key, const sk_buff* packet) {
  inet_exterr report;
  report.ee.ee_errno = so_ee_no_error;
  report.ee.ee_origin = so_ee_origin_timestamping;
  report.ee.ee_info = info_of(what);
  if ((sk.opt.timestamping & sof_timestamping_opt_id) != 0) report.ee.ee_data = key;
  std::vector<u8> payload;
  if (packet != nullptr && (sk.opt.timestamping & sof_timestamping_opt_tsonly) == 0) {
    payload.resize(packet->len());
    ph_check(packet->copy_bits(0, payload));
  }
  inet_queue_error(cx, sk, report, payload, {{}, 0, cx.machine().stamp(cx.now())});
}

void inet_sock::tx_timestamp(cpu& cx, const sk_buff& skb, u8 kind) {
  if (dead) return;
  inet_queue_timestamp(cx, *this, kind, skb.tskey, &skb);
}

void inet_zerocopy_done(cpu& cx, inet_sock& sk, u32 id) {
  if (sk.dead) return;
  if (sk_buff* last = sk.error_queue.back(); last != nullptr) {
    sock_extended_err& ee = last->cb<inet_exterr>().ee;
    if (ee.ee_origin == so_ee_origin_zerocopy && ee.ee_data + 1 == id) {
      ee.ee_data = id;
      sk.wake(pollerr);
      return;
    }
  }
  inet_exterr report;
  report.ee.ee_origin = so_ee_origin_zerocopy;
  report.ee.ee_code = so_ee_code_zerocopy_copied;
  report.ee.ee_info = report.ee.ee_data = id;  // first and last
  inet_queue_error(cx, sk, report, {});
}

result<std::size_t> inet_recv_error(cpu& cx, inet_sock& sk, recv_msg& msg) {
  skb_ptr skb = sk.error_queue.pop_front();
  if (!skb) return fail(errc::again);
  const inet_exterr what = skb->cb<inet_exterr>();
  msg_writer writer(msg.iov);
  const std::size_t copied = writer.write(skb->data());
  if (copied < skb->len()) msg.out_flags |= msg_trunc;
  if (msg.name != nullptr && !what.dest.is_any()) {
    *msg.name = sk.af_ops->make_sockaddr(what.dest, port_no(what.port));
  }
  if (what.ee.ee_origin == so_ee_origin_timestamping) put_time(sk, *skb, msg);
  if (what.ee.ee_origin == so_ee_origin_icmp) {
    sock_recv_timestamps(sk, skb->tstamp, msg);
    sk.af_ops->recv_cmsgs(sk, *skb, msg);
  }
  put_extended(what, msg);
  msg.out_flags |= msg_errqueue;
  consume(cx, std::move(skb));
  // The pending error is the next ICMP error's, or none.
  const sk_buff* next = sk.error_queue.front();
  const bool was_icmp = what.ee.ee_origin == so_ee_origin_icmp;
  if (next != nullptr && next->cb<inet_exterr>().ee.ee_origin == so_ee_origin_icmp) {
    sk.set_error(static_cast<errc>(next->cb<inet_exterr>().ee.ee_errno));
  } else if (was_icmp || what.ee.ee_origin == so_ee_origin_local) {
    static_cast<void>(sk.take_error());
  }
  return copied;
}

}  // namespace ph
