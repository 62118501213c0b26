// What libc and the kernel do for their own process.
#include "shim/own_caller.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/uio.h>

#include <atomic>
#include <cstring>

#include "calls/exchange.h"
#include "calls/scratch.h"
#include "shim/channel.h"
#include "shim/config.h"
#include "shim/connecting.h"
#include "shim/error_flags.h"
#include "shim/next.h"
#include "shim/program_memory.h"
#include "shim/raw.h"
#include "shim/settling.h"
#include "shim/socket_copies.h"
#include "shim/tagged_receive.h"

namespace ph::shim {
namespace {

constinit std::atomic<bool> expected[habits];

void* pointer_to(u64 at) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(at)); }

/// Does call(), a function of libc's, with its error as a value and errno as it was.
template <class Call>
auto by_libc(Call call) {
  const int saved = errno;
  auto result = call();
  if (result < 0) result = -errno;
  errno = saved;
  return result;
}

/// The same of a receive: once more when something was on its way to `fd`.
template <class Call>
auto received_by_libc(int fd, int flags, Call call) {
  const auto got = by_libc(call);
  return got == -EAGAIN && settled_for(fd, flags) ? by_libc(call) : got;
}

}  // namespace

msghdr as_msghdr(const buffers& bytes) {
  // A piece is laid out as an iovec, and an address is a pointer here.
  msghdr out{};
  out.msg_iov =
      static_cast<iovec*>(bytes.own != nullptr ? static_cast<void*>(const_cast<piece*>(bytes.own))
                                               : pointer_to(bytes.at));
  out.msg_iovlen = bytes.count;
  return out;
}

bool own_caller::read(u64 at, void* to, std::size_t len) {
  if (len == 0) return true;
  if (!readable(pointer_to(at), len)) return false;
  std::memcpy(to, pointer_to(at), len);
  return true;
}

bool own_caller::write(u64 at, const void* from, std::size_t len) {
  return copy_out(socket_, pointer_to(at), from, len);
}

int own_caller::hold(int number) { return number >= 0 && config().active ? number : -EBADF; }

int own_caller::give(int fd, bool) { return fd; }

void own_caller::replace(int held, int with) { replace_everywhere(held, with); }

long own_caller::kernel(long call, long a, long b, long c, long d, long e) {
  const long result = raw::call(call, a, b, c, d, e);
  if (call == SYS_shutdown) note_ended(static_cast<int>(a));
  return result;
}

long own_caller::send(int held, const buffers& bytes, int flags) {
  const msghdr whole = as_msghdr(bytes);
  const long sent = by_libc([&] { return next::sendmsg(held, &whole, flags); });
  if (sent >= 0) note_sent(held);
  return sent;
}

long own_caller::receive(int held, const buffers& room, int flags, int& came) {
  const long got = received_by_libc(held, flags, [&] {
    msghdr whole = as_msghdr(room);
    const ssize_t n = next::recvmsg(held, &whole, flags);
    came = whole.msg_flags;
    return n;
  });
  return got > 0 ? with_rest(held, room, flags, got) : got;
}

long own_caller::discard(int held, std::size_t len, int flags) {
  scratch bin(len + 1);
  if (bin.bytes() == nullptr) return -ENOMEM;
  return received_by_libc(held, flags, [&] { return next::recv(held, bin.bytes(), len, flags); });
}

long own_caller::receive_tagged(int held, const buffers& room, int flags, int& came,
                                received_tag& tag) {
  const long got = tagged_receive(*this, held, room, flags, came, tag);
  if (got != -EAGAIN || !settled_for(held, flags)) return got;
  return tagged_receive(*this, held, room, flags, came, tag);
}

int own_caller::accept(int held, sockaddr_storage& from, socklen_t& len, int flags) {
  auto* const name = reinterpret_cast<sockaddr*>(&from);
  return received_by_libc(held, 0, [&] { return next::accept4(held, name, &len, flags); });
}

int own_caller::ask(exchange& x) {
  const int result = shim::ask(x);
  // The end of a stream goes its way; and TCP_CORK and the like let go of bytes.
  if (x.fd < 0) return result;
  const bool home = (x.reply_flags & dropin::reply_goes_home) != 0;
  if (home || (x.kind == dropin::request_kind::connect && result == 0)) note_home(x.fd, home);
  if (x.kind == dropin::request_kind::shutdown) note_ended(x.fd);
  if (x.kind == dropin::request_kind::setsockopt && x.arg[0] == IPPROTO_TCP) note_sent(x.fd);
  return result;
}

void own_caller::raise(int signal) {
  raw::call(SYS_tgkill, raw::getpid(), raw::call(SYS_gettid), signal);
}

void own_caller::note_connecting(int held, bool connecting) {
  shim::note_connecting(held, connecting);
}

bool own_caller::may_be_connecting(int held) { return shim::may_be_connecting(held); }

void own_caller::expect(habit what) {
  expected[static_cast<std::size_t>(what)].store(true, std::memory_order_relaxed);
}

bool own_caller::expects(habit what) {
  return expected[static_cast<std::size_t>(what)].load(std::memory_order_relaxed);
}

void own_caller::follow_errors(int held) { want_error_flag(held); }

bool own_caller::follows_errors(int held) {
  return error_flags_in_use() && error_flag_of(held) >= 0;
}

}  // namespace ph::shim
