// Loopback as far as it is synchronous: what the host's programs send to the host itself goes
// through the daemon, so a program may ask before it has arrived. Here is kept how far that is
// (daemon/settling_page.h); the shim asks for a turn of the daemon where it matters
// (request_kind::settle).
//
// A number of `sent` is settled when all that had been sent by then was taken from the programs'
// ends, the stack then had its turn, and the clients were pumped after it.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "daemon/settling_page.h"
#include "platform/unique_fd.h"

namespace ph::dropin {

/// The page of one host.
class settling {
 public:
  /// nullptr where there is no memory or no descriptor for it.
  static std::unique_ptr<settling> create();
  settling(unique_fd file, settling_page& page) : file_(std::move(file)), page_(page) {}
  settling(const settling&) = delete;
  settling& operator=(const settling&) = delete;
  ~settling();

  /// For programs to map.
  [[nodiscard]] unique_fd file() const;
  [[nodiscard]] u32 sent() const { return page_.sent.load(std::memory_order_acquire); }
  /// As a turn knows it: they come in order, so a number that looks like one from before is not,
  /// but very many have been sent meanwhile.
  void settle(u32 sent);

 private:
  friend class local_mark;
  friend class settling_turns;
  void count(int step) {
    locals_ += static_cast<u32>(step);
    page_.local.store(locals_, std::memory_order_relaxed);
  }
  unique_fd file_;
  settling_page& page_;
  u32 locals_ = 0;
  bool noted_ = false;
};

/// Held by a socket whose peer is its own host.
class local_mark {
 public:
  local_mark() = default;
  explicit local_mark(settling& of) : of_(&of) { of.count(1); }
  local_mark(local_mark&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
  local_mark& operator=(local_mark&& other) noexcept {
    std::swap(of_, other.of_);
    return *this;
  }
  ~local_mark() {
    if (of_ != nullptr) of_->count(-1);
  }
  [[nodiscard]] settling* of() const { return of_; }

 private:
  settling* of_ = nullptr;
};

/// Follows what was sent through the turns of the daemon.
class settling_turns {
 public:
  /// Something was sent by a program of this host, or it asks whether something was.
  void note(settling& host);
  /// The batch that takes from the programs' ends what has been sent by now.
  [[nodiscard]] u64 next_batch() const { return begun_ + 1; }
  /// The last batch that is over, but for the stack's turn.
  [[nodiscard]] u64 over() const { return over_; }
  /// The next batch of events is about to be fetched ...
  void begin_batch();
  /// ... and was served; the next one belongs to it unless `all`: there were no more.
  void end_batch(bool all);
  /// The stack has had its turn, and after it the clients theirs.
  void arrived();
  /// Something waits for the next turn of the stack.
  [[nodiscard]] bool pending() const { return !with_stack_.empty(); }

 private:
  struct entry {
    settling* host;
    u32 sent;
  };
  std::vector<entry> noted_, awaited_, with_stack_;
  u64 begun_ = 0, over_ = 0;
};

}  // namespace ph::dropin
