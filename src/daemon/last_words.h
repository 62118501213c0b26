// A small process that outlives the daemon and tells the programs that wait at anchors without a
// peer that it has died (docs/dropin.md, "If the daemon dies").
#pragma once

#include <sys/types.h>

#include "base/byteorder.h"
#include "platform/unique_fd.h"

namespace ph::dropin {

class last_words {
 public:
  /// Starts the process. The caller is single-threaded. When there are no processes left to be
  /// had, nobody will speak: listening programs then wait for ever if the daemon crashes.
  explicit last_words(u64 instance);
  last_words(const last_words&) = delete;
  last_words& operator=(const last_words&) = delete;
  /// An orderly end is an end, too: the words are spoken before this returns.
  ~last_words();

 private:
  unique_fd alive_;  ///< its other end sees the daemon's death
  pid_t process_ = -1;
};

}  // namespace ph::dropin
