// A client process as the stack sees it: descriptor table, credentials, network namespace.
#pragma once

#include <string>
#include <vector>

#include "kernel/file.h"

namespace ph {

class kernel;
class net_namespace;

struct credentials {
  u32 uid = 0;
  u32 gid = 0;
  bool net_admin = true;  ///< CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE on its own host
};

class task {
 public:
  task(kernel& machine, net_namespace& net, std::string name = "task");
  task(const task&) = delete;
  task& operator=(const task&) = delete;
  /// Closes every descriptor.
  ~task();
  [[nodiscard]] kernel& machine() const { return machine_; }
  [[nodiscard]] net_namespace& net() const { return net_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  credentials cred;

  /// The lowest free descriptor now refers to f. Errors: mfile.
  result<int> install(ref<file> f);
  /// The file of a descriptor. Errors: badf.
  result<ref<file>> get(int fd) const;
  /// Errors: badf. The last descriptor of a file releases it.
  result<void> close(int fd);
  /// dup(2): another descriptor of the same file.
  result<int> dup(int fd);
  [[nodiscard]] std::size_t open_files() const { return files_.size() - free_.size(); }
  void set_limit(std::size_t limit) { limit_ = limit; }
  /// True when install() would answer mfile.
  [[nodiscard]] bool full() const { return lowest_free() >= limit_; }

 private:
  [[nodiscard]] std::size_t lowest_free() const {
    return free_.empty() ? files_.size() : static_cast<std::size_t>(free_.front());
  }
  kernel& machine_;
  net_namespace& net_;
  std::string name_;
  std::size_t limit_ = 1u << 20;
  std::vector<ref<file>> files_;  ///< by descriptor; null where none is open
  std::vector<int> free_;         ///< the descriptors below files_.size() that are not, a min-heap
};

}  // namespace ph
