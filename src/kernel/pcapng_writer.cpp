// Blocks of draft-ietf-opsawg-pcapng, little endian: type, total length, body, total length,
// everything padded to 32 bits.
#include "kernel/pcapng_writer.h"

#include <algorithm>

namespace ph {
namespace {

// Block types (section 4) and option codes (3.5, 4.1, 4.2, 4.3).
constexpr u32 section_header = 0x0a0d0d0a;
constexpr u32 interface_description = 1;
constexpr u32 enhanced_packet = 6;
constexpr u32 opt_endofopt = 0;
constexpr u32 opt_comment = 1;
constexpr u32 shb_userappl = 4;
constexpr u32 if_name = 2;
constexpr u32 if_tsresol = 9;
constexpr u32 epb_flags = 2;

constexpr u32 byte_order_magic = 0x1a2b3c4d;
constexpr u8 nanosecond_resolution = 9;  // 10^-9
constexpr std::size_t longest_option = 0xffff;

}  // namespace

pcapng_writer::pcapng_writer(pcapng_output& out) : out_(out) {
  begin_block(section_header);
  put32(byte_order_magic);
  put16(1);  // version 1.0
  put16(0);
  put32(~u32{0});  // the section's length is not given
  put32(~u32{0});
  put_option(shb_userappl, bytes_of(std::string_view("posthaste")));
  put_option(opt_endofopt, {});
  end_block();
}

u32 pcapng_writer::add_interface(std::string_view name, u16 linktype) {
  begin_block(interface_description);
  put16(linktype);
  put16(0);
  put32(0);  // no limit on the captured length
  put_option(if_name, bytes_of(name));
  put_option(if_tsresol, bytes_of(nanosecond_resolution));
  put_option(opt_endofopt, {});
  end_block();
  return interfaces_++;
}

void pcapng_writer::packet(u32 interface, instant when, byte_view bytes, u32 original_len,
                           direction way, std::string_view comment) {
  ph_check(interface < interfaces_);
  const u64 ns = when.ns < 0 ? 0 : static_cast<u64>(when.ns);
  const u32 captured = static_cast<u32>(bytes.size());
  begin_block(enhanced_packet);
  put32(interface);
  put32(static_cast<u32>(ns >> 32));
  put32(static_cast<u32>(ns));
  put32(captured);
  put32(std::max(original_len, captured));
  put_padded(bytes);
  if (!comment.empty()) put_option(opt_comment, bytes_of(comment));
  if (way != direction::unknown) put_option(epb_flags, bytes_of(le32(static_cast<u32>(way))));
  put_option(opt_endofopt, {});
  end_block();
}

void pcapng_writer::put16(u32 value) {
  const le16 stored(static_cast<u16>(value));
  block_.insert(block_.end(), stored.bytes().begin(), stored.bytes().end());
}

void pcapng_writer::put32(u32 value) {
  const le32 stored(value);
  block_.insert(block_.end(), stored.bytes().begin(), stored.bytes().end());
}

void pcapng_writer::put_padded(byte_view bytes) {
  block_.insert(block_.end(), bytes.begin(), bytes.end());
  block_.resize((block_.size() + 3) / 4 * 4);
}

void pcapng_writer::put_option(u32 code, byte_view value) {
  value = value.first(std::min(value.size(), longest_option));
  put16(code);
  put16(static_cast<u32>(value.size()));
  put_padded(value);
}

void pcapng_writer::begin_block(u32 type) {
  block_.clear();
  put32(type);
  put32(0);  // the length, filled in by end_block
}

void pcapng_writer::end_block() {
  const u32 total = static_cast<u32>(block_.size() + sizeof(u32));
  put32(total);
  *view_as<le32>(byte_span(block_), sizeof(u32)) = le32(total);
  out_.write(block_);
}

}  // namespace ph
