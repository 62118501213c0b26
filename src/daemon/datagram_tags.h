// What goes with each datagram to the program, besides its payload: where it came from and its
// ancillary values. The kernel carries it as a descriptor (SCM_RIGHTS) of a sealed file in memory;
// a plain read drops it, recvfrom and recvmsg (the shim in them) read it and close it.
//
// A tag's bytes are a message_head (daemon/protocol.h) with the address, the control items and no
// payload. All items are there; the shim looks which of them the program wants when it receives
// (daemon/received_choice.h).
#pragma once

#include <list>
#include <map>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "daemon/protocol.h"
#include "platform/unique_fd.h"

namespace ph::dropin {

/// The files of the tags used last, so that a peer's second datagram costs none.
class datagram_tags {
 public:
  explicit datagram_tags(std::size_t most = 256) : most_(most) {}
  /// A descriptor of a file that holds the tag; valid until the next call. Errors: mfile, nfile,
  /// nomem.
  result<int> find(byte_view tag);

 private:
  struct entry {
    std::vector<u8> tag;
    unique_fd file;
  };
  using order = std::list<entry>;
  order newest_first_;
  std::map<std::vector<u8>, order::iterator> by_tag_;
  std::size_t most_;
};

}  // namespace ph::dropin
