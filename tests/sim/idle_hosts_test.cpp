// A thousand hosts in one process: what each costs while it idles, and that idling costs no time.
#include <malloc.h>

#include <cstdio>

#include "scenario.h"

namespace ph::sim {
namespace {

constexpr std::size_t hosts = 1000;
constexpr std::size_t budget_per_host = 256 * 1024;

std::size_t heap_bytes() {
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST(idle_hosts, a_thousand_fit_in_their_budget_and_sleep) {
  const std::size_t before = heap_bytes();
  world w;
  const star_shape star = make_star(w, hosts);
  w.run_until_idle();
  const std::size_t used = heap_bytes() - before;
  std::printf("%zu hosts: %zu KiB each\n", hosts, used / hosts / 1024);
  RecordProperty("bytes_per_host", std::to_string(used / hosts));
#ifndef __SANITIZE_ADDRESS__  // whose heap keeps more
  EXPECT_LE(used / hosts, budget_per_host);
#endif
  const u64 events = w.events().events_run();
  w.run_for(24_s * 3600);
  EXPECT_LE(w.events().events_run() - events, hosts) << "idle hosts have hardly any timers";

  // Two of them talk: nobody else is touched.
  w.spawn(*star.leaves[10], "echo", udp_echo(7));
  bool answered = false;
  w.spawn(*star.leaves[990], "ping", [&](app& a) -> co<> {
    const int fd = a.udp();
    co_await a.sendto(fd, bytes_of(std::string_view("far")), {star_shape::leaf_addr(10), 7});
    std::vector<u8> buffer(10);
    answered = (co_await a.recvfrom(fd, buffer)).len == 3;
  });
  const u64 quiet = w.events().events_run();
  w.run_for(1_s);
  EXPECT_TRUE(answered);
  EXPECT_LE(w.events().events_run() - quiet, 100u);
}

}  // namespace
}  // namespace ph::sim
