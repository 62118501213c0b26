// Who may hold how many control channels: a table that one process or user fills is one that all
// others find full.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <map>

namespace ph::dropin {

/// Who is at the other end of a channel (SO_PEERCRED).
struct channel_peer {
  pid_t process = 0;
  uid_t user = 0;
};

class channel_gate {
 public:
  /// `owner`: the daemon's user.
  explicit channel_gate(uid_t owner) : owner_(owner) {}
  /// Counts a channel that has not said hello; false when there are too many of its kind.
  bool enter(const channel_peer& who);
  /// It has said hello.
  void greet(const channel_peer& who);
  /// It is gone.
  void leave(const channel_peer& who, bool greeted);
  [[nodiscard]] std::size_t count() const { return total_.all; }
  /// Those that have not said hello.
  [[nodiscard]] std::size_t silent() const { return total_.silent; }

 private:
  struct tally {
    std::size_t all = 0;
    std::size_t silent = 0;  ///< those that have not said hello
  };
  struct limits {
    std::size_t all, silent;
  };
  [[nodiscard]] bool trusts(uid_t user) const { return user == owner_ || user == 0; }
  static bool room(const tally& t, const limits& most) {
    return t.all < most.all && t.silent < most.silent;
  }

  uid_t owner_;
  tally total_;
  tally strangers_;  ///< of other users than the owner and root
  std::map<pid_t, tally> processes_;
  std::map<uid_t, tally> users_;
};

}  // namespace ph::dropin
