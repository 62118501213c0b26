// SOL_SOCKET: socket(7), with Linux's limits and errors. What is not here is ENOPROTOOPT.
#include <algorithm>
#include <limits>

#include "kernel/kernel.h"
#include "net/core/cbpf.h"
#include "net/core/net_device.h"
#include "net/core/timestamping.h"
#include "net/socket/socket.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph {

using namespace uapi;

namespace {

// Linux's SOCK_MIN_SNDBUF and SOCK_MIN_RCVBUF, as getsockopt shows them on x86-64.
constexpr u32 min_sndbuf = 4608;
constexpr u32 min_rcvbuf = 2304;
constexpr s32 most = std::numeric_limits<s32>::max();
constexpr s32 filter_extensions = 64;  // SKF_AD_MAX: what filters may ask beside a packet's bytes

struct flag_option {
  int name;
  bool sock_options::* member;
};
constexpr flag_option flag_options[] = {
    {so_reuseaddr, &sock_options::reuseaddr},     {so_reuseport, &sock_options::reuseport},
    {so_keepalive, &sock_options::keepalive},     {so_broadcast, &sock_options::broadcast},
    {so_dontroute, &sock_options::dontroute},     {so_oobinline, &sock_options::oobinline},
    {so_rxq_ovfl, &sock_options::rxq_ovfl},       {so_no_check, &sock_options::no_check},
    {so_rcvmark, &sock_options::rcvmark},         {so_rcvpriority, &sock_options::rcvpriority},
    {so_debug, &sock_options::debug},             {so_wifi_status, &sock_options::wifi_status},
    {so_nofcs, &sock_options::nofcs},
    {so_select_err_queue, &sock_options::select_err_queue},
    {so_prefer_busy_poll, &sock_options::prefer_busy_poll},
};

bool sock_options::* flag_member(int name) {
  for (const flag_option& option : flag_options) {
    if (option.name == name) return option.member;
  }
  return nullptr;
}

/// Some flags are an administrator's to turn on.
result<void> may_turn_on(const task& who, int name) {
  if (who.cred.net_admin) return {};
  if (name == so_debug) return fail(errc::acces);
  return name == so_prefer_busy_poll ? fail(errc::perm) : result<void>{};
}

/// What only sockets can hear that carry credentials: those of AF_UNIX and netlink.
bool about_credentials(int name) {
  return name == so_passcred || name == so_passsec || name == so_passpidfd ||
         name == so_passrights;
}

bool is_tcp(const sock& sk) { return sk.type() == sock_stream && sk.protocol() == ipproto_tcp; }

/// The doubled value that SO_SNDBUF and SO_RCVBUF lead to, socket(7).
u32 buffer_size(s32 asked, s32 limit, u32 least) {
  // A negative number is a large unsigned one, so it means the limit.
  const u32 granted = std::min({static_cast<u32>(asked), static_cast<u32>(limit), u32{most / 2}});
  return std::max(granted * 2, least);
}

result<void> set_buffer(task& who, sock& sk, int name, s32 value) {
  const socket_limits& limits = sk.net().slots().get(socket_limits_key);
  const bool force = name == so_sndbufforce || name == so_rcvbufforce;
  if (force && !who.cred.net_admin) return fail(errc::perm);
  if (force) value = std::max(value, 0);
  if (name == so_sndbuf || name == so_sndbufforce) {
    sk.opt.sndbuf = buffer_size(value, force ? most : limits.wmem_max, min_sndbuf);
    sk.opt.sndbuf_locked = true;
  } else {
    sk.opt.rcvbuf = buffer_size(value, force ? most : limits.rmem_max, min_rcvbuf);
    sk.opt.rcvbuf_locked = true;
  }
  return {};
}

result<void> set_linger(sock& sk, byte_view value) {
  if (value.size() < sizeof(linger)) return fail(errc::inval);
  const auto asked = byte_reader(value).take<linger>();
  sk.opt.linger = asked.l_onoff != 0;
  if (sk.opt.linger) sk.opt.linger_time = seconds(s64{static_cast<u32>(asked.l_linger)});
  return {};
}

result<void> set_timeout(duration& to, byte_view value) {
  if (value.size() < sizeof(timeval)) return fail(errc::inval);
  const auto asked = byte_reader(value).take<timeval>();
  if (asked.tv_usec < 0 || asked.tv_usec >= 1'000'000) return fail(errc::dom);
  constexpr s64 longest = 1'000'000'000;  // 30 years: as good as for ever, and fits
  if (asked.tv_sec < 0) {
    to = nanoseconds(1);  // Linux: do not wait at all
  } else {
    to = asked.tv_sec >= longest ? duration{}
                                 : seconds(asked.tv_sec) + microseconds(asked.tv_usec);
  }
  return {};
}

/// Since Linux 5.7 anyone may bind a socket to a device, but only an administrator may re-bind.
result<void> bind_device(task& who, sock& sk, ifindex to) {
  if (sk.opt.bound_dev_if && !who.cred.net_admin) return fail(errc::perm);
  sk.opt.bound_dev_if = to;
  return {};
}

result<void> set_bindtodevice(task& who, sock& sk, byte_view value) {
  std::string_view name = text_of(value).substr(0, ifnamsiz - 1);
  name = name.substr(0, name.find('\0'));
  if (name.empty()) return bind_device(who, sk, ifindex{});
  const net_device* dev = sk.net().device(name);
  if (dev == nullptr) return fail(errc::nodev);
  return bind_device(who, sk, dev->index());
}

result<void> set_pacing_rate(sock& sk, byte_view value) {
  byte_reader reader(value);
  if (value.size() >= sizeof(u64)) {
    sk.opt.max_pacing_rate = reader.take<u64>();
  } else {
    const u32 rate = reader.take<u32>();
    sk.opt.max_pacing_rate = rate == ~u32{0} ? ~u64{0} : rate;
  }
  return {};
}

void set_timestamps(sock& sk, int name, bool on) {
  sk.opt.timestamp = on;
  sk.opt.timestamp_ns = on && (name == so_timestampns || name == so_timestampns_new);
  sk.opt.timestamp_new = on && (name == so_timestamp_new || name == so_timestampns_new);
}

/// As Linux: of the newer forms, the one in microseconds answers for both.
bool has_timestamps(const sock_options& opt, int name) {
  switch (name) {
    case so_timestamp: return opt.timestamp && !opt.timestamp_ns && !opt.timestamp_new;
    case so_timestampns: return opt.timestamp_ns && !opt.timestamp_new;
    case so_timestamp_new: return opt.timestamp && opt.timestamp_new;
    default: return opt.timestamp_ns && opt.timestamp_new;
  }
}

/// SO_ZEROCOPY: sockets of the internet families only, as socket(7).
result<void> set_zerocopy(sock& sk, s32 value) {
  if (sk.family() != af_inet && sk.family() != af_inet6) return fail(errc::opnotsupp);
  if (!is_tcp(sk) && sk.protocol() != ipproto_udp) return fail(errc::opnotsupp);
  if (value < 0 || value > 1) return fail(errc::inval);
  sk.opt.zerocopy = value != 0;
  return {};
}

/// SO_TXTIME: the clock by which SCM_TXTIME says when a packet is to leave, and what becomes of
/// those that are late. Of our queueing disciplines none looks at it, as Linux's pfifo does not.
result<void> set_txtime(const task& who, sock& sk, byte_view value) {
  constexpr s32 clock_realtime = 0, clock_monotonic = 1, clock_tai = 11;
  constexpr u32 known_flags = 3;  // SOF_TXTIME_DEADLINE_MODE, SOF_TXTIME_REPORT_ERRORS
  byte_reader reader(value);
  const s32 clock = reader.take<s32>();
  const u32 flags = reader.take<u32>();
  if (value.size() != sizeof(clock) + sizeof(flags)) return fail(errc::inval);
  if ((flags & ~known_flags) != 0) return fail(errc::inval);
  if (clock != clock_monotonic && !who.cred.net_admin) return fail(errc::perm);
  if (clock != clock_realtime && clock != clock_monotonic && clock != clock_tai) {
    return fail(errc::inval);
  }
  sk.opt.txtime = true;
  sk.opt.txtime_clock = clock;
  sk.opt.txtime_flags = flags;
  return {};
}

result<void> set_busy_poll_budget(const task& who, sock& sk, s32 number) {
  if (number > s32{sk.opt.busy_poll_budget} && !who.cred.net_admin) return fail(errc::perm);
  if (number < 0 || number > std::numeric_limits<u16>::max()) return fail(errc::inval);
  sk.opt.busy_poll_budget = static_cast<u16>(number);
  return {};
}

/// Which buffers are of the size that the program gave them, and not to be tuned.
result<void> set_buf_lock(sock& sk, s32 number) {
  constexpr s32 send_locked = 1, receive_locked = 2;
  if ((number & ~(send_locked | receive_locked)) != 0) return fail(errc::inval);
  sk.opt.sndbuf_locked = (number & send_locked) != 0;
  sk.opt.rcvbuf_locked = (number & receive_locked) != 0;
  return {};
}

/// SO_TXREHASH: may a connection in trouble take another of several paths? Ours choose by their
/// addresses alone, so that it never would. -1 is the default.
result<void> set_txrehash(sock& sk, s32 number) {
  if (!is_tcp(sk)) return fail(errc::opnotsupp);
  if (number < -1 || number > 1) return fail(errc::inval);
  sk.opt.txrehash = number != 0;
  return {};
}

/// SO_ATTACH_FILTER and its relatives. The value of those that attach are the instructions, where
/// socket(7) has a pointer to them. Streams take none yet.
result<void> set_filter(sock& sk, int name, byte_view value) {
  const bool attaches = name == so_attach_filter || name == so_attach_reuseport_cbpf;
  if (sk.type() == sock_stream && attaches) return fail(errc::noprotoopt);
  if (name == so_detach_reuseport_bpf) return sk.set_chooser({});
  if (name == so_lock_filter) {
    const bool on = byte_reader(value).take<s32>() != 0;
    if (sk.opt.lock_filter && !on) return fail(errc::perm);
    sk.opt.lock_filter = on;
    return {};
  }
  if (sk.opt.lock_filter) return fail(errc::perm);
  std::shared_ptr<const cbpf_program> program;
  if (name != so_detach_filter) {
    TRY(program, cbpf_program::parse(value));
  }
  if (name == so_attach_reuseport_cbpf) return sk.set_chooser(std::move(program));
  if (!program && !sk.filter) return fail(errc::noent);
  const u32 before = sk.filter ? sk.filter->charge() : 0;
  if (program) TRY_VOID(sk.charge_omem(program->charge()));
  sk.release_omem(before);
  sk.filter = std::move(program);
  return {};
}

/// Options whose value is an int and which are neither flags nor buffers.
result<void> set_number(task& who, sock& sk, int name, s32 number) {
  switch (name) {
    case so_priority:
      // socket(7): above 6 needs CAP_NET_ADMIN.
      if ((number < 0 || number > 6) && !who.cred.net_admin) return fail(errc::perm);
      sk.opt.priority = static_cast<u32>(number);
      return {};
    case so_mark:
      if (!who.cred.net_admin) return fail(errc::perm);
      sk.opt.mark = static_cast<u32>(number);
      return {};
    case so_rcvlowat:
      sk.opt.rcvlowat = number < 0 ? u32{most} : std::max(static_cast<u32>(number), u32{1});
      return {};
    case so_timestamp: case so_timestampns: case so_timestamp_new: case so_timestampns_new:
      set_timestamps(sk, name, number != 0);
      return {};
    case so_timestamping: case so_timestamping_new:
      return sock_set_timestamping(sk, static_cast<u32>(number));
    case so_zerocopy: return set_zerocopy(sk, number);
    case so_incoming_cpu: sk.opt.incoming_cpu = number; return {};
    case so_busy_poll:
      if (number < 0) return fail(errc::inval);
      if (static_cast<u32>(number) > sk.opt.busy_poll_us && !who.cred.net_admin) {
        return fail(errc::perm);
      }
      sk.opt.busy_poll_us = static_cast<u32>(number);
      return {};
    case so_bindtoifindex:
      if (number < 0) return fail(errc::inval);
      return bind_device(who, sk, ifindex(static_cast<u32>(number)));
    case so_busy_poll_budget: return set_busy_poll_budget(who, sk, number);
    case so_buf_lock: return set_buf_lock(sk, number);
    case so_txrehash: return set_txrehash(sk, number);
    case so_reserve_mem: return fail(number < 0 ? errc::inval : errc::opnotsupp);  // no cgroups
    case so_cnx_advice: return {};  // a route is given up as soon as the tables have a better one
    case so_bsdcompat: return {};   // socket(7): obsolete, without effect since Linux 2.2
    default: return fail(errc::noprotoopt);
  }
}

result<void> set_option(task& who, sock& sk, int name, byte_view value) {
  if (name == so_bindtodevice) return set_bindtodevice(who, sk, value);
  if (about_credentials(name)) return fail(errc::opnotsupp);
  if (value.size() < sizeof(s32)) return fail(errc::inval);
  switch (name) {
    case so_attach_filter:
    case so_detach_filter:
    case so_lock_filter:
    case so_attach_reuseport_cbpf:
    case so_detach_reuseport_bpf: return set_filter(sk, name, value);
    default: break;
  }
  const s32 number = byte_reader(value).take<s32>();
  if (bool sock_options::* member = flag_member(name); member != nullptr) {
    if (number != 0) TRY_VOID(may_turn_on(who, name));
    sk.opt.*member = number != 0;
    return {};
  }
  switch (name) {
    case so_sndbuf: case so_rcvbuf: case so_sndbufforce: case so_rcvbufforce:
      return set_buffer(who, sk, name, number);
    case so_linger: return set_linger(sk, value);
    case so_rcvtimeo: case so_rcvtimeo_new: return set_timeout(sk.opt.rcvtimeo, value);
    case so_sndtimeo: case so_sndtimeo_new: return set_timeout(sk.opt.sndtimeo, value);
    case so_max_pacing_rate: return set_pacing_rate(sk, value);
    case so_txtime: return set_txtime(who, sk, value);
    default: return set_number(who, sk, name, number);
  }
}

result<s32> get_number(sock& sk, int name) {
  const sock_options& opt = sk.opt;
  switch (name) {
    case so_sndbuf: return static_cast<s32>(opt.sndbuf);
    case so_rcvbuf: return static_cast<s32>(opt.rcvbuf);
    case so_type: return sk.type();
    case so_protocol: return sk.protocol();
    case so_domain: return sk.family();
    case so_error: return static_cast<s32>(sk.take_error());
    case so_acceptconn: return sk.listening ? 1 : 0;
    case so_priority: return static_cast<s32>(opt.priority);
    case so_mark: return static_cast<s32>(opt.mark);
    case so_rcvlowat: return static_cast<s32>(opt.rcvlowat);
    case so_sndlowat: return 1;
    case so_timestamp:
    case so_timestamp_new:
    case so_timestampns:
    case so_timestampns_new: return has_timestamps(opt, name) ? 1 : 0;
    case so_zerocopy: return opt.zerocopy ? 1 : 0;
    case so_incoming_cpu:
      // As Linux, which notes where the packets of connections came. DIFFERS: a datagram's is noted
      // when it is read.
      if (opt.incoming_cpu < 0 && (is_tcp(sk) || sk.stamp != instant{}) && sk.getname(true)) {
        return static_cast<s32>(sk.home().id().value);
      }
      return opt.incoming_cpu;
    case so_busy_poll: return static_cast<s32>(opt.busy_poll_us);
    case so_bindtoifindex: return static_cast<s32>(opt.bound_dev_if.value);
    case so_incoming_napi_id: return 0;
    case so_bsdcompat:
    case so_reserve_mem: return 0;
    case so_bpf_extensions: return filter_extensions;
    case so_txrehash:
      if (!is_tcp(sk)) return fail(errc::opnotsupp);
      return opt.txrehash ? 1 : 0;
    case so_peergroups:
    case so_peerpidfd: return fail(errc::nodata);  // a peer elsewhere is no process of ours
    case so_lock_filter: return opt.lock_filter ? 1 : 0;
    case so_buf_lock: return (opt.sndbuf_locked ? 1 : 0) | (opt.rcvbuf_locked ? 2 : 0);
    default: return fail(errc::noprotoopt);
  }
}

template <class T>
std::size_t answer(byte_span out, const T& value) { return copy_bytes(out, bytes_of(value)); }

result<std::size_t> get_bindtodevice(const sock& sk, byte_span out) {
  if (!sk.opt.bound_dev_if) return std::size_t{0};
  if (out.size() < ifnamsiz) return fail(errc::inval);
  const net_device* dev = sk.net().device(sk.opt.bound_dev_if);
  if (dev == nullptr) return fail(errc::nodev);
  copy_bytes(out, bytes_of(std::string_view(dev->name())));
  out[dev->name().size()] = 0;
  return dev->name().size() + 1;
}

/// SO_GET_FILTER: the instructions as they were handed over; none without a filter. Their number,
/// which Linux takes and gives for the length, is the caller's to make of it.
result<std::size_t> get_filter(const sock& sk, byte_span out) {
  std::size_t at = 0;
  if (!sk.filter) return at;
  if (out.size() < sk.filter->code().size() * sizeof(cbpf_insn)) return fail(errc::inval);
  for (const cbpf_insn& insn : sk.filter->code()) at += answer(out.subspan(at), insn);
  return at;
}

result<std::size_t> get_cookie(sock& sk, byte_span out) {
  if (out.size() < sizeof(u64)) return fail(errc::inval);
  if (sk.cookie == 0) {
    sk.cookie = ++sk.net().machine().slots().get(net_families_key).last_cookie;
  }
  return answer(out, sk.cookie);
}

/// SO_NETNS_COOKIE: one number a host.
result<std::size_t> get_netns_cookie(sock& sk, byte_span out) {
  if (out.size() != sizeof(u64)) return fail(errc::inval);
  kernel& machine = sk.net().machine();
  u64& cookie = machine.slots().get(net_families_key).netns_cookie;
  if (cookie == 0) machine.secret({reinterpret_cast<u8*>(&cookie), sizeof(cookie)});
  return answer(out, cookie);
}

result<std::size_t> get_peername(sock& sk, byte_span out) {
  const result<sockaddr_buf> name = sk.getname(true);
  if (!name) return fail(errc::notconn);
  if (out.size() > name->len) return fail(errc::inval);
  return copy_bytes(out, name->view());
}

timeval timeval_of(duration d) { return {d.us() / 1'000'000, d.us() % 1'000'000}; }

std::size_t get_meminfo(const sock& sk, byte_span out) {
  std::array<u32, sk_meminfo_vars> words{};
  words[sk_meminfo_rmem_alloc] = sk.rcvbuf_used();
  words[sk_meminfo_rcvbuf] = sk.opt.rcvbuf;
  words[sk_meminfo_wmem_alloc] = sk.wmem_alloc;
  words[sk_meminfo_sndbuf] = sk.opt.sndbuf;
  words[sk_meminfo_optmem] = sk.omem_alloc;
  words[sk_meminfo_drops] = static_cast<u32>(sk.drops);
  return answer(out, words);
}

}  // namespace

result<void> sock_setsockopt(task& who, sock& sk, int name, byte_view value) {
  TRY_VOID(set_option(who, sk, name, value));
  sk.option_changed(sk.home(), name);
  return {};
}

result<std::size_t> sock_getsockopt(sock& sk, int name, byte_span out) {
  if (bool sock_options::* member = flag_member(name); member != nullptr) {
    return answer(out, s32{sk.opt.*member ? 1 : 0});
  }
  if (about_credentials(name)) return fail(errc::opnotsupp);
  switch (name) {
    case so_linger:
      return answer(out, linger{sk.opt.linger ? 1 : 0,
                                static_cast<s32>(sk.opt.linger_time / seconds(1))});
    case so_rcvtimeo: case so_rcvtimeo_new: return answer(out, timeval_of(sk.opt.rcvtimeo));
    case so_sndtimeo: case so_sndtimeo_new: return answer(out, timeval_of(sk.opt.sndtimeo));
    case so_max_pacing_rate:
      if (out.size() >= sizeof(u64)) return answer(out, sk.opt.max_pacing_rate);
      return answer(out, static_cast<u32>(std::min(sk.opt.max_pacing_rate, u64{~u32{0}})));
    case so_timestamping: case so_timestamping_new:
      // Flags, and the PTP clock that hardware stamps are bound to: none.
      return answer(out, std::array<u32, 2>{sk.opt.timestamping, 0});
    case so_bindtodevice: return get_bindtodevice(sk, out);
    case so_attach_filter: return get_filter(sk, out);
    case so_cookie: return get_cookie(sk, out);
    case so_netns_cookie: return get_netns_cookie(sk, out);
    case so_peername: return get_peername(sk, out);
    case so_txtime:
      return answer(out, std::array<u32, 2>{static_cast<u32>(sk.opt.txtime_clock),
                                            sk.opt.txtime_flags});
    case so_meminfo: return get_meminfo(sk, out);
    case so_peercred: return answer(out, ucred{0, ~u32{0}, ~u32{0}});
    default: break;
  }
  TRY(const s32 number, get_number(sk, name));
  return answer(out, number);
}

}  // namespace ph
