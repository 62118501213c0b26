// A TCP socket of a program (docs/dropin.md tells how its anchor shows each state). What moves its
// bytes is a byte_pipe; here are the states, and the calls that change them.
#pragma once

#include <limits>

#include "daemon/anchored_memory.h"
#include "daemon/byte_pipe.h"
#include "daemon/client.h"
#include "daemon/error_flag.h"

namespace ph::dropin {

/// True for a stream anchor that has been neither connected nor listening nor shut down.
bool is_fresh_anchor(int anchor);

class stream_client final : public client {
 public:
  using client::client;
  ~stream_client() override;
  /// A connection that the anchor of `listener` was offered: `end` is the daemon's end.
  void offered(unique_fd end, u64 listener);

  void give_up(u64 channel) override;
  void on_end(u32 events) override;
  void pump() override;
  void abandon() override;
  void child_settled(bool known) override;
  std::optional<answer_data> await_end(u64 channel, const request_head& head) override;

 protected:
  void before_request(const call& c) override;
  std::optional<answer_data> connect(call& c) override;
  answer_data listen(call& c) override;
  answer_data shutdown(call& c) override;
  answer_data get_option(const call& c) override;
  answer_data set_option(call& c) override;
  std::optional<answer_data> send(call& c) override;
  answer_data renew(call& c) override;
  answer_data do_ioctl(const call& c) override;
  answer_data receive(const call& c) override;
  answer_data received(const call& c) override;
  answer_data give_error_flag() override;
  void error_told(const call& c, int told) override;
  void woken(u32 events) override;
  result<void> anchor_made(int anchor) override;
  void all_closed() override;
  [[nodiscard]] bool looks_closed() const override { return !pipe_ || pipe_->hung_up(); }
  std::size_t unpumped() override;

 private:
  enum class phase : u8 {
    idle,  ///< fresh or bound; or a connection is over (its anchor shows it for ever)
    listening,
    connecting,
    connected,
    lingering,  ///< closed by the program, and the peer does not have everything yet (SO_LINGER)
  };
  /// A blocking connect, answered when the handshake ends. It holds the anchor, still fresh.
  struct waiting_connect {
    u64 channel;
    request_head head;
    unique_fd anchor;
    /// Of sendmsg(MSG_FASTOPEN): what the program wants to send, and how much the SYN took.
    std::vector<u8> first{};
    std::size_t in_syn = 0;
  };
  /// Whom connect() asks for: as much of the address as a protocol of ours reads.
  struct peer_address {
    peer_address() = default;
    explicit peer_address(byte_view from)
        : len(static_cast<u8>(copy_bytes(bytes, from.first(std::min(from.size(), sizeof bytes))))) {
    }
    [[nodiscard]] byte_view view() const { return byte_view(bytes).first(len); }
    u8 bytes[28] = {};  // a sockaddr_in6
    u8 len = 0;
  };
  /// What shows POLLERR, and its part of the descriptors.
  struct shown_errors {
    error_flag flag;
    descriptor_share share;
  };
  /// A close() that waits for the peer.
  struct waiting_close {
    u64 channel;
    request_head head;
  };
  /// A blocking send through the daemon: of MSG_MORE, MSG_OOB and the like.
  struct waiting_send {
    u64 channel;
    request_head head;
    std::vector<u8> data;
  };

  // stream_connect.cpp
  answer_data begin(call& c, result<void> started, std::size_t in_syn);
  std::optional<answer_data> open_fast(call& c);
  std::optional<answer_data> join_connect(call& c);
  answer_data tell_failure();
  void dissolve();
  answer_data settle(call& c);
  answer_data disconnect(call& c);
  result<void> link(int anchor, bool hold);
  [[nodiscard]] bool is_unused(int anchor) const;
  void check_connecting();
  void finish_connect(errc error);

  // stream_listen.cpp
  void stop_listening(int anchor);
  void accept_ready();
  bool offer_parked();
  void refuse_accept();
  void drop_parked();
  void tell_offered();

  // stream_client.cpp
  void apply_settings();
  void see_anchor(int anchor);
  void leave_urgent_byte_to_anchor();
  anchor_option for_anchor(int name);
  void tell_anchor(answer_data& a, int name, int anchor);
  int option(int level, int name);
  std::optional<int> linger_time();
  bool lingers_for_nothing();
  bool wants_stamps();
  void show_errors();
  void pump_bytes();
  void take_passed();
  bool finish_writes();
  bool opening();
  void retry_sends();
  void end_writes(int anchor, int how);
  std::optional<int> try_send(const request_head& head, byte_view data);
  [[nodiscard]] bool over() const;
  void program_ended();
  void linger();
  void leave();
  void before_error(const call& c) override;
  void show_failure(errc why);
  void reset_connection();

  phase phase_ = phase::idle;
  std::unique_ptr<byte_pipe> pipe_;  ///< while the newest anchor is linked
  bool was_connected_ = false;       ///< until connect(AF_UNSPEC), another connect is EISCONN
  bool deferred_ = false;            ///< connected in name only, as far as is known
  bool untold_ = false;              ///< no connect() has said yet how the last one ended
  bool closed_ = false;              ///< the program has no anchor any more
  bool shut_writing_ = false;        ///< shutdown() asked for a FIN behind what was written
  bool fin_sent_ = false;            ///< told the stack that the program sends no more
  /// Directions that were shut before there was a connection: 1 reading, 2 writing. No segment says
  /// so, but the next connection is shut as if it were.
  u8 shut_early_ = 0;
  bool anchor_shut_ = false;         ///< so was the anchor, which cannot be linked any more
  bool failure_told_ = false;        ///< of the pipe
  bool errors_new_ = false;          ///< the error queue may have something new
  bool joined_ = false;              ///< a second blocking connect waits, too
  bool urgent_in_line_ = false;      ///< SO_OOBINLINE
  bool shim_accepts_ = true;         ///< accepts of this listener are told by cookies
  peer_address target_;              ///< of the connect under way
  unsigned turns_at_end_ = 0;        ///< since left_at_end_ became less
  /// Bytes that were not with the peer at the last look, since the program closed.
  std::size_t left_at_end_ = std::numeric_limits<std::size_t>::max();
  errc ended_ = errc::ok;            ///< how the last connect ended
  /// SO_SNDBUF that the shim was told to give the anchor last.
  int told_send_buffer_ = std::numeric_limits<int>::max();
  int send_buffer_ = 0;  ///< SO_SNDBUF that the anchor has, or soon has; 0: unknown
  std::vector<waiting_connect> connects_;
  std::vector<waiting_send> sends_;
  std::vector<waiting_close> closes_;
  std::unique_ptr<shown_errors> error_flag_;      ///< once a program has asked for it
  std::unique_ptr<closed_socket> closed_socket_;  ///< while lingering
  std::unique_ptr<anchored_rest> unread_;         ///< of a connection that was reset

  std::unique_ptr<descriptor_share> refusal_share_;  ///< for the next; since listen()
  unique_fd refusal_;         ///< the end of a refusal that lies in the listening anchor's queue
  int parked_ = -1;           ///< accepted from the stack, not yet offered
  u64 listener_ = 0;          ///< who offered it, until it is known to be accepted
  unsigned patience_ms_ = 1;  ///< until the parked one is offered again
  u32 offered_ = 0;           ///< connections in the listening anchor's queue, as far as known
};

}  // namespace ph::dropin
