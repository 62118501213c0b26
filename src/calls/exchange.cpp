// Framing of requests and replies (daemon/protocol.h).
#include "calls/exchange.h"

#include <cerrno>
#include <cstring>

namespace ph::calls {
namespace {

constexpr u32 sequence = 1;  // one request at a time: the reply must echo it

}  // namespace

bool request_frame::add(const void* at, std::size_t len) {
  if (message_.msg_iovlen > max_pieces || len > dropin::max_data - data_len_) return false;
  pieces_[message_.msg_iovlen++] = {const_cast<void*>(at), len};
  data_len_ += len;
  return true;
}

int request_frame::build(const exchange& x) {
  head_.kind = static_cast<u16>(x.kind);
  head_.sequence = sequence;
  head_.flags = x.flags;
  std::memcpy(head_.arg, x.arg, sizeof head_.arg);
  pieces_[0] = {&head_, sizeof head_};
  message_.msg_iov = pieces_;
  message_.msg_iovlen = 1;
  bool fits = true;
  for (std::size_t i = 0; fits && i < x.data_pieces; ++i) {
    fits = add(x.data[i].iov_base, x.data[i].iov_len);
  }
  for (std::size_t i = 0; fits && i < x.payload_pieces; ++i) {
    const piece& p = x.payload[i];
    fits = add(reinterpret_cast<const void*>(static_cast<std::uintptr_t>(p.at)), p.len);
  }
  if (!fits) return -EMSGSIZE;
  head_.data_len = static_cast<u32>(data_len_);
  if (x.fd >= 0) room_.put(message_, x.fd);
  return 0;
}

reply_frame::reply_frame(exchange& x)
    : x_(x), pieces_{{&head_, sizeof head_}, {x.out, x.out_room}} {
  message_.msg_iov = pieces_;
  message_.msg_iovlen = 2;
  message_.msg_control = control_;
  message_.msg_controllen = sizeof control_;
}

bool reply_frame::take(long got) {
  if (got < 0) return false;
  for_each_passed_fd(message_, [this](int fd) { x_.reply_fd = fd; });
  const auto len = static_cast<std::size_t>(got);
  const bool good = len >= sizeof head_ && head_.magic == dropin::protocol_magic &&
                    head_.version == dropin::protocol_version &&
                    head_.kind == static_cast<u16>(x_.kind) && head_.sequence == sequence &&
                    head_.data_len == len - sizeof head_;
  if (!good) return false;
  x_.out_len = head_.data_len < x_.out_room ? head_.data_len : x_.out_room;
  x_.reply_flags = head_.flags;
  return true;
}

}  // namespace ph::calls
