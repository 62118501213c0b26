// What scenario tests share: bytes that can be verified at any offset, usual programs, and running
// hashes of what happened, in all and for chosen hosts.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/hash.h"
#include "kernel/trace_sinks.h"
#include "net/ipv4/ip_drop_reasons.h"
#include "net/udp/udp_drop_reasons.h"
#include "sim/topology.h"
#include "uapi/inet.h"

namespace ph::sim {

using namespace literals;
using namespace uapi;

/// Byte `offset` of an endless stream that has no short period.
inline u8 stream_byte(u64 offset) { return static_cast<u8>(mix64(offset / 8) >> (offset % 8 * 8)); }

inline std::vector<u8> stream_bytes(u64 from, std::size_t n) {
  std::vector<u8> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = stream_byte(from + i);
  return out;
}

/// The first offset at which `bytes` differs from the stream, or its length.
inline std::size_t first_difference(byte_view bytes, u64 from = 0) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != stream_byte(from + i)) return i;
  }
  return bytes.size();
}

/// Sends `n` bytes of the stream and closes.
inline app::body stream_sender(endpoint to, std::size_t n) {
  return [to, n](app& a) -> co<> {
    const int fd = co_await a.connect(to);
    for (std::size_t at = 0; at < n;) {
      const std::vector<u8> piece = stream_bytes(at, std::min<std::size_t>(n - at, 64 * 1024));
      co_await a.send_all(fd, piece);
      at += piece.size();
    }
    a.close(fd);
  };
}

/// Accepts one connection, checks every byte against the stream, expects `n` of them.
inline app::body stream_checker(u16 port, std::size_t n, instant* done_at = nullptr) {
  return [port, n, done_at](app& a) -> co<> {
    const int listener = a.listener(port);
    const int fd = co_await a.accept(listener);
    std::vector<u8> buffer(64 * 1024);
    std::size_t at = 0;
    for (;;) {
      const std::size_t got = co_await a.recv(fd, buffer);
      if (got == 0) break;
      const byte_view bytes = byte_view(buffer).first(got);
      if (const std::size_t same = first_difference(bytes, at); same != got) {
        throw std::runtime_error("wrong byte at " + std::to_string(at + same));
      }
      at += got;
    }
    EXPECT_EQ(at, n);
    if (done_at != nullptr) *done_at = a.now();
  };
}

/// Answers every datagram on a port with the same bytes, for ever.
inline app::body udp_echo(u16 port) {
  return [port](app& a) -> co<> {
    const int fd = a.udp();
    a.bind(fd, {ipv4_addr(), port});
    std::vector<u8> buffer(65536);
    for (;;) {
      const received_from got = co_await a.recvfrom(fd, buffer);
      co_await a.sendto(fd, byte_view(buffer).first(got.len), got.from);
    }
  };
}

/// A hash of everything that chosen hosts did, without the numbers that tell journeys apart (these
/// are given out world-wide).
class hosts_hash final : public trace_sink {
 public:
  explicit hosts_hash(std::set<std::string, std::less<>> hosts) : hosts_(std::move(hosts)) {}
  void record(const trace_event& event, byte_view packet) override {
    if (!hosts_.contains(event.host)) return;
    trace_event anonymous = event;
    anonymous.journey = anonymous.parent = 0;
    hash_.record(anonymous, packet);
  }
  [[nodiscard]] u64 value() const { return hash_.value(); }
  [[nodiscard]] u64 recorded() const { return hash_.recorded(); }

 private:
  std::set<std::string, std::less<>> hosts_;
  hash_sink hash_;
};

/// No packet may be left, and none may have ended without a reason.
inline void expect_no_leaks(world& w) {
  for (const auto& h : w.hosts()) EXPECT_EQ(h->drops(drop_reason::unreasoned), 0u) << h->name();
}

}  // namespace ph::sim
