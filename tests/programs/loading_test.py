"""However a program comes by libc's functions, it is on its host: by a handle of libc, from a
library that was loaded with RTLD_DEEPBIND, under their other names, through a sanitizer or another
interposer, and where libc itself would make the socket."""

import os
import shutil
import subprocess
import tempfile
import unittest

import lib

# socket, bind and getsockname, looked up in the way that the first argument says.
LOOKUPS = """
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#ifdef OLD
__asm__(".symver dlsym,dlsym@GLIBC_2.2.5");
__asm__(".symver dlvsym,dlvsym@GLIBC_2.2.5");
__asm__(".symver dlopen,dlopen@GLIBC_2.2.5");
#endif
#if defined(__x86_64__)
#define FIRST "GLIBC_2.2.5"
#else
#define FIRST "GLIBC_2.17"
#endif
static const char *way;
void *find(const char *name) {
  if (!strcmp(way, "handle")) return dlsym(dlopen("libc.so.6", RTLD_NOW), name);
  if (!strcmp(way, "default")) return dlsym(RTLD_DEFAULT, name);
  if (!strcmp(way, "next")) return dlsym(RTLD_NEXT, name);
  if (!strcmp(way, "versioned")) return dlvsym(dlopen("libc.so.6", RTLD_NOW), name, FIRST);
  if (!strcmp(way, "versioned-default")) return dlvsym(RTLD_DEFAULT, name, FIRST);
  void *(*other)(void *, const char *) = dlsym(dlopen("libc.so.6", RTLD_NOW), "dlsym");
  return other(dlopen("libc.so.6", RTLD_NOW), name);
}
int main(int argc, char **argv) {
  way = argv[1];
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(7)};
  socklen_t len = sizeof a;
  inet_pton(AF_INET, "10.0.0.1", &a.sin_addr);
  int (*make)(int, int, int) = find("socket");
  int (*name)(int, void *, socklen_t) = find("bind");
  int (*tell)(int, void *, socklen_t *) = find("getsockname");
  int s = make(AF_INET, SOCK_STREAM, 0);
  if (s < 0 || name(s, &a, len)) perror("failed");
  memset(&a, 0, sizeof a);
  tell(s, &a, &len);
  if (dlsym(dlopen("libc.so.6", RTLD_NOW), "no_such_name")) puts("?");
  if (!strstr(dlerror(), "no_such_name")) puts("another error");
  printf("%s %d\\n", inet_ntoa(a.sin_addr), ntohs(a.sin_port));
}
"""
WAYS = ("handle", "default", "next", "versioned", "versioned-default", "itself")

# A library with a socket, and a program that loads it by its name alone, from a folder that only
# the program's own RUNPATH tells.
PLUGIN = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
int plugin_socket(void) {
  int (*next)(int, int, int) = dlsym(RTLD_NEXT, "socket");
  return next(AF_INET, SOCK_STREAM, 0) < 0 ? -1 : socket(AF_INET, SOCK_STREAM, 0);
}
"""
LOADER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
void *load(const char *name, int mode) { return dlopen(name, mode); }
int main(int argc, char **argv) {
  void *plugin = load("libplugin.so", argc > 1 ? RTLD_NOW | RTLD_DEEPBIND : RTLD_NOW);
  if (!plugin) return puts(dlerror());
  int (*make)(void) = dlsym(plugin, "plugin_socket");
  puts(make() >= 0 ? "socket" : "no socket");
}
"""

# An interposer that counts sockets (the shim hands on those that are not the lab's), and asks for
# the next function in the way that it was built for.
INTERPOSER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
int socket(int family, int type, int protocol) {
  void *where = HANDLE ? dlopen("libc.so.6", RTLD_NOW) : RTLD_NEXT;
  int (*next)(int, int, int) = dlsym(where, "socket");
  puts("counted");
  return next(family, type, protocol);
}
"""
COUNTED = """
#include <stdio.h>
#include <sys/socket.h>
int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  puts(socket(AF_UNIX, SOCK_STREAM, 0) >= 0 ? "socket" : "no socket");
}
"""

ECHO = """
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static int listener;
static void *serve(void *unused) {
  char *room = (char *)malloc(100);
  int s = accept(listener, NULL, NULL);
  struct pollfd ready = {s, POLLIN, 0};
  struct iovec piece = {room, 100};
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  poll(&ready, 1, -1);
  for (ssize_t n; (n = recvmsg(s, &message, 0)) > 0;) send(s, room, n, 0);
  close(s);
  free(room);
  return NULL;
}
int main(void) {
  struct sockaddr_in a;
  socklen_t len = sizeof a;
  char *room = (char *)malloc(5);
  pthread_t thread;
  memset(&a, 0, sizeof a);
  a.sin_family = AF_INET;
  inet_pton(AF_INET, "10.0.0.1", &a.sin_addr);
  listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&a, len) || listen(listener, 1)) perror("listen");
  getsockname(listener, (struct sockaddr *)&a, &len);
  pthread_create(&thread, NULL, serve, NULL);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(s, (struct sockaddr *)&a, len)) perror("connect");
  if (write(s, "hello", 5) != 5) perror("write");
  if (recv(s, room, 5, MSG_WAITALL) != 5) perror("recv");
  shutdown(s, SHUT_WR);
  pthread_join(thread, NULL);
  printf("%.5s\\n", room);
  free(room);
  close(s);
}
"""
# Reads one byte more than there is room for: what AddressSanitizer is for is still found.
OVERRUN = """
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
  int ends[2];
  char *room = malloc(4);
  socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  write(ends[0], "12345", 5);
  return read(ends[1], room, 5) == 5;
}
"""

LIBC_NAMES = """
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
int rresvport(int *), bindresvport(int, struct sockaddr_in *), __close(int);
int __connect(int, const void *, socklen_t);
ssize_t __send(int, const void *, size_t, int), __read(int, void *, size_t);
ssize_t __write(int, const void *, size_t);
static const char *result(long r) {
  static char text[30];
  snprintf(text, sizeof text, "%ld", r);
  return r < 0 ? strerrorname_np(errno) : text;
}
static int port_of(int s) {
  struct sockaddr_in a;
  socklen_t len = sizeof a;
  getsockname(s, (void *)&a, &len);
  return ntohs(a.sin_port);
}
static void aliases(void) {
  struct sockaddr_in a = {.sin_family = AF_INET};
  socklen_t len = sizeof a;
  char room[9];
  inet_pton(AF_INET, "10.0.0.1", &a.sin_addr);
  int listener = socket(AF_INET, SOCK_STREAM, 0), s = socket(AF_INET, SOCK_STREAM, 0);
  printf("unconnected %s", result(__read(s, room, 9)));
  printf(" %s\\n", result(__write(s, "x", 1)));
  bind(listener, (void *)&a, len);
  listen(listener, 1);
  getsockname(listener, (void *)&a, &len);
  printf("connect %s", result(__connect(s, &a, len)));
  int peer = accept(listener, NULL, NULL);
  printf(" send %s", result(__send(s, "a", 1, 0)));
  printf(" write %s", result(__write(s, "b", 1)));
  printf(" got %s", result(recv(peer, room, 2, MSG_WAITALL)));
  printf(" close %s", result(__close(s)));
  printf(" end %s\\n", result(recv(peer, room, 2, 0)));
}
static void reserved(void) {
  int from = 1023, first = rresvport(&from), second = rresvport(&from);
  printf("%d %d %d\\n", port_of(first), port_of(second), from);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in a = {.sin_family = AF_INET};
  printf("bindresvport %s", result(bindresvport(s, &a)));
  printf(" %d %d\\n", port_of(s) >= 512 && port_of(s) < 1024, port_of(s) == ntohs(a.sin_port));
  a.sin_family = AF_INET6;
  printf("bindresvport %s\\n", result(bindresvport(s, &a)));
}
static volatile int told;
static void tell(union sigval value) { told = value.sival_int; }
static void on_signal(int number, siginfo_t *info, void *unused) {
  told = info->si_code == SI_ASYNCNL ? info->si_value.sival_int : -1;
}
static void names(void) {
  struct gaicb bob = {.ar_name = "bob", .ar_service = "80"}, none = {.ar_name = "nobody.test"};
  struct gaicb *list[] = {&bob, NULL, &none};
  printf("wait %d", getaddrinfo_a(GAI_WAIT, list, 3, NULL));
  printf(" %d %d", gai_error(&bob), gai_error(&none) != 0);
  struct sockaddr_in *a = (void *)bob.ar_result->ai_addr;
  printf(" %s %d\\n", inet_ntoa(a->sin_addr), ntohs(a->sin_port));
  struct sigevent by_thread = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = tell};
  by_thread.sigev_value.sival_int = 42;
  getaddrinfo_a(GAI_NOWAIT, list, 1, &by_thread);
  while (told != 42) usleep(1000);
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR1, &action, NULL);
  struct sigevent by_signal = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  by_signal.sigev_value.sival_int = 43;
  getaddrinfo_a(GAI_NOWAIT, list, 1, &by_signal);
  while (told == 42) usleep(1000);
  printf("told %d, mode %d\\n", told, getaddrinfo_a(9, list, 1, NULL) == EAI_SYSTEM);
}
static void at_offset(void) {
  char room[9];
  struct iovec out = {"abc", 3}, in = {room, 9};
  int s = socket(AF_INET, SOCK_STREAM, 0);
  printf("%s", result(preadv2(s, &in, 1, -1, 0)));
  printf(" %s", result(pwritev2(s, &out, 1, -1, 0)));
  printf(" %s\\n", result(preadv2(s, &in, 1, 0, 0)));
}
int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  if (!strcmp(argv[1], "aliases")) aliases();
  if (!strcmp(argv[1], "reserved")) reserved();
  if (!strcmp(argv[1], "names")) names();
  if (!strcmp(argv[1], "at_offset")) at_offset();
}
"""

CTYPES = """
import ctypes, socket, struct
libc = ctypes.CDLL("libc.so.6", use_errno=True)
fd = libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
one, size = ctypes.c_int(7), ctypes.c_int(4)
print(fd >= 0, libc.setsockopt(fd, socket.IPPROTO_TCP, socket.TCP_KEEPCNT, ctypes.byref(one), 4))
s = socket.socket(fileno=fd)
s.bind(("10.0.0.1", 0))
room, size = ctypes.create_string_buffer(128), ctypes.c_int(128)
print(libc.getsockname(fd, room, ctypes.byref(size)), size.value, room.raw[4:8])
print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT))
"""


class LoadingTest(lib.LabTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ph-test-")
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        self.folder = folder.name
        self.lab = self.start_lab()

    def compile(self, name, source, *options, compiler="gcc", language="c"):
        path = os.path.join(self.folder, name)
        subprocess.run([compiler, "-O1", "-g", "-w", "-x", language, "-o", path, "-", *options],
                       input=source, text=True, check=True)
        return path

    def output(self, *words, **more):
        return self.lab.run("alice", *words, **more).stdout

    def test_a_function_that_was_looked_up_is_the_one_that_is_linked(self):
        builds = {"plain": (), "unoptimised": ("-O0",), "fast": ("-O3",)}
        if os.uname().machine == "x86_64":
            builds["old"] = ("-DOLD",)
        for name, options in builds.items():
            program = self.compile(name, LOOKUPS, *options)
            for way in WAYS:
                with self.subTest(name, way=way):
                    self.assertEqual(self.output(program, way), "10.0.0.1 7\n")

    def test_a_library_is_found_for_its_caller_and_calls_what_others_call(self):
        os.mkdir(os.path.join(self.folder, "plugins"))
        self.compile("plugins/libplugin.so", PLUGIN, "-shared", "-fPIC")
        for level in ("-O0", "-O1", "-O3"):
            program = self.compile("loader", LOADER, level, "-Wl,-rpath,$ORIGIN/plugins")
            for words in ((), ("deepbind",)):
                with self.subTest(level, words=words):
                    self.assertEqual(self.output(program, *words), "socket\n")

    def test_an_interposer_meets_its_next_function(self):
        program = self.compile("counted", COUNTED)
        for name, handle in (("next", 0), ("handle", 1)):
            interposer = self.compile(f"lib{name}.so", INTERPOSER, f"-DHANDLE={handle}", "-shared",
                                      "-fPIC")
            with self.subTest(name):
                self.assertEqual(self.output("env", f"LD_PRELOAD={interposer}", program),
                                 "counted\nsocket\n")

    def test_sanitizers_programs_talk(self):
        for compiler, language in (("gcc", "c"), ("g++", "c++"), ("clang-16", "c")):
            for kind in ("address", "thread", "undefined", "leak"):
                with self.subTest(compiler, kind=kind):
                    self.check_sanitizer(compiler, language, kind)

    def check_sanitizer(self, compiler, language, kind):
        if shutil.which(compiler) is None:
            self.skipTest(f"no {compiler}")
        try:
            program = self.compile("echo", ECHO, f"-fsanitize={kind}", "-pthread",
                                   compiler=compiler, language=language)
        except subprocess.CalledProcessError:
            self.skipTest(f"{compiler} has no -fsanitize={kind}")
        self.assertEqual(self.output(program), "hello\n")
        self.assertEqual(self.output("env", "-i", program), "hello\n")

    def test_address_sanitizer_keeps_its_options_and_finds_errors(self):
        try:
            echo = self.compile("echo", ECHO, "-fsanitize=address", "-pthread")
            overrun = self.compile("overrun", OVERRUN, "-fsanitize=address")
        except subprocess.CalledProcessError:
            self.skipTest("gcc has no -fsanitize=address")
        own = "ASAN_OPTIONS=exitcode=77:detect_leaks=0"
        self.assertEqual(self.output("env", own, echo), "hello\n")
        done = self.lab.run("alice", "env", own, overrun, check=False)
        self.assertEqual(done.returncode, 77, done.stderr)
        self.assertIn("heap-buffer-overflow", done.stderr)
        done = self.lab.run("alice", overrun, check=False,
                            env={**os.environ, "ASAN_OPTIONS": "exitcode=78"})
        self.assertEqual(done.returncode, 78, done.stderr)

    def test_libcs_other_names_and_own_functions(self):
        program = self.compile("names", LIBC_NAMES)
        self.assertEqual(self.output(program, "aliases"),
                         "unconnected ENOTCONN EPIPE\n"
                         "connect 0 send 1 write 1 got 2 close 0 end 0\n")
        self.assertEqual(self.output(program, "reserved"),
                         "1023 1022 1022\nbindresvport 0 1 1\nbindresvport EAFNOSUPPORT\n")
        self.assertEqual(self.output(program, "at_offset"), "ENOTCONN EPIPE ESPIPE\n")

    @unittest.skipIf(os.environ.get("PH_ON_KERNEL"), "the machine does not know the lab's names")
    def test_names_are_looked_up_in_the_background(self):
        program = self.compile("names", LIBC_NAMES)
        self.assertEqual(self.output(program, "names"),
                         "wait 0 0 1 10.0.0.2 80\ntold 43, mode 1\n")

    def test_other_languages_take_functions_out_of_libc(self):
        self.assertEqual(self.lab.python("alice", CTYPES),
                         "True 0\n0 16 b'\\n\\x00\\x00\\x01'\n7\n")
        programs = {
            "php": ("-r", "$s = socket_create(AF_INET, SOCK_DGRAM, 0);"
                          "socket_bind($s, '10.0.0.1', 7); socket_getsockname($s, $a, $p);"
                          "echo \"$a $p\";"),
            "ruby": ("-rfiddle", "-rsocket", "-e",
                     "f = Fiddle::Function.new(Fiddle.dlopen('libc.so.6')['socket'], [4, 4, 4], 4);"
                     "s = UDPSocket.for_fd(f.call(2, 2, 0)); s.bind('10.0.0.1', 7);"
                     "print s.addr[3], ' ', s.addr[1]"),
        }
        for name, words in programs.items():
            with self.subTest(name):
                if shutil.which(name) is None:
                    self.skipTest(f"no {name}")
                self.assertEqual(self.output(name, *words), "10.0.0.1 7")


if __name__ == "__main__":
    unittest.main()
