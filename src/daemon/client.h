// One socket of a program: the anchor's other end, the host's socket, and the pump between them.
//
// A client lives from socket() (or the host's accept) until the last copy of its anchor is closed
// and what the program wrote has been handed to the stack. stream_client and datagram_client say
// how each kind pumps; drop_in gives them requests and events.
#pragma once

#include <functional>
#include <optional>

#include "daemon/anchor.h"
#include "daemon/descriptor_shares.h"
#include "daemon/host_sockets.h"
#include "daemon/settling.h"

namespace ph::dropin {

class client;
struct datagram_shared;

/// A request that is being answered.
struct call {
  u64 channel = 0;
  request_head head;
  byte_view data;
  unique_fd anchor;
  [[nodiscard]] bool wait() const { return (head.flags & flag_wait) != 0; }
};

/// An answer; descriptors are passed and then closed here.
struct answer_data {
  int result = 0;  ///< >= 0, or -errno
  std::vector<u8> data;
  unique_fd fd;
  u32 flags = 0;
  bool fd_spared = false;  ///< without the descriptor it is an answer, too
};

inline answer_data refusal(errc e) { return {-static_cast<int>(e), {}, {}, 0}; }

/// What clients need of drop_in.
class client_owner {
 public:
  virtual ~client_owner() = default;
  [[nodiscard]] virtual u64 instance() const = 0;
  /// A number that no client and no channel has, and that nobody can guess.
  virtual u64 new_id() = 0;
  /// Polls fd edge-triggered for everything; events come to on_end().
  virtual void poll_end(int fd, u64 id) = 0;
  /// Polls fd edge-triggered for these events instead of those asked for before.
  virtual void poll_for(int fd, u64 id, u32 events) = 0;
  /// Calls the client's pump() soon.
  virtual void mark(client& c) = 0;
  /// Calls it when the stack has had its turn.
  virtual void mark_next_turn(client& c) = 0;
  /// Calls it after a time, for what the kernel gives no event for.
  virtual void mark_later(client& c, unsigned milliseconds) = 0;
  /// Calls it when there may be descriptors and memory again.
  virtual void mark_starving(client& c) = 0;
  /// Destroys the client soon; it gets no more calls.
  virtual void remove(client& c) = 0;
  /// Answers a call that was left for later.
  virtual void answer_later(u64 channel, const request_head& head, answer_data&& a) = 0;
  /// A connection that a listener of `host` has accepted: its end and the host's socket.
  virtual void adopt(host_sockets& host, int s, const anchor_name& end, unique_fd fd, u64 listener,
                     descriptor_share&& share) = 0;
  /// A connection that was adopted is accepted by the program, or gone (see client::child_settled).
  virtual void child_settled(u64 listener, bool known) = 0;
  /// Resets the connection of a client that no program will have.
  virtual void abandon(u64 id) = 0;
  /// A new anchor of the client: the id in its name, and its SO_COOKIE.
  virtual void know_anchor(u64 id, u64 cookie, const client& c) = 0;
  virtual datagram_shared& datagrams() = 0;
  [[nodiscard]] virtual const anchor_folder& anchors() const = 0;
  virtual last_close_watch& closes() = 0;
  /// What is kept of bytes that this host sends to itself; nullptr: nothing.
  virtual settling* settling_of(const host_sockets& host) = 0;
  /// Closes a descriptor that a program passed: that may wait, so not here.
  virtual void close_elsewhere(unique_fd fd) = 0;
};

struct client_kind {
  u8 domain = 0;
  u8 type = 0;
  u16 protocol = 0;
};

class client {
 public:
  client(client_owner& owner, host_sockets& host, int s, u64 id, client_kind kind);
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  /// Closes the host's socket.
  virtual ~client();

  [[nodiscard]] u64 id() const { return id_; }
  [[nodiscard]] bool marked() const { return marked_; }
  void set_marked(bool on) { marked_ = on; }
  /// It is destroyed soon, and gets no more calls.
  [[nodiscard]] bool removed() const { return removed_; }
  void set_removed() { removed_ = true; }
  [[nodiscard]] const host_sockets& host() const { return host_; }
  /// What it sends goes to its own host, as far as the kernel's own sends go: what is kept of that.
  [[nodiscard]] settling* sends_home() const { return home_.of(); }
  /// The descriptors that it is allowed to have.
  void set_share(descriptor_share&& share) { share_ = std::move(share); }

  /// A new anchor for the program. Errors: nfile, nobufs.
  result<unique_fd> new_anchor(bool nonblocking);

  /// Answers a request; nothing when the answer comes later.
  std::optional<answer_data> serve(call& c);
  /// The channel of a call left for later is gone.
  virtual void give_up(u64 channel) = 0;
  /// The last copy of an anchor was closed.
  void anchor_closed();
  /// Some of those may have been missed: asks the kernel.
  void look_for_anchor();
  /// Events of the daemon's end (epoll bits).
  virtual void on_end(u32 events) = 0;
  /// Moves what can be moved now.
  virtual void pump() = 0;
  /// The daemon ends: who waits at an anchor without a peer is told.
  virtual void say_goodbye();
  /// No program will have it: its peer sees a reset.
  virtual void abandon() {}
  /// A connection that this listener offered is accepted, or gone.
  virtual void child_settled(bool) {}
  /// A program that has closed its anchor waits until the socket's peer has everything (SO_LINGER).
  /// Nothing when the answer comes later.
  virtual std::optional<answer_data> await_end(u64 channel, const request_head& head);

 protected:
  /// A request about this socket is to be served.
  virtual void before_request(const call&) {}
  virtual std::optional<answer_data> connect(call& c) = 0;
  virtual answer_data listen(call& c) = 0;
  virtual answer_data shutdown(call& c) = 0;
  virtual answer_data set_option(call& c);
  virtual answer_data get_option(const call& c);
  virtual answer_data do_ioctl(const call& c);
  /// Receives from the host's socket itself (MSG_ERRQUEUE, MSG_OOB).
  virtual answer_data receive(const call& c);
  /// What came with the bytes that the program has read from a stream.
  virtual answer_data received(const call& c);
  /// A descriptor that tells of a stream's error queue.
  virtual answer_data give_error_flag();
  /// A new anchor, not given away yet.
  virtual result<void> anchor_made(int anchor);
  /// Before the program is told the pending error.
  virtual void before_error(const call& c);
  /// After an answer to a request for the pending error (`told`, or 0), for the error queue, or to
  /// a send.
  virtual void error_told(const call& c, int told);
  /// The host's socket woke us with these poll(2) bits; pump() will be called.
  virtual void woken(u32 events);
  /// Does the program want control messages of this level and type?
  [[nodiscard]] virtual bool wants_control(int level, int type) const;
  virtual std::optional<answer_data> send(call& c) = 0;
  virtual answer_data renew(call& c);
  virtual answer_data show_again();
  /// No anchor is left.
  virtual void all_closed() = 0;
  /// Whether an anchor that cannot be reached any more looks closed from its end.
  [[nodiscard]] virtual bool looks_closed() const { return false; }
  /// SIOCOUTQ and the like: bytes that wait between program and stack.
  virtual std::size_t unpumped() { return 0; }

  [[nodiscard]] anchor_name name_of(name_kind kind, u64 id) const;
  result<std::size_t> send_message(const call& c);
  errc stack_error();
  /// The socket has another peer now, or none.
  void note_peer();
  /// The answer to a connect to `peer`, and whether that is the host itself.
  answer_data with_home(answer_data&& a, byte_view peer);
  /// Closes the host's socket, while the client lives on to see the end of it.
  std::unique_ptr<closed_socket> close_socket();

  client_owner& owner_;
  host_sockets& host_;
  int s_;
  u64 id_;
  client_kind kind_;
  u64 anchor_id_;          ///< of the newest anchor
  unique_fd reach_;        ///< of the newest anchor; not kept when it is linked
  u32 anchors_ = 0;        ///< watched ones that are open
  int pending_error_ = 0;  ///< for take_error
  descriptor_share share_;

 private:
  answer_data get_name(bool peer);
  int take_error();
  answer_data tell_error(call& c);

  wait_entry wait_;
  local_mark home_;
  bool marked_ = false;
  bool removed_ = false;
};

/// The ancillary values of a cmsghdr sequence as control items: those that are `wanted`.
std::vector<u8> to_items(byte_view control, const std::function<bool(int level, int type)>& wanted);

/// Results as answers.
template <class T>
answer_data answer_of(const result<T>& r) {
  answer_data a;
  if (!r) a.result = -static_cast<int>(r.error());
  return a;
}

}  // namespace ph::dropin
