// The programs of a lab: drop-in served from the sockets of its hosts.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "daemon/drop_in.h"
#include "daemon/last_words.h"
#include "daemon/stack_sockets.h"

namespace ph {

class programs {
 public:
  /// `lab` and `closes` outlive this. Errors: a sentence for the user.
  static tl::expected<std::unique_ptr<programs>, std::string> serve(running_lab& lab,
                                                                    closer& closes);
  explicit programs(running_lab& lab) : lab_(lab) {}
  programs(const programs&) = delete;
  programs& operator=(const programs&) = delete;

  /// Readable when serve() has something to do.
  [[nodiscard]] int fd() const { return drop_in_->fd(); }
  /// Serves requests and moves bytes; after every run of the world. True: soon again.
  bool process() { return drop_in_->process(); }
  /// What a process of this host has in its environment (LD_PRELOAD is the caller's).
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> environment(
      const sim::host& where) const {
    return drop_in_->environment(where.name());
  }
  /// PH_SOCKET of the programs.
  [[nodiscard]] const std::string& address() const { return drop_in_->address(); }
  /// The processes that have asked for something, as far as they live.
  [[nodiscard]] std::vector<known_process> peers() const { return drop_in_->peers(); }
  [[nodiscard]] std::size_t socket_count() const { return drop_in_->socket_count(); }

 private:
  dropin::host_sockets* sockets_of(std::string_view host);

  running_lab& lab_;
  std::map<const sim::host*, std::unique_ptr<dropin::stack_sockets>> hosts_;
  std::unique_ptr<dropin::last_words> last_words_;
  std::unique_ptr<dropin::drop_in> drop_in_;
};

}  // namespace ph
