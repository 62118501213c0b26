// The table of error flags. No lock, as signal handlers use it, too: an entry is taken by its inode
// and serves when its descriptor is there. Sockets beyond its size show no POLLERR.
#include "shim/error_flags.h"

#include <atomic>

#include "calls/scratch.h"
#include "shim/channel.h"
#include "shim/raw.h"
#include "shim/socket_copies.h"

namespace ph::shim {
namespace {

constexpr unsigned most_flags = 256;

struct entry {
  std::atomic<unsigned long> inode{0};  ///< of the anchor; 0: free
  std::atomic<int> flag{-1};
  std::atomic<int> maker{0};  ///< the process that put it into epoll sets
};
constinit entry table[most_flags];
constinit std::atomic<bool> in_use{false};

unsigned long inode_of(int fd) {
  struct stat st {};
  return raw::fstat(fd, st) == 0 && S_ISSOCK(st.st_mode) ? st.st_ino : 0;
}

entry* find(unsigned long inode) {
  for (entry& e : table) {
    if (e.inode.load(std::memory_order_acquire) == inode) return &e;
  }
  return nullptr;
}

void release(entry& e) {
  const int flag = e.flag.exchange(-1, std::memory_order_acq_rel);
  if (flag >= 0) {
    // Sets are shared with a parent, for which the flag stays open.
    if (e.maker.load(std::memory_order_relaxed) == raw::getpid()) leave_epoll_sets(flag);
    raw::close(flag);
  }
  e.inode.store(0, std::memory_order_release);
}

entry* take_free(unsigned long inode) {
  for (entry& e : table) {
    unsigned long none = 0;
    if (e.inode.compare_exchange_strong(none, inode, std::memory_order_acq_rel)) return &e;
  }
  return nullptr;
}

/// An entry for a socket. What was closed in ways that no hook sees gives way when there is none.
entry* take(unsigned long inode) {
  if (entry* const e = take_free(inode); e != nullptr) return e;
  struct copies {
    unsigned long inodes[most_flags];
    bool held[most_flags];
  };
  const scratch memory(sizeof(copies));  // of zeros
  if (memory.bytes() == nullptr) return nullptr;
  auto* const all = reinterpret_cast<copies*>(memory.bytes());
  for (unsigned i = 0; i < most_flags; ++i) {
    all->inodes[i] = table[i].inode.load(std::memory_order_acquire);
  }
  note_held(all->inodes, all->held, most_flags);
  for (unsigned i = 0; i < most_flags; ++i) {
    if (!all->held[i] && table[i].flag.load(std::memory_order_acquire) >= 0) release(table[i]);
  }
  return take_free(inode);
}

}  // namespace

bool error_flags_in_use() { return in_use.load(std::memory_order_relaxed); }

int error_flag_of(int fd) {
  const unsigned long inode = inode_of(fd);
  const entry* const e = inode != 0 ? find(inode) : nullptr;
  return e != nullptr ? e->flag.load(std::memory_order_acquire) : -1;
}

void want_error_flag(int fd) {
  const unsigned long inode = inode_of(fd);
  if (inode == 0 || find(inode) != nullptr || !owns_memory()) return;
  entry* const e = take(inode);
  if (e == nullptr) return;
  exchange x;
  x.kind = dropin::request_kind::error_flag;
  x.fd = fd;
  ask(x);
  if (x.reply_fd < 0) return release(*e);
  e->maker.store(raw::getpid(), std::memory_order_relaxed);
  e->flag.store(move_high(x.reply_fd), std::memory_order_release);
  in_use.store(true, std::memory_order_relaxed);
  follow_into_epoll_sets(fd, e->flag.load(std::memory_order_relaxed));
}

closing_flag::closing_flag(int fd) {
  if (!error_flags_in_use() || !owns_memory()) return;
  const unsigned long inode = inode_of(fd);
  if (inode != 0 && find(inode) != nullptr) inode_ = inode;
}

void closing_flag::closed() {
  if (inode_ == 0 || process_holds(inode_)) return;
  if (entry* const e = find(inode_); e != nullptr) release(*e);
}

}  // namespace ph::shim
