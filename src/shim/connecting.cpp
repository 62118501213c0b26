// One bit for each number.
#include "shim/connecting.h"

#include "base/byteorder.h"
#include "calls/anchor.h"
#include "calls/stream.h"
#include "shim/own_caller.h"

namespace ph::shim {
namespace {

constexpr unsigned numbers = 65536;
constexpr unsigned word_bits = 64;

constinit std::atomic<u64> words[numbers / word_bits];

u64 bit_of(unsigned number) { return u64{1} << number % word_bits; }

}  // namespace

constinit std::atomic<bool> some_connecting{false};

bool may_be_connecting(int fd) {
  const auto number = static_cast<unsigned>(fd);
  if (number >= numbers) return false;
  return (words[number / word_bits].load(std::memory_order_relaxed) & bit_of(number)) != 0;
}

void note_connecting(int fd, bool connecting) {
  const auto number = static_cast<unsigned>(fd);
  if (number >= numbers) return;
  std::atomic<u64>& word = words[number / word_bits];
  if (connecting) {
    word.fetch_or(bit_of(number), std::memory_order_relaxed);
    some_connecting.store(true, std::memory_order_relaxed);
  } else {
    word.fetch_and(~bit_of(number), std::memory_order_relaxed);
  }
}

void note_copied(int fd, int copy) {
  if (copy < 0 || !some_connecting.load(std::memory_order_relaxed)) return;
  const bool connecting = may_be_connecting(fd);
  if (connecting || may_be_connecting(copy)) note_connecting(copy, connecting);
}

long ask_whether_connected(int fd, int flags) {
  if (!may_be_connecting(fd)) return 0;
  own_caller c(fd);
  anchor a;
  if (find_anchor(c, fd, a) && a.stream()) return connected_by_now(c, a, flags);
  note_connecting(fd, false);
  return 0;
}

}  // namespace ph::shim
