// Files that do not come hold the reader up for a moment, and keep it from no other.
#include "platform/patient_reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "platform/unique_fd.h"

namespace ph {
namespace {

TEST(patient_reader, reads_and_does_not_wait_for_what_hangs) {
  std::string folder = testing::TempDir() + "ph-patient-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string hangs = folder + "/fifo";  // to open one waits for its writer
  ASSERT_EQ(::mkfifo(hangs.c_str(), 0600), 0);
  {
    patient_reader reader;
    EXPECT_NE(reader.read("/proc/self/stat"), "");
    EXPECT_EQ(reader.read(hangs), "");
    EXPECT_NE(reader.read("/proc/self/stat"), "");
    EXPECT_EQ(reader.read(folder + "/nothing"), "");
    EXPECT_EQ(reader.read("/proc/self/stat", [] { return false; }), "");
    EXPECT_NE(reader.read("/proc/self/stat", [] { return true; }), "");
    const auto asks_what_hangs = [hangs] {
      return static_cast<bool>(unique_fd(::open(hangs.c_str(), O_RDONLY | O_CLOEXEC)));
    };
    EXPECT_EQ(reader.read("/proc/self/stat", asks_what_hangs), "");
    EXPECT_NE(reader.read("/proc/self/stat"), "");
    EXPECT_NE(reader.read("/proc/self/stat"), "");
  }
  const unique_fd writer(::open(hangs.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  EXPECT_TRUE(writer) << "somebody still waits, and goes now";
  ::unlink(hangs.c_str());
  ::rmdir(folder.c_str());
}

}  // namespace
}  // namespace ph
