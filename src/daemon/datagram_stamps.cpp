// Items of tags that say when a datagram came.
#include "daemon/datagram_stamps.h"

#include <algorithm>
#include <array>

#include "daemon/received_choice.h"
#include "uapi/socket.h"

namespace ph::dropin {
namespace {

constexpr u32 stamp_before = 1;  // beside own_stamp

void append(std::vector<u8>& to, byte_view bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void append_item(std::vector<u8>& to, u32 level, u32 type, byte_view value) {
  append(to, bytes_of(control_item{level, type, static_cast<u32>(value.size())}));
  append(to, value);
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

u32 datagram_stamps::choice(host_sockets& host, int s) {
  u32 out = 0;
  for (std::size_t i = 0; i < std::size(stamp_forms) && out == 0; ++i) {
    if (option(host, s, stamp_forms[i]) != 0) out = static_cast<u32>(i + 1) << stamp_form_shift;
  }
  const u32 flags = option(host, s, uapi::so_timestamping);
  return (flags & uapi::sof_timestamping_software) != 0 ? out | stamp_timestamping : out;
}

void datagram_stamps::start(host_sockets& host, int s) {
  if (std::exchange(on_, true)) return;
  time_stamp read;
  const byte_span room{reinterpret_cast<u8*>(&read), sizeof read};
  if (host.ioctl(s, uapi::siocgstampns, room)) before_ = last_ = read;
}

std::vector<u8> datagram_stamps::items_of_received(host_sockets& host, int s, instant came) {
  std::vector<u8> out;
  if (!on_ || came == instant{}) return out;
  constexpr s64 second = 1'000'000'000;
  const time_stamp stamp{came.ns / second, came.ns % second};
  append_item(out, own_level, own_stamp, bytes_of(stamp));
  if (last_) append_item(out, own_level, stamp_before, bytes_of(*last_));
  constexpr u32 tells = stamp_form_mask << stamp_form_shift | stamp_timestamping;
  const bool told = (choice(host, s) & tells) != 0;
  if (!told) last_ = stamp;
  return out;
}

result<time_stamp> datagram_stamps::last_read(std::optional<byte_view> next) const {
  std::optional<time_stamp> found = last_;
  if (next) found = find_own(*next, own_stamp) ? find_own(*next, stamp_before) : before_;
  if (!found) return fail(errc::noent);
  return *found;
}

}  // namespace ph::dropin
