// epoll(7) and epoll_ctl(2), sentence by sentence, with files whose readiness the test sets.
#include "kernel/epoll.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernel/task.h"
#include "tests/kernel/fake_file.h"
#include "tests/kernel/machine.h"
#include "uapi/socket.h"

namespace ph {
namespace {

using namespace uapi;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<u64> waited(epoll& ep, std::size_t max = 16) {
  std::vector<epoll_ready> out(max);
  const auto n = ep.wait(out);
  EXPECT_TRUE(n);
  std::vector<u64> data;
  for (std::size_t i = 0; i < *n; ++i) data.push_back(out[i].data);
  return data;
}

u32 events_of(epoll& ep) {
  std::array<epoll_ready, 4> out;
  return *ep.wait(out) == 0 ? 0 : out[0].events;
}

/// Counts the wakeups of a sleeper in epoll_wait.
struct sleeper {
  explicit sleeper(file& f) { f.waiters().add(entry); }
  int woken = 0;
  wait_entry entry{[this](u32) { ++woken; }};
};

TEST(epoll, level_triggered_reports_as_long_as_the_file_is_ready) {
  fake_file f;
  epoll ep;
  ASSERT_TRUE(ep.add(3, f, epollin, 33));
  EXPECT_THAT(waited(ep), IsEmpty());
  f.become(pollin | pollout);
  EXPECT_EQ(events_of(ep), epollin) << "only what was asked for";
  EXPECT_THAT(waited(ep), ElementsAre(33));
  f.ready = 0;
  EXPECT_THAT(waited(ep), IsEmpty());
}

TEST(epoll, a_file_that_is_ready_when_added_is_reported) {
  fake_file f;
  f.ready = pollout;
  epoll ep;
  const sleeper s(ep);
  ASSERT_TRUE(ep.add(3, f, epollout, 1));
  EXPECT_EQ(s.woken, 1);
  EXPECT_THAT(waited(ep), ElementsAre(1));
}

TEST(epoll, edge_triggered_reports_once_per_event) {
  fake_file f;
  epoll ep;
  ASSERT_TRUE(ep.add(3, f, epollin | epollet, 1));
  f.become(pollin);
  EXPECT_THAT(waited(ep), ElementsAre(1));
  EXPECT_THAT(waited(ep), IsEmpty()) << "still readable, but no new event";
  f.become(pollin);
  EXPECT_THAT(waited(ep), ElementsAre(1)) << "new data is a new event";
  ASSERT_TRUE(ep.mod(3, f, epollin | epollet, 2));
  EXPECT_THAT(waited(ep), ElementsAre(2)) << "EPOLL_CTL_MOD asks again";
}

TEST(epoll, oneshot_is_disarmed_after_one_report_until_modified) {
  fake_file f;
  epoll ep;
  ASSERT_TRUE(ep.add(3, f, epollin | epolloneshot, 1));
  f.become(pollin);
  EXPECT_THAT(waited(ep), ElementsAre(1));
  f.become(pollin);
  f.become(pollhup);
  EXPECT_THAT(waited(ep), IsEmpty()) << "not even a hang-up is told";
  ASSERT_TRUE(ep.mod(3, f, epollin | epolloneshot, 2));
  EXPECT_EQ(events_of(ep), epollin | epollhup);
}

TEST(epoll, errors_and_hangups_are_reported_without_asking) {
  fake_file f;
  epoll ep;
  ASSERT_TRUE(ep.add(3, f, 0, 1));
  f.become(pollin);
  EXPECT_THAT(waited(ep), IsEmpty());
  f.become(pollhup | pollerr);
  EXPECT_EQ(events_of(ep), epollhup | epollerr);
}

TEST(epoll, an_event_nobody_asked_for_wakes_nobody) {
  fake_file f;
  epoll ep;
  const sleeper s(ep);
  ASSERT_TRUE(ep.add(3, f, epollin, 1));
  f.become(pollout);
  EXPECT_EQ(s.woken, 0);
  f.become(pollin);
  EXPECT_EQ(s.woken, 1);
}

TEST(epoll, errors_of_epoll_ctl) {
  fake_file f;
  epoll ep;
  EXPECT_EQ(ep.add(3, ep, epollin, 1).error(), errc::inval);
  EXPECT_EQ(ep.mod(3, f, epollin, 1).error(), errc::noent);
  EXPECT_EQ(ep.del(3, f).error(), errc::noent);
  ASSERT_TRUE(ep.add(3, f, epollin, 1));
  EXPECT_EQ(ep.add(3, f, epollin, 1).error(), errc::exist);
  EXPECT_TRUE(ep.add(4, f, epollin, 1)) << "a duplicate descriptor of the same file";
  EXPECT_TRUE(ep.del(3, f));
  EXPECT_EQ(ep.size(), 1u);
  EXPECT_EQ(ep.wait({}).error(), errc::inval);
}

TEST(epoll, deleted_and_modified_interests_do_not_report_old_events) {
  fake_file f;
  epoll ep;
  ASSERT_TRUE(ep.add(3, f, epollin, 1));
  f.become(pollin);
  ASSERT_TRUE(ep.mod(3, f, epollout, 1));
  EXPECT_THAT(waited(ep), IsEmpty());
  ASSERT_TRUE(ep.mod(3, f, epollin, 1));
  ASSERT_TRUE(ep.del(3, f));
  EXPECT_THAT(waited(ep), IsEmpty());
  EXPECT_TRUE(f.waiters().empty());
}

TEST(epoll, ready_files_take_turns_when_the_buffer_is_small) {
  std::array<fake_file, 3> files;
  epoll ep;
  for (u32 i = 0; i < 3; ++i) {
    files[i].ready = pollin;
    ASSERT_TRUE(ep.add(static_cast<int>(i), files[i], epollin, i));
  }
  std::vector<u64> turns;
  for (int i = 0; i < 7; ++i) turns.push_back(waited(ep, 1).at(0));
  EXPECT_THAT(turns, ElementsAre(0, 1, 2, 0, 1, 2, 0));
  EXPECT_THAT(waited(ep, 2), ElementsAre(1, 2));
  EXPECT_THAT(waited(ep, 16), ElementsAre(0, 1, 2));
}

TEST(epoll, exclusive_wakes_one_sleeping_instance_per_event) {
  fake_file f;
  std::array<epoll, 3> eps;
  std::vector<std::unique_ptr<sleeper>> sleepers;
  for (epoll& ep : eps) {
    ASSERT_TRUE(ep.add(3, f, epollin | epollexclusive, 1));
    sleepers.push_back(std::make_unique<sleeper>(ep));
  }
  f.become(pollin);
  EXPECT_EQ(sleepers[0]->woken + sleepers[1]->woken + sleepers[2]->woken, 1);
  f.become(pollin);
  f.become(pollin);
  for (const auto& s : sleepers) EXPECT_EQ(s->woken, 1) << "they take turns";
}

TEST(epoll, exclusive_passes_over_instances_in_which_nobody_sleeps) {
  fake_file f;
  epoll idle, busy, plain;
  ASSERT_TRUE(idle.add(3, f, epollin | epollexclusive, 1));
  ASSERT_TRUE(busy.add(3, f, epollin | epollexclusive, 1));
  ASSERT_TRUE(plain.add(3, f, epollin, 1));
  const sleeper in_busy(busy), in_plain(plain);
  f.become(pollin);
  EXPECT_EQ(in_busy.woken, 1);
  EXPECT_EQ(in_plain.woken, 1) << "those that are not exclusive are always told";
  EXPECT_THAT(waited(idle), ElementsAre(1)) << "an instance nobody slept in still learns of it";
}

TEST(epoll, exclusive_excludes_some_flags_and_mod) {
  fake_file f;
  epoll ep, other;
  EXPECT_EQ(ep.add(3, other, epollin | epollexclusive, 1).error(), errc::inval);
  EXPECT_EQ(ep.add(3, f, epollin | epollexclusive | epolloneshot, 1).error(), errc::inval);
  EXPECT_EQ(ep.add(3, f, epollrdhup | epollexclusive, 1).error(), errc::inval);
  ASSERT_TRUE(ep.add(3, f, epollin | epollet | epollexclusive, 1));
  EXPECT_EQ(ep.mod(3, f, epollin, 1).error(), errc::inval);
  ASSERT_TRUE(ep.add(4, f, epollin, 1));
  EXPECT_EQ(ep.mod(4, f, epollin | epollexclusive, 1).error(), errc::inval);
}

TEST(epoll, nested_instances_are_readable_when_something_in_them_is) {
  fake_file f;
  epoll inner, outer;
  ASSERT_TRUE(inner.add(3, f, epollin, 1));
  ASSERT_TRUE(outer.add(4, inner, epollin, 2));
  const sleeper s(outer);
  EXPECT_EQ(outer.poll(), 0u);
  f.become(pollin);
  EXPECT_EQ(s.woken, 1);
  EXPECT_EQ(inner.poll(), pollin | pollrdnorm);
  EXPECT_THAT(waited(outer), ElementsAre(2));
  f.ready = 0;
  EXPECT_THAT(waited(outer), IsEmpty());
  EXPECT_EQ(inner.poll(), 0u);
}

TEST(epoll, circles_are_refused) {
  epoll a, b, c;
  ASSERT_TRUE(a.add(1, b, epollin, 0));
  ASSERT_TRUE(b.add(2, c, epollin, 0));
  EXPECT_EQ(c.add(3, a, epollin, 0).error(), errc::loop);
  EXPECT_EQ(b.add(3, a, epollin, 0).error(), errc::loop);
  ASSERT_TRUE(b.del(2, c));
  EXPECT_TRUE(c.add(3, a, epollin, 0));
}

TEST(epoll, a_chain_of_instances_has_at_most_five_links) {
  std::array<epoll, 6> up;
  for (u32 i = 1; i < 5; ++i) ASSERT_TRUE(up[i].add(1, up[i - 1], epollin, 0)) << i;
  EXPECT_EQ(up[5].add(1, up[4], epollin, 0).error(), errc::loop);
  EXPECT_EQ(up[0].add(1, up[5], epollin, 0).error(), errc::loop) << "counted at both ends";
}

TEST(epoll, the_last_close_of_a_watched_file_ends_the_interest) {
  test_machine machine;
  task t(machine.host, machine.no_network());
  epoll ep;
  const auto f = make_ref<fake_file>();
  const int fd = *t.install(f);
  ASSERT_TRUE(ep.add(fd, *f, epollin, 1));
  f->become(pollin);
  const int copy = *t.dup(fd);
  ASSERT_TRUE(t.close(fd));
  EXPECT_THAT(waited(ep), ElementsAre(1)) << "epoll(7) Q6: a duplicate keeps it registered";
  EXPECT_EQ(f->releases, 0);
  ASSERT_TRUE(t.close(copy));
  EXPECT_EQ(f->releases, 1);
  EXPECT_EQ(ep.size(), 0u);
  EXPECT_THAT(waited(ep), IsEmpty());
  EXPECT_TRUE(f->waiters().empty());
}

TEST(epoll, either_side_may_die_first) {
  epoll ep;
  {
    fake_file f;
    f.ready = pollin;
    ASSERT_TRUE(ep.add(3, f, epollin, 1));
  }
  EXPECT_EQ(ep.size(), 0u);
  EXPECT_THAT(waited(ep), IsEmpty());
  fake_file g;
  {
    epoll shortlived;
    ASSERT_TRUE(shortlived.add(3, g, epollin, 1));
  }
  g.become(pollin);
  EXPECT_TRUE(g.waiters().empty());
  EXPECT_TRUE(g.watches().empty());
}

TEST(epoll, closing_an_instance_ends_its_interests_and_those_in_it) {
  test_machine machine;
  task t(machine.host, machine.no_network());
  fake_file f;
  epoll outer;
  const auto inner = make_ref<epoll>();
  const int fd = *t.install(inner);
  ASSERT_TRUE(inner->add(3, f, epollin, 1));
  ASSERT_TRUE(outer.add(fd, *inner, epollin, 1));
  ASSERT_TRUE(t.close(fd));
  EXPECT_EQ(inner->size(), 0u);
  EXPECT_EQ(outer.size(), 0u);
}

}  // namespace
}  // namespace ph
