// Descriptor tables and wait queues.
#include "kernel/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kernel/fake_file.h"
#include "tests/kernel/machine.h"

namespace ph {
namespace {

using testing::ElementsAre;

struct task_test : testing::Test {
  test_machine machine;
  task t{machine.host, machine.no_network(), "client"};
};

TEST_F(task_test, the_lowest_free_descriptor_is_used) {
  const auto f = make_ref<fake_file>();
  for (int fd = 0; fd < 4; ++fd) EXPECT_EQ(t.install(f), fd);
  ASSERT_TRUE(t.close(1));
  ASSERT_TRUE(t.close(2));
  EXPECT_EQ(t.dup(3), 1);
  EXPECT_EQ(t.install(f), 2);
  EXPECT_EQ(t.open_files(), 4u);
}

TEST_F(task_test, the_lowest_of_many_freed_in_any_order_is_used) {
  const auto f = make_ref<fake_file>();
  for (int fd = 0; fd < 1000; ++fd) ASSERT_EQ(t.install(f), fd);
  for (const int fd : {700, 3, 999, 41, 500}) ASSERT_TRUE(t.close(fd));
  ASSERT_EQ(t.install(f), 3);
  ASSERT_TRUE(t.close(2));
  for (const int fd : {2, 41, 500, 700, 999, 1000}) EXPECT_EQ(t.install(f), fd);
  EXPECT_EQ(t.open_files(), 1001u);
}

TEST_F(task_test, wrong_descriptors_are_badf) {
  EXPECT_EQ(t.get(0).error(), errc::badf);
  EXPECT_EQ(t.get(-1).error(), errc::badf);
  EXPECT_EQ(t.close(0).error(), errc::badf);
  EXPECT_EQ(t.dup(7).error(), errc::badf);
}

TEST_F(task_test, the_limit_is_mfile) {
  t.set_limit(2);
  const auto f = make_ref<fake_file>();
  ASSERT_TRUE(t.install(f));
  ASSERT_TRUE(t.install(f));
  EXPECT_EQ(t.install(f).error(), errc::mfile);
  EXPECT_EQ(t.dup(0).error(), errc::mfile);
  EXPECT_EQ(f->releases, 0);
}

TEST_F(task_test, the_last_descriptor_over_all_tasks_releases_the_file) {
  const auto f = make_ref<fake_file>();
  {
    task other(machine.host, machine.no_network());
    ASSERT_TRUE(t.install(f));
    ASSERT_TRUE(other.install(f));
    ASSERT_TRUE(t.close(0));
    EXPECT_EQ(f->releases, 0);
  }
  EXPECT_EQ(f->releases, 1) << "a task that ends closes what it has";
}

TEST(wait_queue, wakes_all_in_the_order_they_came) {
  wait_queue queue;
  std::vector<int> woken;
  wait_entry a([&woken](u32) { woken.push_back(1); });
  wait_entry b([&woken](u32 events) { woken.push_back(static_cast<int>(events)); });
  queue.add(a);
  queue.add(b);
  queue.add(a);
  queue.wake(16);
  EXPECT_THAT(woken, ElementsAre(1, 16));
  queue.remove(a);
  queue.wake(17);
  EXPECT_THAT(woken, ElementsAre(1, 16, 17));
}

TEST(wait_queue, a_waiter_may_leave_or_come_while_others_are_woken) {
  wait_queue queue;
  int late = 0;
  wait_entry newcomer([&late](u32) { ++late; });
  struct context {
    wait_queue& queue;
    wait_entry& newcomer;
    std::unique_ptr<wait_entry> victim;
  } c{queue, newcomer, std::make_unique<wait_entry>([](u32) { FAIL() << "it left"; })};
  wait_entry first([&c](u32) {
    c.victim.reset();
    c.queue.add(c.newcomer);
  });
  queue.add(first);
  queue.add(*c.victim);
  queue.wake(1);
  EXPECT_EQ(late, 0) << "who comes during a wakeup waits for the next";
  queue.wake(1);
  EXPECT_EQ(late, 1);
}

TEST(wait_queue, an_exclusive_waiter_that_claims_keeps_the_event_from_those_behind) {
  wait_queue queue;
  std::vector<int> woken;
  struct context {
    wait_queue& queue;
    std::vector<int>& woken;
  } c{queue, woken};
  wait_entry x([&c](u32) { c.woken.push_back(1); c.queue.claim(); });
  wait_entry y([&c](u32) { c.woken.push_back(2); });
  wait_entry z([&c](u32) { c.woken.push_back(3); c.queue.claim(); });
  wait_entry plain([&c](u32) { c.woken.push_back(4); });
  queue.add_exclusive(x);
  queue.add_exclusive(y);
  queue.add_exclusive(z);
  queue.add(plain);
  queue.wake(1);
  EXPECT_THAT(woken, ElementsAre(4, 1));
  queue.wake(1);
  EXPECT_THAT(woken, ElementsAre(4, 1, 4, 2, 3)) << "y did not want it";
}

}  // namespace
}  // namespace ph
