// Why a packet ends before its time. A subsystem declares its own reasons where it is, each with a
// name, a sentence and, where Linux counts it, the counters that rise:
//   namespace drop_reason {
//   inline constexpr drop_reason_info tcp_csum{"tcp_csum", "The TCP checksum is wrong.", …};
//   }
// There is no list of all. Those that every subsystem may give are net/core/core_drop_reasons.h.
#pragma once

#include <string_view>

#include "net/core/mib.h"

namespace ph {

/// What is known of a reason. It is never copied: the reason is the place where this is.
class drop_reason_info {
 public:
  consteval drop_reason_info(std::string_view name, std::string_view text, mib_counter counter = {},
                             mib_counter second = {})
      : name_(name), text_(text), counter_(counter), second_(second) {}
  drop_reason_info(const drop_reason_info&) = delete;
  drop_reason_info& operator=(const drop_reason_info&) = delete;

  /// "tcp_csum".
  [[nodiscard]] constexpr std::string_view name() const { return name_; }
  /// One sentence for a person.
  [[nodiscard]] constexpr std::string_view text() const { return text_; }
  /// The counter that drop() raises with it, or none.
  [[nodiscard]] constexpr mib_counter counter() const { return counter_; }
  /// The second counter that drop() raises, where Linux counts twice (a wrong UDP checksum is
  /// UdpInCsumErrors and UdpInErrors), or none.
  [[nodiscard]] constexpr mib_counter second() const { return second_; }

 private:
  std::string_view name_, text_;
  mib_counter counter_, second_;
};

namespace drop_reason {
inline constexpr drop_reason_info none{"none", "Not dropped."};
}  // namespace drop_reason

/// One of the reasons, or drop_reason::none.
class skb_drop_reason {
 public:
  constexpr skb_drop_reason() = default;
  constexpr skb_drop_reason(const drop_reason_info& info)  // NOLINT: a declared reason is one
      : info_(&info) {}
  [[nodiscard]] constexpr const drop_reason_info& info() const { return *info_; }
  [[nodiscard]] constexpr std::string_view name() const { return info_->name(); }
  friend constexpr bool operator==(skb_drop_reason, skb_drop_reason) = default;

 private:
  const drop_reason_info* info_ = &drop_reason::none;
};

}  // namespace ph
