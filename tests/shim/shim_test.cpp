// Runs the programs of tests/programs under the preload shim, with a daemon in this process whose
// stack is the machine's kernel. Each program checks itself and prints what it found wrong; each is
// also run without the shim, so that it says what Linux does, not what we do.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <filesystem>

#include "shim/hook.h"
#include "tests/shim/daemon_thread.h"

extern char** environ;

namespace ph::dropin {
namespace {

struct outcome {
  int status = -1;
  std::string output;
};

using environment = std::vector<std::pair<std::string, std::string>>;

/// A program of tests/programs that runs; `ours`: what the shim needs, empty for none.
class running_program {
 public:
  running_program(const std::string& name, const environment& ours) {
    const std::string bin = PH_BINARY_DIR;
    std::string path = bin + "/prog_" + name;
    std::vector<std::string> env;
    for (char** e = environ; *e != nullptr; ++e) env.emplace_back(*e);
    if (!ours.empty()) env.push_back("LD_PRELOAD=" + bin + "/libph_preload.so");
    for (const auto& [key, value] : ours) env.push_back(key + "=" + value);
    env.push_back("TCP_TABLE=" PH_SOURCE_DIR "/tests/programs/tcp_table.txt");
    std::vector<char*> envp;
    for (std::string& e : env) envp.push_back(e.data());
    envp.push_back(nullptr);
    int out[2];
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    output_.reset(out[0]);
    const unique_fd theirs(out[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, theirs.get(), 1);
    posix_spawn_file_actions_adddup2(&actions, theirs.get(), 2);
    char* argv[] = {path.data(), nullptr};
    EXPECT_EQ(::posix_spawn(&pid_, path.c_str(), &actions, nullptr, argv, envp.data()), 0) << path;
    posix_spawn_file_actions_destroy(&actions);
  }
  /// The next piece of what it prints; empty at the end.
  std::string read() {
    char buffer[4096];
    const ssize_t n = ::read(output_.get(), buffer, sizeof buffer);
    return n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : std::string();
  }
  outcome finish() {
    outcome o;
    for (std::string piece = read(); !piece.empty(); piece = read()) o.output += piece;
    if (pid_ > 0) ::waitpid(pid_, &o.status, 0);
    return o;
  }

 private:
  pid_t pid_ = -1;
  unique_fd output_;
};

bool have_shim() {
  return std::filesystem::exists(std::string(PH_BINARY_DIR) + "/libph_preload.so");
}

class program : public ::testing::TestWithParam<const char*> {};

TEST_P(program, says_what_linux_does) {
  const outcome o = running_program(GetParam(), {}).finish();
  EXPECT_EQ(o.status, 0) << o.output;
}

TEST_P(program, passes_under_the_shim) {
  if (!have_shim()) GTEST_SKIP() << "the shim is not built with a sanitizer";
  daemon_thread daemon;
  const outcome o = running_program(GetParam(), daemon.environment()).finish();
  EXPECT_EQ(o.status, 0) << o.output;
  EXPECT_TRUE(daemon.sockets_gone());
}

INSTANTIATE_TEST_SUITE_P(tests, program,
                         ::testing::Values("tcp_echo", "tcp_states", "tcp_reset", "tcp_blocking",
                                           "tcp_large", "tcp_connect", "tcp_table", "tcp_special",
                                           "tcp_unseen", "tcp_urgent", "tcp_waits", "udp_talk",
                                           "udp_waiting", "udp_stamps", "bad_pointers",
                                           "odd_lengths", "descriptors", "full_table", "processes",
                                           "names", "racing_memory", "transfers", "loopback",
                                           "sandboxed", "small_stacks"),
                         [](const auto& one) { return std::string(one.param); });

/// What a daemon with the kernel's sockets cannot do; streams_test.py runs them on our own stack.
class program_for_our_stack : public ::testing::TestWithParam<const char*> {};

TEST_P(program_for_our_stack, says_what_linux_does) {
  const outcome o = running_program(GetParam(), {}).finish();
  EXPECT_EQ(o.status, 0) << o.output;
}

INSTANTIATE_TEST_SUITE_P(tests, program_for_our_stack, ::testing::Values("tcp_linger", "tcp_aside"),
                         [](const auto& one) { return std::string(one.param); });

TEST(next_function, says_whether_there_is_one) {
  shim::next_function<int(int)> known{"close"}, none{"no_libc_has_this"};
  EXPECT_TRUE(known.exists());
  EXPECT_FALSE(none.exists());
}

TEST(daemon_death, ends_every_wait_with_a_reset) {
  if (!have_shim()) GTEST_SKIP() << "the shim is not built with a sanitizer";
  auto daemon = std::make_unique<daemon_thread>();
  running_program orphan("orphan", daemon->environment());
  EXPECT_EQ(orphan.read(), "ready\n");
  daemon.reset();
  const outcome o = orphan.finish();
  EXPECT_EQ(o.status, 0) << o.output;
  const std::size_t said = o.output.find("ph: this program's lab has ended");
  EXPECT_NE(said, std::string::npos) << o.output;
  EXPECT_EQ(o.output.find("ph: ", said + 1), std::string::npos) << "said once";
}

}  // namespace
}  // namespace ph::dropin
