// Which variables are kept, and how LD_PRELOAD is joined.
#include "shim/environment.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "daemon/protocol.h"
#include "shim/config.h"

namespace ph::shim {
namespace {

/// A variable that a program of ours must have besides LD_PRELOAD. To keep another, add a line.
struct kept_variable {
  const char* name;
  const char* (*value)(const settings& s);
};
constexpr kept_variable kept_variables[] = {
    {dropin::env_socket, [](const settings& s) -> const char* { return s.socket; }},
    {dropin::env_host, [](const settings& s) -> const char* { return s.host; }},
    {dropin::env_token, [](const settings& s) -> const char* { return s.token; }},
};
static_assert(sizeof kept_variables / sizeof kept_variables[0] <= most_kept);

constexpr char preload_start[] = "LD_PRELOAD=";
constexpr std::size_t preload_start_len = sizeof preload_start - 1;
constexpr char preload_name[] = "LD_PRELOAD";

/// Does the environment lead to another lab than this process's (a `ph run` inside a program)?
bool chooses_another_lab(char* const* environment) {
  const char* chosen = value_in(environment, dropin::env_socket);
  return chosen != nullptr && std::strcmp(chosen, config().socket) != 0;
}

/// A program may choose another host for its child: what is there stays.
bool is_missing(const kept_variable& v, char* const* environment) {
  return *v.value(config()) != 0 && value_in(environment, v.name) == nullptr &&
         !chooses_another_lab(environment);
}

}  // namespace

bool keeps_children() { return config().active && config().library[0] != 0; }

std::size_t count_of(char* const* list) {
  std::size_t n = 0;
  while (list != nullptr && list[n] != nullptr) ++n;
  return n;
}

const char* value_in(char* const* environment, const char* name) {
  const std::size_t len = std::strlen(name);
  for (char* const* e = environment; e != nullptr && *e != nullptr; ++e) {
    if (std::strncmp(*e, name, len) == 0 && (*e)[len] == '=') return *e + len + 1;
  }
  return nullptr;
}

std::size_t preload_room(char* const* environment) {
  const char* present = value_in(environment, preload_name);
  if (present != nullptr && std::strstr(present, config().library) != nullptr) return 0;
  const std::size_t others = present == nullptr ? 0 : std::strlen(present);
  return preload_start_len + std::strlen(config().library) + others + 2;
}

void write_preload(char* const* environment, char* out, std::size_t room) {
  const char* present = value_in(environment, preload_name);
  const bool alone = present == nullptr || *present == 0;
  std::snprintf(out, room, "%s%s%s%s", preload_start, config().library, alone ? "" : ":",
                alone ? "" : present);
}

void keep_entries(char* const* environment, char* preload, kept_entries& room, char** out) {
  for (char* const* e = environment; e != nullptr && *e != nullptr; ++e) {
    const bool is_preload = std::strncmp(*e, preload_start, preload_start_len) == 0;
    if (preload == nullptr || !is_preload) *out++ = *e;
  }
  if (preload != nullptr) *out++ = preload;
  char(*at)[longest_kept] = room.text;
  for (const kept_variable& v : kept_variables) {
    if (!is_missing(v, environment)) continue;
    std::snprintf(*at, longest_kept, "%s=%s", v.name, v.value(config()));
    *out++ = *at++;
  }
  *out = nullptr;
}

bool misses_entries(char* const* environment) {
  for (const kept_variable& v : kept_variables) {
    if (is_missing(v, environment)) return true;
  }
  return false;
}

void restore_own_environment() {
  if (!keeps_children()) return;
  if (const std::size_t size = preload_room(environ); size != 0) {
    with_room(size, [size](void* room) {
      auto* const entry = static_cast<char*>(room);
      write_preload(environ, entry, size);
      return setenv(preload_name, entry + preload_start_len, 1);
    });
  }
  for (const kept_variable& v : kept_variables) {
    if (is_missing(v, environ)) setenv(v.name, v.value(config()), 1);
  }
}

}  // namespace ph::shim
