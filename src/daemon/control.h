// One connection to the control socket: reads requests (JSON, one a line) with the descriptors
// that come beside them, and sends answers. control_client.h describes the protocol from the
// other side. What a request does is the server's affair.
//
// It trusts nothing: lines are limited, answers wait in a limited buffer, and whatever breaks a
// rule ends this connection alone.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "platform/unique_fd.h"

namespace ph {

/// A request, and the descriptors that came with it or before it.
struct control_request {
  nlohmann::json what;
  std::vector<unique_fd> fds;
};

class control_connection {
 public:
  static constexpr std::size_t longest_line = 64 * 1024;
  static constexpr std::size_t longest_backlog = 64 << 20;
  static constexpr std::size_t most_fds = 16;

  explicit control_connection(unique_fd socket) : socket_(std::move(socket)) {}

  [[nodiscard]] int fd() const { return socket_.get(); }
  /// Reads what is there. False when the connection must end.
  bool read();
  /// The next whole request, if any; a line that is no JSON object gets a refusal and is skipped.
  std::optional<control_request> next();
  /// The client has shut down its sending side.
  [[nodiscard]] bool at_end() const { return at_end_; }
  /// Queues an answer.
  void answer(const nlohmann::json& reply);
  void refuse(const std::string& why);
  /// Sends what the socket takes. False when the connection must end.
  bool flush();
  [[nodiscard]] bool wants_write() const { return !out_.empty(); }
  /// No further requests are read; ends when the answers are out.
  void close_after_flush() { closing_ = true; }
  [[nodiscard]] bool closing() const { return closing_; }

 private:
  unique_fd socket_;
  std::string in_;
  std::string out_;
  std::vector<unique_fd> fds_;
  bool at_end_ = false;
  bool closing_ = false;
};

}  // namespace ph
