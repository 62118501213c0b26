// The machine under test: one kernel with one device, whose far side is the script.
#pragma once

#include <deque>
#include <memory>

#include "drivers/net/mem.h"
#include "kernel/epoll.h"
#include "kernel/kernel.h"
#include "net/socket/syscall.h"
#include "sim/packetdrill/runner.h"
#include "sim/packetdrill/segments.h"

namespace ph::packetdrill {

class machine {
 public:
  /// local/16 on a device with the MTU, a default route over it.
  machine(ipv4_addr local, u32 mtu);
  ~machine();
  [[nodiscard]] task& program() { return *task_; }
  [[nodiscard]] net_namespace& net() { return *net_; }
  [[nodiscard]] instant now() const { return now_; }
  /// Script time of an instant.
  [[nodiscard]] duration since_start(instant t) const { return t - start_; }
  [[nodiscard]] instant at(duration script_time) const { return start_ + script_time; }

  /// Runs everything due up to t, one deadline at a time; stops early when `stop()` says so after
  /// a step. Returns false when it stopped early.
  template <class Stop>
  bool advance(instant t, Stop&& stop) {
    settle();
    while (!stop()) {
      const instant next = kernel_->next_deadline();
      if (next > t) {
        now_ = std::max(now_, t);
        kernel_->enter(now_);
        return true;
      }
      now_ = std::max(now_, next);
      settle();
    }
    return false;
  }
  /// Runs what is ready at this instant.
  void settle();
  /// When something is due next; `never` if nothing is.
  [[nodiscard]] instant next_deadline() const { return kernel_->next_deadline(); }
  /// One more address of the host. Nothing happens if it has it already.
  void add_address(ipv4_addr local);
  /// `tc qdisc replace dev tun0 root pfifo limit N`.
  void limit_queue(std::size_t limit);
  /// The words of `ip route change` are a route from now on, also in place of an older one.
  void change_route(const std::string& words);
  /// A bare IPv4 datagram arrives from the far side; settle() lets the machine see it. With an
  /// MSS: as a super-packet, which stands for that many segments of the payload.
  void arrive(byte_view datagram, u32 mss = 0, u32 payload = 0);
  std::deque<sent_packet> sent;

 private:
  void on_transmit(cpu& cx, skb_ptr& skb);
  packet_memory memory_;
  std::unique_ptr<kernel> kernel_;
  net_namespace* net_ = nullptr;
  mem_port* port_ = nullptr;
  std::unique_ptr<task> task_;
  std::vector<std::vector<u8>> replies_;  ///< ARP answers to deliver after this run
  instant start_;
  instant now_;
};

}  // namespace ph::packetdrill
