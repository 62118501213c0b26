// The limits of control groups, as the system's files tell them.
#include "platform/memory_limit.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_folder.h"

namespace ph {
namespace {

struct files : ::testing::Test {
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path at = root + path;
    std::filesystem::create_directories(at.parent_path());
    std::ofstream(at) << text << "\n";
  }
  const temp_folder folder;
  const std::string& root = folder.path;
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

TEST_F(files, the_process_has_no_more_than_the_machine_and_each_of_its_limits) {
  const auto machine = process_memory(root);
  ASSERT_TRUE(machine.has_value());
  EXPECT_GT(*machine, 0u);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_DATA, &before), 0);
  rlimit less = before;
  less.rlim_cur = *machine - 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_DATA, &less), 0);
  EXPECT_EQ(process_memory(root), *machine - 4096);
  ASSERT_EQ(::setrlimit(RLIMIT_DATA, &before), 0);
  write("/proc/self/cgroup", "0::/lab");
  write("/sys/fs/cgroup/lab/memory.max", "4096");
  EXPECT_EQ(process_memory(root), 4096u);
}

TEST_F(files, nothing_is_known_without_files) { EXPECT_EQ(group_memory_limit(root), std::nullopt); }

}  // namespace
}  // namespace ph
