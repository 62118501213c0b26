// Hooks of exec and spawn: the next program must find the shim and the daemon even when its parent
// passes an environment of its own, and a program that the shim cannot enter is refused with a
// sentence, not started without a network. They run in vfork children and on small stacks, see
// with_room().
#include <alloca.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/uio.h>
#include <unistd.h>
#include <wordexp.h>

#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "platform/fd_path.h"
#include "platform/program_file.h"
#include "shim/config.h"
#include "shim/environment.h"
#include "shim/hook.h"
#include "shim/program_memory.h"
#include "shim/raw.h"
#include "shim/standard_error.h"

namespace {

using namespace ph;
using namespace ph::shim;

namespace next_exec {
constinit next_function<int(const char*, char* const*, char* const*)> execve{"execve"};
constinit next_function<int(const char*, char* const*, char* const*)> execvpe{"execvpe"};
constinit next_function<int(int, char* const*, char* const*)> fexecve{"fexecve"};
constinit next_function<int(int, const char*, char* const*, char* const*, int)> execveat{
    "execveat"};
using spawn_type = int(pid_t*, const char*, const posix_spawn_file_actions_t*,
                       const posix_spawnattr_t*, char* const*, char* const*);
constinit next_function<spawn_type> posix_spawn{"posix_spawn"};
constinit next_function<spawn_type> posix_spawnp{"posix_spawnp"};
constinit next_function<int(const char*)> system{"system"};
constinit next_function<FILE*(const char*, const char*)> popen{"popen"};
constinit next_function<int(const char*, wordexp_t*, int)> wordexp{"wordexp"};

/// A vfork child cannot look functions up: dlsym(3) takes locks that its parent may hold.
[[gnu::constructor]] void look_up() {
  execve.look_up();
  execvpe.look_up();
  fexecve.look_up();
}
}  // namespace next_exec

/// "ph: PATH WHY", on the standard error that the program would have had. `program`: what reads the
/// file at `path`, or that itself.
void say(const char* path, const char* program, const char* why) {
  char line[1024];
  const int len = path == program
                      ? std::snprintf(line, sizeof line, "ph: %.400s %s\n", path, why)
                      : std::snprintf(line, sizeof line, "ph: %.250s is run by %.250s, which %s\n",
                                      path, program, why);
  if (len > 0) say_on_standard_error(line, static_cast<std::size_t>(len));
}

/// Can and shall the program of this name be looked at before it is started?
bool is_watched(const char* name) {
  return keeps_children() && name != nullptr && readable(name, 1);
}

bool library_readable() {
  return raw::call(SYS_faccessat, AT_FDCWD, raw::arg(config().library), R_OK) == 0;
}

/// True when the program must not be started; says why.
bool refuse(const program_file& file, const char* path) {
  const char* why = why_not_preloaded(file.reach);
  if (why == nullptr && !library_readable()) {
    why =
        "would have no network: the lab's library cannot be read by this user, or from this "
        "root folder; make it readable there";
  }
  if (why != nullptr) say(path, program_of(file, path), why);
  return why != nullptr;
}

/// Starts a program in one of three ways: `as_it_is()`, by its loader with `by_loader(arguments)`,
/// or not at all (`refused`). `path`: its name for the loader and for people.
template <class AsItIs, class ByLoader>
int start(const program_file& file, const char* path, char* const* argv, int refused,
          AsItIs as_it_is, ByLoader by_loader) {
  if (refuse(file, path)) {
    errno = EACCES;
    return refused;
  }
  const bool can_look = argv == nullptr || readable(argv, sizeof *argv);
  if (file.reach != preload_reach::by_loader || !can_look) return as_it_is();
  return with_room((count_of(argv) + loader_words) * sizeof(char*), [&](void* room) {
    auto** const words = static_cast<const char**>(room);
    loader_arguments(file, path, argv, words);
    return by_loader(const_cast<char* const*>(words));
  });
}

int run_execve(const char* path, char* const* argv, char* const* environment) {
  return with_environment(environment, [&](char* const* e) {
    const auto as_it_is = [&] { return next_exec::execve(path, argv, e); };
    if (!is_watched(path)) return as_it_is();
    program_file file;
    inspect_program(AT_FDCWD, path, file);
    return start(file, path, argv, -1, as_it_is,
                 [&](char* const* words) { return next_exec::execve(words[0], words, e); });
  });
}

/// The folders that execvp(3) looks for programs in.
const char* program_folders() {
  const char* const folders = value_in(environ, "PATH");
  return folders != nullptr ? folders : "/bin:/usr/bin";
}

/// The first program of this name in the folders; nullptr when there is none. `room`: for the
/// longest path that they can make.
const char* search(const char* folders, const char* file, char* room) {
  while (true) {
    const std::size_t len = std::strcspn(folders, ":");
    std::memcpy(room, folders, len);
    room[len] = '/';
    std::strcpy(room + len + (len == 0 ? 0 : 1), file);
    if (raw::call(SYS_faccessat, AT_FDCWD, raw::arg(room), X_OK) == 0) return room;
    if (folders[len] == 0) return nullptr;
    folders += len + 1;
  }
}

/// Calls run(path), with where execvp(3) would find a program; nullptr when it would not.
template <class Run>
int with_path(const char* name, Run run) {
  if (!is_watched(name)) return run(static_cast<const char*>(nullptr));
  if (std::strchr(name, '/') != nullptr || *name == 0) return run(name);
  const char* const folders = program_folders();  // once: the program may set it meanwhile
  const std::size_t size = std::strlen(folders) + std::strlen(name) + 2;
  return with_room(
      size, [&](void* room) { return run(search(folders, name, static_cast<char*>(room))); });
}

int run_execvpe(const char* name, char* const* argv, char* const* environment) {
  return with_environment(environment, [&](char* const* e) {
    return with_path(name, [&](const char* path) {
      const auto as_it_is = [&] { return next_exec::execvpe(name, argv, e); };
      if (path == nullptr) return as_it_is();
      program_file file;
      inspect_program(AT_FDCWD, path, file);
      return start(file, path, argv, -1, as_it_is,
                   [&](char* const* words) { return next_exec::execve(words[0], words, e); });
    });
  });
}

/// The path of `path` below the folder `dir`, or of `dir` itself when it is empty, as far as /proc
/// tells it. False when there is none.
bool path_of(int dir, const char* path, char* out) {
  if (dir == AT_FDCWD || *path == '/') {
    return static_cast<std::size_t>(std::snprintf(out, PATH_MAX, "%s", path)) < PATH_MAX;
  }
  const long len = raw::call(SYS_readlinkat, AT_FDCWD, raw::arg(fd_path(dir).c_str()),
                             raw::arg(out), PATH_MAX - 1);
  if (len <= 0 || out[0] != '/') return false;
  const auto at = static_cast<std::size_t>(len);
  const int more = std::snprintf(out + at, PATH_MAX - at, "%s%s", *path == 0 ? "" : "/", path);
  return more >= 0 && at + static_cast<std::size_t>(more) < PATH_MAX &&
         raw::call(SYS_faccessat, AT_FDCWD, raw::arg(out), R_OK) == 0;
}

/// The program that a descriptor, or a path relative to one, leads to.
template <class AsItIs>
int run_at(int dir, const char* path, char* const* argv, char* const* e, AsItIs as_it_is) {
  if (!is_watched(path)) return as_it_is();
  program_file file;
  inspect_program(dir, path, file);
  if (file.reach == preload_reach::reached && library_readable()) return as_it_is();
  return with_room(PATH_MAX, [&](void* room) {
    auto* const found = static_cast<char*>(room);
    if (!path_of(dir, path, found)) {
      std::snprintf(found, PATH_MAX, "%s", *path == 0 ? "a program" : path);
      if (file.reach == preload_reach::by_loader) file.reach = preload_reach::capable_not_readable;
    }
    return start(file, found, argv, -1, as_it_is,
                 [&](char* const* words) { return next_exec::execve(words[0], words, e); });
  });
}

using spawn_function = next_function<next_exec::spawn_type>;

/// posix_spawn(3) and posix_spawnp(3), which return an error's number.
int run_spawn(spawn_function& as_given, bool searches, pid_t* pid, const char* name,
              const posix_spawn_file_actions_t* actions, const posix_spawnattr_t* attributes,
              char* const* argv, char* const* environment) {
  return with_environment(environment, [&](char* const* e) {
    const auto spawn = [&](const char* path) {
      const auto as_it_is = [&] { return as_given(pid, name, actions, attributes, argv, e); };
      if (path == nullptr) return as_it_is();
      program_file file;
      inspect_program(AT_FDCWD, path, file);
      return start(file, path, argv, EACCES, as_it_is, [&](char* const* words) {
        return next_exec::posix_spawn(pid, words[0], actions, attributes, words, e);
      });
    };
    return searches ? with_path(name, spawn) : spawn(is_watched(name) ? name : nullptr);
  });
}

std::size_t count_arguments(va_list list) {
  std::size_t n = 1;  // the one before the list
  while (va_arg(list, char*) != nullptr) ++n;
  return n;
}

}  // namespace

// The variadic forms: the arguments up to the null pointer become an array on the stack.
#define PH_COLLECT(first)                                                 \
  va_list list;                                                           \
  va_start(list, first);                                                  \
  const std::size_t count = count_arguments(list);                        \
  va_end(list);                                                           \
  auto** argv = static_cast<char**>(alloca((count + 1) * sizeof(char*))); \
  argv[0] = const_cast<char*>(first);                                     \
  va_start(list, first);                                                  \
  for (std::size_t i = 1; i <= count; ++i) argv[i] = va_arg(list, char*)

PH_HOOK(int, execve, const char* path, char* const* argv, char* const* environment) {
  return run_execve(path, argv, environment);
}
PH_HOOK(int, execv, const char* path, char* const* argv) { return run_execve(path, argv, environ); }
PH_HOOK(int, execvp, const char* file, char* const* argv) {
  return run_execvpe(file, argv, environ);
}
PH_HOOK(int, execvpe, const char* file, char* const* argv, char* const* environment) {
  return run_execvpe(file, argv, environment);
}
PH_HOOK(int, fexecve, int fd, char* const* argv, char* const* environment) {
  return with_environment(environment, [&](char* const* e) {
    return run_at(fd, "", argv, e, [&] { return next_exec::fexecve(fd, argv, e); });
  });
}
PH_HOOK(int, execveat, int dir, const char* path, char* const* argv, char* const* environment,
        int flags) {
  return with_environment(environment, [&](char* const* e) {
    return run_at(dir, path, argv, e,
                  [&] { return next_exec::execveat(dir, path, argv, e, flags); });
  });
}
PH_HOOK(int, execl, const char* path, const char* first, ...) {
  PH_COLLECT(first);
  va_end(list);
  return run_execve(path, argv, environ);
}
PH_HOOK(int, execlp, const char* file, const char* first, ...) {
  PH_COLLECT(first);
  va_end(list);
  return run_execvpe(file, argv, environ);
}
PH_HOOK(int, execle, const char* path, const char* first, ...) {
  PH_COLLECT(first);
  char* const* environment = va_arg(list, char* const*);
  va_end(list);
  return run_execve(path, argv, environment);
}
PH_HOOK(int, posix_spawn, pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,
        const posix_spawnattr_t* attributes, char* const* argv, char* const* environment) {
  return run_spawn(next_exec::posix_spawn, false, pid, path, actions, attributes, argv,
                   environment);
}
PH_HOOK(int, posix_spawnp, pid_t* pid, const char* file, const posix_spawn_file_actions_t* actions,
        const posix_spawnattr_t* attributes, char* const* argv, char* const* environment) {
  return run_spawn(next_exec::posix_spawnp, true, pid, file, actions, attributes, argv,
                   environment);
}

PH_HOOK(int, system, const char* command) {
  restore_own_environment();
  return next_exec::system(command);
}
PH_HOOK(FILE*, popen, const char* command, const char* mode) {
  restore_own_environment();
  return next_exec::popen(command, mode);
}
PH_HOOK(int, wordexp, const char* words, wordexp_t* out, int flags) {
  restore_own_environment();
  return next_exec::wordexp(words, out, flags);
}
