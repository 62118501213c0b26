// One connection to the control socket: reads requests (JSON, one a line) and sends answers, a
// descriptor beside one of them when the server wants that. control_client.h describes the protocol
// from the other side. What a request does is the server's affair.
//
// Descriptors that a client passes end its connection: a write to one, or its close, can wait.
//
// It trusts nothing: lines are limited, requests and answers wait in limited buffers, and whatever
// breaks a rule ends this connection alone.
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "daemon/control_request.h"
#include "platform/closer.h"
#include "platform/unique_fd.h"

namespace ph {

class control_connection {
 public:
  static constexpr std::size_t longest_line = std::size_t{64} * 1024;
  static constexpr std::size_t longest_backlog =
      std::size_t{256} * 1024;  ///< besides one answer of any length

  /// `closes`: closes what is passed; it outlives this.
  control_connection(unique_fd socket, closer& closes)
      : socket_(std::move(socket)), closes_(closes) {}
  control_connection(const control_connection&) = delete;
  control_connection& operator=(const control_connection&) = delete;
  ~control_connection();

  [[nodiscard]] int fd() const { return socket_.get(); }
  /// The process that connected; 0 when it cannot be seen from here.
  [[nodiscard]] pid_t peer() const;
  /// Reads what is there and has room. False when the connection must end.
  bool read();
  /// There is room for another line: it is worth polling for input.
  [[nodiscard]] bool has_room() const { return in_.size() - in_at_ <= longest_line; }
  /// The next whole request, if any and if the answers before it do not wait for their reader; a
  /// line that is no JSON object gets a refusal and is skipped.
  std::optional<control_request> next();
  /// next() would give something now.
  [[nodiscard]] bool has_next();
  /// next() would give something now or when answers have been read.
  [[nodiscard]] bool has_line();
  /// The client has shut down its sending side.
  [[nodiscard]] bool at_end() const { return at_end_; }
  /// It has, behind input that is not read yet.
  void set_at_end() { at_end_ = true; }
  /// Queues an answer.
  void answer(const nlohmann::json& reply);
  /// The same, and passes a descriptor beside it: one in the life of a connection.
  void answer(const nlohmann::json& reply, unique_fd passed);
  void refuse(const std::string& why);
  /// Sends what the socket takes. False when the connection must end.
  bool flush();
  [[nodiscard]] bool wants_write() const { return out_at_ < out_.size(); }
  /// No further requests are read; ends when the answers are out.
  void close_after_flush() { closing_ = true; }
  [[nodiscard]] bool closing() const { return closing_; }

 private:
  std::size_t find_end();
  ssize_t send_some();

  unique_fd socket_;
  closer& closes_;
  std::string in_;
  std::size_t in_at_ = 0;    ///< what stands before it was served
  std::size_t in_seen_ = 0;  ///< no end of line between in_at_ and here
  std::string out_;
  std::size_t out_at_ = 0;     ///< what stands before it was sent
  unique_fd passed_;           ///< for the client
  std::size_t passed_at_ = 0;  ///< with this byte of out_
  bool at_end_ = false;
  bool drained_ = false;  ///< nothing is or will be in the socket's queue
  bool closing_ = false;
};

}  // namespace ph
