// Blanks, comments, words and numbers of the packetdrill language.
#include "sim/packetdrill/lexer.h"

#include <cctype>
#include <charconv>

namespace ph::packetdrill {
namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

void lexer::fail(const std::string& message) const {
  throw parse_failure{script_error{line_, message, false}};
}

void lexer::unsupported(const std::string& what) const {
  throw parse_failure{script_error{line_, what + " is not supported", true}};
}

void lexer::skip_blank() {
  while (at_ < text_.size()) {
    const std::string_view rest = text_.substr(at_);
    if (std::isspace(static_cast<unsigned char>(rest[0])) != 0) {
      advance();
    } else if (rest.starts_with("//") || rest.starts_with("#")) {
      while (at_ < text_.size() && text_[at_] != '\n') advance();
    } else if (rest.starts_with("/*")) {
      const std::size_t end = rest.find("*/", 2);
      if (end == std::string_view::npos) fail("comment without end");
      for (std::size_t i = 0; i < end + 2; ++i) advance();
    } else {
      return;
    }
  }
}

bool lexer::at_end() { return peek() == '\0'; }

char lexer::peek() {
  skip_blank();
  return peek_raw();
}

bool lexer::accept(std::string_view token) {
  skip_blank();
  if (!text_.substr(at_).starts_with(token)) return false;
  // A word must not continue: "ack" is not the start of "ackno".
  if (is_word(token.back()) && at_ + token.size() < text_.size() &&
      is_word(text_[at_ + token.size()])) {
    return false;
  }
  at_ += token.size();
  return true;
}

void lexer::expect(std::string_view token) {
  if (accept(token)) return;
  const char next = peek();
  fail("expected '" + std::string(token) + "' before " +
       (next == '\0' ? std::string("the end") : "'" + std::string(1, next) + "'"));
}

std::string lexer::word() {
  skip_blank();
  std::string out;
  while (at_ < text_.size() && is_word(text_[at_])) out += text_[at_++];
  return out;
}

std::string lexer::peek_word() {
  const mark m = here();
  std::string out = word();
  back_to(m);
  return out;
}

std::string lexer::until(std::string_view end) {
  const std::size_t found = text_.find(end, at_);
  if (found == std::string_view::npos) fail("missing '" + std::string(end) + "'");
  std::string out(text_.substr(at_, found - at_));
  while (at_ < found + end.size()) advance();
  return out;
}

std::string lexer::rest_of_line() {
  std::string out;
  while (at_ < text_.size() && text_[at_] != '\n') out += text_[at_++];
  return out;
}

std::optional<double> lexer::decimal() {
  skip_blank();
  std::size_t n = 0;
  bool digits = false;
  while (at_ + n < text_.size()) {
    const char c = text_[at_ + n];
    if (is_digit(c)) {
      digits = true;
    } else if (c != '.' || text_.substr(at_ + n).starts_with("...")) {
      break;
    }
    ++n;
  }
  if (!digits) return std::nullopt;
  double out = 0;
  const char* first = text_.data() + at_;
  if (std::from_chars(first, first + n, out).ec != std::errc{}) return std::nullopt;
  at_ += n;
  return out;
}

std::optional<s64> lexer::integer() {
  skip_blank();
  std::string_view rest = text_.substr(at_);
  const bool negative = rest.starts_with("-");
  if (negative) rest.remove_prefix(1);
  const bool hex = rest.starts_with("0x") || rest.starts_with("0X");
  if (hex) rest.remove_prefix(2);
  u64 value = 0;
  const auto [end, error] =
      std::from_chars(rest.data(), rest.data() + rest.size(), value, hex ? 16 : 10);
  if (error != std::errc{}) return std::nullopt;
  at_ = static_cast<std::size_t>(end - text_.data());
  return static_cast<s64>(negative ? 0 - value : value);
}

}  // namespace ph::packetdrill
