// Gather, scatter, and control messages in Linux's 64-bit layout (cmsg(3)).
#include "net/core/msg.h"

#include "uapi/socket.h"

namespace ph {

std::size_t msg_reader::read(byte_span to) {
  std::size_t done = 0;
  while (done < to.size() && !iov_.empty()) {
    const byte_view piece = iov_.front().subspan(offset_);
    const std::size_t n = copy_bytes(to.subspan(done), piece);
    done += n;
    offset_ += n;
    if (offset_ == iov_.front().size()) {
      iov_ = iov_.subspan(1);
      offset_ = 0;
    }
  }
  return done;
}

std::size_t msg_reader::remaining() const {
  std::size_t out = 0;
  for (const byte_view piece : iov_) out += piece.size();
  return out - offset_;
}

std::size_t msg_writer::write(byte_view from) {
  std::size_t done = 0;
  while (done < from.size() && !iov_.empty()) {
    const std::size_t n = copy_bytes(iov_.front().subspan(offset_), from.subspan(done));
    done += n;
    offset_ += n;
    if (offset_ == iov_.front().size()) {
      iov_ = iov_.subspan(1);
      offset_ = 0;
    }
  }
  return done;
}

std::size_t msg_writer::room() const {
  std::size_t out = 0;
  for (const byte_span piece : iov_) out += piece.size();
  return out - offset_;
}

void put_cmsg(recv_msg& msg, int level, int type, byte_view data) {
  constexpr std::size_t header = 16;
  const byte_span room = msg.control.subspan(std::min(msg.control_len, msg.control.size()));
  if (room.size() < header) {
    msg.out_flags |= uapi::msg_ctrunc;
    return;
  }
  std::size_t len = header + data.size();
  if (len > room.size()) {
    msg.out_flags |= uapi::msg_ctrunc;
    len = room.size();
  }
  byte_writer out(room);
  out.put(le64(len));
  out.put(le32(static_cast<u32>(level)));
  out.put(le32(static_cast<u32>(type)));
  out.put_bytes(data.first(len - header));
  msg.control_len += std::min((len + 7) / 8 * 8, room.size());
}

}  // namespace ph
