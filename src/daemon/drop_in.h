// The daemon's side of drop-in, pump mode: serves the control channels of all programs, and carries
// bytes between their anchors and the sockets of their hosts.
//
// Single-threaded and event-driven: poll fd() for reading together with whatever else the daemon
// waits for, and call process() when it is readable and after every run of the stack. process()
// never blocks.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/host_sockets.h"
#include "daemon/lab_processes.h"
#include "platform/closer.h"

namespace ph::dropin {

struct drop_in_options {
  /// Where programs connect: "@name" (abstract) or a path; empty: a random abstract name.
  std::string address;
  /// Chosen at random when 0.
  u64 instance = 0;
  /// How long a channel may say nothing before it is closed.
  s64 hello_patience_ms = 5000;
  /// How many hosts share the daemon's descriptors (daemon/descriptor_shares.h).
  std::size_t hosts = 1;
  /// Gives memory of a peak that is over back to the system; called when little happens.
  std::function<void()> give_back{};
  /// Closes what programs pass; outlives the drop_in, which otherwise has one of its own.
  closer* closes = nullptr;
};

/// Finds a host of the lab by name ("" = the only or default one); nullptr when there is none.
using find_host = std::function<host_sockets*(std::string_view name)>;

class drop_in_state;

class drop_in {
 public:
  /// Errors: addrinuse, mfile and the like: the address cannot be listened at.
  static result<std::unique_ptr<drop_in>> create(const drop_in_options& options, find_host hosts);
  explicit drop_in(std::unique_ptr<drop_in_state> state);
  ~drop_in();

  /// Readable when process() has something to do.
  [[nodiscard]] int fd() const;
  /// Serves what is ready. True when it stopped early and should soon be called again.
  bool process();
  /// The environment with which a program becomes a process of `host`; LD_PRELOAD is not in it.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> environment(
      std::string_view host) const;
  /// Sockets that programs hold now.
  [[nodiscard]] std::size_t socket_count() const;
  [[nodiscard]] u64 instance() const;
  /// Where anchors get their names (daemon/anchor.h).
  [[nodiscard]] const std::string& anchor_folder_path() const;
  /// Where programs connect.
  [[nodiscard]] const std::string& address() const;
  /// The processes that opened the channels that there are, and may use them.
  [[nodiscard]] std::vector<known_process> peers() const;

 private:
  std::unique_ptr<drop_in_state> state_;
};

/// After a daemon has died: tells those who wait at anchors that do not notice it by themselves
/// (listeners, datagram anchors) by a last connection, datagram or error. Called by the process
/// that shares its descriptors. Returns how many were told.
std::size_t send_tombstones();

}  // namespace ph::dropin
