// Reading a program's messages, and writing to them.
#include "calls/message.h"

#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstring>

#include "daemon/protocol.h"

namespace ph::calls {

using dropin::control_item;

static_assert(sizeof(piece) == sizeof(iovec) && offsetof(iovec, iov_len) == offsetof(piece, len));

namespace {

u64 address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

}  // namespace

int read_message(caller& c, u64 at, bool sends, message& out) {
  msghdr m;
  if (!c.read(at, &m, sizeof m)) return -EFAULT;
  out.name = address_of(m.msg_name);
  out.name_len = m.msg_name != nullptr ? m.msg_namelen : 0;
  if (static_cast<int>(out.name_len) < 0) return -EINVAL;
  if (out.name_len > sizeof(sockaddr_storage)) out.name_len = sizeof(sockaddr_storage);
  if (m.msg_iovlen > UIO_MAXIOV) return -EMSGSIZE;
  out.bytes = {nullptr, address_of(m.msg_iov), m.msg_iovlen};
  out.control = address_of(m.msg_control);
  out.control_len = m.msg_controllen;
  if (sends && out.control_len > INT_MAX) return -ENOBUFS;
  out.flags = m.msg_flags;
  return 0;
}

int give_message(caller& c, const message& m, u64 at) {
  const socklen_t name_len = m.name_len;
  const decltype(msghdr::msg_controllen) control_len = m.control_len;
  const bool given =
      (m.name == 0 || c.write(at + offsetof(msghdr, msg_namelen), &name_len, sizeof name_len)) &&
      c.write(at + offsetof(msghdr, msg_flags), &m.flags, sizeof m.flags) &&
      c.write(at + offsetof(msghdr, msg_controllen), &control_len, sizeof control_len);
  return given ? 0 : -EFAULT;
}

int piece_list::read(caller& c, const buffers& from) {
  if (from.count > UIO_MAXIOV) return -EMSGSIZE;
  const std::size_t size = from.count * sizeof(piece);
  auto* const to = from.count <= few ? few_ : reinterpret_cast<piece*>(many_.take(size));
  if (to == nullptr) return -ENOMEM;
  if (from.own != nullptr) {
    std::memcpy(to, from.own, size);
  } else if (!c.read(from.at, to, size)) {
    return -EFAULT;
  }
  for (std::size_t i = 0; i < from.count; ++i) {
    if (static_cast<s64>(to[i].len) < 0) return -EINVAL;
    to[i].len = to[i].len < most_moved - total_ ? to[i].len : most_moved - total_;
    total_ += to[i].len;
  }
  pieces_ = to;
  count_ = from.count;
  return 0;
}

bool gather(caller& c, const piece_list& from, u8* to) {
  for (const piece& p : from) {
    if (!c.read(p.at, to, p.len)) return false;
    to += p.len;
  }
  return true;
}

long scatter(caller& c, const u8* from, std::size_t len, const piece_list& to) {
  std::size_t done = 0;
  for (const piece& p : to) {
    const std::size_t n = p.len < len - done ? p.len : len - done;
    if (!c.write(p.at, from + done, n)) return -EFAULT;
    done += n;
  }
  return static_cast<long>(done);
}

long pack_control(caller& c, const message& m, bool (*wanted)(int level, int type), u8* out,
                  std::size_t room) {
  constexpr u64 most_control = 131072;  // net.core.optmem_max, as it is by default
  const u64 all = m.control_len;
  if (all > most_control) return -ENOBUFS;
  std::size_t used = 0;
  for (u64 at = 0, left = all; left >= sizeof(cmsghdr); left = all - at) {
    cmsghdr head;
    if (!c.read(m.control + at, &head, sizeof head)) return -EFAULT;
    if (head.cmsg_len < CMSG_LEN(0) || head.cmsg_len > left) return -EINVAL;
    const std::size_t len = head.cmsg_len - CMSG_LEN(0);
    if (wanted(head.cmsg_level, head.cmsg_type)) {
      const control_item item{static_cast<u32>(head.cmsg_level), static_cast<u32>(head.cmsg_type),
                              static_cast<u32>(len)};
      if (sizeof item + len > room - used) return -ENOBUFS;
      std::memcpy(out + used, &item, sizeof item);
      if (!c.read(m.control + at + CMSG_LEN(0), out + used + sizeof item, len)) return -EFAULT;
      used += sizeof item + len;
    }
    const u64 space = CMSG_ALIGN(head.cmsg_len);
    at = space < left ? at + space : all;
  }
  return static_cast<long>(used);
}

void control_writer::append(int level, int type, const void* data, std::size_t len) {
  const u64 left = room_ - used_;
  if (left < sizeof(cmsghdr)) {
    message_.flags |= MSG_CTRUNC;
    return;
  }
  cmsghdr head{};
  head.cmsg_level = level;
  head.cmsg_type = type;
  head.cmsg_len = CMSG_LEN(len);
  if (left < head.cmsg_len) {
    message_.flags |= MSG_CTRUNC;
    head.cmsg_len = left;
  }
  const u64 at = message_.control + used_;
  if (!caller_.write(at, &head, sizeof head) ||
      !caller_.write(at + CMSG_LEN(0), data, head.cmsg_len - CMSG_LEN(0))) {
    return;
  }
  const std::size_t space = CMSG_SPACE(len);
  used_ = space < left ? used_ + space : room_;
}

}  // namespace ph::calls
