// Reads packet captures: pcap in both byte orders and both precisions, and pcapng. For tests only;
// what is damaged ends the reading, and what came before stays.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace ph::tests {

/// Link types (the registry of tcpdump.org/linktypes.html) that are told apart here.
enum link_type : u32 {
  link_null = 0, link_ethernet = 1, link_ppp = 9, link_raw_bsd = 12, link_raw_openbsd = 14,
  link_ppp_serial = 50, link_raw = 101, link_c_hdlc = 104, link_loop = 108, link_linux_sll = 113,
  link_ipv4 = 228, link_ipv6 = 229, link_linux_sll2 = 276,
};

struct captured_frame {
  u32 link = link_ethernet;
  std::vector<u8> bytes;
};

/// Numbers in the byte order of the file's writer.
class ordered_reader {
 public:
  explicit ordered_reader(byte_view bytes) : in_(bytes) {}
  bool swapped = false;
  u16 u16_() { return swapped ? in_.take<be16>().value() : in_.take<le16>().value(); }
  u32 u32_() { return swapped ? in_.take<be32>().value() : in_.take<le32>().value(); }
  byte_view bytes(std::size_t n) { return in_.take_bytes(n); }
  [[nodiscard]] bool ok() const { return in_.ok(); }
  [[nodiscard]] std::size_t remaining() const { return in_.remaining(); }

 private:
  byte_reader in_;
};

inline std::vector<captured_frame> read_pcap(byte_view file, bool swapped) {
  std::vector<captured_frame> out;
  ordered_reader in(file);
  in.swapped = swapped;
  in.bytes(20);
  const u32 link = in.u32_() & 0xffff;  // the upper half says whether frames end in a checksum
  while (in.remaining() >= 16) {
    in.bytes(8);
    const u32 kept = in.u32_();
    in.bytes(4);
    const byte_view bytes = in.bytes(std::min<std::size_t>(kept, in.remaining()));
    out.push_back({link, {bytes.begin(), bytes.end()}});
  }
  return out;
}

inline std::vector<captured_frame> read_pcapng(byte_view file) {
  std::vector<captured_frame> out;
  std::vector<u32> links;
  bool swapped = false;
  while (file.size() >= 12) {
    ordered_reader head(file);
    head.swapped = swapped;
    const u32 type = head.u32_();
    constexpr u32 section = 0x0a0d0d0a;
    if (type == section) {
      swapped = view_as<be32>(file, 8)->value() == 0x1a2b3c4d;
      head.swapped = swapped;
      links.clear();
    }
    const u32 length = head.u32_();
    if (length < 12 || length > file.size()) break;
    ordered_reader in(file.subspan(8, length - 12));
    in.swapped = swapped;
    const auto frame = [&](u32 interface, u32 kept) {
      const byte_view bytes = in.bytes(std::min<std::size_t>(kept, in.remaining()));
      if (interface < links.size()) out.push_back({links[interface], {bytes.begin(), bytes.end()}});
    };
    switch (type) {
      case 1: links.push_back(in.u16_()); break;
      case 2: {  // the packet block that the enhanced one replaced
        const u32 interface = in.u16_();
        in.bytes(10);
        const u32 kept = in.u32_();
        in.bytes(4);
        frame(interface, kept);
        break;
      }
      case 3: frame(0, in.u32_()); break;  // original length; the block's end limits it
      case 6: {
        const u32 interface = in.u32_();
        in.bytes(8);
        const u32 kept = in.u32_();
        in.bytes(4);
        frame(interface, kept);
        break;
      }
      default: break;
    }
    file = file.subspan(std::min<std::size_t>((length + 3) / 4 * 4, file.size()));
  }
  return out;
}

/// The bytes of a file; those that gzip packed are unpacked by it.
inline std::vector<u8> file_bytes(const std::filesystem::path& path) {
  const bool packed = path.extension() == ".gz";
  const auto close = [packed](std::FILE* f) { packed ? ::pclose(f) : std::fclose(f); };
  const std::string unpack = "gzip -dc '" + path.string() + "'";
  const std::unique_ptr<std::FILE, decltype(close)> in(
      packed ? ::popen(unpack.c_str(), "r") : std::fopen(path.c_str(), "rb"), close);
  std::vector<u8> out;
  std::array<u8, 65536> room{};
  while (in != nullptr) {
    const std::size_t n = std::fread(room.data(), 1, room.size(), in.get());
    if (n == 0) break;
    out.insert(out.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(n));
  }
  return out;
}

/// The frames of a capture, whatever its format; none when it is not a capture.
inline std::vector<captured_frame> read_capture(const std::filesystem::path& path) {
  const std::vector<u8> file = file_bytes(path);
  if (file.size() < 24) return {};
  switch (view_as<be32>(byte_view(file))->value()) {
    case 0xa1b2c3d4: case 0xa1b23c4d: return read_pcap(file, true);
    case 0xd4c3b2a1: case 0x4d3cb2a1: return read_pcap(file, false);
    case 0x0a0d0d0a: return read_pcapng(file);
    default: return {};
  }
}

}  // namespace ph::tests
