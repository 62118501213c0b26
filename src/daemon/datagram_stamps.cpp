// Items of tags that say when a datagram came.
#include "daemon/datagram_stamps.h"

#include <algorithm>
#include <array>

#include "uapi/socket.h"

namespace ph::dropin {
namespace {

constexpr u32 own_level = ~u32{0};
constexpr u32 own_stamp = 0, stamp_before = 1;

void append(std::vector<u8>& to, byte_view bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void append_item(std::vector<u8>& to, u32 level, u32 type, byte_view value) {
  append(to, bytes_of(control_item{level, type, static_cast<u32>(value.size())}));
  append(to, value);
}

bool is_form(const control_item& item) {
  return item.level == u32{uapi::sol_socket} &&
         datagram_stamps::covers(uapi::sol_socket, static_cast<int>(item.type));
}

/// Calls f(item, value) for each.
template <class F>
void for_each_item(byte_view items, F&& f) {
  control_walk walk{items.data(), static_cast<u32>(items.size())};
  control_item item;
  const u8* value = nullptr;
  while (walk.next(item, value)) f(item, byte_view{value, item.len});
}

std::optional<time_stamp> find_own(byte_view items, u32 type) {
  std::optional<time_stamp> out;
  for_each_item(items, [&](const control_item& item, byte_view value) {
    if (item.level != own_level || item.type != type || value.size() != sizeof(time_stamp)) return;
    out = byte_reader(value).take<time_stamp>();
  });
  return out;
}

u32 option(host_sockets& host, int s, int name) {
  std::array<u8, 8> value{};
  if (!host.getsockopt(s, uapi::sol_socket, name, value)) return 0;
  return byte_reader(value).take<u32>();
}

/// The control messages that a receive on the socket would tell of this stamp.
void append_forms(host_sockets& host, int s, const time_stamp& stamp, std::vector<u8>& to) {
  using namespace uapi;
  const time_stamp micro{stamp.sec, stamp.nsec / 1000};
  for (const int name : {so_timestampns_new, so_timestampns, so_timestamp_new, so_timestamp}) {
    if (option(host, s, name) == 0) continue;
    const bool nano = name == so_timestampns_new || name == so_timestampns;
    append_item(to, sol_socket, static_cast<u32>(name), bytes_of(nano ? stamp : micro));
    break;
  }
  if ((option(host, s, so_timestamping) & sof_timestamping_software) == 0) return;
  // By software, by a scheme of old, by hardware.
  append_item(to, sol_socket, scm_timestamping, bytes_of(std::array<time_stamp, 3>{stamp}));
}

}  // namespace

bool datagram_stamps::covers(int level, int name) {
  using namespace uapi;
  if (level != sol_socket) return false;
  switch (name) {
    case so_timestamp:
    case so_timestampns:
    case so_timestamping:
    case so_timestamp_new:
    case so_timestampns_new:
    case so_timestamping_new: return true;
    default: return false;
  }
}

bool datagram_stamps::asks(u32 command) {
  return command == uapi::siocgstamp || command == uapi::siocgstampns ||
         command == uapi::siocgstamp_new || command == uapi::siocgstampns_new;
}

bool datagram_stamps::hides(u32 level) { return level == own_level; }

std::vector<u8> datagram_stamps::items_of_received(host_sockets& host, int s) {
  std::vector<u8> out;
  time_stamp came;
  const byte_span room{reinterpret_cast<u8*>(&came), sizeof came};
  if (!on_ || !host.ioctl(s, uapi::siocgstampns, room)) return out;
  append_item(out, own_level, own_stamp, bytes_of(came));
  if (last_) append_item(out, own_level, stamp_before, bytes_of(*last_));
  last_ = came;
  return out;
}

std::vector<u8> datagram_stamps::remake(host_sockets& host, int s, byte_view items,
                                        time_stamp given) {
  std::vector<u8> out;
  for_each_item(items, [&](const control_item& item, byte_view value) {
    if (!is_form(item)) append_item(out, item.level, item.type, value);
  });
  const auto stamp = find_own(items, own_stamp);
  if (!stamp) append_item(out, own_level, own_stamp, bytes_of(given));
  append_forms(host, s, stamp.value_or(given), out);
  return out;
}

result<time_stamp> datagram_stamps::last_read(std::optional<byte_view> next) const {
  const auto found = next ? find_own(*next, stamp_before) : last_;
  if (!found) return fail(errc::noent);
  return *found;
}

}  // namespace ph::dropin
