// Which variables are kept, and which are joined: a program's own value stays behind ours.
#include "shim/environment.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "daemon/protocol.h"
#include "platform/asan_options.h"
#include "shim/config.h"

namespace ph::shim {
namespace {

/// A variable that a program of ours must have. To keep another, add a line.
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

/// A list, with colons between its elements, in which ours must stand besides a program's own.
struct joined_variable {
  const char* name;
  const char* (*ours)();
  bool (*has_ours)(const char* value);
};
constexpr joined_variable joined_variables[] = {
    {"LD_PRELOAD", []() -> const char* { return config().library; },
     [](const char* value) { return std::strstr(value, config().library) != nullptr; }},
    {asan_variable, []() -> const char* { return asan_any_order; }, says_asan_order},
};
static_assert(sizeof joined_variables / sizeof joined_variables[0] <= most_joined);

bool lacks_ours(const joined_variable& v, char* const* environment) {
  const char* present = value_in(environment, v.name);
  return present == nullptr || !v.has_ours(present);
}

/// Is this the variable's entry in an environment?
bool is_entry_of(const joined_variable& v, const char* entry) {
  const std::size_t len = std::strlen(v.name);
  return std::strncmp(entry, v.name, len) == 0 && entry[len] == '=';
}

/// The bytes of "NAME=OURS:PRESENT" and its end, at most.
std::size_t room_of(const joined_variable& v, char* const* environment) {
  const char* present = value_in(environment, v.name);
  const std::size_t others = present == nullptr ? 0 : std::strlen(present);
  return std::strlen(v.name) + std::strlen(v.ours()) + others + 3;
}

/// Writes that.
void write_joined(const joined_variable& v, char* const* environment, char* out, std::size_t room) {
  const char* present = value_in(environment, v.name);
  const bool alone = present == nullptr || *present == 0;
  std::snprintf(out, room, "%s=%s%s%s", v.name, v.ours(), alone ? "" : ":", alone ? "" : present);
}

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

std::size_t joined_room(char* const* environment) {
  std::size_t room = 0;
  for (const joined_variable& v : joined_variables) {
    if (lacks_ours(v, environment)) room += room_of(v, environment);
  }
  return room;
}

void keep_entries(char* const* environment, char* joined, kept_entries* room, char** out) {
  bool lacks[most_joined] = {};
  for (std::size_t i = 0; const joined_variable& v : joined_variables) {
    lacks[i++] = lacks_ours(v, environment);
  }
  for (char* const* e = environment; e != nullptr && *e != nullptr; ++e) {
    bool replaced = false;
    for (std::size_t i = 0; const joined_variable& v : joined_variables) {
      replaced = replaced || (lacks[i++] && is_entry_of(v, *e));
    }
    if (!replaced) *out++ = *e;
  }
  for (std::size_t i = 0; const joined_variable& v : joined_variables) {
    if (!lacks[i++]) continue;
    const std::size_t size = room_of(v, environment);
    write_joined(v, environment, joined, size);
    *out++ = joined;
    joined += size;
  }
  char(*at)[longest_kept] = room->text;
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
  for (const joined_variable& v : joined_variables) {
    if (!lacks_ours(v, environ)) continue;
    const std::size_t size = room_of(v, environ);
    with_room(size, [&](void* room) {
      auto* const entry = static_cast<char*>(room);
      write_joined(v, environ, entry, size);
      return setenv(v.name, entry + std::strlen(v.name) + 1, 1);
    });
  }
  for (const kept_variable& v : kept_variables) {
    if (is_missing(v, environ)) setenv(v.name, v.value(config()), 1);
  }
}

}  // namespace ph::shim
