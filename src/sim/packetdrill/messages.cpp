// Reading of structures in both notations: the script's and the bytes of the call.
#include "sim/packetdrill/messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "sim/packetdrill/values.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::packetdrill {
namespace {

template <class T>
std::optional<T> read(byte_view bytes) {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T out;
  std::memcpy(&out, bytes.data(), sizeof(T));
  return out;
}

s64 wanted(const expression& e) { return evaluate(e, nullptr).value_or(-1); }

/// The first difference between one field of the script and what came.
void compare_field(const expression& data, const char* name, s64 got, std::string& out) {
  const expression* field = data.field(name);
  if (!out.empty() || field == nullptr || field->kind == expression::kind_type::ellipsis) return;
  if (wanted(*field) != got) out = fmt::format("{} is {}", name, got);
}

std::string compare_time(const expression& data, byte_view bytes, instant start,
                         duration tolerance) {
  const auto stamp = read<uapi::scm_timestamping_value>(bytes);
  if (!stamp) return "the timestamp is too short";
  const expression* sec = data.field("scm_sec");
  const expression* nsec = data.field("scm_nsec");
  const s64 want = (sec != nullptr ? wanted(*sec) : 0) * 1'000'000'000 +
                   (nsec != nullptr ? wanted(*nsec) : 0);
  const s64 got = stamp->ts[0].tv_sec * 1'000'000'000 + stamp->ts[0].tv_nsec - start.ns;
  if (std::llabs(got - want) <= tolerance.ns) return {};
  return fmt::format("the timestamp is {:.6f} s", static_cast<double>(got) / 1e9);
}

std::string compare_error(const expression& data, byte_view bytes) {
  const auto e = read<uapi::sock_extended_err>(bytes);
  if (!e) return "the extended error is too short";
  std::string out;
  compare_field(data, "ee_errno", e->ee_errno, out);
  compare_field(data, "ee_origin", e->ee_origin, out);
  compare_field(data, "ee_type", e->ee_type, out);
  compare_field(data, "ee_code", e->ee_code, out);
  compare_field(data, "ee_info", e->ee_info, out);
  compare_field(data, "ee_data", e->ee_data, out);
  return out;
}

std::string compare_data(const expression& data, byte_view bytes, instant start,
                         duration tolerance) {
  if (data.kind == expression::kind_type::ellipsis) return {};
  if (data.kind == expression::kind_type::structure) {
    if (data.field("scm_sec") != nullptr || data.field("scm_nsec") != nullptr) {
      return compare_time(data, bytes, start, tolerance);
    }
    return compare_error(data, bytes);
  }
  s64 got = bytes.empty() ? -1 : bytes[0];  // IP_TOS is a byte, all others are an int
  if (const auto value = read<s32>(bytes)) got = *value;
  return got == wanted(data) ? std::string() : fmt::format("cmsg_data is {}", got);
}

}  // namespace

address read_address(const expression& e, address otherwise) {
  if (e.kind == expression::kind_type::word && e.word == "AF_UNSPEC") otherwise.family = 0;
  if (e.kind != expression::kind_type::structure) return otherwise;
  for (const char* name : {"sa_family", "sin_family"}) {
    const expression* family = e.field(name);
    if (family == nullptr) continue;
    otherwise.family = static_cast<u16>(evaluate(*family, nullptr).value_or(otherwise.family));
  }
  if (const expression* port = e.field("sin_port")) {
    otherwise.port = static_cast<u16>(evaluate(*port, nullptr).value_or(otherwise.port));
  }
  if (const expression* addr = e.field("sin_addr")) {
    const auto value = evaluate(*addr, nullptr);
    if (value) otherwise.addr = ipv4_addr(static_cast<u32>(*value));
  }
  return otherwise;
}

std::string control_difference(const expression& want, byte_view control, instant start,
                               duration tolerance) {
  for (const expression& item : want.items) {
    const auto head = read<uapi::cmsghdr>(control);
    if (!head) return "a control message is missing";
    const u64 len = head->cmsg_len;
    if (len < sizeof(*head) || len > control.size()) return "a control message is cut off";
    std::string why;
    compare_field(item, "cmsg_level", head->cmsg_level, why);
    compare_field(item, "cmsg_type", head->cmsg_type, why);
    const expression* data = item.field("cmsg_data");
    if (why.empty() && data != nullptr) {
      why = compare_data(*data, control.subspan(sizeof(*head), len - sizeof(*head)), start,
                         tolerance);
    }
    if (!why.empty()) return "control message: " + why;
    control = control.subspan(std::min(uapi::cmsg_align(len), control.size()));
  }
  if (control.empty()) return {};
  return fmt::format("{} more bytes of control messages", control.size());
}

}  // namespace ph::packetdrill
