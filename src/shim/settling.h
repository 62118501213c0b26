// Loopback as far as it is synchronous. What a program sends to its own host goes through the
// daemon; so where a question that does not wait has been asked before that arrived, the daemon is
// asked for its turn first, and then the kernel once more. Nothing is asked when nothing was sent,
// or no socket of the host is connected to the host itself: a page that its programs share with the
// daemon tells (daemon/settling_page.h).
#pragma once

#include "calls/caller.h"

namespace ph::shim {

/// True until the page is known: a hello may ask for it.
bool wants_settling_page();
/// Maps the page, and closes `file`.
void take_settling_page(int file);

/// What is sent on this anchor goes to the host itself, or not.
void note_home(int fd, bool home);

/// Something was sent by a plain call on `fd`, whatever that is. It counts when it goes to the host
/// itself.
void note_sent(int fd);
/// `fd` was shut; counts likewise, and for a socket without a peer.
void note_ended(int fd);

/// `fd` is about to be closed, and then was.
class closing_end {
 public:
  explicit closing_end(int fd);
  void closed() const;

 private:
  bool counts_;
};

/// What somebody has sent may still be on its way.
bool anything_on_its_way();
/// Where what has been sent by now is, for who has just found nothing: `arrived` may have been
/// after that, as it was not known to this thread before.
enum class sends_are : u8 { known, arrived, on_their_way };
sends_are where_sends_are();
/// What this thread has sent may still be on its way.
bool own_on_its_way();
/// This thread has waited for events: a loop of them takes whatever has come by then.
void own_was_waited_for();
/// Has the daemon take its turn. Leaves errno alone.
void settle();

/// A call on `fd` that does not wait (`flags`) said EAGAIN: true when it is to be repeated, once.
bool settled_for(int fd, int flags);

/// `got` bytes were received from a stream into `room`, which has more room: what of this thread's
/// own sends belongs behind them follows. Returns how many there are now.
long with_rest(int fd, const calls::buffers& room, int flags, long got);

/// ask(), which waits for readiness, or (`at_once`) does not and gives 0 when nothing is ready.
template <class Ask>
int ready_after_settling(bool at_once, Ask ask) {
  if (!at_once) return ask();
  if (own_on_its_way()) settle();
  const int ready = ask();
  const sends_are where = ready == 0 ? where_sends_are() : sends_are::known;
  if (where == sends_are::known) return ready;
  if (where == sends_are::on_their_way) settle();
  return ask();
}

}  // namespace ph::shim
