// Which mark on a unix socket is stable and unique: the inode, the socket cookie, or its abstract
// name?
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdint>

#include "lab.h"

using namespace lab;

static ino_t inode(int fd) {
  struct stat st {};
  fstat(fd, &st);
  return st.st_ino;
}

static std::uint64_t cookie(int fd) {
  std::uint64_t c = 0;
  socklen_t n = sizeof c;
  getsockopt(fd, SOL_SOCKET, SO_COOKIE, &c, &n);
  return c;
}

static bool named(int fd, char const* want) {
  sockaddr_un sun{};
  socklen_t n = sizeof sun;
  getsockname(fd, reinterpret_cast<sockaddr*>(&sun), &n);
  return std::strcmp(sun.sun_path + 1, want) == 0;
}

int main(int argc, char** argv) {
  if (argc == 4) {  // the image after exec: compare what fd 9 is with what the parent said
    return inode(9) == std::strtoull(argv[1], nullptr, 10) &&
                   cookie(9) == std::strtoull(argv[2], nullptr, 10) && named(9, argv[3])
               ? 0
               : 1;
  }
  int const s = socket(AF_UNIX, SOCK_STREAM, 0);
  name n("ph-exp-identity");
  bind(s, n.addr(), n.len);
  ino_t const i = inode(s);
  std::uint64_t const c = cookie(s);
  int ch[2];
  socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ch);
  send_fd(ch[0], s);
  int const r = recv_fd(ch[1]);
  saw(inode(r) == i && cookie(r) == c && named(r, "ph-exp-identity"),
      "inode, cookie, name same after SCM_RIGHTS");
  pid_t const child = fork();
  if (child == 0) {
    dup2(s, 9);
    char a[32], b[32];
    std::snprintf(a, sizeof a, "%llu", static_cast<unsigned long long>(i));
    std::snprintf(b, sizeof b, "%llu", static_cast<unsigned long long>(c));
    execl("/proc/self/exe", argv[0], a, b, "ph-exp-identity", nullptr);
    _exit(2);
  }
  int status = 0;
  waitpid(child, &status, 0);
  saw(status == 0, "all three same after fork, dup2 and exec");
  int reused_inode = 0, reused_cookie = 0;
  for (int k = 0; k < 100000; ++k) {
    int const t = socket(AF_UNIX, SOCK_STREAM, 0);
    if (inode(t) == i) ++reused_inode;
    if (cookie(t) == c) ++reused_cookie;
    close(t);
  }
  saw(reused_inode == 0 && reused_cookie == 0,
      "neither reused over 100,000 sockets while it lives");
  saw(inode(s) >> 32 == 0,
      "inodes come from a 32-bit counter (can wrap); cookies and our names are 64-bit");
  saw(bind(r, n.addr(), n.len) < 0,
      "a bound name can neither be changed nor doubled while it lives");
  sockaddr_un sun{};
  cost("getsockname (identity by name)", 1000000, [&] {
    socklen_t l = sizeof sun;
    getsockname(s, reinterpret_cast<sockaddr*>(&sun), &l);
  });
  cost("fstat (identity by inode)", 1000000, [&] { inode(s); });
  cost("getsockopt SO_COOKIE", 1000000, [&] { cookie(s); });
  int const f = open("/dev/null", O_RDONLY);
  cost("getsockname on a file (ENOTSOCK)", 1000000, [&] {
    socklen_t l = sizeof sun;
    getsockname(f, reinterpret_cast<sockaddr*>(&sun), &l);
  });
  return report();
}
