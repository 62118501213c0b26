// Runs the project's own packetdrill scripts, and the public suites where they are present.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "sim/packetdrill/runner.h"

namespace ph::packetdrill {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> scripts_below(const fs::path& folder) {
  std::vector<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".pkt") out.push_back(entry.path().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

class own_script : public testing::TestWithParam<std::string> {};

TEST_P(own_script, passes) {
  const run_report report = run_file(GetParam(), {});
  EXPECT_EQ(report.result, outcome::pass) << GetParam() << ":" << report.line << ": "
                                          << report.reason;
}

INSTANTIATE_TEST_SUITE_P(scripts, own_script,
                         testing::ValuesIn(scripts_below(PH_SOURCE_DIR "/tests/scripts")),
                         [](const auto& param_info) {
                           std::string name = fs::path(param_info.param).stem().string();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(script_language, reports_the_line_of_a_mistake) {
  const auto parsed =
      parse_script("x.pkt", "0 socket(..., SOCK_STREAM, 0) = 3\n+0 > Q 0:0(0)\n", {});
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().line, 2);
}

TEST(script_language, a_wrong_expectation_fails_with_both_packets) {
  const auto parsed = parse_script("x.pkt", "0 < S 0:0(0) win 100\n+0 > R. 0:0(0) ack 2\n", {});
  ASSERT_TRUE(parsed);
  const run_report report = run_script(*parsed, {});
  EXPECT_EQ(report.result, outcome::fail);
  EXPECT_NE(report.reason.find("expected: R. 0:0(0) ack 2"), std::string::npos) << report.reason;
  EXPECT_NE(report.reason.find("actual: R. 0:0(0) ack 1"), std::string::npos) << report.reason;
}

}  // namespace
}  // namespace ph::packetdrill
