// The limits of control groups, as the system's files tell them.
#include "platform/memory_limit.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace ph {
namespace {

struct files : ::testing::Test {
  files() {
    std::string name = testing::TempDir() + "ph-groups-XXXXXX";
    root = ::mkdtemp(name.data());
  }
  ~files() override { std::filesystem::remove_all(root); }
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path at = root + path;
    std::filesystem::create_directories(at.parent_path());
    std::ofstream(at) << text << "\n";
  }
  std::string root;
};

TEST_F(files, the_least_limit_on_the_way_up_counts) {
  write("/proc/self/cgroup", "0::/user/lab");
  write("/sys/fs/cgroup/user/lab/memory.max", "max");
  EXPECT_EQ(group_memory_limit(root), std::nullopt);
  write("/sys/fs/cgroup/user/memory.max", "300000000");
  EXPECT_EQ(group_memory_limit(root), 300'000'000u);
  write("/sys/fs/cgroup/user/lab/memory.max", "400000000");
  EXPECT_EQ(group_memory_limit(root), 300'000'000u);
  write("/sys/fs/cgroup/user/lab/memory.max", "200000000");
  EXPECT_EQ(group_memory_limit(root), 200'000'000u);
}

TEST_F(files, version_one_has_a_tree_for_memory) {
  write("/proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/docker/a\n0::/");
  write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");  // none
  EXPECT_EQ(group_memory_limit(root), std::nullopt);
  write("/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "100000000");
  EXPECT_EQ(group_memory_limit(root), 100'000'000u);
}

TEST_F(files, nothing_is_known_without_files) { EXPECT_EQ(group_memory_limit(root), std::nullopt); }

}  // namespace
}  // namespace ph
