// Counters of a namespace, with the names and groups that nstat(8) shows. A subsystem declares its
// own group and registers it; what all groups share is here.
#pragma once

#include <array>
#include <concepts>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/check.h"
#include "kernel/cpu.h"
#include "kernel/percpu.h"

namespace ph {

inline constexpr u8 mib_ranks = 64;
/// The first counter of a group, in namespace mib:
///   enum tcp_counters : u16 { tcp_active_opens = first_of_mib_group(12), …, tcp_counters_end };
/// The rank is the group's place in what nstat prints, 1 to 63, and its alone: there are gaps for
/// groups that stand between others.
constexpr u16 first_of_mib_group(u8 rank) { return static_cast<u16>(rank << 8); }

namespace mib {
/// What counts nothing.
enum no_counter : u16 { none };
}  // namespace mib

/// Which counter: the rank of its group, and its place in there.
class mib_counter {
 public:
  constexpr mib_counter() = default;  ///< mib::none
  template <class E>
    requires(std::is_enum_v<E> && std::convertible_to<E, u16>)
  constexpr mib_counter(E counter) : id_(counter) {}  // NOLINT: an enumerator is a counter
  [[nodiscard]] constexpr u8 rank() const { return static_cast<u8>(id_ >> 8); }
  [[nodiscard]] constexpr u8 place() const { return static_cast<u8>(id_); }
  friend constexpr auto operator<=>(mib_counter, mib_counter) = default;

 private:
  u16 id_ = 0;
};

/// A counter and its name: group and name in one word, as nstat prints them ("TcpExtTCPTimeouts").
struct mib_row {
  mib_counter counter;
  std::string_view name;
};

/// Whether the rows are those of one group, in its order, none left out.
constexpr bool mib_in_order(std::span<const mib_row> rows, mib_counter end) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].counter.rank() != end.rank() || rows[i].counter.place() != i) return false;
  }
  return end.rank() > 0 && end.rank() < mib_ranks && rows.size() == end.place();
}

/// The counters of one namespace, per cpu.
class mib_table {
 public:
  explicit mib_table(std::size_t cpus) : counters_(cpus) {}
  /// Gives a group its room, before anything is counted in it. The rows outlive the table.
  void add_group(std::span<const mib_row> rows);
  /// What belongs to no group that is here is not counted.
  void add(cpu& cx, mib_counter counter, u64 n = 1) {
    u64* const group = counters_[cx.id()][counter.rank()].get();
    if (group != nullptr) [[likely]]
      group[counter.place()] += n;
  }
  [[nodiscard]] u64 get(mib_counter counter) const;
  [[nodiscard]] std::string_view name(mib_counter counter) const;
  /// f(counter, name, value) for each, in nstat's order.
  template <class F>
  void for_each(F&& f) const {
    for (const std::span<const mib_row> rows : groups_) {
      for (const mib_row& row : rows) f(row.counter, row.name, get(row.counter));
    }
  }

 private:
  [[nodiscard]] const mib_row* find(mib_counter counter) const;

  std::array<std::span<const mib_row>, mib_ranks> groups_;
  percpu<std::array<std::unique_ptr<u64[]>, mib_ranks>> counters_;
};

}  // namespace ph
