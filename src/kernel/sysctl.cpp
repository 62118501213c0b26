// Parsing and printing of settings.
#include "kernel/sysctl.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <span>

namespace ph {
namespace {

/// The name with dots between its parts. As sysctl(8): the first of both characters is what parts
/// them, and the other one is a device's own dot.
std::string dotted(std::string_view name) {
  std::string out(name);
  const std::size_t first = out.find_first_of("./");
  if (first == std::string::npos || out[first] == '.') return out;
  for (char& c : out) c = c == '/' ? '.' : c == '.' ? '/' : c;
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
  entry e;
  e.number = &value;
  e.min = min;
  e.max = max;
  entries_.insert_or_assign(std::move(name), std::move(e));
}

void sysctl_table::add_scaled(std::string name, s32& value, s32 scale, const s32* inherited) {
  entry e;
  e.number = &value;
  e.max = std::numeric_limits<s32>::max() / scale;
  e.scale = scale;
  e.inherited = inherited;
  entries_.insert_or_assign(std::move(name), std::move(e));
}

sysctl_table::other& sysctl_table::add_other(std::string name, s32 min, s32 max) {
  entry e;
  e.min = min;
  e.max = max;
  e.rest = std::make_unique<other>();
  return *entries_.insert_or_assign(std::move(name), std::move(e)).first->second.rest;
}

void sysctl_table::add(std::string name, u32& value) {
  add_other(std::move(name), 0, 0).wide = &value;
}

void sysctl_table::add(std::string name, std::vector<s32*> values, s32 min, s32 max) {
  add_other(std::move(name), min, max).numbers = std::move(values);
}

void sysctl_table::add(std::string name, std::string& value,
                       inline_fn<bool(std::string_view)> accept) {
  other& word = add_other(std::move(name), 0, 0);
  word.word = &value;
  word.accept = accept;
}

void sysctl_table::add(std::string name, inline_fn<std::string()> text) {
  add_other(std::move(name), 0, 0).text = text;
}

void sysctl_table::remove_all(std::string_view prefix) {
  auto at = entries_.lower_bound(prefix);
  while (at != entries_.end() && at->first.starts_with(prefix)) at = entries_.erase(at);
}

namespace {

/// Exactly one number, or nothing.
std::optional<s64> only_number_of(std::string_view text) {
  const std::optional<s64> value = number_of(next_word(text));
  return next_word(text).empty() ? value : std::nullopt;
}

result<void> set_numbers(std::span<s32* const> numbers, std::string_view text, s32 min, s32 max) {
  std::vector<s32> parsed;
  for (std::string_view word = next_word(text); !word.empty(); word = next_word(text)) {
    const std::optional<s64> value = number_of(word);
    if (!value || *value < min || *value > max) return fail(errc::inval);
    parsed.push_back(static_cast<s32>(*value));
  }
  if (parsed.size() != numbers.size()) return fail(errc::inval);
  for (std::size_t i = 0; i < parsed.size(); ++i) *numbers[i] = parsed[i];
  return {};
}

}  // namespace

result<void> sysctl_table::set(std::string_view name, std::string_view text) {
  const auto found = entries_.find(dotted(name));
  if (found == entries_.end()) return fail(errc::noent);
  entry& e = found->second;
  if (e.number != nullptr) {
    const std::optional<s64> value = only_number_of(text);
    if (!value || *value < e.min || *value > e.max) return fail(errc::inval);
    *e.number = static_cast<s32>(*value) * e.scale;
    return {};
  }
  other& rest = *e.rest;
  if (rest.text) return fail(errc::acces);
  if (rest.word != nullptr) {
    const std::string_view word = next_word(text);
    if (word.empty() || !rest.accept(word)) return fail(errc::inval);
    *rest.word = word;
    return {};
  }
  if (rest.wide == nullptr) return set_numbers(rest.numbers, text, e.min, e.max);
  const std::optional<s64> value = only_number_of(text);
  if (!value || *value < 0) return fail(errc::inval);
  *rest.wide = static_cast<u32>(*value);
  return {};
}

result<std::string> sysctl_table::get(std::string_view name) const {
  const auto found = entries_.find(dotted(name));
  if (found == entries_.end()) return fail(errc::noent);
  const entry& e = found->second;
  if (e.number != nullptr) {
    const s64 shown = *e.number < 0 && e.inherited != nullptr ? *e.inherited : *e.number;
    return std::to_string(e.scale == 1 ? shown : (shown + e.scale - 1) / e.scale);
  }
  const other& rest = *e.rest;
  if (rest.text) return rest.text();
  if (rest.word != nullptr) return *rest.word;
  if (rest.wide != nullptr) return std::to_string(*rest.wide);
  std::string out;
  for (const s32* number : rest.numbers) {
    if (!out.empty()) out += '\t';
    out += std::to_string(*number);
  }
  return out;
}

std::vector<std::string> sysctl_table::names() const {
  std::vector<std::string> out;
  for (const auto& [name, e] : entries_) out.push_back(name);
  return out;
}

}  // namespace ph
