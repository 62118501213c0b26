// The system calls that scripts make.
#include "sim/packetdrill/calls.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/packetdrill/messages.h"
#include "sim/packetdrill/values.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::packetdrill {
namespace {

call_result value_of(const result<void>& r) {
  if (!r) return fail(r.error());
  return 0;
}

/// FreeBSD and Linux name the end of a connection by RST differently in some states.
bool both_end_by_reset(s64 a, s64 b) {
  const auto reset = [](s64 e) {
    return e == static_cast<s64>(errc::connreset) || e == static_cast<s64>(errc::connrefused) ||
           e == static_cast<s64>(errc::pipe);
  };
  return reset(a) && reset(b);
}

template <class T>
call_result value_of(const result<T>& r) {
  if (!r) return fail(r.error());
  return static_cast<s64>(*r);
}

}  // namespace

int call_runner::live_fd(int script_fd) const {
  const auto found = fds_.find(script_fd);
  return found == fds_.end() ? -1 : found->second;
}

s64 call_runner::number(const expression& e) {
  std::string unknown;
  const auto value = evaluate(e, &unknown);
  if (!value) throw unknown_thing{"unknown value '" + unknown + "'"};
  return *value;
}

int call_runner::fd_of(const arguments& a) {
  if (a.empty()) throw unknown_thing{"the call needs a descriptor"};
  return fd_at(a[0]);
}

int call_runner::fd_at(const expression& e) {
  const s64 script_fd = number(e);
  const int live = live_fd(static_cast<int>(script_fd));
  return live < 0 ? 1 << 20 : live;  // a number that is surely not open: EBADF
}

void call_runner::remember(const syscall_spec& call, int live) {
  const auto want = evaluate(call.result, nullptr);
  fds_[want ? static_cast<int>(*want) : live] = live;
}

bool call_runner::blocking(int fd, wait_for what, u32 flags) {
  const wait_policy policy = sys_wait_policy(host_.program(), fd, what, flags);
  if (policy.timeout.ns != 0) gives_up_ = begun_ + policy.timeout;
  return policy.wait && host_.now() < gives_up_;
}

bool call_runner::may_wait(s64 timeout_ms) {
  if (timeout_ms >= 0) gives_up_ = begun_ + milliseconds(timeout_ms);
  return host_.now() < gives_up_;
}

sockaddr_buf call_runner::address_of(const expression& e, ipv4_addr addr, u16 port) {
  const address what = read_address(e, {uapi::af_inet, addr, port});
  uapi::sockaddr_in in;
  in.sin_family = le16(what.family);
  in.sin_port = be16(what.port);
  in.sin_addr = what.addr.raw;
  sockaddr_buf out;
  out.set(in);
  return out;
}

bool call_runner::opens_early(const syscall_spec& call) const {
  if (call.name != "sendto" || call.arguments.empty()) return false;
  const auto fd = evaluate(call.arguments[0], nullptr);
  return fd && fast_open_.contains(static_cast<int>(*fd));
}

std::optional<call_result> call_runner::attempt(const syscall_spec& call,
                                                std::string* difference) {
  bad_script = false;
  try {
    return dispatch(call, difference);
  } catch (const unknown_thing& unknown) {
    bad_script = true;
    *difference = unknown.what;
    return call_result(fail(errc::nosys));
  }
}

std::optional<call_result> call_runner::dispatch(const syscall_spec& call,
                                                 std::string* difference) {
  task& t = host_.program();
  const arguments& a = call.arguments;
  const std::string& name = call.name;
  if (name == "socket") return open_socket(call);
  if (name == "bind") {
    u16 port = bind_port;
    return value_of(sys_bind(t, fd_of(a), address_of(a.at(1), local_, port).view()));
  }
  if (name == "listen") return value_of(sys_listen(t, fd_of(a), static_cast<int>(number(a.at(1)))));
  if (name == "accept" || name == "accept4") return accept_call(call);
  if (name == "connect") return connect_call(call);
  if (name == "close") return close_call(a);
  if (name == "shutdown") {
    return value_of(sys_shutdown(t, fd_of(a), static_cast<int>(number(a.at(1)))));
  }
  if (name == "write" || name == "send" || name == "sendto" || name == "sendmsg" ||
      name == "writev") {
    return send_call(call);
  }
  if (name == "read" || name == "recv" || name == "recvfrom" || name == "recvmsg" ||
      name == "readv") {
    return receive_call(call, difference);
  }
  if (name == "open") return open_call(call);
  if (name == "pipe") return pipe_call(a);
  if (name == "sendfile") return sendfile_call(a);
  if (name == "splice") return splice_call(a);
  if (name == "setsockopt") return set_option(a);
  if (name == "getsockopt") return get_option(a, difference);
  if (name == "fcntl") return fcntl_call(a);
  if (name == "ioctl") return ioctl_call(a, difference);
  if (name == "poll") return poll_call(call, difference);
  if (name == "epoll_create" || name == "epoll_create1") {
    const auto fd = t.install(ref<file>(make_ref<epoll>()));
    if (fd) remember(call, *fd);
    return fd ? call_result(evaluate(call.result, nullptr).value_or(*fd)) : fail(fd.error());
  }
  if (name == "epoll_ctl") return epoll_control(a);
  if (name == "epoll_wait") return epoll_wait_call(a, difference);
  throw unknown_thing{"system call '" + name + "' is not supported"};
}

call_result call_runner::close_call(const arguments& a) {
  const int script_fd = static_cast<int>(number(a.at(0)));
  if (zeros_.erase(script_fd) != 0 || pipes_.erase(script_fd) != 0) return 0;
  const call_result r = value_of(sys_close(host_.program(), fd_of(a)));
  if (r) {
    fds_.erase(script_fd);
    fast_open_.erase(script_fd);
  }
  return r;
}

call_result call_runner::open_socket(const syscall_spec& call) {
  const arguments& a = call.arguments;
  const int type = static_cast<int>(number(a.at(1)));
  const auto fd = sys_socket(host_.program(), uapi::af_inet, type,
                             static_cast<int>(number(a.at(2))));
  if (!fd) return fail(fd.error());
  remember(call, *fd);
  return evaluate(call.result, nullptr).value_or(*fd);
}

std::optional<call_result> call_runner::accept_call(const syscall_spec& call) {
  const int fd = fd_of(call.arguments);
  const int flags = call.name == "accept4" ? static_cast<int>(number(call.arguments.at(3))) : 0;
  const auto got = sys_accept4(host_.program(), fd, nullptr, flags);
  if (!got && got.error() == errc::again && blocking(fd, wait_for::accept, 0)) return std::nullopt;
  if (!got) return call_result(fail(got.error()));
  remember(call, *got);
  return call_result(evaluate(call.result, nullptr).value_or(*got));
}

std::optional<call_result> call_runner::connect_call(const syscall_spec& call) {
  const int fd = fd_of(call.arguments);
  task& t = host_.program();
  if (waiting_for_connect_) {
    if ((sys_poll(t, fd) & (uapi::pollout | uapi::pollerr)) == 0) return std::nullopt;
    waiting_for_connect_ = false;
    const auto error = sys_getsockopt_int(t, fd, uapi::sol_socket, uapi::so_error);
    if (error && *error != 0) return call_result(fail(static_cast<errc>(*error)));
    return call_result(0);
  }
  const call_result r =
      value_of(sys_connect(t, fd, address_of(call.arguments.at(1), remote_, default_port).view()));
  if (!r && r.error() == errc::inprogress && blocking(fd, wait_for::connect, 0)) {
    waiting_for_connect_ = true;
    return std::nullopt;
  }
  return r;
}

call_result call_runner::set_option(const arguments& a) {
  const int fd = fd_of(a);
  const int level = static_cast<int>(number(a.at(1)));
  const int name = static_cast<int>(number(a.at(2)));
  const expression& value = a.at(3);
  if (options_.lenient_freebsd && level == uapi::sol_tcp && name == uapi::tcp_fastopen) {
    fast_open_.insert(static_cast<int>(number(a[0])));
  }
  std::vector<u8> bytes;
  const auto add = [&](s64 v, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      bytes.push_back(static_cast<u8>(static_cast<u64>(v) >> (8 * i)));
    }
  };
  if (value.kind == expression::kind_type::structure) {
    const bool times = level == uapi::sol_socket &&
                       (name == uapi::so_rcvtimeo || name == uapi::so_sndtimeo);
    for (const expression& field : value.items) add(number(field), times ? 8 : 4);
  } else if (value.kind == expression::kind_type::text) {
    bytes.assign(value.word.begin(), value.word.end());
    const s64 size = a.size() > 4 ? number(a[4]) : static_cast<s64>(bytes.size());
    bytes.resize(static_cast<std::size_t>(std::clamp<s64>(size, 0, 4096)));
  } else if (value.kind == expression::kind_type::ellipsis) {
    add(0, 4);
  } else {
    const s64 size = a.size() > 4 ? number(a[4]) : 4;
    add(number(value), static_cast<std::size_t>(size));
  }
  return value_of(sys_setsockopt(host_.program(), fd, level, name, bytes));
}

call_result call_runner::get_option(const arguments& a, std::string* difference) {
  const int fd = fd_of(a);
  const int level = static_cast<int>(number(a.at(1)));
  const int name = static_cast<int>(number(a.at(2)));
  std::vector<u8> bytes(256);
  const auto length = sys_getsockopt(host_.program(), fd, level, name, bytes);
  if (!length) return fail(length.error());
  const expression& want = a.at(3);
  if (want.kind == expression::kind_type::list && !want.items.empty()) {
    const s64 expected = number(want);
    const s64 got = static_cast<s32>(view_as<le32>(byte_view(bytes))->value());
    const bool sizes = level == uapi::sol_socket &&
                       (name == uapi::so_rcvbuf || name == uapi::so_sndbuf);
    const bool errors = level == uapi::sol_socket && name == uapi::so_error;
    const bool same = got == static_cast<s32>(expected) ||
                      (options_.lenient_freebsd &&
                       (sizes || (errors && both_end_by_reset(got, expected))));
    if (!same) {
      *difference = fmt::format("the option is {}", got);
    }
  }
  for (std::size_t i = 0; want.kind == expression::kind_type::structure && i < want.items.size();
       ++i) {
    const le32* field = view_as<le32>(byte_view(bytes), 4 * i);
    if (field != nullptr && static_cast<s32>(field->value()) != number(want.items[i])) {
      *difference = fmt::format("{} is {}", want.names[i], static_cast<s32>(field->value()));
    }
  }
  if (want.kind == expression::kind_type::text) {
    std::string text(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(*length));
    text.resize(std::min(text.find('\0'), text.size()));  // names end with zeros
    if (text != want.word) *difference = "the option is \"" + text + "\"";
  }
  return 0;
}

call_result call_runner::fcntl_call(const arguments& a) {
  const int fd = fd_of(a);
  const s64 command = number(a.at(1));
  task& t = host_.program();
  if (command == 3) {
    const auto nonblocking = sys_get_nonblock(t, fd);
    if (!nonblocking) return fail(nonblocking.error());
    return uapi::o_rdwr | (*nonblocking ? uapi::o_nonblock : 0);
  }
  if (command != 4) throw unknown_thing{"fcntl command is not supported"};
  return value_of(sys_set_nonblock(t, fd, (number(a.at(2)) & uapi::o_nonblock) != 0));
}

call_result call_runner::ioctl_call(const arguments& a, std::string* difference) {
  const int fd = fd_of(a);
  std::vector<u8> argument(8);
  if (a.size() > 2) {
    if (const auto in = evaluate(a[2], nullptr)) {
      copy_bytes(argument, bytes_of(le32(static_cast<u32>(*in))));
    }
  }
  const auto got = sys_ioctl(host_.program(), fd, static_cast<u32>(number(a.at(1))), argument);
  if (!got) return fail(got.error());
  if (a.size() > 2 && a[2].kind == expression::kind_type::list && !a[2].items.empty()) {
    const s64 value = static_cast<s32>(view_as<le32>(byte_view(argument))->value());
    if (value != number(a[2])) *difference = fmt::format("the value is {}", value);
  }
  return *got;
}

std::optional<call_result> call_runner::poll_call(const syscall_spec& call,
                                                  std::string* difference) {
  const arguments& a = call.arguments;
  s64 ready = 0;
  std::string wrong;
  for (const expression& entry : a.at(0).items) {
    const expression* fd = entry.field("fd");
    const expression* events = entry.field("events");
    const expression* revents = entry.field("revents");
    if (fd == nullptr || events == nullptr) throw unknown_thing{"poll needs fd and events"};
    const u32 asked = static_cast<u32>(number(*events)) | uapi::pollerr | uapi::pollhup |
                      uapi::pollnval;
    const u32 got = sys_poll(host_.program(), live_fd(static_cast<int>(number(*fd)))) & asked;
    ready += got != 0 ? 1 : 0;
    if (revents != nullptr && got != static_cast<u32>(number(*revents))) {
      wrong = fmt::format("revents is {:#x}", got);
    }
  }
  if (ready == 0 && may_wait(number(a.at(2)))) return std::nullopt;
  *difference = wrong;
  return call_result(ready);
}

call_result call_runner::epoll_control(const arguments& a) {
  task& t = host_.program();
  TRY(const ref<file> instance, t.get(fd_of(a)));
  epoll* ep = instance->as_epoll();
  if (ep == nullptr) return fail(errc::inval);
  const int script_fd = static_cast<int>(number(a.at(2)));
  const int fd = live_fd(script_fd);
  TRY(const ref<file> target, t.get(fd));
  const s64 operation = number(a.at(1));
  const expression* events = a.size() > 3 ? a[3].field("events") : nullptr;
  const u32 mask = events != nullptr ? static_cast<u32>(number(*events)) : 0;
  if (operation == uapi::epoll_ctl_add) {
    return value_of(ep->add(fd, *target, mask, static_cast<u64>(script_fd)));
  }
  if (operation == uapi::epoll_ctl_mod) {
    return value_of(ep->mod(fd, *target, mask, static_cast<u64>(script_fd)));
  }
  return value_of(ep->del(fd, *target));
}

std::optional<call_result> call_runner::epoll_wait_call(const arguments& a,
                                                        std::string* difference) {
  TRY(const ref<file> instance, host_.program().get(fd_of(a)));
  epoll* ep = instance->as_epoll();
  if (ep == nullptr) return call_result(fail(errc::inval));
  std::vector<epoll_ready> ready(static_cast<std::size_t>(std::max<s64>(1, number(a.at(2)))));
  const auto got = ep->wait(ready);
  if (!got) return call_result(fail(got.error()));
  if (*got == 0 && may_wait(number(a.at(3)))) return std::nullopt;
  const expression* events = a.at(1).field("events");
  if (*got != 0 && events != nullptr && ready[0].events != static_cast<u32>(number(*events))) {
    *difference = fmt::format("events are {:#x}", ready[0].events);
  }
  return call_result(static_cast<s64>(*got));
}

std::string call_runner::check(const syscall_spec& call, const call_result& got) const {
  const auto describe = [](const call_result& r) {
    return r ? std::to_string(*r) : "-1 " + std::string(errc_name(r.error()));
  };
  if (call.result.kind == expression::kind_type::ellipsis) return {};
  std::string expected;
  if (!call.error.empty()) {
    expected = "-1 " + call.error;
    const auto want = errno_by_name(call.error);
    if (want && !got && got.error() == *want) return {};
  } else {
    const auto want = evaluate(call.result, nullptr);
    expected = want ? std::to_string(*want) : call.result.word;
    if (want && got && *got == *want) return {};
    if (want && *want == -1 && !got) return {};
  }
  return fmt::format("{}() returned {}, expected {}", call.name, describe(got), expected);
}

}  // namespace ph::packetdrill
