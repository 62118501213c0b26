// Grace periods: deterministic on one thread, and raced over by real threads.
#include "kernel/rcu.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/kernel/machine.h"

namespace ph {
namespace {

/// Says when it dies.
struct mortal {
  explicit mortal(int& deaths) : deaths_(deaths) {}
  ~mortal() { ++deaths_; }
  mortal(const mortal&) = delete;
  mortal& operator=(const mortal&) = delete;
  int& deaths_;
};

TEST(rcu, a_reader_keeps_alive_what_was_retired_during_its_run) {
  rcu_domain rcu(2, {}, {});
  int deaths = 0;
  rcu.begin(cpu_id(1));
  rcu.begin(cpu_id(0));
  rcu.retire(std::make_unique<mortal>(deaths));
  rcu.quiescent(cpu_id(0));
  EXPECT_EQ(deaths, 0) << "cpu 1 may still see it";
  rcu.quiescent(cpu_id(1));
  EXPECT_EQ(deaths, 0) << "it dies at home, on cpu 0";
  rcu.begin(cpu_id(1));
  rcu.begin(cpu_id(0));
  rcu.quiescent(cpu_id(0));
  EXPECT_EQ(deaths, 1) << "a reader that began later does not hold it";
  EXPECT_EQ(rcu.pending(), 0u);
  rcu.quiescent(cpu_id(1));
}

TEST(rcu, the_home_cpu_is_told_once_when_the_last_reader_leaves) {
  std::vector<u32> told;
  rcu_domain rcu(3, {}, [&told](cpu_id id) { told.push_back(id.value); });
  int deaths = 0;
  rcu.begin(cpu_id(1));
  rcu.begin(cpu_id(2));
  rcu.begin(cpu_id(0));
  rcu.retire(std::make_unique<mortal>(deaths));
  EXPECT_TRUE(rcu.has_work(cpu_id(0)));
  rcu.quiescent(cpu_id(0));
  EXPECT_FALSE(rcu.has_work(cpu_id(0))) << "waiting is not work: nobody spins";
  rcu.quiescent(cpu_id(1));
  EXPECT_TRUE(told.empty());
  rcu.quiescent(cpu_id(2));
  EXPECT_EQ(told, std::vector<u32>{0});
  rcu.begin(cpu_id(1));
  rcu.quiescent(cpu_id(1));
  EXPECT_EQ(told.size(), 1u);
  rcu.begin(cpu_id(0));
  rcu.quiescent(cpu_id(0));
  EXPECT_EQ(deaths, 1);
}

TEST(rcu, objects_die_in_the_order_they_were_retired) {
  rcu_domain rcu(1, {}, {});
  std::vector<int> order;
  for (int i = 0; i < 5; ++i) rcu.retire([&order, i] { order.push_back(i); });
  EXPECT_TRUE(order.empty());
  rcu.begin(cpu_id(0));
  rcu.quiescent(cpu_id(0));
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(rcu, publish_retires_the_old_version) {
  rcu_domain rcu(1, {}, {});
  int deaths = 0;
  {
    rcu_ptr<mortal> pointer;
    EXPECT_EQ(pointer.read(), nullptr);
    pointer.publish(rcu, std::make_unique<mortal>(deaths));
    mortal* const first = pointer.read();
    rcu.begin(cpu_id(0));
    pointer.publish(rcu, std::make_unique<mortal>(deaths));
    EXPECT_NE(pointer.read(), first);
    EXPECT_EQ(deaths, 0);
    rcu.quiescent(cpu_id(0));
    EXPECT_EQ(deaths, 1);
  }
  EXPECT_EQ(deaths, 2) << "the pointer owns the current version";
}

TEST(rcu, a_kernel_frees_at_the_end_of_its_next_run) {
  test_machine machine(2);
  int woken = 0;
  machine.host.set_on_wake([&woken] { ++woken; });
  int deaths = 0;
  machine.host.rcu().retire(std::make_unique<mortal>(deaths));
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(machine.host.next_deadline(), instant{0}) << "there is work now";
  EXPECT_EQ(machine.host.run(instant{10}), never);
  EXPECT_EQ(deaths, 1);
}

TEST(rcu, a_deleter_may_retire_more) {
  test_machine machine;
  struct chain {
    rcu_domain& rcu;
    int& deaths;
    int left;
    ~chain() {
      ++deaths;
      if (left > 0) rcu.retire(std::make_unique<chain>(rcu, deaths, left - 1));
    }
    chain(rcu_domain& r, int& d, int l) : rcu(r), deaths(d), left(l) {}
  };
  int deaths = 0;
  rcu_domain& rcu = machine.host.rcu();
  rcu.retire(std::make_unique<chain>(rcu, deaths, 3));
  machine.host.run(instant{1});
  EXPECT_EQ(deaths, 4);
  {
    test_machine dying;
    dying.host.rcu().retire(std::make_unique<chain>(dying.host.rcu(), deaths, 3));
  }
  EXPECT_EQ(deaths, 8) << "a dying kernel frees everything";
}

TEST(rcu, threads_never_see_a_freed_version) {
  // Each thread runs one cpu; cpu 0 replaces a value whose destructor spoils it. ThreadSanitizer
  // and AddressSanitizer see what a wrong grace period would let through.
  struct version {
    explicit version(u64 n) : a(n), b(~n) {}
    ~version() { a = b = 0; }
    u64 a, b;
  };
  constexpr u32 cpus = 4;
  test_machine machine(cpus);
  rcu_ptr<version> shared(std::make_unique<version>(1));
  std::atomic<bool> stop{false};
  std::atomic<u64> reads{0}, torn{0};
  std::vector<std::thread> threads;
  for (u32 i = 1; i < cpus; ++i) {
    machine.cx(i).mail().post([](cpu&) {});
    threads.emplace_back([&, i] {
      struct reader final : poll_source {
        reader(rcu_ptr<version>& p, std::atomic<u64>& r, std::atomic<u64>& t)
            : shared_(p), reads_(r), torn_(t) {}
        int poll(cpu&, int) override {
          for (int k = 0; k < 20; ++k) {
            const version* const v = shared_.read();
            if (v->a != ~v->b) ++torn_;
            ++reads_;
          }
          return 0;
        }
        rcu_ptr<version>& shared_;
        std::atomic<u64>&reads_, &torn_;
      } source(shared, reads, torn);
      cpu& cx = machine.cx(i);
      while (!stop.load()) {
        cx.schedule(source);
        cx.run(instant{1});
      }
    });
  }
  cpu& writer = machine.cx(0);
  for (u64 n = 2; n < 3000 || reads.load() < 1000; ++n) {
    shared.publish(machine.host.rcu(), std::make_unique<version>(n));
    writer.run(instant{1});
  }
  stop = true;
  for (auto& t : threads) t.join();
  EXPECT_EQ(torn.load(), 0u);
  writer.mail().post([](cpu&) {});
  writer.run(instant{2});
  EXPECT_EQ(machine.host.rcu().pending(), 0u);
}

TEST(rcu, threads_that_sleep_are_told_when_to_free) {
  // Cpu 0 sleeps until it is told. If a telling were lost, the object would never die.
  for (int round = 0; round < 300; ++round) {
    std::atomic<bool> told{false};
    rcu_domain rcu(2, {}, [&told](cpu_id) { told = true; });
    std::atomic<bool> dead{false};
    rcu.begin(cpu_id(1));
    std::thread other([&rcu] { rcu.quiescent(cpu_id(1)); });
    rcu.begin(cpu_id(0));
    rcu.retire([&dead] { dead = true; });
    rcu.quiescent(cpu_id(0));
    while (!dead) {
      if (told.exchange(false) || rcu.has_work(cpu_id(0))) {
        rcu.begin(cpu_id(0));
        rcu.quiescent(cpu_id(0));
      } else {
        std::this_thread::yield();
      }
    }
    other.join();
  }
}

}  // namespace
}  // namespace ph
