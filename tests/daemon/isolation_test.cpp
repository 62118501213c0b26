// What one program may not do to another, or to the daemon: name its sockets, fill the channels,
// stop the world. tests/programs/isolation_test.py does the same as another user.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <netinet/in.h>

#include <chrono>
#include <thread>

#include "daemon/anchor.h"
#include "daemon/channel_gate.h"
#include "daemon/descriptor_shares.h"
#include "daemon/drop_in.h"
#include "platform/closer.h"
#include "tests/daemon/absent_page.h"
#include "tests/daemon/served_lab.h"
#include "tests/daemon/unflushed_file.h"

namespace ph::dropin {
namespace {

sockaddr_un name_of(int fd) {
  sockaddr_un sun{};
  socklen_t len = sizeof sun;
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&sun), &len), 0);
  return sun;
}

int connect_to(int fd, const sockaddr_un& sun) {
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&sun), sizeof sun) == 0 ? 0 : errno;
}

unique_fd unix_socket(int type) { return unique_fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0)); }

// --- identity -----------------------------------------------------------------------------------

TEST(isolation, an_anchor_cannot_be_reached_by_its_name) {
  const served_lab lab;
  raw_program alice(lab, "alice");
  for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
    const unique_fd anchor(alice.socket(type));
    const auto stranger = unix_socket(type);
    EXPECT_NE(connect_to(stranger.get(), name_of(anchor.get())), 0);
  }
}

TEST(isolation, a_socket_of_ones_own_that_has_an_anchors_name_is_none) {
  const served_lab lab;
  raw_program alice(lab, "alice");
  const unique_fd anchor(alice.socket(SOCK_DGRAM));
  ASSERT_EQ(alice.ask(request_kind::getsockname, {}, {}, anchor.get()), 0);
  const std::string path = name_of(anchor.get()).sun_path;
  const temp_folder folder;
  sockaddr_un forged{};
  forged.sun_family = AF_UNIX;
  const std::string name = folder.path + path.substr(path.rfind('/'));
  name.copy(forged.sun_path, sizeof forged.sun_path - 1);
  const auto own = unix_socket(SOCK_DGRAM);
  ASSERT_EQ(::bind(own.get(), reinterpret_cast<sockaddr*>(&forged), sizeof forged), 0);
  EXPECT_EQ(alice.ask(request_kind::getsockname, {}, {}, own.get()), -EBADF);
}

TEST(isolation, programs_of_another_host_have_no_say) {
  const served_lab lab;
  raw_program alice(lab, "alice"), bob(lab, "bob");
  const unique_fd anchor(alice.socket(SOCK_DGRAM));
  EXPECT_EQ(bob.ask(request_kind::getsockname, {}, {}, anchor.get()), -EBADF);
  EXPECT_EQ(bob.send_to(anchor.get(), "10.0.1.2", 9, "x"), -EBADF);
  EXPECT_EQ(alice.ask(request_kind::getsockname, {}, {}, anchor.get()), 0);
}

TEST(isolation, descriptors_that_are_no_sockets_are_refused) {
  const served_lab lab;
  raw_program alice(lab, "alice");
  const unique_fd file(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const unique_fd path(::open("/", O_PATH | O_CLOEXEC));
  const unique_fd foreign(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  for (const unique_fd* fd : {&file, &path, &foreign}) {
    EXPECT_EQ(alice.ask(request_kind::getsockname, {}, {}, fd->get()), -ECONNRESET);
  }
}

// --- nobody stops the world ---------------------------------------------------------------------

/// A TCP connection on this machine's loopback whose last close() waits for a minute.
unique_fd lingering_socket(unique_fd& listener, unique_fd& accepted) {
  listener.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t len = sizeof here;
  auto* const addr = reinterpret_cast<sockaddr*>(&here);
  EXPECT_EQ(::bind(listener.get(), addr, len), 0);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  EXPECT_EQ(::getsockname(listener.get(), addr, &len), 0);
  unique_fd out(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const linger minute{1, 60};
  EXPECT_EQ(::setsockopt(out.get(), SOL_SOCKET, SO_LINGER, &minute, sizeof minute), 0);
  EXPECT_EQ(::connect(out.get(), addr, len), 0);
  accepted.reset(::accept(listener.get(), nullptr, nullptr));
  const std::vector<char> bytes(65536);
  while (::send(out.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {}
  return out;
}

TEST(isolation, a_passed_descriptor_whose_close_waits_holds_nobody_up) {
  const served_lab lab;
  raw_program hostile(lab, "alice"), other(lab, "bob");
  unique_fd listener, accepted;
  unique_fd lingering = lingering_socket(listener, accepted);
  request_head head;
  head.kind = static_cast<u16>(request_kind::getsockname);
  const auto begin = std::chrono::steady_clock::now();
  hostile.send(head, {}, lingering.get());
  std::thread own_copy([&lingering] { lingering.reset(); });  // may be the last one, and wait
  for (int i = 0; i < 20; ++i) {
    const unique_fd anchor(other.socket(SOCK_DGRAM));
    EXPECT_TRUE(anchor);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(50));
  accepted.reset();  // a reset ends all waits
  listener.reset();
  own_copy.join();
}

/// Not only its last close waits, but each.
TEST(isolation, a_passed_file_of_a_dead_file_system_holds_nobody_up) {
  const temp_folder mount_point;
  unflushed_file file(mount_point.path);
  if (file.fd() < 0) GTEST_SKIP() << "FUSE needs root and /dev/fuse";
  const served_lab lab;
  raw_program hostile(lab, "alice"), other(lab, "bob");
  request_head head;
  head.kind = static_cast<u16>(request_kind::getsockname);
  hostile.send(head, {}, file.fd());
  for (int i = 0; i < 20; ++i) {
    const unique_fd anchor(other.socket(SOCK_DGRAM));
    EXPECT_TRUE(anchor);
  }
}

/// A program holds the lock of its own socket for as long as it likes: a call that copies its
/// arguments from a page which does not come.
TEST(isolation, a_stream_whose_lock_is_held_holds_nobody_up) {
  absent_page page;
  if (!page.works()) GTEST_SKIP() << "userfaultfd needs root";
  const served_lab lab;
  raw_program hostile(lab, "alice"), other(lab, "bob");
  const unique_fd anchor(hostile.socket(SOCK_STREAM));
  std::thread holder([&] {
    const sock_fprog program{4, static_cast<sock_filter*>(page.data())};
    ::setsockopt(anchor.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
  });
  page.wait_for_waiter();
  const s32 size = 10'000;
  EXPECT_EQ(hostile.ask(request_kind::setsockopt, {SOL_SOCKET, SO_SNDBUF, 0}, bytes_of(size),
                        anchor.get()),
            0);
  anchor_option told;
  ASSERT_EQ(hostile.reply_data.size(), sizeof told);
  std::memcpy(&told, hostile.reply_data.data(), sizeof told);
  EXPECT_EQ(told.name, SO_SNDBUF) << "for the shim to set";
  EXPECT_EQ(told.value[0], 2 * size / 3);
  EXPECT_EQ(hostile.bind(anchor.get(), "10.0.1.1", 5000), 0);
  EXPECT_EQ(hostile.connect(anchor.get(), "10.0.1.2", 5000), -EINPROGRESS);
  EXPECT_EQ(hostile.ask(request_kind::getsockname, {}, {}, anchor.get()), 0);
  EXPECT_TRUE(unique_fd(other.socket(SOCK_DGRAM)));
  EXPECT_FALSE(page.came_by_itself());
  page.come();
  holder.join();
}

/// The lock of those who receive, likewise.
TEST(isolation, a_datagram_socket_whose_lock_is_held_holds_nobody_up) {
  absent_page page;
  if (!page.works()) GTEST_SKIP() << "userfaultfd needs root";
  const served_lab lab;
  raw_program hostile(lab, "alice"), other(lab, "bob");
  const unique_fd anchor(hostile.socket(SOCK_DGRAM));
  ASSERT_EQ(hostile.bind(anchor.get(), "10.0.1.1", 5000), 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(hostile.send_to(anchor.get(), "10.0.1.1", 5000, "x"), 1);
  std::thread holder([&] { (void)!::recv(anchor.get(), page.data(), 100, 0); });
  page.wait_for_waiter();
  const s32 on = 1;
  const std::array<s64, 2> stamp{};
  using enum request_kind;
  EXPECT_EQ(hostile.ask(setsockopt, {SOL_IP, IP_PKTINFO, 0}, bytes_of(on), anchor.get()), 0);
  EXPECT_EQ(hostile.ask(setsockopt, {SOL_SOCKET, SO_TIMESTAMP, 0}, bytes_of(on), anchor.get()), 0);
  hostile.ask(ioctl, {uapi::siocgstamp, 0, 0}, bytes_of(stamp), anchor.get());
  hostile.ask(recvmsg, {MSG_DONTWAIT, 100, 0}, {}, anchor.get());
  EXPECT_EQ(hostile.connect(anchor.get(), "10.0.1.2", 5000), 0);
  EXPECT_TRUE(unique_fd(other.socket(SOCK_DGRAM)));
  EXPECT_FALSE(page.came_by_itself());
  page.come();
  holder.join();
}

TEST(isolation, an_anchor_carries_no_descriptors_to_the_daemon) {
  if (const auto probe = unix_socket(SOCK_STREAM); !take_descriptors(probe.get(), false)) {
    GTEST_SKIP() << "Linux is older than 6.16";
  }
  const served_lab lab;
  raw_program alice(lab, "alice");
  const unique_fd anchor(alice.socket(SOCK_DGRAM));
  ASSERT_EQ(alice.bind(anchor.get(), "10.0.1.1", 5000), 0);
  const unique_fd sender(alice.socket(SOCK_DGRAM));
  ASSERT_EQ(alice.connect(sender.get(), "10.0.1.1", 5000), 0);
  iovec piece{const_cast<char*>("x"), 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  EXPECT_EQ(::sendmsg(sender.get(), &message, 0), 1);
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  const int itself = sender.get();
  std::memcpy(CMSG_DATA(rights), &itself, sizeof itself);
  EXPECT_EQ(::sendmsg(sender.get(), &message, 0), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST(closer, closes_what_it_is_given) {
  closer closes;
  for (int i = 0; i < 3; ++i) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const unique_fd reader(ends[0]);
    closes.close(unique_fd(ends[1]));
    char byte;
    EXPECT_EQ(::read(reader.get(), &byte, 1), 0) << "the other end is closed";
  }
}

TEST(closer, is_not_held_up_by_any_number_that_wait) {
  unique_fd listener, accepted;
  unique_fd lingering = lingering_socket(listener, accepted);
  const auto begin = std::chrono::steady_clock::now();
  {
    closer closes;
    closes.close(std::move(lingering));
    for (int i = 0; i < 2000; ++i) closes.close(unique_fd(::open("/dev/null", O_RDONLY)));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(50));
}

// --- channels -----------------------------------------------------------------------------------

TEST(channel_gate, a_process_and_a_user_fill_their_own_share_only) {
  constexpr uid_t owner = 1000, stranger = 2000, other = 3000;
  channel_gate gate(owner);
  int silent = 0;
  while (gate.enter({7, owner})) ++silent;
  EXPECT_GE(silent, 64);
  EXPECT_TRUE(gate.enter({8, owner})) << "another process of the same user";
  int greeted = 0;
  for (; gate.enter({9, owner}); ++greeted) gate.greet({9, owner});
  EXPECT_GT(greeted, silent) << "who says hello may have more";
  std::size_t of_stranger = 0;
  for (pid_t process = 100; gate.enter({process, stranger}); ++process) ++of_stranger;
  EXPECT_GE(of_stranger, 1000u);
  EXPECT_TRUE(gate.enter({10, other}));
  EXPECT_TRUE(gate.enter({11, owner}));
  gate.leave({100, stranger}, false);
  EXPECT_TRUE(gate.enter({100, stranger})) << "room again";
}

TEST(channel_gate, strangers_leave_room_for_the_owner) {
  channel_gate gate(1000);
  for (uid_t user = 2000; user < 2100; ++user) {
    for (pid_t process = 1; process <= 500; ++process) {
      const channel_peer who{static_cast<pid_t>(user) * 1000 + process, user};
      if (gate.enter(who)) gate.greet(who);
    }
  }
  EXPECT_FALSE(gate.enter({1, 2000}));
  EXPECT_TRUE(gate.enter({2, 1000}));
  EXPECT_TRUE(gate.enter({3, 0}));
}

// --- descriptors --------------------------------------------------------------------------------

const host_sockets* host_number(std::uintptr_t n) {
  return reinterpret_cast<const host_sockets*>(n);  // only its number counts
}

/// Takes until it is refused.
std::vector<descriptor_share> take_all(descriptor_shares& from, const share_holder& who) {
  std::vector<descriptor_share> out;
  for (auto more = from.take(who, 1); more; more = from.take(who, 1)) {
    out.push_back(std::move(*more));
  }
  return out;
}

TEST(descriptor_shares, no_process_and_no_host_takes_what_others_need) {
  constexpr uid_t owner = 1000;
  descriptor_shares all(1000, 2, owner);
  auto hog = take_all(all, {host_number(1), {7, owner}});
  EXPECT_EQ(hog.size(), 500u) << "half of all for one process";
  const auto neighbour = take_all(all, {host_number(1), {8, owner}});
  EXPECT_EQ(neighbour.size(), 250u) << "what is left to its host";
  EXPECT_EQ(take_all(all, {host_number(2), {9, owner}}).size(), 250u);
  EXPECT_FALSE(hog.front().another(1));
  hog.resize(100);
  EXPECT_EQ(take_all(all, {host_number(2), {9, owner}}).size(), 500u) << "given back";
  EXPECT_TRUE(hog.front().another(1));
}

TEST(descriptor_shares, other_users_have_half_of_them) {
  descriptor_shares all(1000, 1, 1000);
  const auto first = take_all(all, {host_number(1), {7, 2000}});
  EXPECT_EQ(first.size(), 250u);
  const auto second = take_all(all, {host_number(1), {8, 2001}});
  EXPECT_EQ(second.size(), 250u);
  EXPECT_EQ(take_all(all, {host_number(1), {9, 2002}}).size(), 0u);
  EXPECT_EQ(take_all(all, {host_number(1), {10, 0}}).size(), 500u);
}

/// Descriptors that lie in a channel are none of the program's own.
TEST(isolation, who_does_not_take_descriptors_gets_no_more) {
  const served_lab lab;
  raw_program hog(lab, "alice"), other(lab, "bob");
  request_head head;
  head.kind = static_cast<u16>(request_kind::socket);
  head.arg[0] = uapi::af_inet;
  head.arg[1] = uapi::sock_dgram;
  for (int i = 0; i < 2; ++i) hog.send(head, {}, -1);
  EXPECT_TRUE(hog.hung_up());
  EXPECT_EQ((*lab.client().status())["hosts"][0]["sockets"], 1);
  EXPECT_TRUE(unique_fd(other.socket(SOCK_DGRAM)));
}

class channel_test : public ::testing::Test {
 protected:
  void start(s64 patience_ms) {
    drop_in_options options;
    options.hello_patience_ms = patience_ms;
    auto made = drop_in::create(options, [](std::string_view) { return nullptr; });
    ASSERT_TRUE(made);
    drop_ = std::move(*made);
    address_.sun_family = AF_UNIX;
    const std::string at = drop_->environment("h").front().second;
    at.copy(address_.sun_path, sizeof address_.sun_path);
    address_.sun_path[0] = 0;
    len_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + at.size());
  }
  unique_fd connect() {
    unique_fd out(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(out.get(), reinterpret_cast<sockaddr*>(&address_), len_), 0);
    return out;
  }
  /// Runs the daemon until the other side has closed this channel.
  void serve_until_closed(const unique_fd& channel) {
    pollfd wait[2] = {{drop_->fd(), POLLIN, 0}, {channel.get(), POLLIN, 0}};
    while (wait[1].revents == 0) {
      ASSERT_GT(::poll(wait, 2, 60'000), 0);
      drop_->process();
    }
    char byte;
    EXPECT_EQ(::recv(channel.get(), &byte, 1, MSG_DONTWAIT), 0);
  }
  std::unique_ptr<drop_in> drop_;
  sockaddr_un address_{};
  socklen_t len_ = 0;
};

TEST_F(channel_test, who_says_nothing_is_closed_in_time) {
  start(20);
  serve_until_closed(connect());
}

TEST_F(channel_test, who_opens_too_many_has_the_last_closed) {
  start(60'000);
  std::vector<unique_fd> many;
  for (int i = 0; i < 200; ++i) many.push_back(connect());
  serve_until_closed(many.back());
  char byte;
  EXPECT_EQ(::recv(many.front().get(), &byte, 1, MSG_DONTWAIT), -1) << "the first is not closed";
}

}  // namespace
}  // namespace ph::dropin
