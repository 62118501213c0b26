// Memory that a program names in a call. The kernel answers EFAULT for what it cannot reach; so
// does the shim, by asking the kernel before it looks. (That another thread unmaps the memory in
// between is a race that the program loses on Linux, too.)
#pragma once

#include <cstddef>
#include <cstring>

namespace ph::shim {

/// True when all bytes can be read.
bool readable(const void* at, std::size_t len);
/// True when all bytes can be written. May change them: the caller is about to. `socket`: any
/// socket.
bool writable(int socket, void* at, std::size_t len);

/// Copies a program's value; false: EFAULT.
template <class T>
bool copy_in(T& to, const void* from) {
  if (!readable(from, sizeof(T))) return false;
  std::memcpy(&to, from, sizeof(T));
  return true;
}
/// Copies bytes to a program; false: EFAULT.
inline bool copy_out(int socket, void* to, const void* from, std::size_t len) {
  if (len == 0) return true;
  if (!writable(socket, to, len)) return false;
  std::memcpy(to, from, len);
  return true;
}

}  // namespace ph::shim
