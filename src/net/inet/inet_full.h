// Destinations to which no local port is free: a search of all ports has just found none, and
// nothing that it looked at has changed since. So a program that keeps asking is refused at once.
// A few are remembered; who has more of them searches again.
#pragma once

#include <array>
#include <optional>

#include "base/time.h"
#include "net/inet/inet_addr.h"

namespace ph {

class inet_full_destinations {
 public:
  /// What a search was for: every port of [low, high] as the local one of `ends`.
  struct search {
    inet_tuple ends;  ///< its local port, maybe one of an earlier connect(), does not matter
    u16 low = 0, high = 0;
    u32 releases = 0;  ///< of ports by bind(): inet_ports::releases()
    bool operator==(const search& other) const {
      return same_ends(ends, other.ends) && low == other.low && high == other.high &&
             releases == other.releases;
    }
  };

  [[nodiscard]] bool knows(const search& wanted, instant now) const {
    for (const full& f : full_) {
      if (f.used && f.what == wanted) return f.spare == 0 && now <= f.until;
    }
    return false;
  }
  /// The search found nothing; what it looked at does not change by itself up to `until`.
  void note(const search& found, instant until) {
    full* place = nullptr;
    for (full& f : full_) {
      if (f.used && same_ends(f.what.ends, found.ends)) place = &f;
    }
    if (place == nullptr) place = &full_[next_++ % full_.size()];
    *place = {found, until, 0, true};
  }
  /// A port that a search could find was taken: by that search, or by what stands in TIME-WAIT for
  /// a connection that was just freed.
  void taken(const inet_tuple& ends) {
    for (full& f : full_) {
      if (f.concerns(ends) && f.spare > 0) --f.spare;
    }
  }
  /// A connection, or what stood for it in TIME-WAIT, went.
  void freed(const inet_tuple& ends) {
    for (full& f : full_) {
      if (f.concerns(ends)) ++f.spare;
    }
  }
  /// There is an entry of TIME-WAIT for these ends that may be taken over after `until`.
  void hold_until(const inet_tuple& ends, instant until) {
    for (full& f : full_) {
      if (f.concerns(ends) && until < f.until) f.until = until;
    }
  }

 private:
  struct full {
    search what;
    instant until{};
    u32 spare = 0;  ///< ports that became free since
    bool used = false;
    [[nodiscard]] bool concerns(const inet_tuple& ends) const {
      return used && same_ends(what.ends, ends);
    }
  };

  static bool same_ends(const inet_tuple& a, const inet_tuple& b) {
    return a.rport == b.rport && a.raddr == b.raddr && a.laddr == b.laddr;
  }

  std::array<full, 4> full_{};
  std::size_t next_ = 0;
};

}  // namespace ph
