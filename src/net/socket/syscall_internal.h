// What the files of the system-call door share.
#pragma once

#include "net/socket/syscall.h"
#include "uapi/socket.h"

namespace ph {

/// The socket of a descriptor, kept alive for the call. Errors: badf, notsock.
inline result<ref<socket>> socket_of(task& t, int fd) {
  TRY(const ref<file> f, t.get(fd));
  socket* const found = f->as_socket();
  if (found == nullptr) return fail(errc::notsock);
  return ref<socket>(found);
}

/// Errors: inval when longer than a sockaddr_storage.
inline result<void> check_sockaddr(byte_view addr) {
  return addr.size() > uapi::sockaddr_storage_bytes ? fail(errc::inval) : result<void>{};
}

}  // namespace ph
