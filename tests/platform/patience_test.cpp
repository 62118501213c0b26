// What is never answered holds up for a moment, and keeps nothing else from being asked.
#include "platform/patience.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

#include "platform/unique_fd.h"
#include "tests/support/temp_folder.h"

namespace ph {
namespace {

TEST(patience, does_not_wait_for_what_hangs) {
  const temp_folder folder;
  const std::string hangs = folder.path + "/fifo";  // to open one waits for its writer
  ASSERT_EQ(::mkfifo(hangs.c_str(), 0600), 0);
  const auto answers = ask_patiently(6, [hangs](std::size_t i) {
    if (i == 2 || i == 4) return static_cast<bool>(unique_fd(::open(hangs.c_str(), O_RDONLY)));
    return i != 1;
  });
  const std::vector<std::optional<bool>> wanted{true, false,        std::nullopt,
                                                true, std::nullopt, true};
  EXPECT_EQ(answers, wanted);
  const unique_fd writer(::open(hangs.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  EXPECT_TRUE(writer) << "somebody still waits, and goes now";
}

TEST(patience, many_that_hang_end_it) {
  const auto waiting = std::make_shared<std::atomic<int>>(0);
  const auto answers = ask_patiently(100, [waiting](std::size_t i) {
    if (i == 0) return true;
    ++*waiting;
    while (*waiting >= 0) ::usleep(1000);
    return true;
  });
  EXPECT_EQ(answers[0], true);
  EXPECT_EQ(answers[1], std::nullopt);
  EXPECT_EQ(answers[99], std::nullopt);
  EXPECT_LT(*waiting, 20);
  *waiting = -1000;
}

TEST(patience, nothing_to_ask) {
  EXPECT_TRUE(ask_patiently(0, [](std::size_t) { return true; }).empty());
}

}  // namespace
}  // namespace ph
