// Both are read from /proc. A renewed anchor (calls/renewal.h) takes the numbers of all copies that
// this process has of the old one, their flags, and its places in epoll sets. Copies in other
// processes stay with the old one, which for ever shows how its connection ended.
//
// It happens seldom, in any thread and signal handler: no memory is allocated, no lock taken, and
// little is put on the stack.
#include "shim/socket_copies.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstring>

#include "base/byteorder.h"
#include "platform/fd_path.h"
#include "shim/raw.h"

namespace ph::shim {
namespace {

int open_to_read(const char* path) {
  return static_cast<int>(raw::call(SYS_openat, AT_FDCWD, raw::arg(path), O_RDONLY | O_CLOEXEC));
}

/// Calls f(fd) for every descriptor of this process.
template <class F>
void for_each_descriptor(F f) {
  const int dir = open_to_read("/proc/self/fd");
  if (dir < 0) return;
  struct entry {
    u64 inode;
    s64 offset;
    u16 length;
    u8 type;
    char name[256];
  };
  alignas(8) char buffer[1024];
  for (;;) {
    const long got = raw::call(SYS_getdents64, dir, raw::arg(&buffer[0]), sizeof buffer);
    if (got <= 0) break;
    for (long at = 0; at < got;) {
      u16 length = 0;
      std::memcpy(&length, buffer + at + offsetof(entry, length), sizeof length);
      const char* name = buffer + at + offsetof(entry, name);
      int number = 0;
      for (const char* c = name; *c >= '0' && *c <= '9'; ++c) number = number * 10 + (*c - '0');
      if (*name >= '0' && *name <= '9' && number != dir) f(number);
      at += length;
    }
  }
  raw::close(dir);
}

bool is_epoll(int fd) {
  char target[32] = {};
  raw::call(SYS_readlinkat, AT_FDCWD, raw::arg(fd_path(fd).c_str()), raw::arg(&target[0]),
            sizeof target - 1);
  return std::strcmp(target, "anon_inode:[eventpoll]") == 0;
}

/// The number after `key` in a line of fdinfo.
u64 number_after(const char* line, const char* key, unsigned base) {
  const char* at = std::strstr(line, key);
  if (at == nullptr) return 0;
  at += std::strlen(key);
  while (*at == ' ') ++at;
  u64 out = 0;
  for (;; ++at) {
    const char c = *at;
    unsigned digit = 99;
    if (c >= '0' && c <= '9') digit = static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') digit = static_cast<unsigned>(c - 'a') + 10;
    if (digit >= base) return out;
    out = out * base + digit;
  }
}

u64 inode_of(int fd) {
  struct stat st {};
  return raw::fstat(fd, st) == 0 && S_ISSOCK(st.st_mode) ? st.st_ino : 0;
}

/// A socket's place in an epoll set.
struct place {
  int epoll = -1;
  int fd = -1;
  epoll_event event{};
};

/// Calls f(place) when a line of an epoll set's fdinfo is about the socket `inode`.
template <class F>
void read_place(int epoll, u64 inode, const char* line, F& f) {
  if (std::strstr(line, "tfd:") == nullptr) return;
  place p;
  p.epoll = epoll;
  p.fd = static_cast<int>(number_after(line, "tfd:", 10));
  if (number_after(line, "ino:", 16) != inode || inode_of(p.fd) != inode) return;
  p.event.events = static_cast<u32>(number_after(line, "events:", 16));
  p.event.data.u64 = number_after(line, "data:", 16);
  f(p);
}

/// Calls f(place) for every place of the socket in an epoll set.
template <class F>
void for_each_place(int epoll, u64 inode, F& f) {
  const int info = open_to_read(fd_path(epoll, "/proc/self/fdinfo/").c_str());
  if (info < 0) return;
  char buffer[512];
  std::size_t used = 0;
  for (;;) {
    const long got =
        raw::call(SYS_read, info, raw::arg(buffer + used), static_cast<long>(sizeof buffer - used));
    if (got <= 0) break;
    used += static_cast<std::size_t>(got);
    std::size_t begin = 0;
    for (std::size_t at = 0; at < used; ++at) {
      if (buffer[at] != '\n') continue;
      buffer[at] = 0;
      read_place(epoll, inode, buffer + begin, f);
      begin = at + 1;
    }
    if (begin == 0 && used == sizeof buffer) break;  // no line of the kernel's is so long
    std::memmove(buffer, buffer + begin, used - begin);
    used -= begin;
  }
  raw::close(info);
}

/// Puts `with` in the place of every copy of the socket `old`. The epoll sets are read before,
/// while they still know the old ones; a set drops what is closed by itself, but not while a copy
/// lives.
class replacement {
 public:
  replacement(int old, int with) : inode_(inode_of(old)), with_(with) {}

  void run(int fd) {
    auto note_it = [this](const place& p) { note(p); };
    for_each_descriptor([&](int number) {
      if (is_epoll(number)) for_each_place(number, inode_, note_it);
    });
    for_each_descriptor([this](int number) {
      if (number != with_ && inode_of(number) == inode_) take_number(number);
    });
    if (inode_of(fd) == inode_) take_number(fd);  // where there is no /proc
    restore();
  }

 private:
  static constexpr std::size_t most_places = 32;

  void take_number(int fd) {
    const int flags = raw::fcntl(fd, F_GETFD);
    raw::dup3(with_, fd, (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
  }

  /// Takes the old socket out of its place and remembers that.
  void note(const place& p) {
    if (count_ == most_places) return;
    places_[count_] = p;
    raw::call(SYS_epoll_ctl, p.epoll, EPOLL_CTL_DEL, p.fd, raw::arg(&places_[count_].event));
    ++count_;
  }

  void restore() {
    for (std::size_t i = 0; i < count_; ++i) {
      place& p = places_[i];
      raw::call(SYS_epoll_ctl, p.epoll, EPOLL_CTL_ADD, p.fd, raw::arg(&p.event));
    }
  }

  u64 inode_;
  int with_;
  place places_[most_places];
  std::size_t count_ = 0;
};

}  // namespace

void replace_everywhere(int old, int with) { replacement(old, with).run(old); }

void follow_into_epoll_sets(int fd, int flag) {
  auto add = [flag](const place& p) {
    epoll_event event = p.event;
    event.events &= EPOLLET | EPOLLONESHOT;
    raw::call(SYS_epoll_ctl, p.epoll, EPOLL_CTL_ADD, flag, raw::arg(&event));
  };
  const u64 inode = inode_of(fd);
  for_each_descriptor([&](int number) {
    if (is_epoll(number)) for_each_place(number, inode, add);
  });
}

void leave_epoll_sets(int flag) {
  auto remove = [flag](const place& p) {
    epoll_event none{};
    raw::call(SYS_epoll_ctl, p.epoll, EPOLL_CTL_DEL, flag, raw::arg(&none));
  };
  const u64 inode = inode_of(flag);
  for_each_descriptor([&](int number) {
    if (is_epoll(number)) for_each_place(number, inode, remove);
  });
}

bool process_holds(unsigned long inode) {
  bool found = false;
  for_each_descriptor([&](int number) { found = found || inode_of(number) == inode; });
  return found;
}

void note_held(const unsigned long* inodes, bool* held, unsigned count) {
  for_each_descriptor([&](int number) {
    const u64 inode = inode_of(number);
    for (unsigned i = 0; inode != 0 && i < count; ++i) held[i] = held[i] || inodes[i] == inode;
  });
}

}  // namespace ph::shim
