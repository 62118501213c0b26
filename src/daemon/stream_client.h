// A TCP socket of a program (docs/dropin.md tells how its anchor shows each state).
#pragma once

#include "daemon/client.h"

namespace ph::dropin {

class stream_client final : public client {
 public:
  using client::client;
  ~stream_client() override;
  /// A connection that a listener's anchor was offered: `end` is the daemon's end.
  void accepted(unique_fd end);

  void give_up(u64 channel) override;
  void on_end(u32 events) override;
  void pump() override;

 protected:
  std::optional<answer_data> connect(call& c) override;
  answer_data listen(call& c) override;
  answer_data shutdown(call& c) override;
  std::optional<answer_data> send(call& c) override;
  void all_closed() override;
  [[nodiscard]] bool looks_closed() const override { return hung_up_ || phase_ == phase::spent; }
  std::size_t unpumped() override;

 private:
  enum class phase : u8 {
    idle,        ///< fresh or bound
    listening,
    connecting,
    connected,
    spent,       ///< the anchor was reset; to connect again it must be replaced
  };
  /// A blocking connect: answered when the handshake ends. It holds the anchor, still fresh.
  struct waiting_connect {
    u64 channel;
    request_head head;
    unique_fd anchor;
    /// Of sendmsg(MSG_FASTOPEN): what the program wants to send, and how much the SYN took.
    std::vector<u8> first{};
    std::size_t in_syn = 0;
  };

  std::optional<answer_data> begin_connect(call& c);
  std::optional<answer_data> open_fast(call& c);
  int send_first(const waiting_connect& waiting);
  answer_data connect_started(call& c, int result, bool hold);
  std::optional<answer_data> connect_again(call& c);
  result<unique_fd> link(unique_fd anchor, bool hold);
  void check_connecting();
  void accept_ready();
  bool offer_parked();
  bool pump_out();
  bool pump_in();
  bool flush_in();
  void take_cookie(byte_view first);
  void program_ended();
  void reset_anchor(errc why);
  void reset_connection();

  phase phase_ = phase::idle;
  unique_fd end_;             ///< connected with the anchor
  std::size_t filler_ = 0;    ///< bytes at the head of end_'s queue that hold the anchor unwritable
  bool held_ = false;         ///< the first byte in end_'s queue was already sent on
  bool cookie_due_ = false;   ///< accepted: the shim's cookie may come first
  bool program_done_ = false; ///< no more will come from the program
  bool hung_up_ = false;      ///< both directions of the anchor are over
  bool fin_sent_ = false;     ///< told the stack that the program sends no more
  bool was_linked_ = false;   ///< the newest anchor was connected once, it cannot be again
  int parked_ = -1;           ///< accepted, not yet offered
  bool fin_given_ = false;    ///< told the program that the peer sends no more
  std::vector<u8> in_;        ///< taken from the stack, not yet taken by the anchor
  std::size_t in_at_ = 0, in_len_ = 0;
  std::optional<waiting_connect> waiting_;
};

}  // namespace ph::dropin
