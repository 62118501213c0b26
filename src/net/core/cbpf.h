// Classic BPF: the filters of SO_ATTACH_FILTER and the choosers of SO_ATTACH_REUSEPORT_CBPF
// (socket(7); McCanne and Jacobson, "The BSD Packet Filter", 1993). A program is checked once, when
// it is attached: it jumps only forward and ends with a return, so it ends, and touches only its
// sixteen words of memory. What it loads from beyond a packet's end makes it return 0.
#pragma once

#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace ph {

class cpu;
class sk_buff;
class sock;

/// One instruction, as programs hand it over.
struct cbpf_insn {
  u16 code = 0;
  u8 jt = 0, jf = 0;
  u32 k = 0;
};

class cbpf_program {
 public:
  /// From the bytes of the instructions. Errors: inval (no program that a kernel would take).
  static result<std::shared_ptr<const cbpf_program>> parse(byte_view bytes);

  /// Runs on the packet from its `origin` bytes before data on; the value that it returns.
  [[nodiscard]] u32 run(cpu& cx, const sk_buff& skb, u32 origin) const;
  [[nodiscard]] const std::vector<cbpf_insn>& code() const { return code_; }
  /// Bytes of memory, as charged to the socket.
  [[nodiscard]] u32 charge() const;

 private:
  std::vector<cbpf_insn> code_;
};

/// Runs the socket's filter: false when it refuses the packet, which else is cut to what the filter
/// left, but not below its header, the `header` bytes before data.
bool sk_filter(cpu& cx, const sock& sk, sk_buff& skb, u32 header = 0);

}  // namespace ph
