// The little Python of %{ }% blocks: assert, print, assignments, one-line ifs, expressions of whole
// and real numbers with comparisons, `in`, and / or / not, bit operations, arithmetic and a few
// functions. Strings and tuples only in messages.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

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
    if (accept("pass")) return;
    if (accept("import") || accept("from")) {  // nothing of a module is needed for numbers
      while (at_ < code_.size() && code_[at_] != '\n' && code_[at_] != ';') ++at_;
      return;
    }
    if (accept("print")) {
      message();
      return;
    }
    if (accept("if")) return conditional();
    const std::string name = word();
    if (name.empty()) fail("expected a statement");
    static constexpr std::string_view operators[] = {"+=", "-=", "*=", "//=", "/=", "|=", "&="};
    for (const std::string_view op : operators) {
      if (!accept(op)) continue;
      const py_number right = expression_value();
      set(name, apply(op.substr(0, op.size() - 1), value_of(name), right));
      return;
    }
    if (!accept("=")) fail("expected an assignment");
    set(name, expression_value());
  }
  void set(const std::string& name, py_number value) {
    if (running_) vars_[name] = value;
  }
  /// "if condition: statement; statement" on one line.
  void conditional() {
    const bool holds = truth(expression_value());
    expect(":");
    const bool outer = std::exchange(running_, running_ && holds);
    do {
      blank();
      if (at_ >= code_.size() || code_[at_] == '\n') break;
      statement();
    } while (accept(";"));
    running_ = outer;
  }
  void assertion(std::size_t from) {
    const py_number holds = expression_value();
    const std::string text(code_.substr(from, at_ - from));
    std::string note;
    if (accept(",")) note = message();
    if (running_ && !truth(holds)) {
      throw code_failure(text + (note.empty() ? "" : " (" + note + ")"));
    }
  }
  /// The text of a message or of print's arguments: strings with % values, expressions, tuples.
  std::string message() {
    std::string out;
    do {
      blank();
      if (accept("(")) {
        ++depth_;
        out += accept(")") ? "" : message();
        expect(")");
        --depth_;
      } else if (is_quote()) {
        out += text();
      } else {
        out += show(expression_value());
      }
      if (accept("%")) out += " % " + message_values();
    } while (accept(",") && (out += ", ", true));
    return out;
  }
  std::string message_values() {
    if (!accept("(")) return show(expression_value());
    ++depth_;
    std::string out;
    while (!accept(")")) {
      out += (out.empty() ? "" : ", ") + (is_quote() ? text() : show(expression_value()));
      if (accept(")")) break;
      expect(",");
    }
    --depth_;
    return out;
  }
  bool is_quote() {
    blank();
    return at_ < code_.size() && (code_[at_] == '\'' || code_[at_] == '"');
  }
  std::string text() {
    const char quote = code_[at_++];
    std::string out;
    while (at_ < code_.size() && code_[at_] != quote) out += code_[at_++];
    ++at_;
    return out;
  }

  // --- expressions, loosest first ---
  py_number expression_value() {
    const py_number value = or_value();
    if (!accept("if")) return value;
    const bool holds = truth(or_value());
    expect("else");
    const py_number other = expression_value();
    return holds ? value : other;
  }
  py_number or_value() {
    py_number left = and_value();
    while (accept("or")) {
      const py_number right = and_value();
      left = truth(left) ? left : right;
    }
    return left;
  }
  py_number and_value() {
    py_number left = not_value();
    while (accept("and")) {
      const py_number right = not_value();
      left = truth(left) ? right : left;
    }
    return left;
  }
  py_number not_value() {
    const std::size_t before = at_;
    if (accept("not")) {
      if (!accept("in")) return whole(truth(not_value()) ? 0 : 1);
      at_ = before;
    }
    return comparison();
  }
  py_number comparison() {
    py_number left = bits();
    bool holds = true, compared = false;
    for (;; compared = true) {
      const std::size_t before = at_;
      if (accept("not")) {
        if (!accept("in")) fail("expected 'in'");
        holds = holds && !member(left);
      } else if (accept("in")) {
        holds = holds && member(left);
      } else if (accept("<<") || accept(">>")) {
        at_ = before;
        break;
      } else if (const std::string_view op = comparison_operator(); !op.empty()) {
        const py_number right = bits();
        holds = holds && compare(op, left, right);
        left = right;
      } else {
        break;
      }
    }
    return compared ? whole(holds ? 1 : 0) : left;
  }
  std::string_view comparison_operator() {
    static constexpr std::string_view operators[] = {"==", "!=", "<=", ">=", "<", ">"};
    for (const std::string_view op : operators) {
      if (accept(op)) return op;
    }
    return {};
  }
  /// "(1, 2, 3)" or "[1, 2]" behind `in`.
  bool member(py_number what) {
    const std::string_view close = accept("[") ? "]" : (expect("("), ")");
    ++depth_;
    bool found = false;
    while (!accept(close)) {
      found = compare("==", what, expression_value()) || found;
      if (accept(close)) break;
      expect(",");
    }
    --depth_;
    return found;
  }
  py_number bits() {
    py_number left = sum();
    for (;;) {
      const std::size_t before = at_;
      if (accept("|=") || accept("&=")) { at_ = before; return left; }
      if (accept("|")) left = apply("|", left, sum());
      else if (accept("&")) left = apply("&", left, sum());
      else if (accept("^")) left = apply("^", left, sum());
      else if (accept("<<")) left = apply("<<", left, sum());
      else if (accept(">>")) left = apply(">>", left, sum());
      else return left;
    }
  }
  py_number sum() {
    py_number left = product();
    for (;;) {
      const std::size_t before = at_;
      if (accept("+=") || accept("-=")) { at_ = before; return left; }
      if (accept("+")) left = apply("+", left, product());
      else if (accept("-")) left = apply("-", left, product());
      else return left;
    }
  }
  py_number product() {
    py_number left = unary();
    for (;;) {
      const std::size_t before = at_;
      if (accept("*=") || accept("/=") || accept("//=")) { at_ = before; return left; }
      if (accept("//")) left = apply("//", left, unary());
      else if (accept("/")) left = apply("/", left, unary());
      else if (accept("%")) left = apply("%", left, unary());
      else if (accept("**")) left = apply("**", left, unary());
      else if (accept("*")) left = apply("*", left, unary());
      else return left;
    }
  }
  py_number unary() {
    if (accept("-")) return apply("-", whole(0), unary());
    if (accept("+")) return unary();
    if (accept("~")) return whole(~to_whole(unary()));
    if (accept("(")) {
      ++depth_;
      const py_number inner = expression_value();
      expect(")");
      --depth_;
      return inner;
    }
    return atom();
  }
  py_number atom() {
    blank();
    if (at_ < code_.size() &&
        (std::isdigit(static_cast<unsigned char>(code_[at_])) != 0 || code_[at_] == '.')) {
      return literal();
    }
    const std::string name = word();
    if (name.empty()) fail("expected a value");
    if (accept("(")) return function(name);
    return value_of(name);
  }
  /// 10, 0x1f, 1.5, 1e6.
  py_number literal() {
    const char* first = code_.data() + at_;
    const char* last = code_.data() + code_.size();
    if (code_.substr(at_).starts_with("0x")) {
      u64 value = 0;
      at_ = static_cast<std::size_t>(std::from_chars(first + 2, last, value, 16).ptr -
                                     code_.data());
      return whole(static_cast<s64>(value));
    }
    double real = 0;
    s64 value = 0;
    const char* end = std::from_chars(first, last, real).ptr;
    const auto [whole_end, error] = std::from_chars(first, last, value);
    at_ = static_cast<std::size_t>(end - code_.data());
    if (error == std::errc{} && whole_end == end) return whole(value);
    return {true, 0, real};
  }
  py_number function(const std::string& name) {
    ++depth_;
    std::vector<py_number> arguments;
    while (!accept(")")) {
      arguments.push_back(expression_value());
      if (accept(")")) break;
      expect(",");
    }
    --depth_;
    if (arguments.empty()) fail(name + "() without an argument");
    py_number out = arguments[0];
    if (name == "min" || name == "max") {
      for (const py_number& n : arguments) {
        if (compare(name == "min" ? "<" : ">", n, out)) out = n;
      }
    } else if (name == "abs") {
      if (compare("<", out, whole(0))) out = apply("-", whole(0), out);
    } else if (name == "int") {
      out = whole(to_whole(out));
    } else if (name == "round") {
      out = whole(std::llround(to_real(out)));
    } else if (name == "float") {
      out = {true, 0, to_real(out)};
    } else {
      fail("unknown function '" + name + "'");
    }
    return out;
  }
  py_number value_of(const std::string& name) {
    if (name == "True") return whole(1);
    if (name == "False") return whole(0);
    const auto found = vars_.find(name);
    if (found != vars_.end()) return found->second;
    const auto known = constant(name);
    if (!known) fail("unknown name '" + name + "'");
    return whole(*known);
  }

  // --- numbers ---
  static py_number whole(s64 value) { return {false, value, 0}; }
  static double to_real(py_number n) { return n.is_real ? n.real : static_cast<double>(n.whole); }
  static s64 to_whole(py_number n) {
    constexpr double most = 9e18;  // what an s64 holds
    return n.is_real ? static_cast<s64>(std::clamp(n.real, -most, most)) : n.whole;
  }
  static bool truth(py_number n) { return n.is_real ? n.real != 0 : n.whole != 0; }
  static std::string show(py_number n) {
    return n.is_real ? std::to_string(n.real) : std::to_string(n.whole);
  }
  static bool compare(std::string_view op, py_number a, py_number b) {
    const auto ordered = [op](auto x, auto y) {
      if (op == "==") return x == y;
      if (op == "!=") return x != y;
      if (op == "<=") return x <= y;
      if (op == ">=") return x >= y;
      return op == "<" ? x < y : x > y;
    };
    if (a.is_real || b.is_real) return ordered(to_real(a), to_real(b));
    return ordered(a.whole, b.whole);
  }
  py_number apply(std::string_view op, py_number a, py_number b) const {
    const bool divides = op == "/" || op == "//" || op == "%";
    if (divides && !truth(b)) fail("division by zero");
    if (op == "/") return {true, 0, to_real(a) / to_real(b)};
    if (op == "**") return {true, 0, std::pow(to_real(a), to_real(b))};
    if (a.is_real || b.is_real) return {true, 0, apply_real(op, to_real(a), to_real(b))};
    return whole(apply_whole(op, a.whole, b.whole));
  }
  static double apply_real(std::string_view op, double a, double b) {
    if (op == "+") return a + b;
    if (op == "-") return a - b;
    if (op == "*") return a * b;
    if (op == "//") return std::floor(a / b);
    return std::fmod(a, b);
  }
  static s64 apply_whole(std::string_view op, s64 a, s64 b) {
    const u64 x = static_cast<u64>(a), y = static_cast<u64>(b);  // these wrap
    if (op == "+") return static_cast<s64>(x + y);
    if (op == "-") return static_cast<s64>(x - y);
    if (op == "*") return static_cast<s64>(x * y);
    if (op == "|") return a | b;
    if (op == "&") return a & b;
    if (op == "^") return a ^ b;
    if (op == "<<") return b < 0 || b > 62 ? 0 : static_cast<s64>(static_cast<u64>(a) << b);
    if (op == ">>") return b < 0 || b > 62 ? 0 : a >> b;
    if (b == -1) return op == "//" ? static_cast<s64>(0 - x) : 0;
    const s64 quotient = a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);  // rounds down
    return op == "//" ? quotient : a - quotient * b;
  }

  std::string_view code_;
  variables& vars_;
  std::size_t at_ = 0;
  int depth_ = 0;         ///< of parentheses: lines go on inside
  bool running_ = true;   ///< false behind an `if` that does not hold
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
