// What programs and the daemon share about bytes that a host sends to itself.
#include "daemon/settling.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/daemon/served_lab.h"

namespace ph::dropin {
namespace {

/// A page as a program sees it.
class mapped_page {
 public:
  explicit mapped_page(int file)
      : at_(::mmap(nullptr, settling_page_len, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)) {}
  mapped_page(const mapped_page&) = delete;
  mapped_page& operator=(const mapped_page&) = delete;
  ~mapped_page() {
    if (works()) ::munmap(at_, settling_page_len);
  }
  [[nodiscard]] bool works() const { return at_ != MAP_FAILED; }
  settling_page* operator->() const { return static_cast<settling_page*>(at_); }

 private:
  void* at_;
};

TEST(settling, a_send_has_settled_after_a_turn_of_the_stack) {
  const auto host = settling::create();
  ASSERT_TRUE(host);
  const mapped_page page(host->file().get());
  ASSERT_TRUE(page.works());
  settling_turns turns;
  page->sent = 3;
  turns.note(*host);
  page->sent = 4;  // this one's event comes in a later batch
  turns.begin_batch();
  turns.end_batch(false);
  EXPECT_FALSE(turns.pending()) << "its event may not have been among those";
  turns.begin_batch();
  turns.end_batch(true);
  EXPECT_TRUE(turns.pending());
  EXPECT_EQ(page->settled, 0u);
  turns.arrived();
  EXPECT_EQ(page->settled, 3u);
  EXPECT_FALSE(turns.pending());
}

TEST(settling, sends_that_nobody_asked_after_for_long_settle_as_well) {
  const auto host = settling::create();
  const mapped_page page(host->file().get());
  settling_turns turns;
  page->sent = 0x9000'0000;  // more than half of all numbers since the last that settled
  turns.note(*host);
  turns.begin_batch();
  turns.end_batch(true);
  turns.arrived();
  EXPECT_EQ(page->settled, 0x9000'0000u);
}

TEST(settling, nothing_is_kept_of_a_flood) {
  const auto host = settling::create();
  const mapped_page page(host->file().get());
  settling_turns turns;
  for (u32 i = 1; i <= 1000; ++i) {
    page->sent = i;
    turns.note(*host);
    turns.begin_batch();
    turns.end_batch(false);
  }
  turns.begin_batch();
  turns.end_batch(true);
  turns.arrived();
  EXPECT_EQ(page->settled, 1u) << "the first of them was awaited";
  turns.begin_batch();
  turns.end_batch(true);
  turns.arrived();
  EXPECT_EQ(page->settled, 2u) << "and the first of those behind it";
}

TEST(settling, who_asks_waits_for_the_batch_that_takes_what_was_sent) {
  const auto host = settling::create();
  settling_turns turns;
  turns.note(*host);
  const u64 asked = turns.next_batch();
  EXPECT_GT(asked, turns.over()) << "a turn that ends here has not taken it";
  turns.begin_batch();
  EXPECT_GT(turns.next_batch(), asked);
  turns.end_batch(false);
  EXPECT_GT(asked, turns.over());
  turns.begin_batch();
  turns.end_batch(true);
  EXPECT_LE(asked, turns.over());
  EXPECT_GT(turns.next_batch(), turns.over());
}

/// Plain sends to other hosts count as well, and may go on for an hour before one is noted.
TEST(settling, a_number_that_ran_ahead_is_settled_all_the_same) {
  const auto host = settling::create();
  const mapped_page page(host->file().get());
  settling_turns turns;
  for (const u32 sent : {5u, 0x90000000u, 3u}) {
    page->sent = sent;
    turns.note(*host);
    turns.begin_batch();
    turns.end_batch(true);
    turns.arrived();
    EXPECT_EQ(page->settled, sent);
  }
}

TEST(settling, numbers_wrap) {
  EXPECT_TRUE(is_behind(0xfffffffe, 1));
  EXPECT_FALSE(is_behind(1, 0xfffffffe));
  EXPECT_FALSE(is_behind(7, 7));
}

TEST(settling, counts_the_sockets_that_are_connected_to_their_own_host) {
  const served_lab lab;
  raw_program alice(lab, "alice"), bob(lab, "bob");
  const mapped_page page(alice.page.get()), other(bob.page.get());
  ASSERT_TRUE(page.works() && other.works());
  const unique_fd sender(alice.socket(SOCK_DGRAM));
  EXPECT_EQ(alice.connect(sender.get(), "10.0.1.2", 9), 0);
  EXPECT_EQ(page->local, 0u) << "another host's";
  EXPECT_EQ(alice.connect(sender.get(), "10.0.1.1", 9), 0);
  EXPECT_EQ(page->local, 1u);
  EXPECT_EQ(alice.connect(sender.get(), "127.0.0.5", 9), 0);
  EXPECT_EQ(page->local, 1u);
  unique_fd another(alice.socket(SOCK_DGRAM));
  EXPECT_EQ(alice.connect(another.get(), "127.0.0.1", 9), 0);
  EXPECT_EQ(page->local, 2u);
  another.reset();
  for (int i = 0; i < 1000 && page->local != 1; ++i) alice.ask(request_kind::settle, {}, {}, -1);
  EXPECT_EQ(page->local, 1u);
  EXPECT_EQ(other->local, 0u);
}

TEST(settling, nonsense_in_the_page_harms_nobody) {
  const served_lab lab;
  raw_program alice(lab, "alice");
  const mapped_page page(alice.page.get());
  ASSERT_TRUE(page.works());
  EXPECT_NE(::ftruncate(alice.page.get(), 0), 0);
  EXPECT_NE(::ftruncate(alice.page.get(), 1 << 20), 0);
  const unique_fd receiver(alice.socket(SOCK_DGRAM)), sender(alice.socket(SOCK_DGRAM));
  EXPECT_EQ(alice.bind(receiver.get(), "127.0.0.1", 9), 0);
  EXPECT_EQ(alice.connect(sender.get(), "127.0.0.1", 9), 0);
  for (const u32 nonsense : {0u, 1u, 0x7fffffffu, 0xffffffffu}) {
    page->local = page->sent = nonsense;
    page->settled = nonsense / 2;
    EXPECT_EQ(::send(sender.get(), "x", 1, 0), 1);
    EXPECT_EQ(alice.ask(request_kind::settle, {}, {}, -1), 0);
    u8 byte = 0;
    EXPECT_EQ(::recv(receiver.get(), &byte, 1, MSG_DONTWAIT), 1);
  }
  EXPECT_EQ(alice.ask(request_kind::settle, {}, {}, sender.get()), 0) << "with a socket, too";
}

}  // namespace
}  // namespace ph::dropin
