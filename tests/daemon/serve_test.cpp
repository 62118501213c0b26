// The whole daemon on a thread of this process: control connections good, bad and hostile,
// captures, journeys, programs (this test speaks their protocol itself), ends of every kind.
#include "daemon/serve.h"
#include "platform/fd_message.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "base/rng.h"
#include "daemon/capture.h"
#include "daemon/control_client.h"
#include "daemon/protocol.h"
#include "daemon/socket_path.h"
#include "tests/daemon/served_lab.h"
#include "uapi/socket.h"
#include "wire/inet_addr.h"

namespace ph {
namespace {

using testing::HasSubstr;

/// One datagram from alice to a socket of bob's; returns what arrived there.
std::string send_datagram(const served_lab& lab, std::string_view text) {
  raw_program bob(lab, "bob");
  const unique_fd receiver(bob.socket(uapi::sock_dgram));
  EXPECT_EQ(bob.bind(receiver.get(), "10.0.1.2", 5000), 0);
  raw_program alice(lab, "alice");
  const unique_fd sender(alice.socket(uapi::sock_dgram));
  EXPECT_EQ(alice.send_to(sender.get(), "10.0.1.2", 5000, text), static_cast<int>(text.size()));
  pollfd wanted{receiver.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&wanted, 1, 30'000), 1);
  std::string got(text.size() + 100, '\0');
  const ssize_t n = ::recv(receiver.get(), got.data(), got.size(), MSG_DONTWAIT);
  got.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
  return got;
}

// --- control ------------------------------------------------------------------------------------

TEST(serve, status_tells_hosts_devices_links_and_counters) {
  served_lab lab;
  EXPECT_EQ(send_datagram(lab, "hello"), "hello");
  const json status = *lab.client().status();
  EXPECT_EQ(status["lab"], "test.yaml");
  EXPECT_EQ(status["pid"], ::getpid());
  ASSERT_EQ(status["hosts"].size(), 2u);
  const json& alice = status["hosts"][0];
  EXPECT_EQ(alice["name"], "alice");
  EXPECT_EQ(alice["devices"][0]["name"], "lo");
  EXPECT_EQ(alice["devices"][1]["addresses"][0], "10.0.1.1/24");
  EXPECT_GE(alice["devices"][1]["tx_packets"], 2);
  EXPECT_EQ(alice["counters"]["UdpOutDatagrams"], 1);
  EXPECT_EQ(alice["events"][0]["what"], "eth0 is up");
  EXPECT_EQ(alice["events"][1]["what"], "10.0.1.1/24 on eth0 is there");
  const json& link = status["links"][0];
  EXPECT_EQ(link["ends"], json({"alice:eth0", "bob:eth0"}));
  EXPECT_GE(link["forth"]["delivered"], 2);
}

TEST(serve, sockets_are_told_by_protocol) {
  served_lab lab;
  raw_program alice(lab, "alice");
  const unique_fd udp(alice.socket(uapi::sock_dgram)), tcp(alice.socket(uapi::sock_stream)),
      more(alice.socket(uapi::sock_stream));
  const json status = *lab.client().status();
  EXPECT_EQ(status["hosts"][0]["sockets_by_protocol"], json({{"tcp", 2}, {"udp", 1}}));
  EXPECT_EQ(status["hosts"][1]["sockets_by_protocol"], json::object());
}

TEST(serve, a_neighbour_that_does_not_answer_is_one_line_however_often) {
  served_lab lab;
  raw_program alice(lab, "alice");
  const unique_fd sender(alice.socket(uapi::sock_dgram));
  constexpr const char* line = "10.0.1.77 on eth0 does not answer";
  json events;
  const auto told_twice = [&] {
    events = (*lab.client().status())["hosts"][0]["events"];
    return events.back()["what"] == line && events.back()["times"] >= 2;
  };
  for (int i = 0; i < 600 && !told_twice(); ++i) {
    alice.send_to(sender.get(), "10.0.1.77", 9, "x");
    ::usleep(100'000);
  }
  const auto is_it = [](const json& event) { return event["what"] == line; };
  EXPECT_EQ(std::count_if(events.begin(), events.end(), is_it), 1) << events;
  EXPECT_GE(events.back()["times"], 2) << events;
}

TEST(serve, drops_are_told_with_their_reason) {
  served_lab lab;
  raw_program alice(lab, "alice");
  const unique_fd sender(alice.socket(uapi::sock_dgram));
  EXPECT_EQ(alice.send_to(sender.get(), "10.0.1.2", 9, "x"), 1);
  json drops;
  for (int i = 0; i < 1000 && drops.empty(); ++i) {
    ::usleep(10'000);
    drops = (*lab.client().status())["hosts"][1]["drops"];
  }
  EXPECT_EQ(drops["udp_no_port"]["packets"], 1);
  EXPECT_NE(drops["udp_no_port"]["text"], "");
}

TEST(serve, a_second_daemon_is_refused_and_the_first_goes_on) {
  served_lab lab;
  serve_options options;
  options.socket_path = lab.folder.socket();
  const auto second = serve(lab_of(two_hosts), options);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error(), HasSubstr("already running"));
  EXPECT_TRUE(lab.client().status());
}

TEST(serve, a_socket_that_a_crash_left_is_replaced) {
  temp_folder folder;
  {
    const unique_fd left(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder.socket();
    std::copy(path.begin(), path.end(), address.sun_path);
    ASSERT_EQ(::bind(left.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  serve_options options;
  options.socket_path = folder.socket();
  options.on_ready = [&] {
    std::thread([path = folder.socket()] {
      EXPECT_TRUE(control_client::connect(path)->down());
    }).detach();
  };
  const auto served = serve(lab_of(two_hosts), options);
  EXPECT_TRUE(served) << served.error();
  EXPECT_FALSE(std::filesystem::exists(folder.socket())) << "the socket goes with the lab";
}

TEST(serve, a_lab_that_cannot_be_built_says_why) {
  temp_folder folder;
  serve_options options;
  options.socket_path = folder.socket();
  const auto setting = serve(lab_of("hosts: { a: { sysctl: { net.ipv4.nonsense: 1 } } }"), options);
  ASSERT_FALSE(setting);
  EXPECT_THAT(setting.error(), HasSubstr("net.ipv4.nonsense"));
  const auto error_of = [&options](const std::string& entry) {
    const auto served =
        serve(lab_of(("hosts:\n  a:\n    sysctl:\n      " + entry).c_str()), options);
    return served ? "" : served.error();
  };
  EXPECT_EQ(error_of("net.ipv4.ip_foward: 1"),
            "test.yaml:4: unknown sysctl `net.ipv4.ip_foward`; expected net.ipv4.ip_forward");
  EXPECT_EQ(error_of("net.ipv4.tcp_sack: yes"),
            "test.yaml:4: `yes` for net.ipv4.tcp_sack; expected a value like `1`, in the "
            "setting's range");
  EXPECT_FALSE(std::filesystem::exists(folder.socket()));
}

TEST(serve, requests_that_make_no_sense_are_refused_one_by_one) {
  served_lab lab;
  const std::string deep = std::string(50'000, '[') + "\n";
  const auto answers =
      answers_to(lab, "nonsense\n{\"verb\":\"fly\"}\n[1]\n\n{\"verb\":7}\n" + deep +
                          "{\"verb\":\"capture\",\"on\":[\"carol\"]}\n"
                          "{\"verb\":\"attach\",\"host\":\"carol\"}\n{\"verb\":\"trace\"}\n"
                          "{\"verb\":\"status\"}\n");
  ASSERT_EQ(answers.size(), 9u);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(answers[i]["ok"], false) << i;
    EXPECT_TRUE(answers[i]["error"].is_string()) << i;
  }
  EXPECT_THAT(answers[6]["error"].get<std::string>(), HasSubstr("alice bob"));
  EXPECT_EQ(answers[8]["ok"], true);
}

TEST(serve, an_endless_line_ends_its_connection_alone) {
  served_lab lab;
  const unique_fd fd = raw_connection(lab.folder.socket());
  send_text(fd.get(), std::string(1'000'000, 'x'));
  EXPECT_THAT(read_to_end(fd.get()), HasSubstr("longer than"));
  EXPECT_TRUE(lab.client().status());
}

TEST(serve, random_bytes_do_no_harm) {
  served_lab lab;
  rng random(5);
  const std::vector<std::string> words = {"{\"verb\":",
                                          "\"status\"",
                                          "\"capture\"",
                                          "\"journey\",\"wait_s\":0",
                                          "\"on\":",
                                          "[",
                                          "]",
                                          "{",
                                          "}",
                                          "\n",
                                          ",",
                                          "\"any\"",
                                          "\"alice:eth0\"",
                                          "true",
                                          "1e999",
                                          "\\u0000",
                                          "\xff\xfe"};
  for (int round = 0; round < 100; ++round) {
    std::string bytes;
    for (u64 i = random.below(60); i > 0; --i) {
      if (random.chance(0.7)) {
        bytes += words[random.below(words.size())];
      } else {
        bytes += static_cast<char>(random.next());
      }
    }
    for (const json& answer : answers_to(lab, bytes)) EXPECT_TRUE(answer.contains("ok"));
  }
  EXPECT_TRUE(lab.client().status());
}

TEST(serve, random_programs_do_no_harm) {
  served_lab lab;
  rng random(6);
  const auto environment = *lab.client().run_env("alice");
  const std::map<std::string, std::string> env(environment.begin(), environment.end());
  for (int round = 0; round < 200; ++round) {
    raw_program program(lab, "alice");
    for (int i = 0; i < 5; ++i) {
      std::vector<u8> data(random.below(100));
      for (u8& byte : data) byte = static_cast<u8>(random.next());
      const auto kind = static_cast<dropin::request_kind>(2 + random.below(20));
      const auto arg = [&] { return static_cast<s32>(random.below(40)); };
      const int answer = program.ask(kind, {arg(), arg(), arg()}, data, -1);
      if (answer == -1000) break;  // the daemon has closed the channel: its right
    }
  }
  EXPECT_TRUE(lab.client().status());
}

TEST(serve, many_connections_keep_nobody_from_asking) {
  served_lab lab;
  std::vector<unique_fd> many;
  for (const char* text : {"", "{\"verb\":\"journey\",\"wait_s\":600}\n"}) {
    for (int i = 0; i < 300; ++i) {
      many.push_back(raw_connection(lab.folder.socket()));
      send_text(many.back().get(), text);
    }
    EXPECT_TRUE(lab.client().status());
  }
}

TEST(serve, what_waits_behind_a_journey_is_bounded_and_served_at_its_end) {
  served_lab lab;
  const unique_fd fd = raw_connection(lab.folder.socket());
  send_text(fd.get(), "{\"verb\":\"journey\",\"wait_s\":1}\n");
  // As much as the daemon and the kernel take: the rest must wait here.
  const std::string line = "{\"verb\":\"nothing\"}\n";
  std::size_t sent = 0;
  ssize_t n;
  while ((n = ::send(fd.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
    ASSERT_EQ(n, static_cast<ssize_t>(line.size()));
    ASSERT_LT(++sent, 100'000u) << "no bound";
  }
  EXPECT_TRUE(lab.client().status());
  ::shutdown(fd.get(), SHUT_WR);
  std::istringstream answers(read_to_end(fd.get()));
  std::size_t got = 0;
  for (std::string answer; std::getline(answers, answer);) ++got;
  EXPECT_EQ(got, sent + 1);
}

TEST(serve, a_flood_of_requests_leaves_packets_their_turn) {
  served_lab lab;
  const unique_fd fd = raw_connection(lab.folder.socket());
  std::string flood;
  for (int i = 0; i < 2000; ++i) flood += "{\"verb\":\"status\"}\n";
  std::thread reader([&] { EXPECT_EQ(std::ranges::count(read_to_end(fd.get()), '\n'), 2000); });
  std::thread writer([&] {
    send_text(fd.get(), flood);
    ::shutdown(fd.get(), SHUT_WR);
  });
  EXPECT_EQ(send_datagram(lab, "meanwhile"), "meanwhile");
  writer.join();
  reader.join();
}

// --- captures and journeys ----------------------------------------------------------------------

std::string file_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(serve, a_capture_has_what_passed_and_is_a_capture_file) {
  served_lab lab;
  const std::string path = lab.folder.path + "/out.pcapng";
  control_client capturing = lab.client();
  {
    const unique_fd out(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_TRUE(capturing.start_capture({{"alice:eth0", "bob"}, 0, 0}, out.get()));
  }
  EXPECT_EQ(send_datagram(lab, "look for me"), "look for me");
  const auto end = capturing.finish_capture();
  ASSERT_TRUE(end) << end.error();
  // A question and an answer for the address, and the datagram, each seen at both ends.
  EXPECT_GE(end->packets, 6u);
  const std::string bytes = file_bytes(path);
  EXPECT_EQ(bytes.substr(0, 4), "\x0a\x0d\x0d\x0a");
  EXPECT_THAT(bytes, HasSubstr("alice:eth0"));
  EXPECT_THAT(bytes, HasSubstr("bob:lo"));
  EXPECT_THAT(bytes, testing::Not(HasSubstr("alice:lo")));
  const std::size_t first = bytes.find("look for me");
  ASSERT_NE(first, std::string::npos);
  EXPECT_NE(bytes.find("look for me", first + 1), std::string::npos);
}

TEST(serve, a_capture_ends_by_itself_after_so_many_packets) {
  served_lab lab;
  const std::string path = lab.folder.path + "/out.pcapng";
  control_client capturing = lab.client();
  const unique_fd out(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(capturing.start_capture({{"any"}, 40, 2}, out.get()));
  const unique_fd never(::eventfd(0, EFD_CLOEXEC));
  EXPECT_EQ(send_datagram(lab, "0123456789"), "0123456789");
  ASSERT_TRUE(*capturing.wait_capture(never.get()));
  EXPECT_EQ(capturing.finish_capture()->packets, 2u);
  EXPECT_THAT(file_bytes(path), testing::Not(HasSubstr("0123456789"))) << "cut to 40 bytes";
}

/// A capture of everything that nobody copies, and its control connection.
struct unread_capture {
  unique_fd connection, stream;
  std::string answer;
};

unread_capture begin_capture(const served_lab& lab) {
  unread_capture out{raw_connection(lab.folder.socket()), {}, {}};
  send_text(out.connection.get(), "{\"verb\":\"capture\",\"on\":[\"any\"]}\n");
  std::array<char, 4096> buffer;
  const ssize_t n = receive_with_fd(out.connection.get(), buffer, out.stream);
  if (n > 0) out.answer.assign(buffer.data(), static_cast<std::size_t>(n));
  return out;
}

TEST(serve, a_capture_whose_reader_sleeps_holds_nobody_up) {
  served_lab lab;
  const unread_capture capturing = begin_capture(lab);
  ASSERT_TRUE(capturing.stream) << capturing.answer;
  const std::string big(1'400, 'b');
  for (int i = 0; i < 100; ++i) EXPECT_EQ(send_datagram(lab, big), big);
  ::shutdown(capturing.connection.get(), SHUT_WR);
  EXPECT_GT(read_to_end(capturing.stream.get()).size(), 2 * 100 * big.size());
  const json end = json::parse(read_to_end(capturing.connection.get()));
  EXPECT_EQ(end["ok"], true);
  EXPECT_EQ(end["left_out"], 0);
}

TEST(serve, a_capture_that_nobody_reads_any_more_says_so) {
  served_lab lab;
  unread_capture capturing = begin_capture(lab);
  capturing.stream.reset();
  EXPECT_EQ(send_datagram(lab, "x"), "x");
  EXPECT_THAT(read_to_end(capturing.connection.get()), HasSubstr("cannot write"));
}

/// Whoever holds captures and connections keeps the owner from nothing.
TEST(serve, captures_and_connections_leave_room_for_the_owner) {
  served_lab lab;
  std::vector<unread_capture> captures;
  int begun = 0;
  for (int i = 0; i < 60; ++i) {
    captures.push_back(begin_capture(lab));
    begun += captures.back().stream ? 1 : 0;
  }
  EXPECT_EQ(begun, 32);
  EXPECT_THAT(captures.back().answer, HasSubstr("captures run already"));
  std::vector<unique_fd> idle;
  for (int i = 0; i < 300; ++i) idle.push_back(raw_connection(lab.folder.socket()));
  EXPECT_TRUE(lab.client().status());
  captures.erase(captures.begin(), captures.begin() + 8);
  EXPECT_TRUE(lab.client().status());
  EXPECT_TRUE(begin_capture(lab).stream) << "an ended one makes room";
}

/// A passed descriptor could make a write or a close of the daemon wait.
TEST(serve, the_control_socket_takes_no_descriptors) {
  served_lab lab;
  const unique_fd fd = raw_connection(lab.folder.socket());
  const std::string request = "{\"verb\":\"status\"}\n";
  const ssize_t n = send_with_fd(fd.get(), request, fd.get(), MSG_NOSIGNAL);
  if (n < 0) {
    EXPECT_EQ(errno, EPERM);
  } else {
    EXPECT_EQ(read_to_end(fd.get()), "");
  }
  EXPECT_TRUE(lab.client().status());
}

TEST(capture_budget, each_may_keep_as_much_as_all_leave_free) {
  capture_budget budget{100, 0};
  std::size_t first = 0, second = 0;
  while (budget.lets_grow(first)) ++first, ++budget.used;
  EXPECT_EQ(first, 50u);
  while (budget.lets_grow(second)) ++second, ++budget.used;
  EXPECT_EQ(second, 25u);
  EXPECT_TRUE(budget.lets_grow(0));
}

TEST(serve, captures_of_unknown_places_are_refused) {
  served_lab lab;
  const unique_fd out(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  EXPECT_THAT(lab.client().start_capture({{"carol:eth0"}, 0, 0}, out.get()).error(),
              HasSubstr("no host carol"));
  EXPECT_THAT(lab.client().start_capture({{"alice:eth7"}, 0, 0}, out.get()).error(),
              HasSubstr("no device eth7"));
  EXPECT_THAT(lab.client().start_capture({{""}, 0, 0}, out.get()).error(), HasSubstr("alice bob"));
}

TEST(serve, a_journey_goes_from_host_to_host) {
  served_lab lab;
  auto asked = std::async(std::launch::async, [&] { return lab.client().journey(20); });
  while (asked.wait_for(std::chrono::milliseconds(10)) != std::future_status::ready) {
    send_datagram(lab, std::string(500, 'j'));
  }
  const auto told = asked.get();
  ASSERT_TRUE(told) << told.error();
  EXPECT_GE((*told)["bytes"], 500);
  std::set<std::string> hosts;
  bool consumed = false;
  for (const json& step : (*told)["events"]) {
    hosts.insert(step["host"].get<std::string>());
    consumed = consumed || step["kind"] == "consumed";
  }
  EXPECT_THAT(hosts, testing::ElementsAre("alice", "bob"));
  EXPECT_TRUE(consumed);
  EXPECT_EQ((*told)["text"].size(), (*told)["events"].size());
}

TEST(serve, a_journey_in_a_silent_lab_is_refused_in_time) {
  served_lab lab;
  const auto told = lab.client().journey(0);
  ASSERT_FALSE(told);
  EXPECT_THAT(told.error(), HasSubstr("no packet"));
}

// --- ends ---------------------------------------------------------------------------------------

TEST(serve, a_descriptor_ends_it) {
  temp_folder folder;
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const unique_fd reader(ends[0]);
  unique_fd writer(ends[1]);
  serve_options options;
  options.socket_path = folder.socket();
  options.until_readable = reader.get();
  options.on_ready = [&] { EXPECT_EQ(::write(writer.get(), "x", 1), 1); };
  EXPECT_TRUE(serve(lab_of(two_hosts), options));
  EXPECT_FALSE(std::filesystem::exists(folder.socket()));
}

TEST(serve, signals_end_it_and_it_returns_as_usual) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    temp_folder folder;
    serve_options options;
    options.socket_path = folder.socket();
    options.on_ready = [&] { ::pthread_kill(::pthread_self(), signal); };
    EXPECT_TRUE(serve(lab_of(two_hosts), options)) << signal;
    EXPECT_FALSE(std::filesystem::exists(folder.socket()));
  }
}

/// A program of the lab's, by its environment: a shell, whose output is read.
class shell {
 public:
  shell(const served_lab& lab, const std::string& script) {
    const auto environment = *lab.client().run_env("alice");
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    output_.reset(ends[0]);
    const unique_fd theirs(ends[1]);
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::dup2(theirs.get(), STDOUT_FILENO);
    sigset_t none;
    ::sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);  // as `ph run` does
    ::execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
    ::_exit(127);
  }
  /// What it says next; empty at its end.
  std::string line() {
    std::array<char, 256> buffer;
    const ssize_t n = ::read(output_.get(), buffer.data(), buffer.size());
    return {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0))};
  }
  int wait() {
    int status = -1;
    ::waitpid(pid_, &status, 0);
    return status;
  }

 private:
  pid_t pid_ = -1;
  unique_fd output_;
};

serve_options with_grace(duration grace) {
  serve_options options;
  options.grace = grace;
  return options;
}

TEST(serve, a_second_signal_does_not_wait_for_programs) {
  served_lab lab(two_hosts, with_grace(seconds(3600)));
  shell deaf(lab, "trap 'echo term' TERM; echo go; while :; do sleep 1000 & wait; done");
  EXPECT_EQ(deaf.line(), "go\n");
  lab.signal(SIGINT);
  EXPECT_EQ(deaf.line(), "term\n");
  lab.signal(SIGINT);
  EXPECT_TRUE(lab.join());
  EXPECT_EQ(deaf.wait(), SIGKILL);
}

TEST(serve, the_end_of_its_program_leaves_others_time_to_end) {
  const unique_fd over(::eventfd(0, EFD_CLOEXEC));
  serve_options options = with_grace(seconds(3600));
  options.until_readable = over.get();
  served_lab lab(two_hosts, options);
  // It waits without a child: one that is just being forked may lose its SIGTERM.
  shell polite(lab,
               "f=$(mktemp -u); mkfifo $f; exec 3<>$f; rm $f; trap 'sleep 0.1; exit 7' TERM; "
               "echo go; while :; do read x <&3; done");
  EXPECT_EQ(polite.line(), "go\n");
  const u64 one = 1;
  EXPECT_EQ(::write(over.get(), &one, sizeof one), ssize_t{sizeof one});
  EXPECT_EQ(WEXITSTATUS(polite.wait()), 7);
  EXPECT_TRUE(lab.join());
}

TEST(serve, clients_notice_the_end) {
  served_lab lab;
  const unique_fd idle = raw_connection(lab.folder.socket());
  EXPECT_TRUE(lab.client().down());
  EXPECT_EQ(read_to_end(idle.get()), "");
  EXPECT_TRUE(lab.join());
}

}  // namespace
/// Whichever of a listener and its connections goes first: none looks at what is gone.
TEST(serve, ends_with_connections_that_nobody_accepted) {
  std::optional<served_lab> lab(std::in_place);
  raw_program alice(*lab, "alice");
  std::vector<unique_fd> anchors;
  for (u16 port = 1; port <= 8; ++port) {
    const int listener = anchors.emplace_back(alice.socket(SOCK_STREAM)).get();
    ASSERT_EQ(alice.bind(listener, "127.0.0.1", port), 0);
    ASSERT_EQ(alice.ask(dropin::request_kind::listen, {8}, {}, listener), 0);
    for (int i = 0; i < 3; ++i) {
      const int caller = anchors.emplace_back(alice.socket(SOCK_STREAM)).get();
      EXPECT_EQ(alice.connect(caller, "127.0.0.1", port), -EINPROGRESS);
    }
    pollfd waiting{listener, POLLIN, 0};
    EXPECT_EQ(::poll(&waiting, 1, 30'000), 1);
  }
  lab.reset();
}

}  // namespace ph
