// The parser tells what it meets; what stands in the object itself is kept, and texts in lists.
#include "daemon/control_request.h"

#include <nlohmann/json.hpp>

namespace ph {

using nlohmann::json;

class request_reader final : public nlohmann::json_sax<json> {
 public:
  explicit request_reader(control_request& into) : into_(into) {}
  [[nodiscard]] bool is_object() const { return is_object_; }

  bool null() override { return keep({}); }
  bool boolean(bool v) override { return keep(v); }
  bool number_integer(number_integer_t) override { return keep({}); }
  bool number_unsigned(number_unsigned_t v) override { return keep(u64{v}); }
  bool number_float(number_float_t, const string_t&) override { return keep({}); }
  bool string(string_t& v) override { return keep(std::move(v)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override {
    if (depth_ == 0) is_object_ = true;
    return begin({});
  }
  bool start_array(std::size_t) override { return begin(std::vector<std::string>()); }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }
  bool key(string_t& v) override {
    if (depth_ == 1) name_ = std::move(v);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override {
    return false;
  }

 private:
  /// What has begun is a value, too.
  bool begin(control_request::value v) {
    const bool kept = depth_ == 0 || keep(std::move(v));
    ++depth_;
    return kept;
  }
  bool end() {
    --depth_;
    return true;
  }
  bool keep(control_request::value v) {
    if (depth_ == 0) return false;  // the line is something else than an object
    control_request::value& at = into_.values_[name_];
    if (depth_ == 1) {
      at = std::move(v);
    } else if (auto* const list = std::get_if<std::vector<std::string>>(&at); list && depth_ == 2) {
      auto* const text = std::get_if<std::string>(&v);
      list->push_back(text != nullptr ? std::move(*text) : std::string());
    }
    return true;
  }

  control_request& into_;
  std::string name_;
  std::size_t depth_ = 0;
  bool is_object_ = false;
};

std::optional<control_request> control_request::parse(std::string_view line) {
  control_request out;
  request_reader reader(out);
  if (!json::sax_parse(line, &reader) || !reader.is_object()) return std::nullopt;
  return out;
}

std::string control_request::text(std::string_view name) const {
  const auto* const found = find<std::string>(name);
  return found != nullptr ? *found : std::string();
}

u64 control_request::number(std::string_view name, u64 otherwise) const {
  const auto* const found = find<u64>(name);
  return found != nullptr ? *found : otherwise;
}

std::optional<bool> control_request::flag(std::string_view name) const {
  const auto* const found = find<bool>(name);
  return found != nullptr ? std::optional(*found) : std::nullopt;
}

std::vector<std::string> control_request::list(std::string_view name) const {
  const auto* const found = find<std::vector<std::string>>(name);
  return found != nullptr ? *found : std::vector<std::string>();
}

}  // namespace ph
