// Hooks of exec and spawn: the next program must find the shim and the daemon even when its parent
// passes an environment of its own. They run in vfork children, so they allocate on the stack only.
#include <alloca.h>
#include <spawn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "daemon/protocol.h"
#include "shim/config.h"
#include "shim/hook.h"

namespace {

using namespace ph;
using namespace ph::shim;

namespace next_exec {
constinit next_function<int(const char*, char* const*, char* const*)> execve{"execve"};
constinit next_function<int(const char*, char* const*, char* const*)> execvpe{"execvpe"};
constinit next_function<int(int, char* const*, char* const*)> fexecve{"fexecve"};
using spawn_type = int(pid_t*, const char*, const posix_spawn_file_actions_t*,
                       const posix_spawnattr_t*, char* const*, char* const*);
constinit next_function<spawn_type> posix_spawn{"posix_spawn"};
constinit next_function<spawn_type> posix_spawnp{"posix_spawnp"};
}  // namespace next_exec

constexpr char preload_key[] = "LD_PRELOAD=";
constexpr std::size_t preload_key_len = sizeof preload_key - 1;

/// Is `name=` at the start of `entry`?
bool names(const char* entry, const char* name) {
  const std::size_t len = std::strlen(name);
  return std::strncmp(entry, name, len) == 0 && entry[len] == '=';
}

/// The four entries that a program of ours must have, written into fixed room.
class kept_entries {
 public:
  explicit kept_entries(char* const* environment) {
    const char* others = nullptr;  // what the caller preloads
    for (char* const* e = environment; e != nullptr && *e != nullptr; ++e) {
      if (std::strncmp(*e, preload_key, preload_key_len) == 0) others = *e + preload_key_len;
    }
    const char* own = config().library;
    if (others == nullptr || *others == 0) {
      std::snprintf(preload_, sizeof preload_, "LD_PRELOAD=%s", own);
    } else if (std::strstr(others, own) != nullptr ||
               std::strlen(own) + std::strlen(others) + 16 > sizeof preload_) {
      keep_preload_ = true;
    } else {
      std::snprintf(preload_, sizeof preload_, "LD_PRELOAD=%s:%s", own, others);
    }
    std::snprintf(socket_, sizeof socket_, "%s=%s", dropin::env_socket, config().socket);
    std::snprintf(host_, sizeof host_, "%s=%s", dropin::env_host, config().host);
    std::snprintf(token_, sizeof token_, "%s=%s", dropin::env_token, config().token);
  }
  static constexpr std::size_t most = 4;

  /// Fills `out` (room for the old entries, four more and the end).
  void merge(char* const* environment, char** out) {
    char** at = out;
    for (char* const* e = environment; e != nullptr && *e != nullptr; ++e) {
      if (!replaced(*e)) *at++ = *e;
    }
    if (!keep_preload_) *at++ = preload_;
    *at++ = socket_;
    if (config().host[0] != 0) *at++ = host_;
    if (config().token[0] != 0) *at++ = token_;
    *at = nullptr;
  }

 private:
  /// A program may choose another host for its child, so an own PH_HOST stays.
  bool replaced(const char* entry) {
    if (std::strncmp(entry, preload_key, preload_key_len) == 0) return !keep_preload_;
    if (names(entry, dropin::env_host)) {
      std::snprintf(host_, sizeof host_, "%s", entry);
      return config().host[0] != 0;
    }
    return names(entry, dropin::env_socket) || names(entry, dropin::env_token);
  }

  bool keep_preload_ = false;
  char preload_[4096];
  char socket_[160];
  char host_[96];
  char token_[96];
};

std::size_t count_of(char* const* list) {
  std::size_t n = 0;
  while (list != nullptr && list[n] != nullptr) ++n;
  return n;
}

/// Calls run(environment with the kept entries).
template <class Run>
int with_environment(char* const* environment, Run run) {
  if (!config().active || config().library[0] == 0) return run(environment);
  kept_entries kept(environment);
  auto** merged = static_cast<char**>(
      alloca((count_of(environment) + kept_entries::most + 1) * sizeof(char*)));
  kept.merge(environment, merged);
  return run(merged);
}

int run_execve(const char* path, char* const* argv, char* const* environment) {
  return with_environment(environment,
                          [&](char* const* e) { return next_exec::execve(path, argv, e); });
}

int run_execvpe(const char* file, char* const* argv, char* const* environment) {
  return with_environment(environment,
                          [&](char* const* e) { return next_exec::execvpe(file, argv, e); });
}

std::size_t count_arguments(va_list list) {
  std::size_t n = 1;  // the one before the list
  while (va_arg(list, char*) != nullptr) ++n;
  return n;
}

}  // namespace

// The variadic forms: the arguments up to the null pointer become an array on the stack.
#define PH_COLLECT(first)                                                     \
  va_list list;                                                               \
  va_start(list, first);                                                      \
  const std::size_t count = count_arguments(list);                            \
  va_end(list);                                                               \
  auto** argv = static_cast<char**>(alloca((count + 1) * sizeof(char*)));      \
  argv[0] = const_cast<char*>(first);                                         \
  va_start(list, first);                                                      \
  for (std::size_t i = 1; i <= count; ++i) argv[i] = va_arg(list, char*)

PH_HOOK(int, execve, const char* path, char* const* argv, char* const* environment) {
  return run_execve(path, argv, environment);
}
PH_HOOK(int, execv, const char* path, char* const* argv) {
  return run_execve(path, argv, environ);
}
PH_HOOK(int, execvp, const char* file, char* const* argv) {
  return run_execvpe(file, argv, environ);
}
PH_HOOK(int, execvpe, const char* file, char* const* argv, char* const* environment) {
  return run_execvpe(file, argv, environment);
}
PH_HOOK(int, fexecve, int fd, char* const* argv, char* const* environment) {
  return with_environment(environment,
                          [&](char* const* e) { return next_exec::fexecve(fd, argv, e); });
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
  return with_environment(environment, [&](char* const* e) {
    return next_exec::posix_spawn(pid, path, actions, attributes, argv, e);
  });
}
PH_HOOK(int, posix_spawnp, pid_t* pid, const char* file, const posix_spawn_file_actions_t* actions,
        const posix_spawnattr_t* attributes, char* const* argv, char* const* environment) {
  return with_environment(environment, [&](char* const* e) {
    return next_exec::posix_spawnp(pid, file, actions, attributes, argv, e);
  });
}
