// Packets seen on a real wire (Linux 6.1 to itself over loopback), for tests that need bytes which
// we did not make ourselves. Their TCP and UDP checksums are unfinished (left to the device).
#pragma once

#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace ph::golden {

/// Bytes from hexadecimal digits; blanks are skipped.
inline std::vector<u8> from_hex(std::string_view text) {
  std::vector<u8> out;
  int high = -1;
  for (const char c : text) {
    if (c == ' ' || c == '\n') continue;
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (high < 0) {
      high = digit;
    } else {
      out.push_back(static_cast<u8>(high * 16 + digit));
      high = -1;
    }
  }
  return out;
}

inline std::vector<u8> syn() {
  return from_hex(
      "0000000000000000000000000800 4500003c2b544000400611667f0000017f000001"
      "d5c61f90a3c86a6400000000a002faf0fe300000 020405b4 0402 080a1234c74400000000 01 03030a");
}
inline std::vector<u8> syn_ack() {
  return from_hex(
      "0000000000000000000000000800 4500003c0000400040063cba7f0000017f000001"
      "1f90d5c61eb839b7a3c86a65a012fe88fe300000 020405b4 0402 080abdb0b4cb1234c744 01 03030a");
}
inline std::vector<u8> hello() {
  return from_hex(
      "0000000000000000000000000800 450000392b564000400611677f0000017f000001"
      "d5c61f90a3c86a651eb839b88018003ffe2d0000 0101 080a1234c744bdb0b4cb 68656c6c6f");
}
inline std::vector<u8> fin_ack() {
  return from_hex(
      "0000000000000000000000000800 450000342b5740004006116b7f0000017f000001"
      "d5c61f90a3c86a6a1eb839b88011003ffe280000 0101 080a1234c744bdb0b4cb");
}
inline std::vector<u8> udp_ping() {
  return from_hex(
      "0000000000000000000000000800 45000020f1d3400040114af77f0000017f000001"
      "ea14270f000cfe1f 70696e67");
}
inline std::vector<u8> port_unreachable() {
  return from_hex(
      "0000000000000000000000000800 45c0003c3e67000040013d987f0000017f000001"
      "03030edc00000000 45000020f1d3400040114af77f0000017f000001 ea14270f000cfe1f70696e67");
}
/// With room for two addresses in a record route option, one of them filled.
inline std::vector<u8> echo_request() {
  return from_hex(
      "0000000000000000000000000800 480000303e6840004001ead87f0000017f000001"
      "070b087f000001 00000000 00 0800666200070001 6162636465666768");
}
inline std::vector<u8> echo_reply() {
  return from_hex(
      "0000000000000000000000000800 480000303e69400040012559 7f0000017f000001"
      "070b0c7f000001 7f000001 00 00006e6200070001 6162636465666768");
}
inline std::vector<u8> arp_request() {
  return from_hex(
      "ffffffffffff 020000000001 0806 0001 0800 06 04 0001"
      "020000000001 0a000001 000000000000 0a000002");
}

/// The part after the Ethernet header.
inline std::vector<u8> without_link(const std::vector<u8>& frame) {
  return {frame.begin() + 14, frame.end()};
}

/// The first n bytes in a block of their own, so that reading past them is seen by sanitizers.
inline std::vector<u8> cut(byte_view bytes, std::size_t n) {
  return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)};
}

}  // namespace ph::golden
