// Runs the public packetdrill suites where they are present: $PH_CONFORMANCE/packetdrill, by
// default ../shared/conformance beside the repository. conformance.tsv lists what differs, with the
// reason; docs/conformance.md is the same for readers. A script that fails without being listed is
// a fault, and so is one that is listed and passes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "sim/packetdrill/runner.h"
#include "sim/packetdrill/settings.h"

namespace ph::packetdrill {
namespace {

namespace fs = std::filesystem;

fs::path suites() {
  const char* named = std::getenv("PH_CONFORMANCE");
  return (named != nullptr ? fs::path(named) : fs::path(PH_SOURCE_DIR "/../shared/conformance")) /
         "packetdrill";
}

/// Script → reason, of one suite.
std::map<std::string, std::string> listed(const std::string& suite) {
  std::map<std::string, std::string> out;
  std::ifstream file(PH_SOURCE_DIR "/tests/packetdrill/conformance.tsv");
  EXPECT_TRUE(file) << "the list is missing";
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string of, script, reason;
    std::getline(fields, of, '\t');
    std::getline(fields, script, '\t');
    std::getline(fields, reason);
    if (of != suite) continue;
    EXPECT_FALSE(reason.empty()) << script << " is listed without a reason";
    out[script] = reason;
  }
  return out;
}

struct suite {
  std::string name;
  bool lenient_freebsd;
};

class public_suite : public testing::TestWithParam<suite> {};

TEST_P(public_suite, fails_exactly_where_the_list_says) {
  const fs::path folder = suites() / GetParam().name;
  if (!fs::is_directory(folder)) {
    GTEST_SKIP() << "no public scripts at " << folder << "; set PH_CONFORMANCE to their folder";
  }
  auto expected = listed(GetParam().name);
  int passed = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".pkt") continue;
    const std::string script = fs::relative(entry.path(), folder).string();
    run_options options;
    options.lenient_freebsd = GetParam().lenient_freebsd;
    options.defines = usual_defines();
    options.sysctls = suite_defaults(entry.path().string());
    const run_report report = run_file(entry.path().string(), options);
    const auto known = expected.find(script);
    if (report.result == outcome::pass) {
      ++passed;
      EXPECT_EQ(known, expected.end())
          << script << " passes now: take it out of tests/packetdrill/conformance.tsv and of "
          << "docs/conformance.md";
    } else if (report.result == outcome::fail) {
      EXPECT_TRUE(known != expected.end()) << script << ":" << report.line << ": " << report.reason;
    }
    if (known != expected.end()) expected.erase(known);
  }
  for (const auto& [script, reason] : expected) ADD_FAILURE() << script << " is listed but absent";
  EXPECT_GT(passed, 0);
}

INSTANTIATE_TEST_SUITE_P(suites, public_suite,
                         testing::Values(suite{"google-tcp", false}, suite{"freebsd-tcp", true}),
                         [](const auto& param_info) {
                           return param_info.param.lenient_freebsd ? "freebsd_tcp" : "google_tcp";
                         });

TEST(conformance_list, readers_find_every_script_in_the_document) {
  std::ifstream file(PH_SOURCE_DIR "/docs/conformance.md");
  std::stringstream text;
  text << file.rdbuf();
  for (const std::string suite_name : {"google-tcp", "freebsd-tcp"}) {
    for (const auto& [script, reason] : listed(suite_name)) {
      EXPECT_NE(text.str().find(fs::path(script).stem().string()), std::string::npos)
          << script << " is not in docs/conformance.md";
    }
  }
}

}  // namespace
}  // namespace ph::packetdrill
