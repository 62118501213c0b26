// The daemon: one thread that lets the lab's world follow the real clock and serves what reaches it
// from outside: control connections, TAP devices, programs, signals.
//
// Everything happens in turns: the world runs up to now; then what the poller reported is served at
// that same lab time; then the daemon sleeps until the world's next deadline or the next report.
// The poller's callbacks only mark, so nothing ever runs at a time that the world has not reached.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "daemon/capture.h"
#include "daemon/control.h"
#include "daemon/journeys.h"
#include "daemon/lab_clocks.h"
#include "daemon/memory_reserve.h"
#include "daemon/private_process.h"
#include "daemon/programs.h"
#include "daemon/running_lab.h"
#include "daemon/serve.h"
#include "daemon/socket_path.h"
#include "platform/os_entropy.h"
#include "platform/poller.h"
#include "platform/real_clock.h"

namespace ph {

class server {
 public:
  /// Builds the lab and listens. `end`: a descriptor whose readability ends the lab, besides
  /// options.until_readable. Errors: a sentence for the user.
  static tl::expected<std::unique_ptr<server>, std::string> start(const lab& what,
                                                                  const serve_options& options,
                                                                  int end);
  server(const serve_options& options, control_listener listener);
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server();

  /// Serves until a `down` request or one of the descriptors ends it.
  void run();
  /// After run(): serves on until `fd` is readable, or something else asks for the end again.
  void run_until(int fd);
  /// The lab's programs, as processes.
  [[nodiscard]] std::vector<lab_process> lab_processes();
  /// Whether they are to end with the lab.
  [[nodiscard]] bool ends_programs() const { return options_.end_programs; }

 private:
  struct connection {
    connection(unique_fd socket, closer& closes) : line(std::move(socket), closes) {}
    control_connection line;
    std::unique_ptr<capture> recording;
    instant journey_until = never;  ///< when a `journey` request gives up
    bool wants_journey = false;
    bool broken = false;  ///< the other side is gone
    bool queued = false;  ///< stands in ready_connections_
    bool reader_stalls = false;  ///< the poller tells when there is room in the capture again
    [[nodiscard]] bool occupied() const { return recording != nullptr || wants_journey; }
    u32 polled = 0;  ///< events asked of the poller
  };
  struct ready_tap {
    running_lab::tap tap;
    std::size_t queue;
    u32 events;
  };

  tl::expected<void, std::string> build(const lab& what);
  void take_turns();
  void watch_taps();
  void watch_end(int fd);
  bool watch_listener();
  [[nodiscard]] instant lab_now() { return clocks_.now(); }
  duration patience(bool busy);

  void take_turn();
  void look_after_memory();
  void tell_memory(bool low);
  void note_undone();
  void serve_taps();
  void accept_connections();
  void pause_accepting();
  void keep_name();
  bool make_room();
  void queue(u64 id, connection& c);
  void serve_connections();
  void serve_connection(u64 id, connection& c);
  static void say_no_memory(connection& c);
  void serve_request(connection& c, const control_request& request);
  void settle(connection& c);
  void wait_for_reader(connection& c);
  void end_recording(connection& c);
  void end_captures();
  void update_poll(u64 id, connection& c);
  void remove_ended();
  void serve_captures();
  void serve_journeys();
  bool answer_journey(connection& c);

  void do_status(connection& c);
  void do_attach(connection& c, const control_request& request);
  void do_capture(connection& c, const control_request& request);
  void do_journey(connection& c, const control_request& request);
  void do_trace(connection& c, const control_request& request);
  void do_down(connection& c, const control_request& request);
  tl::expected<std::vector<capture_place>, std::string> capture_places(
      const std::vector<std::string>& on);

  // Destroyed from below: the connections, whose end tells a client that the lab has ended, last.
  private_process private_;
  std::optional<memory_reserve> reserve_;
  closer closer_;
  capture_budget capture_budget_;
  std::map<u64, std::unique_ptr<connection>> connections_;
  serve_options options_;
  control_listener listener_;
  os_entropy entropy_;
  real_clock clock_;
  lab_clocks clocks_;
  poller poller_;
  std::unique_ptr<running_lab> lab_;
  std::unique_ptr<journeys> journeys_;
  std::unique_ptr<programs> programs_;
  u64 last_connection_ = 0;
  bool tracing_ = false;  ///< asked for by `trace`
  bool ending_ = false;
  expected_programs attached_;
  std::optional<lab_process_finder> finder_;
  pid_t spared_ = 0;  ///< a `ph down` among the lab's programs must live to say what it did
  bool name_may_be_lost_ = false;  ///< of the control socket
  instant name_again_ = never;     ///< when to try once more to get it back
  bool accept_ready_ = false;
  instant accept_again_ =
      never;                ///< when to look at the listener again; until then it is not polled
  instant memory_again_{};  ///< when to look for some, while it is low
  bool told_low_ = false;   ///< what the log says of memory
  instant tell_memory_{};   ///< when it may say something else
  instant tell_undone_{};   ///< when it may say again that something was left undone
  bool listener_watched_ = false;
  u64 packet_growth_ = 0;   ///< packet_memory::heap_trips() when it was looked at last
  instant trim_at_ = never;  ///< when packets' memory goes back, if there is no growth until then
  duration trim_patience_{};
  std::deque<u64> ready_connections_;  ///< have something to read or to serve, in turn
  std::vector<ready_tap> ready_taps_;
};

}  // namespace ph
