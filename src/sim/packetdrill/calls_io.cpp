// Calls that move bytes: what a script's write, sendto, sendmsg, read, recvmsg … become.
#include <fmt/format.h>

#include <numeric>

#include "sim/packetdrill/calls.h"
#include "sim/packetdrill/messages.h"
#include "sim/packetdrill/pieces.h"
#include "sim/packetdrill/values.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::packetdrill {
namespace {

s64 piece_length(const expression& piece) {
  if (piece.items.size() < 2) return 0;
  return evaluate(piece.items[1], nullptr).value_or(0);
}

/// The lengths of a list of buffers.
std::vector<std::size_t> lengths_of(const std::vector<expression>& iov) {
  std::vector<std::size_t> out;
  for (const expression& piece : iov) out.push_back(static_cast<std::size_t>(piece_length(piece)));
  return out;
}

std::vector<std::size_t> iov_lengths(const expression& msg) {
  const expression* iov = msg.field("msg_iov");
  return iov != nullptr ? lengths_of(iov->items) : std::vector<std::size_t>{};
}

std::size_t total(std::span<const std::size_t> lengths) {
  return std::accumulate(lengths.begin(), lengths.end(), std::size_t{0});
}

std::vector<byte_view> cut_to(byte_view data, std::span<const std::size_t> lengths) {
  std::vector<byte_view> out;
  for (const std::size_t length : lengths) {
    out.push_back(data.first(length));
    data = data.subspan(length);
  }
  return out;
}

}  // namespace

std::optional<call_result> call_runner::fast_open_done(int fd) {
  task& t = host_.program();
  if ((sys_poll(t, fd) & (uapi::pollout | uapi::pollerr | uapi::pollhup)) == 0) {
    return std::nullopt;
  }
  waiting_for_connect_ = false;
  const auto error = sys_getsockopt_int(t, fd, uapi::sol_socket, uapi::so_error);
  if (error && *error != 0) return call_result(fail(static_cast<errc>(*error)));
  return call_result(0);
}

std::optional<call_result> call_runner::send_bytes(int fd, std::span<const std::size_t> lengths,
                                                   u32 flags, byte_view name) {
  if (waiting_for_connect_) {
    const auto connected = fast_open_done(fd);
    if (!connected || !*connected) return connected;
    flags &= ~u32{uapi::msg_fastopen};
    name = {};
  }
  const std::size_t length = total(lengths);
  std::vector<u8> data(length);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<u8>(i);
  const std::vector<byte_view> pieces = rest_of(cut_to(data, lengths), progress_);
  send_msg msg;
  msg.iov = pieces;
  msg.name = name;
  msg.flags = flags;
  const bool wait = blocking(fd, wait_for::send, flags);
  const auto got = sys_sendmsg(host_.program(), fd, msg);
  if (!got) {
    if (got.error() == errc::again && wait) return std::nullopt;
    if (got.error() == errc::inprogress && wait) {
      waiting_for_connect_ = true;  // MSG_FASTOPEN without a cookie: first a handshake
      return std::nullopt;
    }
    if (progress_ != 0) return call_result(static_cast<s64>(std::exchange(progress_, 0)));
    return call_result(fail(got.error()));
  }
  progress_ += *got;
  if (progress_ < length && wait) return std::nullopt;
  return call_result(static_cast<s64>(std::exchange(progress_, 0)));
}

/// What the door to a program says to a buffer that is not its memory: the stack never sees one.
/// Who reads into it learns of it only when there is something to read.
std::optional<errc> call_runner::bad_buffer(const syscall_spec& call, int fd) const {
  const arguments& a = call.arguments;
  if (a.size() < 2 || a[1].word != "NULL") return std::nullopt;
  if (!call.name.starts_with("re")) return errc::fault;
  std::array<u8, 1> one{};
  const u32 look = uapi::msg_peek | uapi::msg_dontwait;
  const auto got = sys_recv(host_.program(), fd, one, look);
  if (!got || *got == 0) return std::nullopt;
  return errc::fault;
}

std::optional<call_result> call_runner::send_call(const syscall_spec& call) {
  const arguments& a = call.arguments;
  const int fd = fd_of(a);
  std::vector<std::size_t> lengths;
  u32 flags = 0;
  sockaddr_buf to;
  if (call.name == "sendmsg") {
    lengths = iov_lengths(a.at(1));
    flags = static_cast<u32>(number(a.at(2)));
    const expression* name = a.at(1).field("msg_name");
    if (name != nullptr && name->word != "NULL") to = address_of(*name, remote_, default_port);
  } else if (call.name == "writev") {
    lengths = lengths_of(a.at(1).items);
  } else {
    lengths = {static_cast<std::size_t>(number(a.at(2)))};
    if (call.name != "write") flags = static_cast<u32>(number(a.at(3)));
    if (call.name == "sendto") to = address_of(a.at(4), remote_, default_port);
    // FreeBSD's TCP_FASTOPEN on a socket that is not connected is Linux's MSG_FASTOPEN.
    if (opens_early(call)) flags |= uapi::msg_fastopen;
  }
  const bool empty = total(lengths) == 0;
  if (const auto bad = bad_buffer(call, fd); bad && !empty) return call_result(fail(*bad));
  return send_bytes(fd, lengths, flags, to.view());
}

std::optional<call_result> call_runner::receive_call(const syscall_spec& call,
                                                     std::string* difference) {
  const arguments& a = call.arguments;
  const int fd = fd_of(a);
  u64 length = 0;
  u32 flags = 0;
  if (call.name == "recvmsg") {
    length = total(iov_lengths(a.at(1)));
    flags = static_cast<u32>(number(a.at(2)));
  } else if (call.name == "readv") {
    for (const expression& piece : a.at(1).items) length += static_cast<u64>(piece_length(piece));
  } else {
    length = static_cast<u64>(number(a.at(2)));
    if (call.name != "read") flags = static_cast<u32>(number(a.at(3)));
  }
  if (const auto bad = bad_buffer(call, fd); bad && length != 0) return call_result(fail(*bad));
  std::vector<u8> data(std::min<u64>(length, 1u << 24));
  const byte_span piece(data);
  std::vector<u8> control(1024);
  recv_msg msg;
  msg.iov = {&piece, 1};
  msg.control = control;
  msg.flags = flags;
  const auto got = sys_recvmsg(host_.program(), fd, msg);
  if (!got && got.error() == errc::again && (flags & uapi::msg_errqueue) == 0 &&
      blocking(fd, wait_for::receive, flags)) {
    return std::nullopt;
  }
  if (got && call.name == "recvmsg") *difference = message_difference(a.at(1), msg);
  if (!got) return call_result(fail(got.error()));
  return call_result(static_cast<s64>(*got));
}

std::string call_runner::message_difference(const expression& want, const recv_msg& got) const {
  const expression* control = want.field("msg_control");
  if (control != nullptr && control->kind == expression::kind_type::list) {
    const std::string why =
        control_difference(*control, byte_view(got.control).first(got.control_len),
                           host_.at({}), tolerance);
    if (!why.empty()) return why;
  }
  const expression* flags = want.field("msg_flags");
  if (flags == nullptr || flags->kind == expression::kind_type::ellipsis) return {};
  const auto expected = evaluate(*flags, nullptr);
  if (!expected || static_cast<u32>(*expected) == got.out_flags) return {};
  return fmt::format("msg_flags is {:#x}", got.out_flags);
}

}  // namespace ph::packetdrill
