// The asking side of a lab's control socket (the answering side is the daemon's control).
//
// The protocol: AF_UNIX stream, one JSON object a line, one answer a request, in order.
//   {"verb":"status"}              → {"ok":true, ...what docs/control.md lists}
//   {"verb":"attach","host":"a"}   → {"ok":true,"env":{"NAME":"value", ...}}
//   {"verb":"capture","on":["a:eth0"],"snaplen":0,"packets":0}
//                                  → {"ok":true} once capturing, and beside it (SCM_RIGHTS) a
//                                    stream to read the capture from; a second answer
//                                    {"ok":true,"packets":N} after N packets or once the client
//                                    has shut down its sending side
//   {"verb":"journey","wait_s":10} → {"ok":true,"text":["a line a step", ...],"events":[...], ...}
//   {"verb":"down","keep_programs":false}  → {"ok":true,"programs":[…],"programs_end":true}; the
//                                    connection closes when the lab has ended
// A refusal is {"ok":false,"error":"a sentence"}. Unknown keys are ignored by both sides.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "base/time.h"
#include "platform/unique_fd.h"

namespace ph {

/// A value, or a sentence for the user that says what to do next.
template <class T>
using answer = tl::expected<T, std::string>;

struct capture_request {
  std::vector<std::string> on;  // "host:device", or "host" for all its devices
  u32 snaplen = 0;              // bytes kept of each packet; 0: all
  u64 packets = 0;              // end after so many; 0: until told
};

struct capture_result {
  u64 packets = 0;   // written
  u64 left_out = 0;  // because the output did not take them fast enough
};

struct down_result {
  std::vector<std::string> ended;  // programs that there were: "12 (nginx)"
  std::vector<std::string> left;   // those that run on
};

class control_client {
 public:
  /// Errors: no lab runs there (never started, or its socket is left from a crash), no permission.
  static answer<control_client> connect(const std::string& socket_path);

  /// False when certainly nobody listens there.
  static bool somebody_listens(const std::string& socket_path);

  /// What the lab is and has done, as docs/control.md lists.
  answer<nlohmann::json> status();

  /// The environment with which a program becomes a process of `host` (an empty name: the lab's
  /// only host); LD_PRELOAD is not in it. Errors: no such host.
  answer<std::vector<std::pair<std::string, std::string>>> run_env(const std::string& host);

  /// The steps of a packet that carries data from one host to another, of those that pass within
  /// `wait_s` seconds. When none comes at once, `still_waiting` is called.
  answer<nlohmann::json> journey(u64 wait_s, const std::function<void()>& still_waiting = {});

  /// Ends the lab, and its programs unless they are to be kept; returns when it has ended.
  answer<down_result> down(bool keep_programs = false);

  /// Begins to capture what passes a device. The two calls below copy it to `output` as pcapng,
  /// and wait for nobody who reads that.
  answer<void> start_capture(const capture_request& request, int output);
  /// Copies until the capture has ended by itself or `other` is readable; true: it has ended.
  answer<bool> wait_capture(int other);
  /// Ends the capture, and copies the rest.
  answer<capture_result> finish_capture();

 private:
  control_client(std::string path, unique_fd socket)
      : path_(std::move(path)), socket_(std::move(socket)) {}
  /// What a step of the copy saw.
  struct copy_turn {
    bool answered = false;  ///< the daemon said something
    bool told = false;      ///< the caller's descriptor is readable
    bool idle = false;      ///< nothing happened
  };
  answer<nlohmann::json> ask(const nlohmann::json& request, duration patience);
  answer<void> send(const std::string& line);
  answer<nlohmann::json> receive(duration patience);
  answer<bool> readable(duration patience);
  answer<copy_turn> copy_some(bool for_answer, int other, duration patience);
  void read_captured();
  answer<void> write_captured();

  std::string path_;
  unique_fd socket_;
  std::string received_;
  unique_fd passed_;       ///< came beside an answer
  unique_fd captured_;     ///< to read the capture from; closed at its end
  unique_fd output_;       ///< where it is copied to
  std::string unwritten_;  ///< was read and not yet written
};

}  // namespace ph
