// A daemon that finds no memory at any place of its own: what was asked is refused, and it goes on.
#include <gtest/gtest.h>

#include "base/result.h"
#include "tests/daemon/served_lab.h"
#include "tests/memory/failing_allocations.h"

namespace ph {
namespace {

using dropin::request_kind;

/// What programs ask for, in turn; whatever is refused is left out. Everything is closed
/// at its end. Returns the requests that nobody answered.
int ask_for_everything(raw_program& program, u16 port) {
  int unanswered = 0;
  const auto note = [&](int said) {
    unanswered += said == raw_program::no_answer ? 1 : 0;
    return said == 0;
  };
  const auto open = [&](int type) {
    const bool made = note(program.ask(request_kind::socket, {uapi::af_inet, type, 0}, {}, -1));
    return made ? std::move(program.passed) : unique_fd();
  };
  const unique_fd listener = open(uapi::sock_stream), end = open(uapi::sock_stream);
  const unique_fd datagrams = open(uapi::sock_dgram);
  if (listener && note(program.bind(listener.get(), "127.0.0.1", port))) {
    note(program.ask(request_kind::listen, {5}, {}, listener.get()));
  }
  if (listener && end) note(program.connect(end.get(), "127.0.0.1", port));
  if (datagrams && note(program.bind(datagrams.get(), "127.0.0.1", port))) {
    note(program.send_to(datagrams.get(), "127.0.0.1", port, "hello"));
  }
  for (const unique_fd* s : {&listener, &end, &datagrams}) {
    if (*s) note(program.ask(request_kind::getsockname, {}, {}, s->get()));
  }
  note(program.ask(request_kind::interfaces, {}, {}, -1));
  note(program.ask(request_kind::resolve, {}, bytes_of("bob"), -1));
  return unanswered;
}

/// The lab answers, and keeps nothing of what is closed.
bool comes_to_rest(const served_lab& lab) {
  for (int i = 0; i < 30'000; ++i) {
    const auto told = answers_to(lab, R"({"verb":"status"})"
                                      "\n");
    if (told.size() != 1 || !told[0].value("ok", false)) return false;
    if (told[0]["program_sockets"] == 0) return true;
    ::usleep(1000);  // no event tells when
  }
  return false;
}

TEST(scarce_memory, wherever_the_daemon_itself_finds_none_it_goes_on) {
  const served_lab lab(two_hosts, {}, &failing::afflict_this_thread);
  u16 port = 1000;
  raw_program first(lab, "alice");
  ASSERT_EQ(ask_for_everything(first, ++port), 0);  // what is made once is there
  ASSERT_TRUE(comes_to_rest(lab));
  failing::begin(failing::how::once, ~std::size_t{0});
  ASSERT_EQ(ask_for_everything(first, ++port), 0);
  const std::size_t all = failing::end();
  ASSERT_GT(all, 50u);
  int ended = 0;
  for (std::size_t k = 1; k <= all; ++k) {
    SCOPED_TRACE(k);
    raw_program program(lab, "alice");
    failing::begin(failing::how::at_once, k);
    // One that found no memory before it had a name has no answer, but an end.
    if (ask_for_everything(program, ++port) != 0) {
      ASSERT_TRUE(program.hung_up());
      ++ended;
    }
    failing::end();
    ASSERT_TRUE(comes_to_rest(lab));
  }
  EXPECT_LT(ended, static_cast<int>(all) / 10);
}

/// Whoever waits at the anchor is woken.
bool shows_something(int anchor) {
  pollfd p{anchor, POLLIN, 0};
  return ::poll(&p, 1, 30'000) == 1 && p.revents != 0;
}

/// Refused until the reserve has been complete for a while.
unique_fd socket_when_it_may(raw_program& program, int type) {
  constexpr int no_buffers = -static_cast<int>(errc::nobufs);
  int said = no_buffers;
  while (said == no_buffers) {
    said = program.ask(request_kind::socket, {uapi::af_inet, type, 0}, {}, -1);
  }
  EXPECT_EQ(said, 0);
  return std::move(program.passed);
}

TEST(scarce_memory, who_waits_is_told_when_his_socket_ends) {
  const served_lab lab(two_hosts, {}, &failing::afflict_this_thread);
  u16 port = 1000;
  std::size_t all = 0;
  int ended = 0;
  for (std::size_t k = 0; k <= all; ++k) {
    SCOPED_TRACE(k);
    raw_program waiter(lab, "alice"), sender(lab, "alice");
    const unique_fd listener = socket_when_it_may(waiter, uapi::sock_stream);
    const unique_fd datagrams = socket_when_it_may(waiter, uapi::sock_dgram);
    const unique_fd end = socket_when_it_may(sender, uapi::sock_stream);
    const unique_fd from = socket_when_it_may(sender, uapi::sock_dgram);
    ASSERT_EQ(waiter.bind(listener.get(), "127.0.0.1", ++port), 0);
    ASSERT_EQ(waiter.ask(request_kind::listen, {5}, {}, listener.get()), 0);
    ASSERT_EQ(waiter.bind(datagrams.get(), "127.0.0.1", port), 0);
    failing::begin(k == 0 ? failing::how::once : failing::how::at_once, k == 0 ? ~k : k);
    (void)sender.connect(end.get(), "127.0.0.1", port);
    (void)sender.send_to(from.get(), "127.0.0.1", port, "hello");
    const std::size_t counted = failing::end();
    if (k == 0) all = counted;
    for (const unique_fd* s : {&listener, &datagrams}) {
      if (waiter.ask(request_kind::getsockname, {}, {}, s->get()) == 0) continue;
      EXPECT_TRUE(shows_something(s->get()));
      ++ended;
    }
  }
  EXPECT_GT(ended, 0);
}

TEST(scarce_memory, a_send_that_may_wait_does) {
  const served_lab lab(two_hosts, {}, &failing::afflict_this_thread);
  raw_program program(lab, "alice");
  const unique_fd from(program.socket(uapi::sock_dgram));
  ASSERT_EQ(program.send_to(from.get(), "10.0.1.2", 9, "hello"), 5);
  for (int i = 0; i < 20; ++i) {
    failing::begin(failing::how::once, 1);
    const unique_fd other([&] {
      return program.ask(request_kind::socket, {uapi::af_inet, uapi::sock_dgram, 0}, {}, -1) == 0
                 ? program.passed.release()
                 : -1;
    }());
    failing::end();
    EXPECT_TRUE(failing::has_failed());
    program.flags = dropin::flag_wait;
    EXPECT_EQ(program.send_to(from.get(), "10.0.1.2", 9, "hello"), 5);
    program.flags = 0;
  }
}

}  // namespace
}  // namespace ph
