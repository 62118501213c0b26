// Settings of a namespace under Linux's names ("net.ipv4.ip_forward"): typed, with a range.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/inline_fn.h"
#include "base/result.h"
#include "base/byteorder.h"

namespace ph {

/// The table does not own the values: each lives in its subsystem's per-namespace state.
class sysctl_table {
 public:
  /// One integer with an inclusive range.
  void add(std::string name, s32& value, s32 min, s32 max);
  /// One integer from 0 on, told in a unit of `scale` of the value's own and shown rounded up.
  /// Below 0 the value is not set, and `inherited`, if there is one, is shown.
  void add_scaled(std::string name, s32& value, s32 scale, const s32* inherited);
  /// One unsigned number, 0 to 4294967295.
  void add(std::string name, u32& value);
  /// Several integers under one name ("net.ipv4.tcp_rmem"), each in the range.
  void add(std::string name, std::vector<s32*> values, s32 min, s32 max);
  /// A word, checked by `accept` (e.g. the name of a congestion control).
  void add(std::string name, std::string& value, inline_fn<bool(std::string_view)> accept);
  /// A text that is made when it is read and cannot be written.
  void add(std::string name, inline_fn<std::string()> text);
  /// Takes out all settings whose names begin so: their subsystem's state is about to end.
  void remove_all(std::string_view prefix);
  /// Text as one writes it to /proc/sys. Names may use '/' for '.'. Errors: noent, acces
  /// (read only), inval (not a number, too few or many, or out of range).
  result<void> set(std::string_view name, std::string_view text);
  result<std::string> get(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  /// What few settings are: a host has a table of its own, and hundreds of numbers in it.
  struct other {
    std::vector<s32*> numbers;
    u32* wide = nullptr;
    std::string* word = nullptr;
    inline_fn<bool(std::string_view)> accept;
    inline_fn<std::string()> text;
  };
  struct entry {
    s32* number = nullptr;  ///< nullptr: see `rest`
    const s32* inherited = nullptr;
    s32 min = 0, max = 0, scale = 1;
    std::unique_ptr<other> rest;
  };
  other& add_other(std::string name, s32 min, s32 max);
  std::map<std::string, entry, std::less<>> entries_;
};

}  // namespace ph
