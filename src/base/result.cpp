// Names of the errno values.
#include "base/result.h"

namespace ph {

std::string_view errc_name(errc e) {
  switch (e) {
    case errc::ok: return "OK";
    case errc::perm: return "EPERM";
    case errc::noent: return "ENOENT";
    case errc::intr: return "EINTR";
    case errc::io: return "EIO";
    case errc::nxio: return "ENXIO";
    case errc::too_big: return "E2BIG";
    case errc::badf: return "EBADF";
    case errc::again: return "EAGAIN";
    case errc::nomem: return "ENOMEM";
    case errc::acces: return "EACCES";
    case errc::fault: return "EFAULT";
    case errc::busy: return "EBUSY";
    case errc::exist: return "EEXIST";
    case errc::nodev: return "ENODEV";
    case errc::notdir: return "ENOTDIR";
    case errc::inval: return "EINVAL";
    case errc::nfile: return "ENFILE";
    case errc::mfile: return "EMFILE";
    case errc::notty: return "ENOTTY";
    case errc::nospc: return "ENOSPC";
    case errc::spipe: return "ESPIPE";
    case errc::pipe: return "EPIPE";
    case errc::dom: return "EDOM";
    case errc::range: return "ERANGE";
    case errc::nametoolong: return "ENAMETOOLONG";
    case errc::nosys: return "ENOSYS";
    case errc::loop: return "ELOOP";
    case errc::nodata: return "ENODATA";
    case errc::time: return "ETIME";
    case errc::nolink: return "ENOLINK";
    case errc::proto: return "EPROTO";
    case errc::badmsg: return "EBADMSG";
    case errc::overflow: return "EOVERFLOW";
    case errc::notuniq: return "ENOTUNIQ";
    case errc::notsock: return "ENOTSOCK";
    case errc::destaddrreq: return "EDESTADDRREQ";
    case errc::msgsize: return "EMSGSIZE";
    case errc::prototype: return "EPROTOTYPE";
    case errc::noprotoopt: return "ENOPROTOOPT";
    case errc::protonosupport: return "EPROTONOSUPPORT";
    case errc::socktnosupport: return "ESOCKTNOSUPPORT";
    case errc::opnotsupp: return "EOPNOTSUPP";
    case errc::pfnosupport: return "EPFNOSUPPORT";
    case errc::afnosupport: return "EAFNOSUPPORT";
    case errc::addrinuse: return "EADDRINUSE";
    case errc::addrnotavail: return "EADDRNOTAVAIL";
    case errc::netdown: return "ENETDOWN";
    case errc::netunreach: return "ENETUNREACH";
    case errc::netreset: return "ENETRESET";
    case errc::connaborted: return "ECONNABORTED";
    case errc::connreset: return "ECONNRESET";
    case errc::nobufs: return "ENOBUFS";
    case errc::isconn: return "EISCONN";
    case errc::notconn: return "ENOTCONN";
    case errc::shutdown: return "ESHUTDOWN";
    case errc::toomanyrefs: return "ETOOMANYREFS";
    case errc::timedout: return "ETIMEDOUT";
    case errc::connrefused: return "ECONNREFUSED";
    case errc::hostdown: return "EHOSTDOWN";
    case errc::hostunreach: return "EHOSTUNREACH";
    case errc::already: return "EALREADY";
    case errc::inprogress: return "EINPROGRESS";
    case errc::canceled: return "ECANCELED";
  }
  return "E?";
}

}  // namespace ph
