// The control client against a server that says exactly what a test tells it to: answers,
// refusals, nonsense, silence's end; and the listener's rule of one lab per path.
#include "daemon/control_client.h"
#include "platform/fd_message.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <thread>

#include "daemon/obituary.h"
#include "daemon/socket_path.h"
#include "tests/support/temp_folder.h"

namespace ph {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

/// Accepts one connection and runs a script on it, on a thread of its own.
class scripted_lab {
 public:
  using script = std::function<void(int connection)>;
  explicit scripted_lab(script s) : listener_(*control_listener::listen(folder_.socket())) {
    thread_ = std::thread([this, s = std::move(s)] {
      unique_fd connection;
      while (!connection) connection.reset(::accept(listener_.fd(), nullptr, nullptr));
      s(connection.get());
    });
  }
  ~scripted_lab() { thread_.join(); }
  [[nodiscard]] control_client client() const {
    auto c = control_client::connect(folder_.socket());
    EXPECT_TRUE(c) << c.error();
    return std::move(*c);
  }

 private:
  temp_folder folder_;
  control_listener listener_;
  std::thread thread_;
};

/// One line from a connection, and the descriptor that came with it, if any.
std::pair<std::string, unique_fd> read_line(int connection) {
  std::string line;
  unique_fd passed;
  while (line.empty() || line.back() != '\n') {
    std::array<char, 4096> buffer;
    const ssize_t n = receive_with_fd(connection, buffer, passed);
    if (n <= 0) break;
    line.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return {line, std::move(passed)};
}

void say(int connection, const std::string& text) {
  ASSERT_EQ(::send(connection, text.data(), text.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(text.size()));
}

scripted_lab::script answering(const std::string& expected, const std::string& reply) {
  return [=](int connection) {
    EXPECT_EQ(read_line(connection).first, expected);
    say(connection, reply);
  };
}

TEST(control_client, nobody_listens) {
  const temp_folder folder;
  const auto c = control_client::connect(folder.socket());
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error(),
            "no lab is running at " + folder.socket() + ": start one with `ph up -f lab.yaml`");
}

TEST(control_client, a_socket_left_behind_is_named_as_such) {
  const temp_folder folder;
  {
    const unique_fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, folder.socket().c_str());
    ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  const auto c = control_client::connect(folder.socket());
  ASSERT_FALSE(c);
  EXPECT_THAT(c.error(), StartsWith("no lab is running (only its old socket is left) at "));
}

TEST(control_client, what_a_dead_daemon_left_in_its_log_is_told) {
  const temp_folder folder;
  {
    const unique_fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, folder.socket().c_str());
    ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  const std::string path = log_path(folder.socket());
  const auto told = [&](const std::string& log) {
    std::ofstream(path, std::ios::trunc) << log;
    return control_client::connect(folder.socket()).error();
  };
  const std::string check = "posthaste: check failed: x > 0 (x.cpp:7)\n";
  const std::string crash = "posthaste: this is a bug: the daemon dies of SIGABRT; it was ...\n";
  EXPECT_THAT(told("an older line\n" + check + crash + "ph(+0x1)\n"),
              HasSubstr("; it died of a bug: check failed: x > 0 (x.cpp:7); its log: " + path));
  // A check that only a host died of is not what the daemon died of.
  EXPECT_THAT(told(check + "more\n" + crash), HasSubstr("it died of a bug: SIGABRT; its log"));
  EXPECT_THAT(told(check), HasSubstr("left; its log: "));
  EXPECT_THAT(told(""), Not(HasSubstr("its log")));
  EXPECT_THAT(told("posthaste: this is a bug: the daemon dies of \x1b[31m; it\n"),
              HasSubstr("it died of a bug: ?[31m; its log"));
  ASSERT_EQ(::unlink(path.c_str()), 0);
  ASSERT_EQ(::symlink("/etc/hostname", path.c_str()), 0);
  EXPECT_THAT(control_client::connect(folder.socket()).error(), Not(HasSubstr("its log")));
  ::unlink(path.c_str());
}

TEST(control_client, status_is_the_daemons_object) {
  const scripted_lab server(
      answering("{\"verb\":\"status\"}\n", "{\"ok\":true,\"hosts\":[{\"name\":\"alice\"}]}\n"));
  const auto status = server.client().status();
  ASSERT_TRUE(status) << status.error();
  EXPECT_EQ((*status)["hosts"][0]["name"], "alice");
}

TEST(control_client, an_answer_may_arrive_in_pieces) {
  const scripted_lab server([](int connection) {
    read_line(connection);
    for (const char c : std::string("{\"ok\":true,\"pid\":5}\n")) say(connection, {c});
  });
  const auto status = server.client().status();
  ASSERT_TRUE(status) << status.error();
  EXPECT_EQ((*status)["pid"], 5);
}

TEST(control_client, a_refusal_is_passed_on_word_for_word) {
  const scripted_lab server(answering("{\"host\":\"carol\",\"verb\":\"attach\"}\n",
                                      "{\"ok\":false,\"error\":\"no host carol\"}\n"));
  const auto env = server.client().run_env("carol");
  ASSERT_FALSE(env);
  EXPECT_EQ(env.error(), "no host carol");
}

TEST(control_client, attach_gives_the_environment) {
  const scripted_lab server(
      answering("{\"host\":\"bob\",\"verb\":\"attach\"}\n",
                "{\"ok\":true,\"env\":{\"PH_A\":\"1\",\"LD_PRELOAD\":\"l\",\"PH_B\":\"x\"}}\n"));
  const auto env = server.client().run_env("bob");
  ASSERT_TRUE(env) << env.error();
  ASSERT_EQ(env->size(), 2u);
  EXPECT_EQ((*env)[0].first, "PH_A");
  EXPECT_EQ((*env)[1].second, "x");
}

TEST(control_client, nonsense_is_no_lab_of_this_version) {
  for (const char* reply : {"hello\n", "[]\n", "{\"ok\":\n"}) {
    const scripted_lab server(answering("{\"verb\":\"status\"}\n", reply));
    const auto status = server.client().status();
    ASSERT_FALSE(status);
    EXPECT_THAT(status.error(), HasSubstr("is no lab of this version")) << reply;
  }
}

TEST(control_client, a_daemon_that_dies_is_said_so) {
  const scripted_lab server([](int connection) { read_line(connection); });
  const auto status = server.client().status();
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error(), HasSubstr("ended before it answered"));
}

TEST(control_client, down_returns_when_the_daemon_closes) {
  const scripted_lab server(answering("{\"verb\":\"down\"}\n", "{\"ok\":true}\n"));
  const auto down = server.client().down();
  EXPECT_TRUE(down) << down.error();
}

/// The daemon's yes to a capture, and one end of a stream beside it; the other one is returned.
unique_fd begin_capture(int connection) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  unique_fd writing(ends[0]);
  const unique_fd reading(ends[1]);
  const std::string yes = "{\"ok\":true}\n";
  EXPECT_EQ(send_with_fd(connection, yes, reading.get(), MSG_NOSIGNAL),
            static_cast<ssize_t>(yes.size()));
  return writing;
}

TEST(control_client, a_capture_is_copied_to_its_output_and_ends_when_told) {
  std::array<int, 2> pipe{}, stop{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(stop.data(), O_CLOEXEC), 0);
  const unique_fd output_reader(pipe[0]), output(pipe[1]), told(stop[0]), tell(stop[1]);
  const scripted_lab server([&](int connection) {
    EXPECT_EQ(read_line(connection).first,
              "{\"on\":[\"alice:eth0\"],\"packets\":3,\"snaplen\":96,\"verb\":\"capture\"}\n");
    const unique_fd out = begin_capture(connection);
    ASSERT_EQ(::write(out.get(), "frames", 6), 6);
    ASSERT_EQ(::write(tell.get(), "x", 1), 1);   // stands for a signal that says "enough"
    EXPECT_EQ(read_line(connection).first, "");  // the client's end: told to stop
    ASSERT_EQ(::write(out.get(), "last", 4), 4);
    say(connection, "{\"ok\":true,\"packets\":2}\n");
  });
  control_client client = server.client();
  const auto started = client.start_capture({{"alice:eth0"}, 96, 3}, output.get());
  ASSERT_TRUE(started) << started.error();
  EXPECT_EQ(client.wait_capture(told.get()), false);
  const auto packets = client.finish_capture();
  ASSERT_TRUE(packets) << packets.error();
  EXPECT_EQ(packets->packets, 2u);
  EXPECT_EQ(packets->left_out, 0u);
  std::array<char, 16> got{};
  ASSERT_EQ(::read(output_reader.get(), got.data(), got.size()), 10);
  EXPECT_EQ(std::string_view(got.data(), 10), "frameslast");
}

TEST(control_client, a_capture_may_end_by_itself) {
  const scripted_lab server([](int connection) {
    read_line(connection);
    const unique_fd out = begin_capture(connection);
    say(connection, "{\"ok\":true,\"packets\":3,\"left_out\":7}\n");
  });
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const unique_fd never_readable(pipe[0]);
  const unique_fd output(pipe[1]);
  control_client client = server.client();
  ASSERT_TRUE(client.start_capture({{"alice"}, 0, 3}, output.get()));
  EXPECT_EQ(client.wait_capture(never_readable.get()), true);
  const auto result = client.finish_capture();
  ASSERT_TRUE(result) << result.error();
  EXPECT_EQ(result->packets, 3u);
  EXPECT_EQ(result->left_out, 7u);
}

TEST(control_client, a_capture_whose_output_is_gone_says_so) {
  const scripted_lab server([](int connection) {
    read_line(connection);
    const unique_fd out = begin_capture(connection);
    EXPECT_EQ(read_line(connection).first, "");
  });
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const unique_fd output(pipe[1]);
  control_client client = server.client();
  ASSERT_TRUE(client.start_capture({{"alice"}, 0, 3}, output.get()));
  ::close(pipe[0]);
  EXPECT_THAT(client.wait_capture(-1).error(), HasSubstr("nobody reads it"));
}

TEST(control_listener, refuses_a_path_where_a_lab_runs_and_replaces_a_dead_ones) {
  const temp_folder folder;
  {
    auto first = control_listener::listen(folder.socket());
    ASSERT_TRUE(first) << first.error();
    const auto second = control_listener::listen(folder.socket());
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error(), StartsWith("a lab is already running at "));
    struct stat st {};
    ASSERT_EQ(::stat(folder.socket().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u);
  }
  EXPECT_NE(::access(folder.socket().c_str(), F_OK), 0);
  const unique_fd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, folder.socket().c_str());
  ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const auto third = control_listener::listen(folder.socket());
  EXPECT_TRUE(third) << third.error();
}

TEST(control_listener, never_removes_a_file_that_is_no_socket) {
  const temp_folder folder;
  const unique_fd file(::open(folder.socket().c_str(), O_CREAT | O_WRONLY, 0600));
  ASSERT_TRUE(file);
  const auto listener = control_listener::listen(folder.socket());
  ASSERT_FALSE(listener);
  EXPECT_THAT(listener.error(), HasSubstr("exists and is no socket"));
}

TEST(socket_path, option_then_variable_then_the_users_private_folder) {
  const temp_folder folder;
  ::setenv("XDG_RUNTIME_DIR", folder.path.c_str(), 1);
  ::unsetenv(lab_socket_variable);
  EXPECT_EQ(lab_socket_path("/x/y").value(), "/x/y");
  EXPECT_EQ(lab_socket_path("").value(), folder.path + "/posthaste/lab.sock");
  struct stat st {};
  ASSERT_EQ(::stat((folder.path + "/posthaste").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);
  ::setenv(lab_socket_variable, "/from/variable", 1);
  EXPECT_EQ(lab_socket_path("").value(), "/from/variable");
  EXPECT_EQ(lab_socket_path("/x/y").value(), "/x/y");
  ::unsetenv(lab_socket_variable);
  ::chmod((folder.path + "/posthaste").c_str(), 0777);
  EXPECT_THAT(lab_socket_path("").error(), HasSubstr("is not a folder of this user alone"));
  EXPECT_THAT(lab_socket_path(std::string(108, 'x')).error(), HasSubstr("too long for a socket"));
}

}  // namespace
}  // namespace ph
