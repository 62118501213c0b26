// Inside drop_in: the channels of all programs and their clients, on one epoll instance.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "daemon/channel_gate.h"
#include "daemon/client.h"
#include "daemon/datagram_shared.h"
#include "daemon/drop_in.h"
#include "daemon/lab_processes.h"
#include "platform/closer.h"

namespace ph::dropin {

/// A file of a host's that a program has open for writing (request_kind::open_file).
struct open_lab_file {
  std::string path;
  std::string name;  ///< address of the program's end, or nothing
  int error = 0;     ///< -errno of the first write that failed, until it is asked for
};

/// A program's control connection.
struct channel {
  unique_fd fd;
  channel_peer who;
  s64 opened = 0;                     ///< by process_clock()
  descriptor_share share;             ///< after hello
  host_sockets* host = nullptr;       ///< likewise
  u64 waiting_client = 0;             ///< has a call of this channel to answer; 0: none
  request_head waiting_call;          ///< that call
  std::optional<open_lab_file> file;  ///< no longer a channel, but this
};

/// A channel that must have said hello by a time of CLOCK_MONOTONIC.
struct silent_channel {
  u64 id;
  s64 due_ms;
};

/// SCM_MAX_FD. What a message has beyond the room for it is closed by the kernel in the receiver,
/// which may wait.
inline constexpr int most_passed = 253;

/// A message of a program, with whatever descriptors it passes.
class passing_message {
 public:
  /// recvmsg(2), into `to`; may be longer than that, and says so.
  ssize_t receive(int fd, byte_span to) {
    piece_ = {to.data(), to.size()};
    header.msg_iov = &piece_;
    header.msg_iovlen = 1;
    header.msg_control = control_;
    header.msg_controllen = sizeof control_;
    const ssize_t got = ::recvmsg(fd, &header, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
    if (got < 0) header.msg_controllen = 0;
    return got;
  }
  msghdr header{};

 private:
  iovec piece_{};
  alignas(cmsghdr) char control_[CMSG_SPACE(most_passed * sizeof(int))];
};

/// What is kept of bytes that a host sends to itself.
struct settling_host {
  descriptor_share share;
  std::unique_ptr<settling> page;
};

/// A socket that a request is about: its client, and the anchor that was passed.
struct passed_socket {
  client* what;
  unique_fd anchor;
};

/// A host's socket that is closed unless somebody takes it.
class open_socket {
 public:
  open_socket(host_sockets& host, int s) : host_(&host), s_(s) {}
  open_socket(const open_socket&) = delete;
  open_socket& operator=(const open_socket&) = delete;
  ~open_socket() {
    if (host_ != nullptr) host_->close(s_);
  }
  void release() { host_ = nullptr; }

 private:
  host_sockets* host_;
  int s_;
};

/// An anchor that a program has, or had a moment ago.
struct known_anchor {
  u64 client;
  u64 cookie;  ///< SO_COOKIE: the kernel's word that a socket is this one
};

/// An answer that is ready but not given yet.
struct held_answer {
  u64 channel = 0;
  request_head head;
  answer_data answer;
  u64 batch = 0;  ///< of settling_turns, which must be over first; 0: none
  int turns = 0;  ///< for how many it has waited
};

class drop_in_state final : public client_owner {
 public:
  drop_in_state(u64 instance, std::string token, anchor_folder anchors, find_host hosts,
                const drop_in_options& options);
  /// Whoever waits at an anchor is told that the daemon has ended.
  ~drop_in_state() override;

  result<void> listen_at(const std::string& address);
  bool process();
  [[nodiscard]] int fd() const { return epoll_.get(); }
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] const std::string& token() const { return token_; }
  [[nodiscard]] std::vector<known_process> peers() const;
  [[nodiscard]] std::size_t client_count() const { return clients_.size(); }

  [[nodiscard]] u64 instance() const override { return instance_; }
  u64 new_id() override;
  void poll_end(int fd, u64 id) override;
  void poll_for(int fd, u64 id, u32 events) override;
  void mark(client& c) override;
  void mark_next_turn(client& c) override { next_turn_.push_back(c.id()); }
  void mark_later(client& c, unsigned milliseconds) override;
  void mark_starving(client& c) override;
  void remove(client& c) override;
  void stop_waiting(u64 id, channel& ch);
  void answer_later(u64 channel, const request_head& head, answer_data&& a) override;
  void adopt(host_sockets& host, int s, const anchor_name& end, unique_fd fd, u64 listener,
             descriptor_share&& share) override;
  void child_settled(u64 listener, bool known) override;
  void abandon(u64 id) override;
  void know_anchor(u64 id, u64 cookie, const client& c) override;
  datagram_shared& datagrams() override { return datagrams_; }
  [[nodiscard]] const anchor_folder& anchors() const override { return anchors_; }
  last_close_watch& closes() override { return closes_; }
  settling* settling_of(const host_sockets& host) override;
  void close_elsewhere(unique_fd fd) override { closer_.close(std::move(fd)); }

 private:
  enum class source : u8 { listener, channel, end, closes, timer, alarm };
  void poll(int operation, int fd, u32 events, source what, u64 id);
  void on_event(u32 events, u64 tag);
  void set_alarm();
  void on_alarm();
  void accept_channels();
  void add_channel(unique_fd fd);
  void close_channel(unique_fd fd, bool greeted);
  void drop_silent_channels();
  void make_room_for_silent();
  void serve_channel_or_end_it(u64 id);
  void serve_channel(u64 id);
  void drop_channel(u64 id);
  result<passed_socket> take_passed(const channel& ch, msghdr& message);
  void serve(u64 id, channel& ch, const request& r, result<passed_socket> about);
  std::optional<answer_data> dispatch(u64 id, channel& ch, const request& r,
                                      result<passed_socket> about);
  answer_data hello(channel& ch, const request& r);
  unique_fd settling_file(const channel& ch);
  answer_data settle(channel& ch);
  answer_data make_socket(channel& ch, const request& r);
  answer_data host_ioctl(channel& ch, const request& r);
  answer_data interfaces(channel& ch);
  answer_data resolve(channel& ch, const request& r);
  answer_data resolve_address(channel& ch, const request& r);
  std::optional<answer_data> await_end(u64 id, channel& ch, const request& r);
  answer_data read_file(channel& ch, const request& r);
  std::optional<answer_data> open_file(u64 id, channel& ch, const request& r);
  answer_data file_error(channel& ch, const request& r);
  void serve_file(u64 id, channel& ch);
  void serve_files();
  void forget_file(u64 id, const open_lab_file& file, int fd);
  bool write_one(channel& ch);
  static bool reply(channel& ch, const request_head& head, answer_data&& a);
  client* find(u64 id);
  void forget_anchor(u64 id);
  result<client*> find_by(int anchor, const channel& ch);
  template <class F>
  void give_turn(client& c, F&& f);
  void end_without_memory(client& c);
  void make_room_for_client();
  void fetch_events();
  void serve_events();
  void take_due();
  void run_marked();
  void serve_closes();
  void run_later();
  void add_later(s64 due, u64 id);
  void send_answers();
  void bury();
  void give_memory_back(bool late);

  u64 instance_;
  s64 hello_patience_ms_;
  std::string token_;
  std::string address_;
  anchor_folder anchors_;
  find_host hosts_;
  unique_fd epoll_, listener_, timer_, alarm_;
  /// The batch that is being served: edges are told once, so what finds no memory leaves the rest
  /// of them to the next call.
  std::array<epoll_event, 128> events_;
  std::size_t event_count_ = 0, next_event_ = 0;
  unique_fd files_;  ///< epoll of those channels that have become files
  std::function<void()> give_back_;
  closer own_closer_;
  closer& closer_;
  channel_gate gate_;
  descriptor_shares shares_;
  last_close_watch closes_;
  datagram_shared datagrams_;
  std::map<const host_sockets*, settling_host> settling_;  ///< of hosts that have had programs
  settling_turns settling_turns_;
  std::map<u64, channel> channels_;
  std::size_t file_count_ = 0;
  /// Channels that have become files, by the name of the program's end.
  std::map<std::string, u64, std::less<>> file_names_;
  std::map<u64, std::unique_ptr<client>> clients_;
  std::map<u64, known_anchor> known_;  ///< open anchors that were made for clients, by id
  /// Those whose id is not their client's: pairs of client and anchor.
  std::set<std::pair<u64, u64>> renewed_;
  /// Answers to sends wait for a turn of the world: what was sent to the own machine has arrived
  /// when the program goes on.
  std::vector<held_answer> held_;
  std::vector<held_answer> due_;      ///< have waited for it
  std::vector<held_answer> answers_;  ///< given when every client has had its turn
  std::vector<u64> marked_, next_turn_, dead_;
  std::vector<u64> round_;  ///< of marked_, those that have their turn now
  std::set<u64> starving_;
  bool alarm_set_ = false;
  std::size_t buried_ = 0;             ///< clients removed since somebody looked
  bool trim_waits_ = false;            ///< what they had will be given back
  int trim_delays_ = 0;                ///< how often that was put off
  bool late_trim_waits_ = false;       ///< as trim_waits_, and what TIME-WAIT had
  std::multimap<s64, u64> later_;      ///< when to pump which client, or to trim; of
                                       ///< CLOCK_MONOTONIC, in ms
  std::deque<silent_channel> silent_;  ///< channels that had not said hello, the oldest first
  bool paused_ = false;                ///< new channels wait for descriptors
  bool silent_refuse_ = false;         ///< descriptors cannot be put into a channel before hello
  std::vector<u8> buffer_;
};

}  // namespace ph::dropin
