// Room for groups of counters, and what reads them.
#include "net/core/mib.h"

namespace ph {

void mib_table::add_group(std::span<const mib_row> rows) {
  const u8 rank = rows.front().counter.rank();
  // Two groups of one rank: the later one takes another.
  ph_check(rank > 0 && rank < mib_ranks && groups_[rank].empty());
  groups_[rank] = rows;
  counters_.for_each([&](auto& of_cpu) { of_cpu[rank] = std::make_unique<u64[]>(rows.size()); });
}

const mib_row* mib_table::find(mib_counter counter) const {
  if (counter.rank() >= mib_ranks) return nullptr;
  const std::span<const mib_row> rows = groups_[counter.rank()];
  return counter.place() < rows.size() ? &rows[counter.place()] : nullptr;
}

u64 mib_table::get(mib_counter counter) const {
  if (find(counter) == nullptr) return 0;
  u64 out = 0;
  counters_.for_each([&](const auto& c) { out += c[counter.rank()][counter.place()]; });
  return out;
}

std::string_view mib_table::name(mib_counter counter) const {
  const mib_row* const row = find(counter);
  return row == nullptr ? "none" : row->name;
}

}  // namespace ph
