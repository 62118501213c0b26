// Reading tags of datagrams. How they are received is the caller's business.
#include "calls/datagram_tag.h"

#include <cstring>

#include "calls/kernel.h"

namespace ph::calls {

void read_beside(caller& c, msghdr& received, received_tag& to) {
  int file = -1;
  for (cmsghdr* m = CMSG_FIRSTHDR(&received); m != nullptr; m = CMSG_NXTHDR(&received, m)) {
    if (m->cmsg_level != SOL_SOCKET) continue;
    if (m->cmsg_type == SCM_RIGHTS) std::memcpy(&file, CMSG_DATA(m), sizeof file);
    const bool time = m->cmsg_type == SCM_TIMESTAMPNS && m->cmsg_len >= CMSG_LEN(sizeof to.given);
    if (time) std::memcpy(&to.given, CMSG_DATA(m), sizeof to.given);
  }
  if (file < 0) return;
  const long got = c.kernel(SYS_pread64, file, kernel::arg(&to.bytes[0]), sizeof to.bytes, 0, 0);
  kernel::close(c, file);
  to.len = got > 0 ? static_cast<std::size_t>(got) : 0;
}

long receive_parsed(caller& c, int held, const buffers& room, int flags, int& came,
                    received_tag& tag) {
  const long got = c.receive_tagged(held, room, flags, came, tag);
  if (got >= 0 && !dropin::parse_message(tag.bytes, tag.len, tag.parts)) tag.len = 0;
  return got;
}

int peek_tag(caller& c, int held, received_tag& tag) {
  int came = 0;
  const long got = receive_parsed(c, held, {}, MSG_PEEK | MSG_DONTWAIT, came, tag);
  return got < 0 ? static_cast<int>(got) : 0;
}

}  // namespace ph::calls
