// A kernel with its memory, for tests of what lies in kernel/.
#pragma once

#include "kernel/kernel.h"

namespace ph {

class net_namespace;

struct test_machine {
  packet_memory memory;
  kernel host;
  explicit test_machine(u32 cpus = 1) : test_machine(kernel_config{.cpus = cpus}) {}
  explicit test_machine(kernel_config config) : host(with_memory(std::move(config))) {}
  /// For tasks in tests that touch no network: only its address is ever used.
  net_namespace& no_network() { return reinterpret_cast<net_namespace&>(no_network_); }
  cpu& cx(u32 i = 0) { return host.cpu_at(cpu_id(i)); }

 private:
  std::byte no_network_{};
  kernel_config with_memory(kernel_config config) {
    config.memory = &memory;
    return config;
  }
};

}  // namespace ph
