// SOL_SOCKET: socket(7), with Linux's limits and errors. What is not here is ENOPROTOOPT.
#include <algorithm>
#include <limits>

#include "kernel/kernel.h"
#include "net/core/cbpf.h"
#include "net/core/net_device.h"
#include "net/core/timestamping.h"
#include "net/socket/socket.h"
#include "uapi/socket.h"

namespace ph {

using namespace uapi;

namespace {

// Linux's SOCK_MIN_SNDBUF and SOCK_MIN_RCVBUF, as getsockopt shows them on x86-64.
constexpr u32 min_sndbuf = 4608;
constexpr u32 min_rcvbuf = 2304;
constexpr s32 most = std::numeric_limits<s32>::max();

struct flag_option {
  int name;
  bool sock_options::* member;
};
constexpr flag_option flag_options[] = {
    {so_reuseaddr, &sock_options::reuseaddr},     {so_reuseport, &sock_options::reuseport},
    {so_keepalive, &sock_options::keepalive},     {so_broadcast, &sock_options::broadcast},
    {so_dontroute, &sock_options::dontroute},     {so_oobinline, &sock_options::oobinline},
    {so_rxq_ovfl, &sock_options::rxq_ovfl},       {so_passcred, &sock_options::passcred},
    {so_no_check, &sock_options::no_check},       {so_rcvmark, &sock_options::rcvmark},
    {so_rcvpriority, &sock_options::rcvpriority},
};

bool sock_options::* flag_member(int name) {
  for (const flag_option& option : flag_options) {
    if (option.name == name) return option.member;
  }
  return nullptr;
}

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
  if (sk.type() == sock_raw) return fail(errc::opnotsupp);
  if (value < 0 || value > 1) return fail(errc::inval);
  sk.opt.zerocopy = value != 0;
  return {};
}

/// SO_ATTACH_FILTER and its relatives. The value of those that attach are the instructions, where
/// socket(7) has a pointer to them. Streams have no filters yet.
result<void> set_filter(sock& sk, int name, byte_view value) {
  if (sk.type() == sock_stream) return fail(errc::noprotoopt);
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
    case so_bsdcompat: return {};  // socket(7): obsolete, without effect since Linux 2.2
    default: return fail(errc::noprotoopt);
  }
}

result<void> set_option(task& who, sock& sk, int name, byte_view value) {
  if (name == so_bindtodevice) return set_bindtodevice(who, sk, value);
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
      return opt.incoming_cpu >= 0 ? opt.incoming_cpu : static_cast<s32>(sk.home().id().value);
    case so_busy_poll: return static_cast<s32>(opt.busy_poll_us);
    case so_bindtoifindex: return static_cast<s32>(opt.bound_dev_if.value);
    case so_incoming_napi_id: return 0;
    case so_bsdcompat:
    case so_debug: return 0;
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

result<std::size_t> get_cookie(sock& sk, byte_span out) {
  if (out.size() < sizeof(u64)) return fail(errc::inval);
  if (sk.cookie == 0) {
    sk.cookie = ++sk.net().machine().slots().get(net_families_key).last_cookie;
  }
  return answer(out, sk.cookie);
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
    case so_cookie: return get_cookie(sk, out);
    case so_meminfo: return get_meminfo(sk, out);
    case so_peercred: return answer(out, ucred{0, ~u32{0}, ~u32{0}});
    default: break;
  }
  TRY(const s32 number, get_number(sk, name));
  return answer(out, number);
}

}  // namespace ph
