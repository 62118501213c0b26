// A program as the tests of calls see it: something with memory, that makes system calls.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "calls/table.h"

namespace ph::calls {

class test_program {
 public:
  virtual ~test_program() = default;

  /// Its memory, which the test reaches without a call: `len` bytes, from `from` unless that is
  /// null.
  virtual u64 put(const void* from, std::size_t len) = 0;
  virtual void get(u64 at, void* to, std::size_t len) = 0;
  template <class T>
  u64 put(const T& value) {
    return put(&value, sizeof value);
  }
  template <class T>
  T get(u64 at) {
    T out;
    get(at, &out, sizeof out);
    return out;
  }

  /// A system call of it.
  template <class... Values>
  long call(long number, Values... values) {
    const arguments a = {static_cast<s64>(values)...};
    const long result = meaning_of(number)(whose(), a);
    over();
    return result;
  }

  // What several tests do.
  u64 put_loopback(u16 port) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return put(a);
  }
  long socket(int type) { return call(SYS_socket, AF_INET, type, 0); }
  long bound(int type) {
    const long s = socket(type);
    const long error = call(SYS_bind, s, put_loopback(0), sizeof(sockaddr_in));
    return error == 0 ? s : error;
  }
  u16 port_of(long s) {
    const u64 name = put(nullptr, sizeof(sockaddr_in)), len = put(u32{sizeof(sockaddr_in)});
    return call(SYS_getsockname, s, name, len) == 0 ? ntohs(get<sockaddr_in>(name).sin_port)
                                                    : u16{0};
  }

 protected:
  virtual caller& whose() = 0;
  /// A call is over.
  virtual void over() {}
};

/// A struct msghdr for its memory.
struct test_message {
  u64 name = 0;
  u32 name_len = 0;
  u64 pieces = 0;
  std::size_t piece_count = 0;
  u64 control = 0;
  std::size_t control_len = 0;

  [[nodiscard]] msghdr header() const {
    msghdr m{};
    m.msg_name = pointer(name);
    m.msg_namelen = name_len;
    m.msg_iov = static_cast<iovec*>(pointer(pieces));
    m.msg_iovlen = piece_count;
    m.msg_control = pointer(control);
    m.msg_controllen = control_len;
    return m;
  }

 private:
  static void* pointer(u64 at) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(at)); }
};

}  // namespace ph::calls
