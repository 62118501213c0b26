// A folder for the time of a test.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

namespace ph {

struct temp_folder {
  /// `pattern`: a path that ends with XXXXXX.
  explicit temp_folder(std::string pattern = testing::TempDir() + "ph-test-XXXXXX")
      : path(std::move(pattern)) {
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
  }
  temp_folder(temp_folder&& other) noexcept : path(std::exchange(other.path, {})) {}
  temp_folder& operator=(temp_folder&&) = delete;
  ~temp_folder() {
    std::error_code ignored;
    if (!path.empty()) std::filesystem::remove_all(path, ignored);
  }
  [[nodiscard]] std::string socket() const { return path + "/s"; }

  std::string path;
};

}  // namespace ph
