// Counting what is sent, and asking for what was.
#include "shim/settling.h"

#include <linux/sockios.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <utility>

#include "calls/anchor.h"
#include "calls/exchange.h"
#include "calls/kernel.h"
#include "calls/message.h"
#include "daemon/settling_page.h"
#include "shim/own_caller.h"
#include "shim/raw.h"
#include "shim/sandbox.h"

namespace ph::shim {
namespace {

using dropin::is_behind;
using dropin::settling_page;

constinit std::atomic<settling_page*> page_of_host{nullptr};

/// The number of this thread's last send; only while `sends`. And the number of all sends when it
/// looked last.
struct own_sends {
  bool sends = false;
  u32 last = 0;
  u32 looked = 0;
};
constinit thread_local own_sends own;

/// nullptr while the host sends nothing to itself, and where asking is not allowed.
settling_page* page_in_use() {
  if (in_own_sandbox()) return nullptr;
  settling_page* const page = page_of_host.load(std::memory_order_acquire);
  return page != nullptr && page->local.load(std::memory_order_relaxed) != 0 ? page : nullptr;
}

void count(settling_page& page) {
  own.sends = true;
  own.last = page.sent.fetch_add(1, std::memory_order_acq_rel) + 1;
}

/// No receive goes past the urgent byte of a stream (tcp(7)).
bool at_mark(caller& c, int fd) {
  int mark = 0;
  const long known = raw::call(SYS_ioctl, fd, SIOCATMARK, raw::arg(&mark));
  if (known != -ENOTTY) return mark != 0;
  std::size_t len = sizeof mark;  // AF_UNIX of this kernel carries no urgent data
  ask_for(c, fd, dropin::request_kind::ioctl, SIOCATMARK, 0, 0, &mark, len, &mark, &len);
  return mark != 0;
}

bool is_ours(int fd, anchor& out) {
  own_caller c(fd);
  return find_anchor(c, fd, out);
}

/// Is the peer of this anchor its own host? What else may have the option is not asked for: that
/// would cost the one a system call, and saves the other a question.
bool goes_home(int fd) {
  int home = 0;
  socklen_t len = sizeof home;
  return raw::getsockopt(fd, SOL_SOCKET, dropin::goes_home_option, &home, len) == 0 && home != 0;
}

/// May the end of `fd` be seen by a socket of its own host?
bool ends_at_home(int fd) {
  if (goes_home(fd)) return true;
  own_caller c(fd);
  anchor a;
  if (!find_anchor(c, fd, a)) return false;
  look_at_peer(c, a);
  return !a.stream() || !a.linked;
}

/// The pieces behind the first `skip` bytes, as many as fit; how many those are.
std::size_t pieces_behind(const piece_list& room, u64 skip, piece (&to)[max_pieces]) {
  std::size_t used = 0;
  for (const piece& p : room) {
    const u64 passed = skip < p.len ? skip : p.len;
    skip -= passed;
    if (passed == p.len) continue;
    if (used == max_pieces) break;
    to[used++] = {p.at + passed, p.len - passed};
  }
  return used;
}

}  // namespace

bool wants_settling_page() { return page_of_host.load(std::memory_order_relaxed) == nullptr; }

void take_settling_page(int file) {
  const long at = raw::call(SYS_mmap, 0, dropin::settling_page_len, PROT_READ | PROT_WRITE,
                            MAP_SHARED, file, 0);
  raw::close(file);
  if (at < 0 && at >= -4095) return;
  settling_page* none = nullptr;
  auto* const page = reinterpret_cast<settling_page*>(at);
  if (!page_of_host.compare_exchange_strong(none, page, std::memory_order_acq_rel)) {
    raw::call(SYS_munmap, at, dropin::settling_page_len);
  }
}

void note_home(int fd, bool home) {
  const int value = home ? 1 : 0;
  raw::call(SYS_setsockopt, fd, SOL_SOCKET, dropin::goes_home_option, raw::arg(&value),
            sizeof value);
}

void note_sent(int fd) {
  settling_page* const page = page_in_use();
  if (page != nullptr && goes_home(fd)) count(*page);
}

void note_ended(int fd) {
  settling_page* const page = page_in_use();
  if (page != nullptr && ends_at_home(fd)) count(*page);
}

closing_end::closing_end(int fd) : counts_(page_in_use() != nullptr && ends_at_home(fd)) {}

void closing_end::closed() const {
  settling_page* const page = counts_ ? page_in_use() : nullptr;
  if (page != nullptr) count(*page);
}

bool anything_on_its_way() {
  const settling_page* const page = page_in_use();
  return page != nullptr && page->settled.load(std::memory_order_acquire) !=
                                page->sent.load(std::memory_order_relaxed);
}

sends_are where_sends_are() {
  const settling_page* const page = page_in_use();
  if (page == nullptr) return sends_are::known;
  const u32 sent = page->sent.load(std::memory_order_acquire);
  const bool news = std::exchange(own.looked, sent) != sent;
  if (page->settled.load(std::memory_order_acquire) != sent) return sends_are::on_their_way;
  return news ? sends_are::arrived : sends_are::known;
}

bool own_on_its_way() {
  if (!own.sends) return false;
  const settling_page* const page = page_in_use();
  own.sends = page != nullptr && is_behind(page->settled.load(std::memory_order_acquire), own.last);
  return own.sends;
}

void own_was_waited_for() { own.sends = false; }

void settle() {
  own_caller c(-1);
  ask_about(c, -1, dropin::request_kind::settle);
  own.sends = false;
}

bool settled_for(int fd, int flags) {
  anchor a;
  const sends_are where = where_sends_are();
  if (where == sends_are::known || !is_ours(fd, a)) return false;
  own_caller c(fd);
  if (kernel::may_block(c, fd, flags)) return false;
  if (where == sends_are::on_their_way) settle();
  return true;
}

long with_rest(int fd, const buffers& room, int flags, long got) {
  anchor a;
  const bool plain = (flags & (MSG_PEEK | MSG_OOB | MSG_TRUNC | MSG_ERRQUEUE)) == 0;
  if (!plain || !own_on_its_way() || !is_ours(fd, a) || !a.stream()) return got;
  own_caller c(fd);
  piece_list all;
  piece pieces[max_pieces];
  if (all.read(c, room) != 0) return got;
  const std::size_t count = pieces_behind(all, static_cast<u64>(got), pieces);
  if (count == 0) return got;
  settle();
  if (at_mark(c, fd)) return got;
  msghdr rest = as_msghdr({pieces, 0, count});
  const long more = raw::recvmsg(fd, rest, MSG_DONTWAIT);
  return more > 0 ? got + more : got;
}

}  // namespace ph::shim
