// A UDP, raw, ping, netlink or packet socket of a program.
#pragma once

#include <chrono>
#include <list>

#include "daemon/client.h"
#include "daemon/control_options.h"
#include "daemon/datagram_shared.h"
#include "daemon/datagram_stamps.h"

namespace ph::dropin {

class datagram_client final : public client, private handed_on {
 public:
  using client::client;
  ~datagram_client() override;
  void give_up(u64 channel) override;
  void on_end(u32 events) override;
  void pump() override;
  void say_goodbye() override;

 protected:
  result<void> anchor_made(int anchor) override;
  std::optional<answer_data> connect(call& c) override;
  answer_data listen(call& c) override;
  answer_data shutdown(call& c) override;
  answer_data set_option(call& c) override;
  answer_data get_option(const call& c) override;
  answer_data do_ioctl(const call& c) override;
  std::optional<answer_data> send(call& c) override;
  void before_error(const call& c) override;
  void error_told(const call& c, int told) override;
  answer_data show_again() override;
  void woken(u32 events) override;
  [[nodiscard]] bool wants_control(int level, int type) const override {
    return options_.wants(level, type);
  }
  void all_closed() override;
  std::size_t unpumped() override;

 private:
  /// A datagram on its way to the program.
  struct arrived {
    std::vector<u8> tag;
    std::vector<u8> payload;
  };
  /// A plain send on its way to the stack; `to`: where its socket was connected, if that changed.
  struct departing {
    std::vector<u8> payload;
    sockaddr_buf to;
  };
  /// A blocking send that waits for room in the stack.
  struct waiting_send {
    u64 channel;
    request_head head;
    std::vector<u8> data;
  };

  void open_end();
  result<std::size_t> send_now(const call& c);
  bool pump_one_out();
  bool to_stack(byte_view payload, byte_view to);
  bool receive_plain_sends();
  void depart(byte_view payload);
  void stop_giving();
  bool may_anchor_more();
  bool drain_out();
  void retry_sends();
  void pump_in();
  bool take_from_stack();
  bool give(byte_view tag, byte_view payload);
  [[nodiscard]] static u32 most_memory(std::size_t payload);
  [[nodiscard]] answer_data tell_choice();
  [[nodiscard]] result<time_stamp> stamp_of_last_read(byte_view next_tag) const;
  [[nodiscard]] u32 bytes() const override { return end_.waiting(); }
  bool may_pass_tag();
  void read_buffer_size();
  void poll_end();
  [[nodiscard]] bool has_error();
  void note_error(errc error);
  void show_error();

  datagram_end end_;
  control_options options_;
  datagram_stamps stamps_;
  anchored_queue anchored_{owner_.datagrams().memory, host_, *this};
  bool connected_ = false;
  bool corked_ = false;      ///< UDP_CORK
  bool gathers_ = false;     ///< a datagram waits for its rest (MSG_MORE)
  u32 rcvbuf_ = 0;           ///< SO_RCVBUF: what may wait at the anchor
  bool wants_room_ = false;  ///< the anchor is full: its reader is waited for
  bool polls_room_ = false;
  std::chrono::steady_clock::time_point looks_again_{};  ///< for memory
  bool reading_shut_ = false;                            ///< nothing goes to the anchor any more
  unsigned shown_to_waiting_ = 0;  ///< times that a receiver who waits was woken for no error
  bool error_due_ = false;         ///< an error came that the anchor does not show yet
  bool closing_ = false;           ///< no anchor is left; what was sent is still on its way
  // Lists, because a deque has memory when it is empty.
  std::list<arrived> to_program_;
  std::list<departing> to_stack_;
  std::size_t departing_bytes_ = 0;  ///< memory of to_stack_
  std::list<waiting_send> waiting_;
};

}  // namespace ph::dropin
