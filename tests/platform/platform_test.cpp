// The services of the operating system, from outside. Nothing here depends on how fast the
// machine is: sleeps are checked only for not being too short.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include "platform/os_entropy.h"
#include "platform/poller.h"
#include "platform/real_clock.h"
#include "platform/unique_fd.h"
#include "platform/workers.h"

namespace ph {
namespace {

using namespace literals;

struct pipe_pair {
  pipe_pair() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }
  void put() { EXPECT_EQ(::write(writer.get(), "x", 1), 1); }
  void take() {
    char c = 0;
    EXPECT_EQ(::read(reader.get(), &c, 1), 1);
  }
  unique_fd reader, writer;
};

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

TEST(unique_fd, closes_once_moves_and_gives_away) {
  int raw = -1;
  {
    unique_fd a(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    raw = a.get();
    unique_fd b(std::move(a));
    EXPECT_FALSE(a);
    EXPECT_EQ(b.get(), raw);
    a = std::move(b);
    EXPECT_TRUE(is_open(raw));
  }
  EXPECT_FALSE(is_open(raw));
  unique_fd c(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  raw = c.release();
  c.reset();
  EXPECT_TRUE(is_open(raw));
  ::close(raw);
}

TEST(real_clock, never_goes_back_and_agrees_with_the_wall) {
  real_clock clock;
  const instant wall_before = wall_clock_now();
  instant last = clock.now();
  for (int i = 0; i < 1000; ++i) {
    const instant now = clock.now();
    ASSERT_GE(now, last);
    last = now;
  }
  EXPECT_GT(wall_before, instant{} + seconds(1'700'000'000)) << "after 2023";
}

TEST(os_entropy, fills_any_length_with_different_bytes) {
  os_entropy source;
  std::vector<u8> a(5000), b(5000);
  source.fill(a);
  source.fill(b);
  EXPECT_NE(a, b);
  EXPECT_NE(std::count(a.begin(), a.end(), 0), 5000);
  EXPECT_LT(std::count(a.end() - 100, a.end(), 0), 20) << "to the last byte";
  source.fill({});
}

class poller_test : public testing::TestWithParam<poller::alarm> {};

TEST_P(poller_test, calls_back_for_descriptors_that_are_ready) {
  poller p(GetParam());
  pipe_pair one, two;
  u32 seen = 0;
  int other = 0;
  ASSERT_TRUE(p.add(one.reader.get(), EPOLLIN, [&seen](u32 events) { seen = events; }));
  ASSERT_TRUE(p.add(two.reader.get(), EPOLLIN, [&other](u32) { ++other; }));
  EXPECT_EQ(p.wait(0_ns), 0);
  one.put();
  EXPECT_EQ(p.wait(poller::forever), 1);
  EXPECT_EQ(seen, static_cast<u32>(EPOLLIN));
  EXPECT_EQ(p.wait(5_s), 1) << "level-triggered";
  one.take();
  EXPECT_EQ(p.wait(0_ns), 0);
  EXPECT_EQ(other, 0);
  ASSERT_TRUE(p.mod(two.reader.get(), 0));
  two.put();
  EXPECT_EQ(p.wait(0_ns), 0);
  ASSERT_TRUE(p.mod(two.reader.get(), EPOLLIN));
  EXPECT_EQ(p.wait(0_ns), 1);
}

TEST_P(poller_test, errors_are_those_of_epoll_ctl) {
  poller p(GetParam());
  pipe_pair one;
  EXPECT_EQ(p.add(-1, EPOLLIN, {}).error(), errc::badf);
  EXPECT_EQ(p.mod(one.reader.get(), EPOLLIN).error(), errc::noent);
  EXPECT_EQ(p.remove(one.reader.get()).error(), errc::noent);
  ASSERT_TRUE(p.add(one.reader.get(), EPOLLIN, [](u32) {}));
  EXPECT_EQ(p.add(one.reader.get(), EPOLLIN, [](u32) {}).error(), errc::exist);
  EXPECT_TRUE(p.remove(one.reader.get()));
  one.put();
  EXPECT_EQ(p.wait(0_ns), 0);
}

TEST_P(poller_test, a_callback_may_remove_others_of_its_round_and_itself) {
  poller p(GetParam());
  pipe_pair one, two;
  int ran = 0;
  struct context {
    poller& p;
    int one, two;
    int& ran;
    void remove_both() {
      ++ran;
      EXPECT_TRUE(p.remove(one));
      EXPECT_TRUE(p.remove(two));
    }
  } c{p, one.reader.get(), two.reader.get(), ran};
  ASSERT_TRUE(p.add(one.reader.get(), EPOLLIN, [&c](u32) { c.remove_both(); }));
  ASSERT_TRUE(p.add(two.reader.get(), EPOLLIN, [&c](u32) { c.remove_both(); }));
  one.put();
  two.put();
  EXPECT_EQ(p.wait(1_s), 1);
  EXPECT_EQ(p.wait(0_ns), 0);
  EXPECT_EQ(ran, 1);
}

TEST_P(poller_test, sleeps_at_least_as_long_as_asked) {
  poller p(GetParam());
  real_clock clock;
  for (const duration d : {1_ns, 300_us, 3_ms}) {
    const instant before = clock.now();
    EXPECT_EQ(p.wait(d), 0);
    EXPECT_GE(clock.now() - before, d);
  }
}

TEST_P(poller_test, a_ring_ends_the_wait_that_is_or_the_next_one) {
  poller p(GetParam());
  p.wake();
  p.wake();
  EXPECT_EQ(p.wait(poller::forever), 0);
  std::atomic<bool> done{false};
  std::thread other([&] {
    while (!done) {
      p.wake();
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 500; ++i) EXPECT_EQ(p.wait(poller::forever), 0);
  done = true;
  other.join();
  EXPECT_EQ(p.wait(0_ns), 0);
  // The bell is silent again: a full sleep follows.
  real_clock clock;
  const instant before = clock.now();
  p.wait(2_ms);
  EXPECT_GE(clock.now() - before, 2_ms);
}

TEST_P(poller_test, no_ring_after_a_post_is_ever_lost) {
  poller p(GetParam());
  constexpr int posts = 2000;
  std::atomic<int> posted{0}, taken{0};
  std::thread other([&] {
    for (int i = 0; i < posts; ++i) {
      ++posted;
      p.wake();
      while (taken < posted) std::this_thread::yield();  // one at a time: each ring counts
    }
  });
  while (taken < posts) {
    p.wait(poller::forever);
    taken = posted.load();
  }
  other.join();
}

INSTANTIATE_TEST_SUITE_P(alarms, poller_test,
                         testing::Values(poller::alarm::best, poller::alarm::timerfd),
                         [](const auto& i) {
                           return i.param == poller::alarm::best ? "best" : "timerfd";
                         });

TEST(poller, time_until_a_deadline) {
  EXPECT_EQ(time_until(never, instant{5}), poller::forever);
  EXPECT_EQ(time_until(instant{4}, instant{5}), 0_ns);
  EXPECT_EQ(time_until(instant{9}, instant{5}), 4_ns);
}

TEST(worker, runs_until_it_is_stopped_on_the_processor_it_was_given) {
  ASSERT_FALSE(usable_processors().empty());
  const u32 processor = usable_processors().back();
  poller p;
  std::atomic<int> rounds{0}, ran_on{-1};
  {
    worker w("a-name-that-is-too-long", processor, [&](const std::stop_token& stop) {
      const std::stop_callback ring(stop, [&p] { p.wake(); });
      while (!stop.stop_requested()) {
        ++rounds;
        p.wait(poller::forever);
      }
      ran_on = ::sched_getcpu();
    });
    EXPECT_TRUE(w.pinned());
    while (rounds == 0) std::this_thread::yield();
    p.wake();
    w.stop();
    EXPECT_EQ(ran_on, static_cast<int>(processor));
  }
  EXPECT_GE(rounds, 1);
}

TEST(worker, a_processor_that_does_not_exist_is_not_granted) {
  worker w("w", 1'000'000, [](const std::stop_token&) {});
  EXPECT_FALSE(w.pinned());
}

}  // namespace
}  // namespace ph
