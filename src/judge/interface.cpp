// libph_packetdrill.so: the table filled with calls of a judged_stack, and errno set as libc does.
//
// What packetdrill does beside the table (getsockopt of %{ }% blocks, sendfile, the yield of its
// two threads) it does by libc: preload this object too, and these calls are answered here.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>

#include "judge/stack.h"
#include "judge/table.h"
#include "uapi/socket.h"

namespace ph::judge {
namespace {

/// The stack that the process's own getsockopt should know of.
std::atomic<judged_stack*> current_stack{nullptr};

judged_stack& stack_of(void* userdata) { return *static_cast<judged_stack*>(userdata); }

ssize_t answer(const result<s64>& r) {
  if (r) return static_cast<ssize_t>(*r);
  errno = static_cast<int>(r.error());
  return -1;
}
int answer_int(const result<s64>& r) { return static_cast<int>(answer(r)); }

byte_view view_of(const void* data, size_t count) {
  return {static_cast<const u8*>(data), data == nullptr ? 0 : count};
}
byte_span span_of(void* data, size_t count) {
  return {static_cast<u8*>(data), data == nullptr ? 0 : count};
}

void give_address(const sockaddr_buf& from, void* addr, socklen_t* len) {
  if (addr == nullptr || len == nullptr) return;
  std::memcpy(addr, from.bytes.data(), std::min<size_t>(*len, from.len));
  *len = from.len;
}

// --- sockets ------------------------------------------------------------------------------------

void free_stack(void* userdata) {
  const std::unique_ptr<judged_stack> end(&stack_of(userdata));
  judged_stack* mine = end.get();
  current_stack.compare_exchange_strong(mine, nullptr);
}

int do_socket(void* u, int domain, int type, int protocol) {
  return answer_int(stack_of(u).socket(domain, type, protocol));
}
int do_bind(void* u, int fd, const sockaddr* addr, socklen_t len) {
  return answer_int(stack_of(u).bind(fd, view_of(addr, len)));
}
int do_listen(void* u, int fd, int backlog) { return answer_int(stack_of(u).listen(fd, backlog)); }
int do_accept(void* u, int fd, sockaddr* addr, socklen_t* len) {
  sockaddr_buf peer;
  const auto got = stack_of(u).accept(fd, &peer);
  if (got) give_address(peer, addr, len);
  return answer_int(got);
}
int do_connect(void* u, int fd, const sockaddr* addr, socklen_t len) {
  return answer_int(stack_of(u).connect(fd, view_of(addr, len)));
}
int do_shutdown(void* u, int fd, int how) { return answer_int(stack_of(u).shutdown(fd, how)); }
int do_close(void* u, int fd) {
  if (!stack_of(u).owns(fd)) return ::close(fd);
  return answer_int(stack_of(u).close(fd));
}

// --- bytes --------------------------------------------------------------------------------------

std::vector<byte_span> spans_of(const iovec* iov, size_t count) {
  std::vector<byte_span> out;
  for (size_t i = 0; i < count; ++i) out.push_back(span_of(iov[i].iov_base, iov[i].iov_len));
  return out;
}
std::vector<byte_view> views_of(const iovec* iov, size_t count) {
  std::vector<byte_view> out;
  for (size_t i = 0; i < count; ++i) out.push_back(view_of(iov[i].iov_base, iov[i].iov_len));
  return out;
}

ssize_t receive(void* u, int fd, std::span<const byte_span> iov, int flags, sockaddr* addr,
                socklen_t* len) {
  sockaddr_buf from;
  recv_msg msg;
  msg.iov = iov;
  msg.name = &from;
  msg.flags = static_cast<u32>(flags);
  const auto got = stack_of(u).receive(fd, msg);
  if (got) give_address(from, addr, len);
  return answer(got);
}
ssize_t do_recvfrom(void* u, int fd, void* data, size_t count, int flags, sockaddr* addr,
                    socklen_t* len) {
  if (data == nullptr && count != 0) return answer(fail(errc::fault));
  const byte_span piece = span_of(data, count);
  return receive(u, fd, {&piece, 1}, flags, addr, len);
}
ssize_t do_recv(void* u, int fd, void* data, size_t count, int flags) {
  return do_recvfrom(u, fd, data, count, flags, nullptr, nullptr);
}
ssize_t do_read(void* u, int fd, void* data, size_t count) {
  if (!stack_of(u).owns(fd)) return ::read(fd, data, count);
  return do_recv(u, fd, data, count, 0);
}
ssize_t do_readv(void* u, int fd, const iovec* iov, int count) {
  if (!stack_of(u).owns(fd)) return ::readv(fd, iov, count);
  const auto pieces = spans_of(iov, static_cast<size_t>(count));
  return receive(u, fd, pieces, 0, nullptr, nullptr);
}
ssize_t do_recvmsg(void* u, int fd, msghdr* msg, int flags) {
  const auto pieces = spans_of(msg->msg_iov, msg->msg_iovlen);
  sockaddr_buf from;
  recv_msg call;
  call.iov = pieces;
  call.name = &from;
  call.control = span_of(msg->msg_control, msg->msg_controllen);
  call.flags = static_cast<u32>(flags);
  const auto got = stack_of(u).receive(fd, call);
  if (!got) return answer(got);
  give_address(from, msg->msg_name, &msg->msg_namelen);
  msg->msg_controllen = call.control_len;
  msg->msg_flags = static_cast<int>(call.out_flags);
  return answer(got);
}

ssize_t send(void* u, int fd, std::span<const byte_view> iov, int flags, byte_view name,
             byte_view control) {
  send_msg msg;
  msg.iov = iov;
  msg.name = name;
  msg.control = control;
  msg.flags = static_cast<u32>(flags);
  return answer(stack_of(u).send(fd, msg));
}
ssize_t do_sendto(void* u, int fd, const void* data, size_t count, int flags,
                  const sockaddr* addr, socklen_t len) {
  if (data == nullptr && count != 0) return answer(fail(errc::fault));
  const byte_view piece = view_of(data, count);
  return send(u, fd, {&piece, 1}, flags, view_of(addr, len), {});
}
ssize_t do_send(void* u, int fd, const void* data, size_t count, int flags) {
  return do_sendto(u, fd, data, count, flags, nullptr, 0);
}
ssize_t do_write(void* u, int fd, const void* data, size_t count) {
  if (!stack_of(u).owns(fd)) return ::write(fd, data, count);
  return do_send(u, fd, data, count, 0);
}
ssize_t do_writev(void* u, int fd, const iovec* iov, int count) {
  if (!stack_of(u).owns(fd)) return ::writev(fd, iov, count);
  const auto pieces = views_of(iov, static_cast<size_t>(count));
  return send(u, fd, pieces, 0, {}, {});
}
ssize_t do_sendmsg(void* u, int fd, const msghdr* msg, int flags) {
  const auto pieces = views_of(msg->msg_iov, msg->msg_iovlen);
  return send(u, fd, pieces, flags, view_of(msg->msg_name, msg->msg_namelen),
              view_of(msg->msg_control, msg->msg_controllen));
}

// --- options ------------------------------------------------------------------------------------

int do_fcntl(void* u, int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  const int flags = command == F_SETFL ? va_arg(rest, int) : 0;
  va_end(rest);
  if (command == F_GETFL) return answer_int(stack_of(u).get_flags(fd));
  if (command == F_SETFL) return answer_int(stack_of(u).set_flags(fd, flags));
  return answer_int(fail(errc::inval));
}
int do_ioctl(void* u, int fd, unsigned long command, ...) {
  va_list rest;
  va_start(rest, command);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  // Interface requests (SIOCGIFNAME …) take an ifreq, all others of sockets an int.
  const bool ifreq = command >= 0x8910 && command < 0x8950 && command != 0x894b;
  return answer_int(stack_of(u).ioctl(fd, static_cast<u32>(command),
                                      span_of(argument, ifreq ? 40 : sizeof(int))));
}
int do_getsockopt(void* u, int fd, int level, int name, void* value, socklen_t* len) {
  if (len == nullptr) return answer_int(fail(errc::fault));
  const auto got = stack_of(u).getsockopt(fd, level, name, span_of(value, *len));
  if (!got) return answer_int(got);
  *len = static_cast<socklen_t>(*got);
  return 0;
}
int do_setsockopt(void* u, int fd, int level, int name, const void* value, socklen_t len) {
  return answer_int(stack_of(u).setsockopt(fd, level, name, view_of(value, len)));
}

// --- readiness ----------------------------------------------------------------------------------

int do_poll(void* u, pollfd* fds, nfds_t count, int timeout_ms) {
  return answer_int(stack_of(u).poll({fds, count}, timeout_ms));
}
int do_epoll_create(void* u, int size) {
  if (size <= 0) return answer_int(fail(errc::inval));
  return answer_int(stack_of(u).epoll_create());
}
int do_epoll_ctl(void* u, int epfd, int operation, int fd, epoll_event* event) {
  if (event == nullptr && operation != EPOLL_CTL_DEL) return answer_int(fail(errc::fault));
  return answer_int(stack_of(u).epoll_ctl(epfd, operation, fd, event ? event->events : 0,
                                          event ? event->data.u64 : 0));
}
int do_epoll_wait(void* u, int epfd, epoll_event* events, int count, int timeout_ms) {
  if (count <= 0) return answer_int(fail(errc::inval));
  return answer_int(
      stack_of(u).epoll_wait(epfd, {events, static_cast<size_t>(count)}, timeout_ms));
}

// --- wire and time ------------------------------------------------------------------------------

int do_netdev_send(void* u, const void* data, size_t count) {
  stack_of(u).inject(view_of(data, count));
  return 0;
}
int do_netdev_receive(void* u, void* data, size_t* count, long long* time_usecs) {
  instant when;
  const auto got = stack_of(u).next_packet(span_of(data, *count), &when);
  if (!got) return answer_int(got);  // packetdrill asks again, without end: see next_packet
  *count = static_cast<size_t>(*got);
  *time_usecs = when.ns / 1000;
  return 0;
}
int do_usleep(void* u, useconds_t usecs) {
  stack_of(u).sleep(microseconds(usecs));
  return 0;
}
int do_gettimeofday(void* u, timeval* tv, struct timezone*) {
  const instant now = stack_of(u).look_at_clock();
  tv->tv_sec = now.ns / 1'000'000'000;
  tv->tv_usec = now.ns % 1'000'000'000 / 1000;
  return 0;
}

// --- what is no socket --------------------------------------------------------------------------

int do_pipe(void*, int fds[2]) { return ::pipe(fds); }
int do_splice(void* u, int in, loff_t* off_in, int out, loff_t* off_out, size_t len,
              unsigned flags) {
  judged_stack& stack = stack_of(u);
  const u32 how = (flags & SPLICE_F_NONBLOCK) != 0 ? uapi::msg_dontwait : 0;
  if (stack.owns(in)) return answer_int(stack.receive_into(in, out, len, how));
  if (stack.owns(out)) return answer_int(stack.send_from(out, in, nullptr, len, how));
  // Scripts' NULL arrives as a pointer to zero.
  if (off_in != nullptr && *off_in == 0) off_in = nullptr;
  if (off_out != nullptr && *off_out == 0) off_out = nullptr;
  return static_cast<int>(::splice(in, off_in, out, off_out, len, flags));
}

interface_table make_table(void* userdata) {
  return {userdata,    free_stack,    do_socket,       do_bind,     do_listen,
          do_accept,   do_connect,    do_read,         do_readv,    do_recv,
          do_recvfrom, do_recvmsg,    do_write,        do_writev,   do_send,
          do_sendto,   do_sendmsg,    do_fcntl,        do_ioctl,    do_close,
          do_shutdown, do_getsockopt, do_setsockopt,   do_poll,     do_netdev_send,
          do_netdev_receive, do_usleep, do_gettimeofday, do_epoll_create, do_epoll_ctl,
          do_epoll_wait, do_pipe,     do_splice};
}

}  // namespace
}  // namespace ph::judge

extern "C" {

/// Fills `table` with a stack of its own. `flags`: see judge/stack.h. On failure the table's
/// userdata stays null.
[[gnu::visibility("default")]] void packetdrill_interface_init(
    const char* flags, ph::judge::interface_table* table) {
  *table = {};
  try {
    auto stack = std::make_unique<ph::judge::judged_stack>(ph::judge::read_flags(flags));
    ph::judge::current_stack = stack.get();
    *table = ph::judge::make_table(stack.release());
  } catch (const std::exception& fault) {
    std::fprintf(stderr, "libph_packetdrill: %s\n", fault.what());
  }
}

/// libc's, for the descriptors of the stack in this process; everything else goes to the system.
[[gnu::visibility("default")]] int getsockopt(int fd, int level, int name, void* value,
                                              socklen_t* len) noexcept {
  ph::judge::judged_stack* stack = ph::judge::current_stack;
  if (stack != nullptr && stack->owns(fd)) {
    return ph::judge::do_getsockopt(stack, fd, level, name, value, len);
  }
  return static_cast<int>(::syscall(SYS_getsockopt, fd, level, name, value, len));
}

/// packetdrill yields so that its second thread can make a blocking call, before the first one
/// goes on to move the clock.
[[gnu::visibility("default")]] int sched_yield() noexcept {
  ph::judge::judged_stack* stack = ph::judge::current_stack;
  if (stack != nullptr) stack->yield();
  return static_cast<int>(::syscall(SYS_sched_yield));
}

[[gnu::visibility("default")]] ssize_t sendfile(int out, int in, off_t* offset,
                                                size_t count) noexcept {
  ph::judge::judged_stack* stack = ph::judge::current_stack;
  if (stack == nullptr || !stack->owns(out)) {
    return ::syscall(SYS_sendfile, out, in, offset, count);
  }
  ph::s64 at = offset != nullptr ? *offset : 0;
  const auto sent = stack->send_from(out, in, offset != nullptr ? &at : nullptr, count, 0);
  if (offset != nullptr) *offset = at;
  return ph::judge::answer(sent);
}
}
