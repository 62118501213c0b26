// What a program hands over with send and receive calls: addresses, gather lists, control data.
#pragma once

#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"

namespace ph {

/// A sockaddr of any family, as bytes.
struct sockaddr_buf {
  std::array<u8, 128> bytes{};
  u32 len = 0;
  [[nodiscard]] byte_view view() const { return {bytes.data(), len}; }
  template <class T>
  void set(const T& addr) {
    static_assert(sizeof(T) <= sizeof(bytes));
    len = sizeof(T);
    std::memcpy(bytes.data(), &addr, sizeof(T));
  }
  /// sa_family, 0 when shorter than two bytes.
  [[nodiscard]] u16 family() const { return len < 2 ? u16{0} : view_as<le16>(view())->value(); }
};
/// The family of raw sockaddr bytes.
inline u16 sockaddr_family(byte_view addr) {
  return addr.size() < 2 ? u16{0} : view_as<le16>(addr)->value();
}

/// One sendmsg.
struct send_msg {
  byte_view name;                        ///< destination or empty
  std::span<const byte_view> iov;
  byte_view control;                     ///< cmsghdr sequence or empty
  u32 flags = 0;                         ///< MSG_*
  [[nodiscard]] std::size_t size() const {
    std::size_t out = 0;
    for (const byte_view piece : iov) out += piece.size();
    return out;
  }
};

/// Walks the bytes of a gather list.
class msg_reader {
 public:
  explicit msg_reader(std::span<const byte_view> iov) : iov_(iov) {}
  /// Copies the next bytes into `to`; returns how many there were.
  std::size_t read(byte_span to);
  [[nodiscard]] std::size_t remaining() const;

 private:
  std::span<const byte_view> iov_;
  std::size_t offset_ = 0;
};

/// One recvmsg.
struct recv_msg {
  sockaddr_buf* name = nullptr;          ///< out: source, if wanted
  std::span<const byte_span> iov;
  byte_span control;                     ///< room for control messages
  std::size_t control_len = 0;           ///< out: bytes used
  u32 flags = 0;                         ///< in: MSG_*
  u32 out_flags = 0;                     ///< out: MSG_TRUNC, MSG_CTRUNC, MSG_ERRQUEUE, MSG_EOR
  instant came{};                        ///< out: when a datagram came, by the wall clock
  [[nodiscard]] std::size_t size() const {
    std::size_t out = 0;
    for (const byte_span piece : iov) out += piece.size();
    return out;
  }
};

/// Fills a scatter list from the front.
class msg_writer {
 public:
  explicit msg_writer(std::span<const byte_span> iov) : iov_(iov) {}
  /// Copies as much as fits; returns how many bytes did.
  std::size_t write(byte_view from);
  [[nodiscard]] std::size_t room() const;

 private:
  std::span<const byte_span> iov_;
  std::size_t offset_ = 0;
};

/// Appends a control message; sets MSG_CTRUNC in out_flags when it does not fit whole (cmsg(3)).
void put_cmsg(recv_msg& msg, int level, int type, byte_view data);
/// f(level, type, data) → result<void> for each control message. Errors: inval when malformed.
template <class F>
result<void> for_each_cmsg(byte_view control, F&& f) {
  while (!control.empty()) {
    byte_reader reader(control);
    const u64 len = reader.take<le64>().value();
    const auto level = static_cast<int>(reader.take<le32>().value());
    const auto type = static_cast<int>(reader.take<le32>().value());
    if (!reader.ok() || len < 16 || len > control.size()) return fail(errc::inval);
    TRY_VOID(f(level, type, control.subspan(16, static_cast<std::size_t>(len) - 16)));
    const std::size_t step = (static_cast<std::size_t>(len) + 7) / 8 * 8;
    control = control.subspan(std::min(step, control.size()));
    if (control.size() < 16) break;  // as Linux: trailing padding is no header
  }
  return {};
}

}  // namespace ph
