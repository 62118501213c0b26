// Capture files in the pcapng format (draft-ietf-opsawg-pcapng): one section, interfaces added
// as they appear, packets with nanosecond times, direction and comment. It writes blocks; where
// they go (a file, a socket, memory) is the output's affair.
#pragma once

#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"

namespace ph {

class pcapng_output {
 public:
  virtual ~pcapng_output() = default;
  /// Gets each whole block once.
  virtual void write(byte_view block) = 0;
};

class pcapng_writer {
 public:
  static constexpr u16 linktype_ethernet = 1;  ///< LINKTYPE_ETHERNET of tcpdump.org
  static constexpr u16 linktype_raw = 101;     ///< begins with an IPv4 or IPv6 header
  enum class direction : u32 { unknown = 0, inbound = 1, outbound = 2 };

  /// Writes the section header. `out` must outlive the writer.
  explicit pcapng_writer(pcapng_output& out);
  pcapng_writer(const pcapng_writer&) = delete;
  pcapng_writer& operator=(const pcapng_writer&) = delete;

  /// Describes an interface; returns its number in this file.
  u32 add_interface(std::string_view name, u16 linktype);
  /// `bytes` is what was captured of a packet of `original_len` bytes; times before 0 count as 0.
  /// An empty comment is left out.
  void packet(u32 interface, instant when, byte_view bytes, u32 original_len, direction way,
              std::string_view comment);

 private:
  void put16(u32 value);
  void put32(u32 value);
  void put_padded(byte_view bytes);
  void put_option(u32 code, byte_view value);
  void begin_block(u32 type);
  void end_block();
  pcapng_output& out_;
  std::vector<u8> block_;  ///< kept for its memory
  u32 interfaces_ = 0;
};

}  // namespace ph
