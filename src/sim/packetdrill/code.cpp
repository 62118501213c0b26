// The little Python of %{ }% blocks: assert, print, assignments, integer expressions with
// comparisons, and / or / not, bit operations and arithmetic. Strings only as messages.
#include <cctype>
#include <stdexcept>

#include "sim/packetdrill/values.h"

namespace ph::packetdrill {
namespace {

/// Why a block failed; caught by run_code.
struct code_failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class interpreter {
 public:
  interpreter(std::string_view code, variables& vars) : code_(code), vars_(vars) {}

  void run() {
    for (skip_separators(); at_ < code_.size(); skip_separators()) statement();
  }

 private:
  // --- characters ---
  void blank() {
    while (at_ < code_.size()) {
      const char c = code_[at_];
      if (c == '\\' && at_ + 1 < code_.size() && code_[at_ + 1] == '\n') {
        at_ += 2;
      } else if (c == '#') {
        while (at_ < code_.size() && code_[at_] != '\n') ++at_;
      } else if (c == ' ' || c == '\t' || c == '\r' || (depth_ > 0 && c == '\n')) {
        ++at_;
      } else {
        return;
      }
    }
  }
  void skip_separators() {
    for (;;) {
      blank();
      if (at_ < code_.size() && (code_[at_] == ';' || code_[at_] == '\n')) ++at_;
      else return;
    }
  }
  bool accept(std::string_view token) {
    blank();
    if (!code_.substr(at_).starts_with(token)) return false;
    const char last = token.back();
    const std::size_t after = at_ + token.size();
    const bool word = std::isalnum(static_cast<unsigned char>(last)) != 0 || last == '_';
    if (word && after < code_.size() &&
        (std::isalnum(static_cast<unsigned char>(code_[after])) != 0 || code_[after] == '_')) {
      return false;
    }
    at_ = after;
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) fail("expected '" + std::string(token) + "'");
  }
  std::string word() {
    blank();
    const std::size_t from = at_;
    while (at_ < code_.size() &&
           (std::isalnum(static_cast<unsigned char>(code_[at_])) != 0 || code_[at_] == '_')) {
      ++at_;
    }
    return std::string(code_.substr(from, at_ - from));
  }
  [[noreturn]] void fail(const std::string& why) const {
    const std::size_t line = std::min(code_.find('\n', at_), code_.size());
    throw code_failure(why + " near: " + std::string(code_.substr(at_, line - at_)));
  }

  // --- statements ---
  void statement() {
    const std::size_t from = at_;
    if (accept("assert")) return assertion(from);
    if (accept("print")) {
      message();
      return;
    }
    const std::string name = word();
    if (name.empty()) fail("expected a statement");
    if (accept("+=")) vars_[name] = value_of(name) + expression_value();
    else if (accept("-=")) vars_[name] = value_of(name) - expression_value();
    else if (accept("=")) vars_[name] = expression_value();
    else fail("expected an assignment");
  }
  void assertion(std::size_t from) {
    const s64 holds = expression_value();
    const std::string text(code_.substr(from, at_ - from));
    std::string note;
    if (accept(",")) note = message();
    if (holds == 0) throw code_failure(text + (note.empty() ? "" : " (" + note + ")"));
  }
  /// The text of a message or of print's arguments: a string with % values, or an expression.
  std::string message() {
    blank();
    if (at_ < code_.size() && (code_[at_] == '\'' || code_[at_] == '"')) {
      const char quote = code_[at_++];
      std::string out;
      while (at_ < code_.size() && code_[at_] != quote) out += code_[at_++];
      ++at_;
      if (accept("%")) out += " % " + std::to_string(expression_value());
      return out;
    }
    return std::to_string(expression_value());
  }

  // --- expressions, loosest first ---
  s64 expression_value() { return or_value(); }
  s64 or_value() {
    s64 left = and_value();
    while (accept("or")) {
      const s64 right = and_value();
      left = left != 0 ? left : right;
    }
    return left;
  }
  s64 and_value() {
    s64 left = not_value();
    while (accept("and")) {
      const s64 right = not_value();
      left = left != 0 ? right : left;
    }
    return left;
  }
  s64 not_value() {
    if (accept("not")) return not_value() == 0 ? 1 : 0;
    return comparison();
  }
  s64 comparison() {
    s64 left = bits();
    bool holds = true, compared = false;
    for (;;) {
      const std::size_t before = at_;
      s64 right = 0;
      if (accept("==")) holds = (right = bits(), holds && left == right);
      else if (accept("!=")) holds = (right = bits(), holds && left != right);
      else if (accept("<=")) holds = (right = bits(), holds && left <= right);
      else if (accept(">=")) holds = (right = bits(), holds && left >= right);
      else if (accept("<<") || accept(">>")) { at_ = before; break; }
      else if (accept("<")) holds = (right = bits(), holds && left < right);
      else if (accept(">")) holds = (right = bits(), holds && left > right);
      else break;
      compared = true;
      left = right;
    }
    return compared ? (holds ? 1 : 0) : left;
  }
  s64 bits() {
    s64 left = sum();
    for (;;) {
      if (accept("|")) left |= sum();
      else if (accept("&")) left &= sum();
      else if (accept("^")) left ^= sum();
      else return left;
    }
  }
  s64 sum() {
    s64 left = product();
    for (;;) {
      const std::size_t before = at_;
      if (accept("+=") || accept("-=")) { at_ = before; return left; }
      if (accept("+")) left += product();
      else if (accept("-")) left -= product();
      else return left;
    }
  }
  s64 product() {
    s64 left = unary();
    for (;;) {
      const bool divide = accept("//") || accept("/");
      if (divide || accept("%")) {
        const s64 right = unary();
        if (right == 0) fail("division by zero");
        left = divide ? left / right : left % right;
      } else if (accept("*")) {
        left *= unary();
      } else {
        return left;
      }
    }
  }
  s64 unary() {
    if (accept("-")) return -unary();
    if (accept("~")) return ~unary();
    if (accept("(")) {
      ++depth_;
      const s64 inner = expression_value();
      --depth_;
      expect(")");
      return inner;
    }
    return atom();
  }
  s64 atom() {
    const std::string text = word();
    if (text.empty()) fail("expected a value");
    if (std::isdigit(static_cast<unsigned char>(text[0])) == 0) return value_of(text);
    double value = std::strtod(text.c_str(), nullptr);
    if (text.starts_with("0x")) {
      value = static_cast<double>(std::strtoll(text.c_str(), nullptr, 16));
    }
    if (at_ < code_.size() && code_[at_] == '.') {  // 1.5, 1e6: only whole results are kept
      ++at_;
      value = std::strtod((text + "." + word()).c_str(), nullptr);
    }
    return static_cast<s64>(value);
  }
  s64 value_of(const std::string& name) {
    if (name == "True") return 1;
    if (name == "False") return 0;
    const auto found = vars_.find(name);
    if (found != vars_.end()) return found->second;
    const auto known = constant(name);
    if (!known) fail("unknown name '" + name + "'");
    return *known;
  }

  std::string_view code_;
  variables& vars_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

std::string run_code(std::string_view code, variables& vars) {
  try {
    interpreter(code, vars).run();
    return {};
  } catch (const code_failure& failure) {
    return failure.what();
  }
}

}  // namespace ph::packetdrill
