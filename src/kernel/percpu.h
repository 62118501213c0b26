// One value per cpu of a kernel, each on its own cache lines; counters are summed when read.
#pragma once

#include <vector>

#include "base/strong.h"

namespace ph {

template <class T>
class percpu {
 public:
  explicit percpu(std::size_t cpus) : values_(cpus) {}
  [[nodiscard]] T& operator[](cpu_id id) { return values_[id.value].value; }
  [[nodiscard]] const T& operator[](cpu_id id) const { return values_[id.value].value; }
  /// f(value) for each cpu.
  template <class F>
  void for_each(F&& f) {
    for (auto& each : values_) f(each.value);
  }
  template <class F>
  void for_each(F&& f) const {
    for (const auto& each : values_) f(each.value);
  }

 private:
  struct alignas(64) line {
    T value{};
  };
  std::vector<line> values_;
};

}  // namespace ph
