// Checking and running classic BPF.
#include "net/core/cbpf.h"

#include <algorithm>
#include <array>
#include <optional>

#include "kernel/cpu.h"
#include "net/core/net_device.h"
#include "net/core/sock.h"

namespace ph {
namespace {

// An instruction's code: class, and size and mode, or operation and source (linux/filter.h).
constexpr u16 class_mask = 0x07;
constexpr u16 ld = 0, ldx = 1, st = 2, stx = 3, alu = 4, jmp = 5, ret = 6, misc = 7;
constexpr u16 size_mask = 0x18;
constexpr u16 size_w = 0x00, size_h = 0x08, size_b = 0x10;
constexpr u16 mode_mask = 0xe0;
constexpr u16 imm = 0x00, abs = 0x20, ind = 0x40, mem = 0x60, pkt_len = 0x80, msh = 0xa0;
constexpr u16 op_mask = 0xf0;
constexpr u16 add = 0x00, sub = 0x10, mul = 0x20, div = 0x30, or_ = 0x40, and_ = 0x50, lsh = 0x60,
              rsh = 0x70, neg = 0x80, mod = 0x90, xor_ = 0xa0;
constexpr u16 ja = 0x00, jeq = 0x10, jgt = 0x20, jge = 0x30, jset = 0x40;
constexpr u16 source_x = 0x08;
constexpr u16 ret_a = 0x10;
constexpr u16 tax = 0x00, txa = 0x80;

constexpr std::size_t most_instructions = 4096;
constexpr u32 words_of_memory = 16;

// Offsets that mean something else than bytes behind the packet's start.
constexpr u32 ancillary = 0xfffff000;  ///< SKF_AD_OFF
constexpr u32 ancillary_end = ancillary + 64;
constexpr u32 network_header = 0xfff00000;  ///< SKF_NET_OFF
constexpr u32 link_header = 0xffe00000;     ///< SKF_LL_OFF
constexpr u32 ad_protocol = 0, ad_pkttype = 4, ad_ifindex = 8, ad_mark = 20, ad_queue = 24,
              ad_hatype = 28, ad_rxhash = 32, ad_cpu = 36, ad_alu_xor_x = 40, ad_vlan_tag = 44,
              ad_vlan_present = 48, ad_random = 56;

bool known_load(u16 code) {
  switch (code) {
    case ld | imm:
    case ld | mem:
    case ld | pkt_len:
    case ldx | imm:
    case ldx | mem:
    case ldx | pkt_len:
    case ldx | size_b | msh: return true;
    default: {
      const u16 mode = code & mode_mask, size = code & size_mask;
      return code <= 0xff && (code & class_mask) == ld && (mode == abs || mode == ind) &&
             size <= size_b;
    }
  }
}

bool valid_alu(const cbpf_insn& insn) {
  const u16 op = insn.code & op_mask;
  if (op > xor_ || (insn.code & ~(op_mask | source_x | class_mask)) != 0) return false;
  if ((insn.code & source_x) != 0) return op != neg;
  if (op == div || op == mod) return insn.k != 0;
  return (op != lsh && op != rsh) || insn.k < 32;
}

bool valid_jump(const cbpf_insn& insn, std::size_t left) {
  const u16 op = insn.code & op_mask;
  if (insn.code == (jmp | ja)) return insn.k < left;
  return op >= jeq && op <= jset && (insn.code & ~(op_mask | source_x | class_mask)) == 0 &&
         insn.jt < left && insn.jf < left;
}

/// `left`: how many instructions come behind this one.
bool valid(const cbpf_insn& insn, std::size_t left) {
  const u16 mode = insn.code & mode_mask;
  switch (insn.code & class_mask) {
    case ld:
    case ldx: return known_load(insn.code) && (mode != mem || insn.k < words_of_memory);
    case st:
    case stx: return insn.code <= stx && insn.k < words_of_memory;
    case alu: return valid_alu(insn);
    case jmp: return valid_jump(insn, left);
    case ret: return insn.code == ret || insn.code == (ret | ret_a);
    default: return insn.code == (misc | tax) || insn.code == (misc | txa);
  }
}

u32 compute(u16 op, u32 a, u32 b) {
  switch (op) {
    case add: return a + b;
    case sub: return a - b;
    case mul: return a * b;
    case div: return a / b;
    case mod: return a % b;
    case or_: return a | b;
    case and_: return a & b;
    case xor_: return a ^ b;
    case lsh: return a << (b & 31);
    case rsh: return a >> (b & 31);
    default: return 0u - a;
  }
}

bool holds(u16 op, u32 a, u32 b) {
  switch (op) {
    case jeq: return a == b;
    case jgt: return a > b;
    case jge: return a >= b;
    default: return (a & b) != 0;
  }
}

u32 bytes_of_size(u16 code) {
  const u16 size = code & size_mask;
  return size == size_w ? 4 : size == size_h ? 2 : 1;
}

/// What a program sees of a packet.
class packet_view {
 public:
  packet_view(cpu& cx, const sk_buff& skb, u32 origin) : cx_(cx), skb_(skb), origin_(origin) {}

  [[nodiscard]] u32 len() const { return skb_.len() + origin_; }

  /// `n` bytes at an offset as a number; nothing beyond the packet's end.
  [[nodiscard]] std::optional<u32> load(u32 at, u32 n, u32 x) const {
    if (at >= ancillary && at < ancillary_end) return metadata(at - ancillary, x);
    if (at >= network_header) return from_headers(at - network_header, n);
    if (at >= link_header) return {};  // no device of ours keeps it for sockets
    u32 out = 0;
    if (at >= origin_) {  // in the packet's data: one copy
      std::array<u8, 4> bytes{};
      if (u64{at} + n > len() || !skb_.copy_bits(at - origin_, byte_span(bytes).first(n)))
        return {};
      for (u32 i = 0; i < n; ++i) out = out << 8 | bytes[i];
      return out;
    }
    for (u32 i = 0; i < n; ++i) {
      const std::optional<u8> b = byte(u64{at} + i);
      if (!b) return {};
      out = out << 8 | *b;
    }
    return out;
  }

 private:
  [[nodiscard]] std::optional<u8> byte(u64 at) const {
    if (at >= len()) return {};
    u8 out = 0;
    if (at < origin_) {
      const byte_view headers = skb_.network_bytes();
      const std::size_t front = headers.size() - skb_.headlen() - origin_;
      return headers[front + at];
    }
    if (!skb_.copy_bits(static_cast<u32>(at) - origin_, {&out, 1})) return {};
    return out;
  }

  [[nodiscard]] std::optional<u32> from_headers(u32 at, u32 n) const {
    const byte_view headers = skb_.network_bytes();
    if (at > headers.size() || n > headers.size() - at) return {};
    u32 out = 0;
    for (const u8 b : headers.subspan(at, n)) out = out << 8 | b;
    return out;
  }

  [[nodiscard]] std::optional<u32> metadata(u32 what, u32 x) const {
    switch (what) {
      case ad_protocol: return skb_.protocol;
      case ad_pkttype: return static_cast<u32>(skb_.pkt_type);
      case ad_ifindex: return skb_.skb_iif;
      case ad_mark: return skb_.mark;
      case ad_queue: return skb_.queue_mapping;
      case ad_hatype:
        return skb_.dev != nullptr ? std::optional<u32>(skb_.dev->type()) : std::nullopt;
      case ad_rxhash: return skb_.hash;
      case ad_cpu: return cx_.id().value;
      case ad_alu_xor_x: return x;
      case ad_vlan_tag: return skb_.vlan_tci;
      case ad_vlan_present: return skb_.vlan_proto != 0 ? 1 : 0;
      case ad_random: return static_cast<u32>(cx_.random().next());
      default: return {};
    }
  }

  cpu& cx_;
  const sk_buff& skb_;
  u32 origin_;
};

struct registers {
  u32 a = 0, x = 0;
  std::array<u32, words_of_memory> memory{};
};

/// False: the program is over, as the packet has not what it wants.
bool do_load(registers& r, const packet_view& packet, const cbpf_insn& insn) {
  const bool to_x = (insn.code & class_mask) == ldx;
  u32& to = to_x ? r.x : r.a;
  switch (insn.code & mode_mask) {
    case imm: to = insn.k; return true;
    case mem: to = r.memory[insn.k]; return true;
    case pkt_len: to = packet.len(); return true;
    case msh: {  // the length of an IPv4 header
      const auto first = packet.load(insn.k, 1, 0);
      to = first.value_or(0) % 16 * 4;
      return first.has_value();
    }
    default: {
      const bool indirect = (insn.code & mode_mask) == ind;
      const u32 at = insn.k + (indirect ? r.x : 0);
      if (!indirect && at == ancillary + ad_alu_xor_x) {
        r.a ^= r.x;
        return true;
      }
      const auto value = packet.load(at, bytes_of_size(insn.code), r.x);
      to = value.value_or(0);
      return value.has_value();
    }
  }
}

bool do_alu(registers& r, const cbpf_insn& insn) {
  const u16 op = insn.code & op_mask;
  const u32 b = (insn.code & source_x) != 0 ? r.x : insn.k;
  if ((op == div || op == mod) && b == 0) return false;
  r.a = compute(op, r.a, b);
  return true;
}

std::size_t jump(const registers& r, const cbpf_insn& insn) {
  if (insn.code == (jmp | ja)) return insn.k;
  const u32 b = (insn.code & source_x) != 0 ? r.x : insn.k;
  return holds(insn.code & op_mask, r.a, b) ? insn.jt : insn.jf;
}

}  // namespace

result<std::shared_ptr<const cbpf_program>> cbpf_program::parse(byte_view bytes) {
  const std::size_t count = bytes.size() / sizeof(cbpf_insn);
  if (count == 0 || count > most_instructions || bytes.size() % sizeof(cbpf_insn) != 0) {
    return fail(errc::inval);
  }
  auto out = std::make_shared<cbpf_program>();
  byte_reader reader(bytes);
  for (std::size_t i = 0; i < count; ++i) {
    const auto insn = reader.take<cbpf_insn>();
    if (!valid(insn, count - i - 1)) return fail(errc::inval);
    out->code_.push_back(insn);
  }
  if ((out->code_.back().code & class_mask) != ret) return fail(errc::inval);
  return std::shared_ptr<const cbpf_program>(std::move(out));
}

u32 cbpf_program::run(cpu& cx, const sk_buff& skb, u32 origin) const {
  const packet_view packet(cx, skb, origin);
  registers r;
  for (std::size_t at = 0; at < code_.size(); ++at) {
    const cbpf_insn& insn = code_[at];
    bool good = true;
    switch (insn.code & class_mask) {
      case ld:
      case ldx: good = do_load(r, packet, insn); break;
      case st: r.memory[insn.k] = r.a; break;
      case stx: r.memory[insn.k] = r.x; break;
      case alu: good = do_alu(r, insn); break;
      case jmp: at += jump(r, insn); break;
      case ret: return insn.code == (ret | ret_a) ? r.a : insn.k;
      default: (insn.code == (misc | tax) ? r.x : r.a) = insn.code == (misc | tax) ? r.a : r.x;
    }
    if (!good) return 0;
  }
  return 0;
}

u32 cbpf_program::charge() const {
  return static_cast<u32>(sizeof *this + code_.size() * sizeof(cbpf_insn));
}

/// Of a packet that begins with its IP header, as raw sockets get them: that header's length. It is
/// read when the program receives, so a filter leaves it.
static u32 ip_header_in_front(const sk_buff& skb) {
  if (!skb.has_network_header() || skb.network_bytes().size() != skb.headlen()) return 0;
  const byte_view front = skb.network_bytes();
  return front.empty() ? 0 : (front[0] & 15u) * 4;
}

bool sk_filter(cpu& cx, const sock& sk, sk_buff& skb, u32 header) {
  if (!sk.filter) return true;
  const u32 left = sk.filter->run(cx, skb, header);
  if (left == 0) return false;
  const u32 payload = std::max(left > header ? left - header : 0, ip_header_in_front(skb));
  if (payload < skb.len()) skb.trim(payload);
  return true;
}

}  // namespace ph
