// Parsing and printing of settings.
#include "kernel/sysctl.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

namespace ph {
namespace {

std::string dotted(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '/', '.');
  return out;
}

/// Splits off the next blank-separated word; empty when there is none.
std::string_view next_word(std::string_view& text) {
  constexpr std::string_view blank = " \t\n";
  const std::size_t begin = text.find_first_not_of(blank);
  if (begin == std::string_view::npos) return text = {};
  const std::size_t end = std::min(text.find_first_of(blank, begin), text.size());
  const std::string_view word = text.substr(begin, end - begin);
  text.remove_prefix(end);
  return word;
}

/// A number as proc(5) takes it: decimal, 0x hexadecimal or 0 octal.
std::optional<s64> number_of(std::string_view word) {
  const bool negative = word.starts_with('-');
  if (negative) word.remove_prefix(1);
  int base = 10;
  if (word.starts_with("0x") || word.starts_with("0X")) {
    base = 16;
    word.remove_prefix(2);
  } else if (word.size() > 1 && word.starts_with('0')) {
    base = 8;
  }
  u32 value = 0;
  const char* const end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, value, base);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return negative ? -s64{value} : s64{value};
}

}  // namespace

void sysctl_table::add(std::string name, s32& value, s32 min, s32 max) {
  add(std::move(name), std::vector<s32*>{&value}, min, max);
}

void sysctl_table::add_scaled(std::string name, s32& value, s32 scale, const s32* inherited) {
  entry e;
  e.numbers = {&value};
  e.max = std::numeric_limits<s32>::max() / scale;
  e.scale = scale;
  e.inherited = inherited;
  entries_.insert_or_assign(std::move(name), std::move(e));
}

void sysctl_table::remove_all(std::string_view prefix) {
  auto at = entries_.lower_bound(prefix);
  while (at != entries_.end() && at->first.starts_with(prefix)) at = entries_.erase(at);
}

void sysctl_table::add(std::string name, u32& value) {
  entry e;
  e.wide = &value;
  entries_.insert_or_assign(std::move(name), std::move(e));
}

void sysctl_table::add(std::string name, std::vector<s32*> values, s32 min, s32 max) {
  entry e;
  e.numbers = std::move(values);
  e.min = min;
  e.max = max;
  entries_.insert_or_assign(std::move(name), std::move(e));
}

void sysctl_table::add(std::string name, std::string& value,
                       inline_fn<bool(std::string_view)> accept) {
  entry e;
  e.word = &value;
  e.accept = accept;
  entries_.insert_or_assign(std::move(name), std::move(e));
}

void sysctl_table::add(std::string name, inline_fn<std::string()> text) {
  entry e;
  e.text = text;
  entries_.insert_or_assign(std::move(name), std::move(e));
}

result<void> sysctl_table::set(std::string_view name, std::string_view text) {
  const auto found = entries_.find(dotted(name));
  if (found == entries_.end()) return fail(errc::noent);
  entry& e = found->second;
  if (e.text) return fail(errc::acces);
  if (e.word != nullptr) {
    const std::string_view word = next_word(text);
    if (word.empty() || !e.accept(word)) return fail(errc::inval);
    *e.word = word;
    return {};
  }
  if (e.wide != nullptr) {
    const std::optional<s64> value = number_of(next_word(text));
    if (!value || *value < 0 || !next_word(text).empty()) return fail(errc::inval);
    *e.wide = static_cast<u32>(*value);
    return {};
  }
  std::vector<s32> parsed;
  for (std::string_view word = next_word(text); !word.empty(); word = next_word(text)) {
    const std::optional<s64> value = number_of(word);
    if (!value || *value < e.min || *value > e.max) return fail(errc::inval);
    parsed.push_back(static_cast<s32>(*value));
  }
  if (parsed.size() != e.numbers.size()) return fail(errc::inval);
  for (std::size_t i = 0; i < parsed.size(); ++i) *e.numbers[i] = parsed[i] * e.scale;
  return {};
}

result<std::string> sysctl_table::get(std::string_view name) const {
  const auto found = entries_.find(dotted(name));
  if (found == entries_.end()) return fail(errc::noent);
  const entry& e = found->second;
  if (e.text) return e.text();
  if (e.word != nullptr) return *e.word;
  if (e.wide != nullptr) return std::to_string(*e.wide);
  std::string out;
  for (const s32* number : e.numbers) {
    if (!out.empty()) out += '\t';
    const s64 shown = *number < 0 && e.inherited != nullptr ? *e.inherited : *number;
    out += std::to_string(e.scale == 1 ? shown : (shown + e.scale - 1) / e.scale);
  }
  return out;
}

std::vector<std::string> sysctl_table::names() const {
  std::vector<std::string> out;
  for (const auto& [name, e] : entries_) out.push_back(name);
  return out;
}

}  // namespace ph
