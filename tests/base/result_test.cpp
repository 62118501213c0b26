// Errors as values: TRY, TRY_VOID and the names.
#include "base/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace ph {
namespace {

result<int> half(int n) {
  if (n % 2 != 0) return fail(errc::inval);
  return n / 2;
}
result<int> quarter(int n) {
  TRY(const int first, half(n));
  TRY(const int second, half(first));
  return second;
}
result<void> must_be_even(int n) {
  TRY([[maybe_unused]] const int ignored, half(n));
  return {};
}
result<void> both_even(int a, int b) {
  TRY_VOID(must_be_even(a));
  TRY_VOID(must_be_even(b));
  return {};
}
result<std::unique_ptr<int>> boxed(bool good) {
  if (!good) return fail(errc::nomem);
  return std::make_unique<int>(5);
}
result<int> unboxed(bool good) {
  TRY(std::unique_ptr<int> box, boxed(good));
  return *box;
}
TEST(try_macro, passes_values_on) {
  EXPECT_EQ(quarter(12), 3);
  EXPECT_TRUE(both_even(2, 4));
  EXPECT_EQ(unboxed(true), 5);
}

TEST(try_macro, returns_the_first_error) {
  EXPECT_EQ(quarter(7).error(), errc::inval);
  EXPECT_EQ(quarter(6).error(), errc::inval);
  EXPECT_EQ(both_even(2, 3).error(), errc::inval);
  EXPECT_EQ(both_even(1, 2).error(), errc::inval);
  EXPECT_EQ(unboxed(false).error(), errc::nomem);
}

TEST(errc, has_the_systems_numbers_and_names) {
#define NAMED(code, NAME) {errc::code, NAME, #NAME}
  const std::tuple<errc, int, const char*> table[] = {
      NAMED(perm, EPERM), NAMED(noent, ENOENT), NAMED(intr, EINTR), NAMED(io, EIO),
      NAMED(nxio, ENXIO), NAMED(too_big, E2BIG), NAMED(badf, EBADF), NAMED(again, EAGAIN),
      NAMED(nomem, ENOMEM), NAMED(acces, EACCES), NAMED(fault, EFAULT), NAMED(busy, EBUSY),
      NAMED(exist, EEXIST), NAMED(nodev, ENODEV), NAMED(notdir, ENOTDIR), NAMED(inval, EINVAL),
      NAMED(nfile, ENFILE), NAMED(mfile, EMFILE), NAMED(notty, ENOTTY), NAMED(nospc, ENOSPC),
      NAMED(spipe, ESPIPE), NAMED(pipe, EPIPE), NAMED(dom, EDOM), NAMED(range, ERANGE),
      NAMED(nametoolong, ENAMETOOLONG), NAMED(nosys, ENOSYS), NAMED(loop, ELOOP),
      NAMED(nodata, ENODATA), NAMED(time, ETIME), NAMED(nolink, ENOLINK), NAMED(proto, EPROTO),
      NAMED(badmsg, EBADMSG), NAMED(overflow, EOVERFLOW), NAMED(notuniq, ENOTUNIQ),
      NAMED(notsock, ENOTSOCK), NAMED(destaddrreq, EDESTADDRREQ), NAMED(msgsize, EMSGSIZE),
      NAMED(prototype, EPROTOTYPE), NAMED(noprotoopt, ENOPROTOOPT),
      NAMED(protonosupport, EPROTONOSUPPORT), NAMED(socktnosupport, ESOCKTNOSUPPORT),
      NAMED(opnotsupp, EOPNOTSUPP), NAMED(pfnosupport, EPFNOSUPPORT),
      NAMED(afnosupport, EAFNOSUPPORT), NAMED(addrinuse, EADDRINUSE),
      NAMED(addrnotavail, EADDRNOTAVAIL), NAMED(netdown, ENETDOWN),
      NAMED(netunreach, ENETUNREACH), NAMED(netreset, ENETRESET),
      NAMED(connaborted, ECONNABORTED), NAMED(connreset, ECONNRESET), NAMED(nobufs, ENOBUFS),
      NAMED(isconn, EISCONN), NAMED(notconn, ENOTCONN), NAMED(shutdown, ESHUTDOWN),
      NAMED(toomanyrefs, ETOOMANYREFS), NAMED(timedout, ETIMEDOUT),
      NAMED(connrefused, ECONNREFUSED), NAMED(hostdown, EHOSTDOWN),
      NAMED(hostunreach, EHOSTUNREACH), NAMED(already, EALREADY), NAMED(inprogress, EINPROGRESS),
      NAMED(canceled, ECANCELED),
  };
#undef NAMED
  for (const auto& [code, number, name] : table) {
    EXPECT_EQ(static_cast<int>(code), number) << name;
    EXPECT_EQ(errc_name(code), name);
  }
  EXPECT_EQ(errc_name(static_cast<errc>(9999)), "E?");
}

}  // namespace
}  // namespace ph
