// Characters of a script, with the line they stand on: what the parser reads from.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sim/packetdrill/script.h"

namespace ph::packetdrill {

/// Thrown inside the parser only; parse_script turns it into a script_error.
struct parse_failure {
  script_error error;
};

class lexer {
 public:
  explicit lexer(std::string_view text) : text_(text) {}
  [[nodiscard]] int line() const { return line_; }
  [[nodiscard]] bool at_end();
  /// The next character after blanks and comments; 0 at the end.
  [[nodiscard]] char peek();
  /// The next character without skipping; 0 at the end.
  [[nodiscard]] char peek_raw() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  /// Does `token` stand here, without skipping?
  [[nodiscard]] bool comes(std::string_view token) const {
    return text_.substr(at_).starts_with(token);
  }
  /// Passes one character.
  void next() { ++at_; }
  /// Passes one character and gives it; 0 at the end.
  char take() { return at_ < text_.size() ? text_[at_++] : '\0'; }
  /// True, and past it, when `token` comes next.
  bool accept(std::string_view token);
  void expect(std::string_view token);
  /// The next word of letters, digits and '_'; empty if there is none.
  std::string word();
  [[nodiscard]] std::string peek_word();
  /// Everything up to `end`, which is passed.
  std::string until(std::string_view end);
  /// The rest of the line.
  std::string rest_of_line();
  /// Digits with a decimal point, as packetdrill writes times.
  std::optional<double> decimal();
  /// Decimal or 0x number, with an optional sign.
  std::optional<s64> integer();
  [[noreturn]] void fail(const std::string& message) const;
  /// What the language knows and we do not: the script is skipped.
  [[noreturn]] void unsupported(const std::string& what) const;
  /// Where we are, to come back to.
  struct mark {
    std::size_t at;
    int line;
  };
  [[nodiscard]] mark here() const { return {at_, line_}; }
  void back_to(mark m) {
    at_ = m.at;
    line_ = m.line;
  }
  void skip_blank();

 private:
  void advance() {
    if (text_[at_] == '\n') ++line_;
    ++at_;
  }
  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
};

}  // namespace ph::packetdrill
