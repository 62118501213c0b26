// A small process that outlives the daemon and tells the programs that wait at anchors that it has
// died (docs/dropin.md, "If the daemon dies").
#pragma once

#include <sys/types.h>

#include <string>

#include "platform/unique_fd.h"

namespace ph::dropin {

class last_words {
 public:
  /// Starts the process, which shares the table of descriptors with this one: whatever the daemon
  /// holds when it dies, the process holds, too. The caller is single-threaded. When there are no
  /// processes left to be had, nobody will speak: listening programs then wait for ever if the
  /// daemon crashes.
  /// `folder` (of the anchors) is removed then.
  explicit last_words(const std::string& folder);
  last_words(const last_words&) = delete;
  last_words& operator=(const last_words&) = delete;
  /// An orderly end (drop_in's destructor speaks for itself): the process is not needed any more.
  ~last_words();

 private:
  unique_fd daemon_;  ///< a pidfd of this process, on which the other waits
  pid_t process_ = -1;
};

}  // namespace ph::dropin
