// Hooks of name resolution. libc's resolver would send its questions through the host's network,
// from inside libc: host names are asked of the daemon, and libc only sees numeric ones.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "calls/anchor.h"
#include "shim/config.h"
#include "shim/next.h"
#include "shim/own_caller.h"

namespace {

using namespace ph;
using namespace ph::shim;
using dropin::request_kind;

constexpr std::size_t max_addresses = 32;

struct resolved {
  in_addr addresses[max_addresses];
  std::size_t count = 0;
};

bool is_numeric(const char* name) {
  in6_addr any;
  in_addr legacy;
  return std::strchr(name, ':') != nullptr || inet_pton(AF_INET, name, &any) == 1 ||
         inet_aton(name, &legacy) != 0;
}

/// The length of a host name without the dot that makes it absolute.
std::size_t name_length(const char* name) {
  const std::size_t len = std::strlen(name);
  return len > 1 && name[len - 1] == '.' ? len - 1 : len;
}

/// Host names are the same in any case (RFC 4343), with and without the final dot.
bool same_name(const char* a, const char* b) {
  const std::size_t len = name_length(a);
  return len == name_length(b) && strncasecmp(a, b, len) == 0;
}

/// True when `label` is what stands before the first dot.
bool begins_with_label(const char* name, const char* label) {
  const std::size_t len = name_length(label);
  return std::strcspn(name, ".") == len && strncasecmp(name, label, len) == 0;
}

/// The IPv4 addresses of a host of the lab. False when the daemon does not know it.
bool resolve(const char* name, resolved& out) {
  if (same_name(name, "localhost")) {
    out.addresses[0].s_addr = htonl(INADDR_LOOPBACK);
    out.count = 1;
    return true;
  }
  sockaddr_in found[max_addresses];
  std::size_t len = sizeof found;
  own_caller c(-1);
  const int result =
      ask_for(c, -1, request_kind::resolve, 0, 0, 0, name, std::strlen(name), found, &len);
  if (result < 0) return false;
  out.count = len / sizeof(sockaddr_in);
  for (std::size_t i = 0; i < out.count; ++i) out.addresses[i] = found[i].sin_addr;
  return out.count != 0;
}

/// libc's answer for one numeric address; its list elements are freed by freeaddrinfo(3) one by
/// one, so lists may be joined.
int add_address(const in_addr& address, const char* service, const addrinfo& hints,
                addrinfo**& tail) {
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &address, text, sizeof text);
  addrinfo* part = nullptr;
  const int error = next::getaddrinfo(text, service, &hints, &part);
  if (error != 0) return error;
  *tail = part;
  while (*tail != nullptr) tail = &(*tail)->ai_next;
  return 0;
}

/// The lab's name of an address. False when the daemon knows none.
bool name_of(const sockaddr* address, socklen_t len, char (&out)[256]) {
  std::size_t room = sizeof out - 1;
  own_caller c(-1);
  if (ask_for(c, -1, request_kind::resolve_addr, 0, 0, 0, address, len, out, &room) < 0) {
    return false;
  }
  out[room] = 0;
  return room != 0;
}

/// How the lab spells a name that resolved to `address`.
void spell(const char* name, const in_addr& address, char (&out)[256]) {
  sockaddr_in from{};
  from.sin_family = AF_INET;
  from.sin_addr = address;
  const bool known = name_of(reinterpret_cast<const sockaddr*>(&from), sizeof from, out);
  if (known && (same_name(out, name) || begins_with_label(out, name))) return;
  const std::size_t len = name_length(name) < sizeof out ? name_length(name) : sizeof out - 1;
  for (std::size_t i = 0; i < len; ++i) {
    const char c = name[i];
    out[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  out[len] = 0;
}

/// What libc says of the service, the socket's kind and the flags, whatever the name.
int check_hints(const char* service, addrinfo hints) {
  addrinfo* list = nullptr;
  if (hints.ai_family == AF_INET6) hints.ai_family = AF_INET;
  hints.ai_flags &= ~AI_CANONNAME;
  const int error = next::getaddrinfo("127.0.0.1", service, &hints, &list);
  if (error == 0) freeaddrinfo(list);
  return error;
}

int resolve_to_list(const char* node, const char* service, addrinfo hints, addrinfo** out) {
  resolved found;
  if (const int error = check_hints(service, hints); error != 0) return error;
  const bool mapped = hints.ai_family == AF_INET6 && (hints.ai_flags & AI_V4MAPPED) != 0;
  if ((hints.ai_flags & AI_NUMERICHOST) != 0) return EAI_NONAME;
  if (hints.ai_family == AF_INET6 && !mapped) return EAI_NONAME;  // the hosts have no IPv6
  if (!resolve(node, found)) return EAI_NONAME;
  const bool canonical = (hints.ai_flags & AI_CANONNAME) != 0;
  hints.ai_flags = (hints.ai_flags & ~(AI_CANONNAME | AI_ADDRCONFIG)) | AI_NUMERICHOST;
  if (!mapped && hints.ai_family == AF_UNSPEC) hints.ai_family = AF_INET;
  addrinfo* list = nullptr;
  addrinfo** tail = &list;
  for (std::size_t i = 0; i < found.count; ++i) {
    const int error = add_address(found.addresses[i], service, hints, tail);
    if (error == 0) continue;
    if (list != nullptr) freeaddrinfo(list);
    return error;
  }
  if (canonical && list != nullptr) {
    char spelled[256];
    spell(node, found.addresses[0], spelled);
    list->ai_canonname = strdup(spelled);
  }
  *out = list;
  return 0;
}

/// A hostent in the caller's buffer (gethostbyname_r(3)). False when the buffer is too small.
bool fill_hostent(const char* name, const in_addr* addresses, std::size_t count, hostent& out,
                  char* buffer, std::size_t room) {
  const std::size_t name_len = std::strlen(name) + 1;
  const std::size_t pointers = (count + 2) * sizeof(char*);
  const std::size_t shift = reinterpret_cast<std::uintptr_t>(buffer) % alignof(char*);
  const std::size_t skip = shift == 0 ? 0 : alignof(char*) - shift;
  if (room < skip + pointers + count * sizeof(in_addr) + name_len) return false;
  auto** list = reinterpret_cast<char**>(buffer + skip);
  char* bytes = buffer + skip + pointers;
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(bytes, &addresses[i], sizeof(in_addr));
    list[i] = bytes;
    bytes += sizeof(in_addr);
  }
  list[count] = nullptr;
  list[count + 1] = nullptr;
  std::memcpy(bytes, name, name_len);
  out.h_name = bytes;
  out.h_aliases = &list[count + 1];
  out.h_addrtype = AF_INET;
  out.h_length = sizeof(in_addr);
  out.h_addr_list = list;
  return true;
}

/// Nothing was found. Programs that call the functions with _r look at h_errno as well (Python,
/// Perl): the resolver of libc leaves it there.
int unknown_host(int why, int* error) {
  h_errno = why;
  *error = why;
  return 0;
}

int host_by_name(const char* name, int family, hostent* out, char* buffer, std::size_t room,
                 hostent** result, int* error) {
  *result = nullptr;
  resolved found;
  char spelled[256];
  const char* shown = name;
  if (family == AF_INET && is_numeric(name) && inet_aton(name, &found.addresses[0]) != 0) {
    found.count = 1;
  } else if (!resolve(name, found) || family != AF_INET) {
    return unknown_host(found.count == 0 ? HOST_NOT_FOUND : NO_DATA, error);
  } else {
    spell(name, found.addresses[0], spelled);
    shown = spelled;
  }
  if (!fill_hostent(shown, found.addresses, found.count, *out, buffer, room)) {
    *error = NETDB_INTERNAL;
    return ERANGE;
  }
  *result = out;
  return 0;
}

int host_by_address(const void* address, socklen_t len, int family, hostent* out, char* buffer,
                    std::size_t room, hostent** result, int* error) {
  *result = nullptr;
  if (family != AF_INET || len < sizeof(in_addr)) return unknown_host(HOST_NOT_FOUND, error);
  sockaddr_in from{};
  from.sin_family = AF_INET;
  std::memcpy(&from.sin_addr, address, sizeof from.sin_addr);
  char name[256];
  if (!name_of(reinterpret_cast<const sockaddr*>(&from), sizeof from, name)) {
    return unknown_host(HOST_NOT_FOUND, error);
  }
  if (!fill_hostent(name, &from.sin_addr, 1, *out, buffer, room)) {
    *error = NETDB_INTERNAL;
    return ERANGE;
  }
  *result = out;
  return 0;
}

/// What the functions without _r return points here, as libc's own do.
constinit hostent shared_entry{};
constinit char shared_buffer[1024]{};

hostent* shared_by_name(const char* name, int family) {
  hostent* result = nullptr;
  int error = 0;
  host_by_name(name, family, &shared_entry, shared_buffer, sizeof shared_buffer, &result, &error);
  if (result == nullptr) h_errno = error;
  return result;
}

constinit next_function<hostent*(const char*)> next_gethostbyname{"gethostbyname"};
constinit next_function<hostent*(const char*, int)> next_gethostbyname2{"gethostbyname2"};
constinit next_function<int(const char*, hostent*, char*, size_t, hostent**, int*)>
    next_gethostbyname_r{"gethostbyname_r"};
constinit next_function<int(const char*, int, hostent*, char*, size_t, hostent**, int*)>
    next_gethostbyname2_r{"gethostbyname2_r"};
constinit next_function<hostent*(const void*, socklen_t, int)> next_gethostbyaddr{"gethostbyaddr"};
constinit next_function<int(const void*, socklen_t, int, hostent*, char*, size_t, hostent**, int*)>
    next_gethostbyaddr_r{"gethostbyaddr_r"};

}  // namespace

PH_HOOK(int, getaddrinfo, const char* node, const char* service, const addrinfo* hints,
        addrinfo** out) {
  if (!config().active) return next::getaddrinfo(node, service, hints, out);
  if (node != nullptr && std::strcmp(node, "*") == 0) node = nullptr;  // as libc has it
  addrinfo mine{};
  if (hints != nullptr) mine = *hints;
  if (hints == nullptr) mine.ai_flags = AI_V4MAPPED;
  mine.ai_flags &= ~AI_ADDRCONFIG;  // libc would look at the host's interfaces
  if (node != nullptr && !is_numeric(node)) return resolve_to_list(node, service, mine, out);
  // The hosts have no IPv6: a list for "any family" is then the IPv4 one.
  const bool six = node != nullptr && std::strchr(node, ':') != nullptr;
  if (mine.ai_family == AF_UNSPEC && !six) mine.ai_family = AF_INET;
  return next::getaddrinfo(node, service, &mine, out);
}

PH_HOOK(int, getnameinfo, const sockaddr* address, socklen_t len, char* host, socklen_t host_room,
        char* service, socklen_t service_room, int flags) {
  if (!config().active || (flags & NI_NUMERICHOST) != 0 || host == nullptr || host_room == 0) {
    return next::getnameinfo(address, len, host, host_room, service, service_room, flags);
  }
  char name[256];
  const bool named = name_of(address, len, name);
  if (!named && (flags & NI_NAMEREQD) != 0) return EAI_NONAME;
  const int numeric = (flags & ~NI_NAMEREQD) | NI_NUMERICHOST;
  if (!named) {
    return next::getnameinfo(address, len, host, host_room, service, service_room, numeric);
  }
  const std::size_t name_len = std::strlen(name) + 1;
  if (name_len > host_room) return EAI_OVERFLOW;
  std::memcpy(host, name, name_len);
  if (service == nullptr || service_room == 0) return 0;
  return next::getnameinfo(address, len, nullptr, 0, service, service_room, numeric);
}

PH_HOOK(hostent*, gethostbyname, const char* name) {
  return config().active ? shared_by_name(name, AF_INET) : next_gethostbyname(name);
}

PH_HOOK(hostent*, gethostbyname2, const char* name, int family) {
  return config().active ? shared_by_name(name, family) : next_gethostbyname2(name, family);
}

PH_HOOK(int, gethostbyname_r, const char* name, hostent* out, char* buffer, size_t room,
        hostent** result, int* error) {
  if (!config().active) return next_gethostbyname_r(name, out, buffer, room, result, error);
  return host_by_name(name, AF_INET, out, buffer, room, result, error);
}

PH_HOOK(int, gethostbyname2_r, const char* name, int family, hostent* out, char* buffer,
        size_t room, hostent** result, int* error) {
  if (!config().active) {
    return next_gethostbyname2_r(name, family, out, buffer, room, result, error);
  }
  return host_by_name(name, family, out, buffer, room, result, error);
}

PH_HOOK(hostent*, gethostbyaddr, const void* address, socklen_t len, int family) {
  if (!config().active) return next_gethostbyaddr(address, len, family);
  hostent* result = nullptr;
  int error = 0;
  host_by_address(address, len, family, &shared_entry, shared_buffer, sizeof shared_buffer, &result,
                  &error);
  if (result == nullptr) h_errno = error;
  return result;
}

PH_HOOK(int, gethostbyaddr_r, const void* address, socklen_t len, int family, hostent* out,
        char* buffer, size_t room, hostent** result, int* error) {
  if (!config().active) {
    return next_gethostbyaddr_r(address, len, family, out, buffer, room, result, error);
  }
  return host_by_address(address, len, family, out, buffer, room, result, error);
}
