// Calls across threads: none lost, each writer's in order, and the reader woken when needed.
#include "kernel/mailbox.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/kernel/machine.h"

namespace ph {
namespace {

TEST(mailbox, runs_calls_in_order_and_tells_when_it_turns_non_empty) {
  test_machine machine;
  mailbox box;
  int told = 0;
  box.set_on_post([&told] { ++told; });
  std::vector<int> ran;
  EXPECT_EQ(box.drain(machine.cx()), 0);
  for (int i = 0; i < 3; ++i) box.post([&ran, i](cpu&) { ran.push_back(i); });
  EXPECT_EQ(told, 1);
  EXPECT_FALSE(box.empty());
  EXPECT_EQ(box.drain(machine.cx()), 3);
  EXPECT_EQ(ran, (std::vector<int>{0, 1, 2}));
  EXPECT_TRUE(box.empty());
  box.post([](cpu&) {});
  EXPECT_EQ(told, 2);
}

TEST(mailbox, what_a_call_posts_waits_for_the_next_drain) {
  test_machine machine;
  mailbox box;
  int ran = 0;
  box.post([&box, &ran](cpu&) {
    ++ran;
    box.post([&ran](cpu&) { ++ran; });
  });
  EXPECT_EQ(box.drain(machine.cx()), 1);
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(box.drain(machine.cx()), 1);
  EXPECT_EQ(ran, 2);
}

TEST(mailbox, many_threads_lose_nothing_and_keep_their_order) {
  constexpr u32 writers = 4;
  constexpr u64 each = 5000;
  test_machine machine;
  cpu& cx = machine.cx();
  std::atomic<u64> bells{0};
  cx.mail().set_on_post([&bells] { ++bells; });
  std::array<u64, writers> last{};
  u64 ran = 0, disorder = 0;
  std::vector<std::thread> threads;
  for (u32 w = 0; w < writers; ++w) {
    threads.emplace_back([&, w] {
      for (u64 n = 1; n <= each; ++n) {
        cx.mail().post([&last, &ran, &disorder, w, n](cpu&) {
          disorder += last[w] + 1 == n ? 0 : 1;
          last[w] = n;
          ++ran;
        });
      }
    });
  }
  // The reader sleeps on the bell, as a worker does: were one lost, this would not end.
  u64 heard = 0, drained = 0;
  while (drained < writers * each) {
    while (bells.load() == heard) std::this_thread::yield();
    heard = bells.load();
    drained += static_cast<u64>(cx.mail().drain(cx));
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(ran, writers * each);
  EXPECT_EQ(disorder, 0u);
  EXPECT_TRUE(cx.mail().empty());
}

TEST(mailbox, cpus_on_their_own_threads_talk_to_each_other) {
  constexpr u64 hops = 4000;
  test_machine machine(2);
  struct ball {
    kernel& host;
    std::atomic<u64> hits{0};
    void hit(cpu& cx) {
      if (++hits >= hops) return;
      host.cpu_at(cpu_id(1 - cx.id().value)).mail().post([this](cpu& to) { hit(to); });
    }
  } b{machine.host};
  machine.cx(0).mail().post([&b](cpu& cx) { b.hit(cx); });
  const auto play = [&](u32 i) {
    cpu& cx = machine.cx(i);
    while (b.hits < hops) {
      if (cx.has_work()) cx.run(instant{1});
      else std::this_thread::yield();
    }
  };
  std::thread other(play, 1);
  play(0);
  other.join();
  EXPECT_EQ(b.hits, hops);
}

}  // namespace
}  // namespace ph
