// What the sinks remember, print and agree on.
#include "kernel/trace_sinks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ph {
namespace {

using testing::ElementsAre;

trace_event event(s64 ns, u64 journey, trace_kind kind, std::string_view where) {
  return {.when = instant{ns}, .journey = journey, .host = "h1", .cpu = 0, .kind = kind,
          .where = where, .device = "eth0", .reason = {}, .len = 60};
}
trace_event clone(s64 ns, u64 journey, u64 parent) {
  trace_event e = event(ns, journey, trace_kind::cloned, "skb_clone");
  e.parent = parent;
  return e;
}
std::vector<s64> times(const std::vector<trace_event>& events) {
  std::vector<s64> out;
  for (const auto& e : events) out.push_back(e.when.ns);
  return out;
}

TEST(tracer, no_journey_begins_while_nobody_listens) {
  tracer t;
  EXPECT_EQ(t.begin(), 0u);
  ring_sink ring(4);
  t.add(ring);
  EXPECT_EQ(t.begin(), 1u);
  EXPECT_EQ(t.begin(), 2u);
  t.record(event(1, 1, trace_kind::born, "x"), {});
  t.remove(ring);
  t.record(event(2, 1, trace_kind::step, "y"), {});
  EXPECT_EQ(ring.recorded(), 1u);
}

TEST(ring_sink, remembers_the_last_events_in_order) {
  ring_sink ring(3);
  EXPECT_TRUE(ring.events().empty());
  for (s64 i = 1; i <= 2; ++i) ring.record(event(i, 1, trace_kind::step, "f"), {});
  EXPECT_THAT(times(ring.events()), ElementsAre(1, 2));
  for (s64 i = 3; i <= 8; ++i) ring.record(event(i, 1, trace_kind::step, "f"), {});
  EXPECT_THAT(times(ring.events()), ElementsAre(6, 7, 8));
  EXPECT_EQ(ring.recorded(), 8u);
  ring.clear();
  ring.record(event(9, 1, trace_kind::step, "f"), {});
  EXPECT_THAT(times(ring.events()), ElementsAre(9));
}

TEST(ring_sink, tells_the_story_of_one_journey_and_of_its_family) {
  ring_sink ring(100);
  ring.record(event(1, 1, trace_kind::born, "a"), {});
  ring.record(event(2, 2, trace_kind::born, "stranger"), {});
  ring.record(clone(3, 3, 1), {});
  ring.record(event(4, 1, trace_kind::sent, "b"), {});
  ring.record(clone(5, 4, 3), {});
  ring.record(event(6, 4, trace_kind::dropped, "c"), {});
  ring.record(event(7, 2, trace_kind::consumed, "d"), {});
  EXPECT_THAT(times(ring.journey(1)), ElementsAre(1, 4));
  EXPECT_THAT(times(ring.journey(2)), ElementsAre(2, 7));
  EXPECT_THAT(times(ring.family(1)), ElementsAre(1, 3, 4, 5, 6));
  EXPECT_EQ(ring.family(4).size(), 5u) << "from any member";
  EXPECT_EQ(ring.family(2).size(), 2u);
}

TEST(ring_sink, outlives_the_names_of_hosts_and_devices) {
  ring_sink ring(4);
  {
    const std::string host = "a host with a name longer than any small-string buffer";
    trace_event e = event(1, 1, trace_kind::step, "f");
    e.host = host;
    ring.record(e, {});
  }
  EXPECT_EQ(ring.events()[0].host, "a host with a name longer than any small-string buffer");
}

TEST(text_sink, prints_one_readable_line_per_event) {
  std::vector<std::string> lines;
  text_sink text([&lines](std::string_view line) { lines.emplace_back(line); });
  text.record(event(1'500'000'042, 7, trace_kind::step, "ip_rcv"), {});
  trace_event dropped = event(1'500'000'043, 7, trace_kind::dropped, "ip_rcv");
  dropped.reason = "ip_csum";
  text.record(dropped, {});
  trace_event forked = clone(2'000'000'000, 8, 7);
  forked.device = {};
  text.record(forked, {});
  EXPECT_THAT(lines, ElementsAre(
      "     1.500000042 h1/0         #7      step     ip_rcv                     eth0        60",
      "     1.500000043 h1/0         #7      dropped  ip_rcv                     eth0        60"
      " ip_csum",
      "     2.000000000 h1/0         #8      cloned   skb_clone                  -           60"
      " from #7"));
}

TEST(hash_sink, equal_histories_agree_and_any_difference_shows) {
  const std::array<u8, 3> bytes{1, 2, 3};
  const auto hash_of = [&bytes](auto change) {
    hash_sink sink;
    trace_event e = event(1, 1, trace_kind::step, "f");
    std::array<u8, 3> packet = bytes;
    change(e, packet);
    sink.record(e, packet);
    sink.record(event(2, 1, trace_kind::sent, "g"), bytes);
    return sink.value();
  };
  const u64 plain = hash_of([](auto&, auto&) {});
  EXPECT_EQ(plain, hash_of([](auto&, auto&) {}));
  EXPECT_NE(plain, hash_of([](auto& e, auto&) { e.when.ns += 1; }));
  EXPECT_NE(plain, hash_of([](auto& e, auto&) { e.journey = 2; }));
  EXPECT_NE(plain, hash_of([](auto& e, auto&) { e.parent = 2; }));
  EXPECT_NE(plain, hash_of([](auto& e, auto&) { e.cpu = 1; }));
  EXPECT_NE(plain, hash_of([](auto& e, auto&) { e.kind = trace_kind::born; }));
  EXPECT_NE(plain, hash_of([](auto& e, auto&) { e.len = 61; }));
  EXPECT_NE(plain, hash_of([](auto& e, auto&) { e.host = "h2"; }));
  EXPECT_NE(plain, hash_of([](auto& e, auto&) { e.where = "fe"; e.device = "th0"; }));
  EXPECT_NE(plain, hash_of([](auto& e, auto&) { e.reason = "x"; }));
  EXPECT_NE(plain, hash_of([](auto&, auto& packet) { packet[2] = 4; }));
}

TEST(tracer, tells_each_sink_what_its_filter_lets_through) {
  tracer t;
  ring_sink all(4), drops(4), elsewhere(4);
  t.add(all);
  t.add(drops, {.kinds = 1u << static_cast<unsigned>(trace_kind::dropped)});
  t.add(elsewhere, {.host = "h2"});
  t.record(event(1, 1, trace_kind::step, "f"), {});
  t.record(event(2, 1, trace_kind::dropped, "g"), {});
  trace_event far = event(3, 2, trace_kind::step, "f");
  far.host = "h2";
  t.record(far, {});
  EXPECT_THAT(times(all.events()), ElementsAre(1, 2, 3));
  EXPECT_THAT(times(drops.events()), ElementsAre(2));
  EXPECT_THAT(times(elsewhere.events()), ElementsAre(3));
  t.remove(all);
  t.add(drops);
  t.record(event(4, 1, trace_kind::step, "f"), {});
  EXPECT_EQ(all.recorded(), 3u);
  EXPECT_THAT(times(drops.events()), ElementsAre(2, 4));
  t.remove(drops);
  t.remove(elsewhere);
  EXPECT_FALSE(t.active());
}

}  // namespace
}  // namespace ph
