// Taps that copy, a buffer, and writes that cannot block.
#include "daemon/capture.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

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

capture::capture(unique_fd out, const std::vector<capture_place>& places, capture_limits limits,
                 instant epoch, capture_budget& budget)
    : out_(std::move(out)), budget_(budget), limits_(limits), epoch_(epoch), writer_(*this) {
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

capture::~capture() { budget_.used -= backlog_.size(); }

void capture::stop() { places_.clear(); }

/// One frame from its link header on: incoming ones have it before data.
void capture::take(cpu& cx, const sk_buff& skb, u32 interface, bool outgoing) {
  if (over()) return;
  if (!budget_.lets_grow(backlog_.size())) {
    ++left_out_;
    return;
  }
  const byte_view linear = !outgoing && skb.has_mac_header() ? skb.mac_bytes() : skb.data();
  const std::size_t whole = linear.size() + skb.data_len();
  const std::size_t kept =
      limits_.snaplen == 0 ? whole : std::min<std::size_t>(whole, limits_.snaplen);
  bytes_.assign(linear.begin(),
                linear.begin() + static_cast<std::ptrdiff_t>(std::min(kept, linear.size())));
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
  budget_.used += block.size();
}

void capture::flush() {
  while (!flushed()) {
    const ssize_t sent = ::send(out_.get(), backlog_.data() + written_, backlog_.size() - written_,
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) break;
    if (sent < 0) {
      error_ = fmt::format("cannot write the capture: {}", std::strerror(errno));
    } else {
      written_ += static_cast<std::size_t>(sent);
    }
  }
  drop_written();
}

/// Each byte moves once on the average; a peak's memory is given back.
void capture::drop_written() {
  constexpr std::size_t kept_room = 1 << 20;
  if (written_ == 0 || written_ * 2 < backlog_.size()) return;
  backlog_.erase(backlog_.begin(), backlog_.begin() + static_cast<std::ptrdiff_t>(written_));
  budget_.used -= std::exchange(written_, 0);
  if (backlog_.empty() && backlog_.capacity() > kept_room) backlog_.shrink_to_fit();
}

}  // namespace ph
