// A UDP, raw, ping, netlink or packet socket of a program.
#pragma once

#include "daemon/client.h"

namespace ph::dropin {

class datagram_client final : public client {
 public:
  using client::client;
  void give_up(u64 channel) override;
  void on_end(u32 events) override;
  void on_room() override;
  void pump() override;
  void say_goodbye() override;

 protected:
  std::optional<answer_data> connect(call& c) override;
  answer_data listen(call& c) override;
  answer_data shutdown(call& c) override;
  void option_set(call& c) override;
  std::optional<answer_data> send(call& c) override;
  void all_closed() override;

 private:
  /// A datagram on its way to the anchor.
  struct arrived {
    anchor_name source;
    std::vector<u8> payload;
  };
  /// A blocking send that waits for room in the stack.
  struct waiting_send {
    u64 channel;
    request_head head;
    std::vector<u8> data;
  };

  void pair(int anchor);
  void unpair(int anchor);
  bool take_from_stack();
  bool give_to_program();
  void pump_out();
  void retry_send();
  void check_error();
  void note_error(errc error);

  datagram_end end_;            ///< paired with the anchor of a connected socket
  unique_fd room_;              ///< tells when the unpaired anchor's queue has room
  bool connected_ = false;
  bool wants_control_ = false;  ///< the program asked for ancillary data, so no pair
  std::optional<arrived> next_;
  std::optional<std::vector<u8>> outgoing_;  ///< read from end_, not yet taken by the stack
  std::optional<waiting_send> waiting_;
};

}  // namespace ph::dropin
