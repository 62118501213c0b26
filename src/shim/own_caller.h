// The program that this library is in, as the caller of its own system calls (calls/caller.h): its
// descriptors and its memory are ours. What it sends is counted, and a receive that does not wait
// is repeated where something was on its way (shim/settling.h).
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>

#include "calls/caller.h"

namespace ph::shim {

using namespace ph::calls;

class own_caller final : public caller {
 public:
  /// `socket`: any socket, to look at memory with (shim/program_memory.h); that of the call.
  explicit own_caller(int socket) : socket_(socket) {}

  bool read(u64 at, void* to, std::size_t len) override;
  bool write(u64 at, const void* from, std::size_t len) override;
  int hold(int number) override;
  int give(int fd, bool cloexec) override;
  void replace(int held, int with) override;
  long kernel(long call, long a, long b, long c, long d, long e) override;
  long send(int held, const buffers& bytes, int flags) override;
  long receive(int held, const buffers& room, int flags, int& came) override;
  long discard(int held, std::size_t len, int flags) override;
  long receive_tagged(int held, const buffers& room, int flags, int& came,
                      received_tag& tag) override;
  int accept(int held, sockaddr_storage& from, socklen_t& len, int flags) override;
  int ask(exchange& x) override;
  void raise(int signal) override;
  void note_connecting(int held, bool connecting) override;
  bool may_be_connecting(int held) override;
  void expect(habit what) override;
  bool expects(habit what) override;
  void follow_errors(int held) override;
  bool follows_errors(int held) override;

 private:
  int socket_;
};

/// A message of these bytes alone.
msghdr as_msghdr(const buffers& bytes);

inline u64 address_of(const volatile void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

/// Returns -errno as libc does: sets errno and gives -1; other values pass.
template <class Result>
Result finish(Result result) {
  if (result >= 0) return result;
  errno = static_cast<int>(-result);
  return -1;
}

/// A hook's result: that of a call of ours, or call(), the function behind the hook.
template <class Call>
auto finish_or(long result, Call call) -> decltype(call()) {
  using type = decltype(call());
  return result != not_ours ? static_cast<type>(finish(result)) : call();
}

}  // namespace ph::shim
