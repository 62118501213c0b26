// Replays the fuzzer's corpus, and mutations of it, with whatever compiler builds the tests.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/rng.h"
#include "fuzz/wire_properties.h"
#include "tests/wire/golden.h"

namespace ph {
namespace {

std::vector<std::vector<u8>> corpus() {
  std::vector<std::filesystem::path> paths;
  const std::filesystem::path folder = PH_SOURCE_DIR "/fuzz/corpus/wire";
  for (const auto& file : std::filesystem::directory_iterator(folder)) paths.push_back(file.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::vector<u8>> out;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    out.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return out;
}

TEST(wire_corpus, holds_its_promises) {
  const auto inputs = corpus();
  ASSERT_GE(inputs.size(), 9u);
  for (const auto& input : inputs) fuzz::wire_properties(input);
}

TEST(wire_corpus, and_so_do_its_truncations_and_mutations) {
  rng random(51);
  for (const auto& input : corpus()) {
    for (std::size_t n = 0; n < input.size() && n < 128; ++n) {
      fuzz::wire_properties(golden::cut(input, n));
    }
    for (int round = 0; round < 300 && !input.empty(); ++round) {
      auto bytes = input;
      for (u64 flips = random.below(5) + 1; flips > 0; --flips) {
        bytes[random.below(bytes.size())] = static_cast<u8>(random.next());
      }
      fuzz::wire_properties(bytes);
    }
  }
}

}  // namespace
}  // namespace ph
