// Errors are values: errc holds Linux errno numbers, result<T> is an expected value or an errc.
#pragma once

#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace ph {

/// Linux errno values (errno(3)); x86-64 numbering, the same on every architecture we build for.
enum class errc : int {
  ok = 0, perm = 1, noent = 2, intr = 4, io = 5, nxio = 6, too_big = 7, badf = 9, again = 11,
  nomem = 12, acces = 13, fault = 14, busy = 16, exist = 17, nodev = 19, notdir = 20, inval = 22,
  nfile = 23, mfile = 24, notty = 25, nospc = 28, spipe = 29, pipe = 32, dom = 33, range = 34,
  nametoolong = 36, nosys = 38, loop = 40, nodata = 61, time = 62, nolink = 67, proto = 71,
  badmsg = 74, overflow = 75, notuniq = 76, notsock = 88, destaddrreq = 89, msgsize = 90,
  prototype = 91, noprotoopt = 92, protonosupport = 93, socktnosupport = 94, opnotsupp = 95,
  pfnosupport = 96, afnosupport = 97, addrinuse = 98, addrnotavail = 99, netdown = 100,
  netunreach = 101, netreset = 102, connaborted = 103, connreset = 104, nobufs = 105,
  isconn = 106, notconn = 107, shutdown = 108, toomanyrefs = 109, timedout = 110,
  connrefused = 111, hostdown = 112, hostunreach = 113, already = 114, inprogress = 115,
  canceled = 125,
};

/// The C name ("ECONNRESET"), for messages and traces.
std::string_view errc_name(errc e);

template <class T>
using result = tl::expected<T, errc>;

/// What a failing function returns: `return fail(errc::inval);`
inline tl::unexpected<errc> fail(errc e) { return tl::unexpected<errc>(e); }

}  // namespace ph

#define PH_JOIN_(a, b) a##b
#define PH_JOIN(a, b) PH_JOIN_(a, b)
#define PH_TRY_(tmp, declaration, ...)                         \
  auto tmp = (__VA_ARGS__);                                    \
  if (!tmp) return ::tl::unexpected(std::move(tmp).error());   \
  declaration = std::move(*tmp)
/// TRY(auto x, expression): unwraps a result or returns its error.
#define TRY(declaration, ...) PH_TRY_(PH_JOIN(try_, __LINE__), declaration, __VA_ARGS__)
/// TRY_VOID(expression): returns the error of a result<void>, if any.
#define TRY_VOID(...)                                                        \
  if (auto PH_JOIN(try_, __LINE__) = (__VA_ARGS__); !PH_JOIN(try_, __LINE__)) \
  return ::tl::unexpected(std::move(PH_JOIN(try_, __LINE__)).error())
