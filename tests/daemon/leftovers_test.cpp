// What killed daemons leave behind goes with the next start; what somebody holds, or what is not
// ours, stays.
#include "daemon/leftovers.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "daemon/anchor.h"
#include "daemon/shim_copies.h"
#include "daemon/socket_path.h"
#include "tests/support/temp_folder.h"

namespace ph {
namespace {

namespace fs = std::filesystem;

class leftovers : public ::testing::Test {
 protected:
  std::string make(const std::string& pattern) { return made_.emplace_back(pattern).path; }
  std::string run_folder() { return make("/tmp/" + std::string(run_folder_prefix) + "XXXXXX"); }
  static void write(const std::string& path, const char* text) { std::ofstream(path) << text; }
  static void age(const std::string& path) {
    const timespec old[2] = {{1'000'000, 0}, {1'000'000, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), old, 0), 0);
  }
  ~leftovers() override {
    if (!linked_.empty()) ::unlink(linked_.c_str());
  }
  std::string linked_;
  std::vector<temp_folder> made_;
};

TEST_F(leftovers, folders_of_anchors_that_nobody_holds) {
  auto held = dropin::anchor_folder::create(7);
  ASSERT_TRUE(held);
  const std::string left = make(held->path().substr(0, held->path().size() - 6) + "XXXXXX");
  const std::string used = make(held->path().substr(0, held->path().size() - 6) + "XXXXXX");
  write(used + "/file", "x");
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  (left + "/anchor").copy(name.sun_path, sizeof name.sun_path - 1);
  const unique_fd anchor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(anchor.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  sweep_leftovers();
  EXPECT_TRUE(fs::exists(held->path()));
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists(used + "/file")) << "no daemon leaves that";
}

TEST_F(leftovers, folders_of_labs_of_a_program) {
  const std::string dead = run_folder(), held = run_folder(), crashed = run_folder(),
                    starting = run_folder(), locking = run_folder(), never_started = run_folder();
  for (const std::string& folder : {dead, held, crashed, locking}) {
    write(folder + "/lab.sock.lock", "");
  }
  write(dead + "/lab.sock", "");
  write(crashed + "/log", "posthaste: this is a bug");
  for (const std::string& folder : {dead, held, crashed, never_started}) age(folder);
  const unique_fd lock(::open((held + "/lab.sock.lock").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX), 0);
  sweep_leftovers();
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_FALSE(fs::exists(never_started));
  EXPECT_TRUE(fs::exists(held));
  EXPECT_TRUE(fs::exists(starting));
  EXPECT_TRUE(fs::exists(crashed)) << "its log is for people to read";
  age(crashed + "/log");
  sweep_leftovers();
  EXPECT_FALSE(fs::exists(crashed));
}

/// Of every process but the first, that is what the sweep wants to know.
bool may_look_at_all_processes() {
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename();
    if (pid == "1" || pid.find_first_not_of("0123456789") != std::string::npos) continue;
    const unique_fd maps(::open((entry.path() / "maps").c_str(), O_RDONLY | O_CLOEXEC));
    if (!maps && errno != ENOENT && errno != ESRCH) return false;
  }
  return true;
}

TEST_F(leftovers, copies_of_the_shim_that_nobody_uses) {
  if (!may_look_at_all_processes()) GTEST_SKIP() << "only who may makes such copies";
  const auto copy = [&] {
    const std::string folder = make("/tmp/" + std::string(shim_copy_prefix) + "XXXXXX");
    write(folder + "/" + shim_name, "x");
    return folder;
  };
  const std::string left = copy(), loaded = copy(), recent = copy(), other = copy();
  write(other + "/file", "x");
  const unique_fd file(::open((loaded + "/" + shim_name).c_str(), O_RDONLY | O_CLOEXEC));
  void* const at = ::mmap(nullptr, 1, PROT_READ, MAP_PRIVATE, file.get(), 0);
  ASSERT_NE(at, MAP_FAILED);
  for (const std::string& folder : {left, loaded, other}) age(folder);
  sweep_leftovers();
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists(loaded + "/" + shim_name));
  EXPECT_TRUE(fs::exists(recent + "/" + shim_name));
  EXPECT_TRUE(fs::exists(other + "/file")) << "nobody puts that there";
  ::munmap(at, 1);
  sweep_leftovers();
  EXPECT_FALSE(fs::exists(loaded));
}

TEST_F(leftovers, nothing_is_followed) {
  const std::string elsewhere = make("/tmp/ph-elsewhere-XXXXXX");
  write(elsewhere + "/lab.sock.lock", "");
  write(elsewhere + "/log", "");
  const std::string link =
      "/tmp/" + std::string(run_folder_prefix) + "link-of-test-" + std::to_string(::getpid());
  linked_ = link;
  ASSERT_EQ(::symlink(elsewhere.c_str(), link.c_str()), 0);
  sweep_leftovers();
  EXPECT_TRUE(fs::exists(elsewhere + "/log"));
  EXPECT_EQ(::unlink(link.c_str()), 0);
}

}  // namespace
}  // namespace ph
