// Taps that copy, a buffer, and writes that cannot block.
#include "daemon/capture.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "wire/udp.h"

namespace ph {
namespace {

/// Loopback frames have a link header like the others.
u16 linktype_of(const net_device& dev) {
  return dev.hard_header_len() != 0 ? pcapng_writer::linktype_ethernet
                                    : pcapng_writer::linktype_raw;
}

/// Fills in a checksum that was left to the device, in a whole frame that begins with `linear`. On
/// a wire between two hosts nobody computes it; in a file it would look like a fault.
void fill_checksum(const sk_buff& skb, byte_view linear, byte_span frame) {
  const std::ptrdiff_t start = (skb.data().data() - linear.data()) + skb.csum_start -
                               static_cast<std::ptrdiff_t>(skb.headroom());
  if (start < 0 || static_cast<std::size_t>(start) + skb.csum_offset + 2 > frame.size()) return;
  const byte_span summed = frame.subspan(static_cast<std::size_t>(start));
  const bool udp = skb.csum_offset == offsetof(udphdr, check);
  const be16 check = csum_fold(csum_add_bytes(summed, {}));
  copy_bytes(summed.subspan(skb.csum_offset),
             bytes_of(udp && check == be16(0) ? be16(0xffff) : check));
}

}  // namespace

unique_fd capture::output_of(int passed) {
  int domain = 0;
  socklen_t len = sizeof domain;
  if (::getsockopt(passed, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0) {
    return unique_fd(domain == AF_UNIX ? ::fcntl(passed, F_DUPFD_CLOEXEC, 0) : -1);
  }
  if (::fcntl(passed, F_GETPIPE_SZ) < 0) return unique_fd();
  // O_NONBLOCK belongs to the open file: that of the client's could change under us.
  const std::string path = fmt::format("/proc/self/fd/{}", passed);
  return unique_fd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
}

capture::capture(unique_fd out, const std::vector<capture_place>& places, capture_limits limits,
                 instant epoch)
    : out_(std::move(out)), limits_(limits), epoch_(epoch), writer_(*this) {
  for (const capture_place& at : places) {
    auto p = std::make_unique<place>();
    p->interface = writer_.add_interface(at.name, linktype_of(*at.dev));
    p->tap.dev = at.dev;
    place* const raw = p.get();
    raw->tap.func = [this, raw](cpu& cx, const sk_buff& skb, net_device&, bool outgoing) {
      take(cx, skb, raw->interface, outgoing);
    };
    at.dev->net().add_tap(raw->tap);
    places_.push_back(std::move(p));
  }
  flush();
}

capture::~capture() = default;

void capture::stop() { places_.clear(); }

/// One frame from its link header on: incoming ones have it before data.
void capture::take(cpu& cx, const sk_buff& skb, u32 interface, bool outgoing) {
  if (over()) return;
  if (backlog_.size() - written_ > longest_backlog) {
    ++left_out_;
    return;
  }
  const byte_view linear = !outgoing && skb.has_mac_header() ? skb.mac_bytes() : skb.data();
  const std::size_t whole = linear.size() + skb.data_len();
  const std::size_t kept =
      limits_.snaplen == 0 ? whole : std::min<std::size_t>(whole, limits_.snaplen);
  bytes_.assign(linear.begin(), linear.begin() + static_cast<std::ptrdiff_t>(
                                                     std::min(kept, linear.size())));
  if (kept > linear.size()) {
    skb.for_pieces(skb.headlen(), static_cast<u32>(kept - linear.size()), [&](byte_view piece) {
      bytes_.insert(bytes_.end(), piece.begin(), piece.end());
    });
  }
  if (skb.ip_summed == checksum_state::partial && kept == whole) {
    fill_checksum(skb, linear, bytes_);
  }
  writer_.packet(interface, epoch_ + duration{cx.now().ns}, bytes_, static_cast<u32>(whole),
                 outgoing ? pcapng_writer::direction::outbound : pcapng_writer::direction::inbound,
                 {});
  ++packets_;
}

void capture::write(byte_view block) {
  backlog_.insert(backlog_.end(), block.begin(), block.end());
}

void capture::flush() {
  while (!flushed()) {
    const u8* const from = backlog_.data() + written_;
    const std::size_t left = backlog_.size() - written_;
    ssize_t wrote = ::send(out_.get(), from, left, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (wrote < 0 && errno == ENOTSOCK) wrote = ::write(out_.get(), from, left);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0 && errno == EAGAIN) break;
    if (wrote < 0) {
      error_ = fmt::format("cannot write the capture: {}", std::strerror(errno));
    } else {
      written_ += static_cast<std::size_t>(wrote);
    }
  }
  if (written_ * 2 < backlog_.size()) return;  // each byte moves once on the average
  backlog_.erase(backlog_.begin(), backlog_.begin() + static_cast<std::ptrdiff_t>(written_));
  written_ = 0;
}

}  // namespace ph
