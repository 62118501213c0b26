// The pipe of pump mode: the daemon's end of an anchor's AF_UNIX connection (docs/dropin.md).
#pragma once

#include <list>
#include <optional>

#include "daemon/anchored_memory.h"
#include "daemon/byte_pipe.h"
#include "daemon/host_sockets.h"

namespace ph::dropin {

/// The most that one buffer of an AF_UNIX stream can weigh in its writer's SO_SNDBUF: a page for
/// each of 17 fragments, and its head.
std::size_t heaviest_buffer();

class stream_pump final : public byte_pipe, private handed_on {
 public:
  /// `filler`: bytes in end's queue that are not the program's, besides a held byte.
  static std::unique_ptr<stream_pump> linked(host_sockets& host, int s, unique_fd end,
                                             std::size_t filler, anchored_memory& memory);
  /// A connection that was offered to a listener. `cookie`: what its shim sends after accept().
  static std::unique_ptr<stream_pump> offered(host_sockets& host, int s, unique_fd end,
                                              byte_view cookie, anchored_memory& memory);
  /// `memory`: what waits in the anchor counts there.
  stream_pump(host_sockets& host, int s, unique_fd end, anchored_memory& memory);
  ~stream_pump() override;

  [[nodiscard]] int fd() const { return end_.get(); }

  void apply(const pipe_settings& settings) override;
  void open() override;
  void finish() override;
  void put_first(byte_view bytes) override;
  void on_events(u32 events) override;
  pipe_turn pump() override;
  bool push() override;
  void take_rest() override;
  [[nodiscard]] errc error() const override { return failing_; }
  [[nodiscard]] bool ended() const override;
  [[nodiscard]] bool writes_over() const override;
  [[nodiscard]] bool hung_up() const override { return hung_up_; }
  [[nodiscard]] std::size_t unsent() const override;
  [[nodiscard]] u32 anchored() const override { return bytes(); }
  std::vector<unique_fd> take_passed() override { return std::exchange(passed_, {}); }
  std::vector<u8> came_with(std::size_t unread) override;
  result<u8> urgent_byte(u32 flags) override;
  [[nodiscard]] bool at_mark(std::size_t unread) const override;
  [[nodiscard]] std::optional<std::size_t> before_mark(std::size_t unread,
                                                       bool urgent_waits) const override;
  unique_fd release() override { return std::move(end_); }
  [[nodiscard]] acceptance accepted() const override { return accepted_; }

 private:
  struct peeked {
    ssize_t len = 0;
    bool rights = false;  ///< descriptors came along
  };
  /// What the stack said of the bytes before a place in the stream, and behind the stamp before.
  struct stamp {
    u64 end = 0;
    std::vector<u8> control{};
  };
  /// What the program must ask for about urgent data.
  struct asked_urgent {
    /// This kernel's AF_UNIX carries none (before 5.15, or built without it).
    bool all = false;
    bool noted = false;        ///< then: the mark at which the stack is lies at `mark`
    std::optional<u8> byte{};  ///< and its byte, which was read out of the stack
    /// Where, among the bytes that were given, those begin that are behind the mark. AF_UNIX
    /// forgets that when the urgent byte has been taken.
    u64 mark = ~u64{0};
  };
  [[nodiscard]] u32 bytes() const override;
  void set_hold_limit(int send_buffer);
  peeked peek(byte_span to) const;
  void consume_passing(std::size_t len);
  bool take_cookie(byte_view first);
  bool flush_first();
  bool push_some();
  bool send_on(byte_view fresh, bool rights, bool last);
  void drop_sent();
  void keep_light();
  bool pull_some();
  [[nodiscard]] bool stack_at_mark() const;
  [[nodiscard]] result<u8> stack_urgent_byte(u32 flags) const;
  bool carry_urgent();
  bool keep_urgent();
  void pass_mark();
  std::size_t room_in_memory();
  void note_anchored(std::size_t len);
  bool pass_in();
  void look_for_error();
  void discard_in(byte_span seen);
  void note_given(std::size_t len, byte_view control);
  void fail_with(errc why);

  host_sockets& host_;
  int s_;
  unique_fd end_;
  anchored_queue anchored_;        ///< what bytes() tells
  std::vector<unique_fd> passed_;  ///< came with bytes
  std::vector<u8> cookie_;         ///< still awaited
  std::vector<u8> first_;          ///< read from the program, not yet taken by the stack
  std::unique_ptr<anchored_rest> rest_;  ///< first_, while take_rest() made it much
  std::size_t filler_ = 0;         ///< bytes at the head of end_'s queue that hold the anchor shut
  std::size_t sent_on_ = 0;        ///< bytes there that were sent on and are still to be consumed
  std::size_t since_empty_ = 0;    ///< bytes read since end_'s queue was empty
  std::size_t hold_limit_ = 0;     ///< a byte is held only while since_empty_ is no larger
  int lowat_ = 1;
  bool to_own_host_ = false;
  bool stamped_ = false;
  u64 given_ = 0;            ///< bytes that the anchor has taken
  std::list<stamp> stamps_;  // a deque has memory when it is empty
  acceptance accepted_ = acceptance::told;
  errc failing_ = errc::ok;    ///< the host's connection broke
  bool held_ = false;          ///< the first byte in end_'s queue was already sent on
  bool empty_ = false;         ///< nothing but the held byte was in end_'s queue
  bool program_done_ = false;  ///< no more will come from the program
  bool hung_up_ = false;
  bool unread_ = false;       ///< the program closed with bytes unread
  bool in_over_ = false;      ///< the stack will give no more
  bool urgent_ = false;       ///< the peer has sent urgent data
  bool urgent_in_line_ = false;
  asked_urgent asked_;
  bool reader_full_ = false;  ///< the program's end takes no more now
};

}  // namespace ph::dropin
