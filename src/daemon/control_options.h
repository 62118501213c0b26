// Which ancillary values of received datagrams a program asked for, as options of its socket.
//
// The stack is asked for all of them from the start, and the program is told its own choice: so a
// value that the program asks for while a datagram waits is there, as on Linux.
#pragma once

#include "daemon/host_sockets.h"
#include "daemon/received_choice.h"

namespace ph::dropin {

class control_options {
 public:
  /// Turns all on at the host's new socket; what it does not know stays unknown.
  static void ask_for_all(host_sockets& host, int s);

  /// True when level and name are one of these options.
  [[nodiscard]] static bool covers(int level, int name);
  /// After a successful setsockopt of one: notes the choice, and turns it on again at the socket.
  void set(host_sockets& host, int s, int level, int name, byte_view value);
  /// After a successful getsockopt of one: writes the program's choice over the socket's.
  void get(int level, int name, byte_span value) const;

  /// Did the program ask for control messages of this level and type?
  [[nodiscard]] bool wants(int level, int type) const {
    return dropin::chosen(chosen_, static_cast<u32>(level), static_cast<u32>(type));
  }
  /// The choice (daemon/received_choice.h).
  [[nodiscard]] u32 chosen() const { return chosen_; }

 private:
  u32 chosen_ = 0;
};

}  // namespace ph::dropin
