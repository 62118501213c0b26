// Taps that copy, a buffer, and writes that cannot block.
#include "daemon/capture.h"

#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
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

/// Whether a write of PIPE_BUF bytes would not wait. pipe(7): poll says so.
bool takes_a_piece(int fd) {
  pollfd wanted{fd, POLLOUT, 0};
  return ::poll(&wanted, 1, 0) == 1 && wanted.revents != 0;
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

capture::capture(unique_fd out, const std::vector<capture_place>& places, capture_limits limits,
                 instant epoch)
    : out_(std::move(out)), limits_(limits), epoch_(epoch), writer_(*this) {
  struct stat st {};
  regular_ = ::fstat(out_.get(), &st) == 0 && S_ISREG(st.st_mode);
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
  if (backlog_.size() > longest_backlog) {
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
  std::size_t done = 0;
  while (done < backlog_.size() && error_.empty()) {
    if (!regular_ && !takes_a_piece(out_.get())) break;
    const std::size_t left = backlog_.size() - done;
    const std::size_t n = regular_ ? left : std::min<std::size_t>(left, PIPE_BUF);
    const ssize_t wrote = ::write(out_.get(), backlog_.data() + done, n);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0 && errno == EAGAIN) break;
    if (wrote < 0) {
      error_ = fmt::format("cannot write the capture: {}", std::strerror(errno));
    } else {
      done += static_cast<std::size_t>(wrote);
    }
  }
  backlog_.erase(backlog_.begin(), backlog_.begin() + static_cast<std::ptrdiff_t>(done));
}

}  // namespace ph
