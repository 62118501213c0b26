// Pipelines of nstat and grep with plain words; anything else of a shell is refused.
#include "sim/packetdrill/nstat.h"

#include <fmt/format.h>

#include <sstream>
#include <vector>

#include "sim/packetdrill/settings.h"

namespace ph::packetdrill {
namespace {

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> out;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, by);) out.push_back(part);
  return out;
}

/// Words of a command; quotes hold blanks together.
std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> out;
  std::string word;
  char quote = '\0';
  bool any = false;
  for (const char c : text) {
    if (quote != '\0') {
      if (c == quote) quote = '\0';
      else word += c;
    } else if (c == '"' || c == '\'') {
      quote = c;
      any = true;
    } else if (c == ' ' || c == '\t') {
      if (any) out.push_back(std::exchange(word, {}));
      any = false;
    } else {
      word += c;
      any = true;
    }
  }
  if (any) out.push_back(word);
  return out;
}

/// Keeps the lines that have the word.
void grep(const std::vector<std::string>& words, std::vector<std::string>& lines) {
  std::string pattern;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i].starts_with(">")) break;  // "> /dev/null"
    if (words[i] == "-q") continue;
    if (words[i].starts_with("-") || !pattern.empty()) {
      throw not_supported("grep " + words[i] + " behind nstat");
    }
    pattern = words[i];
  }
  std::erase_if(lines, [&](const std::string& l) { return l.find(pattern) == std::string::npos; });
}

}  // namespace

std::string nstat::run(const std::string& command, const mib_table& counters) {
  for (const std::string& text : split(command, '\n')) {
    if (text.find("nstat") == std::string::npos) continue;
    const std::string why = line(text, counters);
    if (!why.empty()) return why;
  }
  return {};
}

std::string nstat::line(const std::string& text, const mib_table& counters) {
  const std::vector<std::string> stages = split(text, '|');
  bool quiet = false, keep = false;
  for (const std::string& word : words_of(stages.front())) {
    quiet = quiet || word == "-n" || word.starts_with(">");
    keep = keep || word == "-s";
  }
  std::vector<std::string> lines;
  counters.for_each([&](mib_counter counter, std::string_view name, u64 value) {
    u64& before = history_[counter];
    if (value != before && !quiet) {
      lines.push_back(fmt::format("{:<32}{:<16}0.0", name, value - before));
    }
    if (!keep) before = value;
  });
  for (std::size_t i = 1; i < stages.size(); ++i) {
    const std::vector<std::string> words = words_of(stages[i]);
    if (words.empty() || words.front() != "grep") {
      throw not_supported("a pipe from nstat to " + stages[i]);
    }
    grep(words, lines);
  }
  if (stages.size() > 1 && lines.empty()) return "nothing found by: " + text;
  return {};
}

}  // namespace ph::packetdrill
