// A line-wise reader of the few preprocessor lines that suites for several systems use. Values of
// #define are not replaced in the text: that is what -D is for.
#include "sim/packetdrill/conditionals.h"

#include <algorithm>
#include <sstream>

namespace ph::packetdrill {
namespace {

struct branch {
  bool outer = true;   ///< the lines around this #ifdef are chosen
  bool holds = false;  ///< the branch that is being read is chosen
};

class chooser {
 public:
  explicit chooser(std::vector<std::string> defined) : defined_(std::move(defined)) {}

  /// True when the line belongs to the script; false: it is empty for the parser.
  bool line(const std::string& text) {
    std::istringstream words(text);
    std::string what, name;
    words >> what >> name;
    if (what == "#" && !name.empty()) {  // "# ifdef X"
      what += name;
      words >> name;
    }
    if (what == "#ifdef" || what == "#ifndef") {
      const bool known = std::find(defined_.begin(), defined_.end(), name) != defined_.end();
      const bool outer = chosen();
      open_.push_back({outer, outer && known == (what == "#ifdef")});
    } else if (what == "#else") {
      if (open_.empty()) return fault("#else without #ifdef");
      open_.back().holds = open_.back().outer && !open_.back().holds;
    } else if (what == "#endif") {
      if (open_.empty()) return fault("#endif without #ifdef");
      open_.pop_back();
    } else if (what == "#define") {
      if (chosen()) defined_.push_back(name);
    } else {
      return chosen();
    }
    return false;
  }
  [[nodiscard]] bool inside() const { return !open_.empty(); }
  std::string mistake;

 private:
  bool fault(const char* what) {
    mistake = what;
    return false;
  }
  [[nodiscard]] bool chosen() const { return open_.empty() || open_.back().holds; }
  std::vector<std::string> defined_;
  std::vector<branch> open_;
};

}  // namespace

tl::expected<std::string, script_error> choose_lines(std::string_view text,
                                                     std::vector<std::string> defined) {
  chooser choose(std::move(defined));
  std::string out;
  int number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line(text.substr(at, end - at));
    ++number;
    if (choose.line(line)) out += line;
    if (!choose.mistake.empty()) return tl::unexpected(script_error{number, choose.mistake});
    out += '\n';
    at = end + 1;
  }
  if (choose.inside()) return tl::unexpected(script_error{number, "#ifdef without #endif"});
  return out;
}

}  // namespace ph::packetdrill
