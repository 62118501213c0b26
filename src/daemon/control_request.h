// A request of the control protocol: one JSON object of names and plain values. It is read without
// building the whole of what a client wrote, whose taking apart would need memory where none may be
// had: what no request has (objects in it, lists in lists) is passed over.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"

namespace ph {

class control_request {
 public:
  /// nullopt: the line is no JSON object. Throws std::bad_alloc and leaves nothing behind.
  static std::optional<control_request> parse(std::string_view line);

  /// Empty when there is no such text.
  [[nodiscard]] std::string text(std::string_view name) const;
  [[nodiscard]] u64 number(std::string_view name, u64 otherwise) const;
  [[nodiscard]] std::optional<bool> flag(std::string_view name) const;
  /// Empty when there is no such list; what is no text in it is an empty text.
  [[nodiscard]] std::vector<std::string> list(std::string_view name) const;

 private:
  friend class request_reader;
  using value = std::variant<std::monostate, bool, u64, std::string, std::vector<std::string>>;
  template <class T>
  [[nodiscard]] const T* find(std::string_view name) const {
    const auto at = values_.find(name);
    return at != values_.end() ? std::get_if<T>(&at->second) : nullptr;
  }
  std::map<std::string, value, std::less<>> values_;
};

}  // namespace ph
