// sock: the network half of a socket. Queues, memory, pending errors, wake-ups, home cpu; the
// operations of its protocol are virtual. The API half (descriptor, blocking, generic options)
// is `socket` in net/socket. Nothing here ever blocks: a call that would answers errc::again
// (or inprogress), and wait_queue tells when to come back.
#pragma once

#include <algorithm>
#include <memory>

#include "kernel/wait_queue.h"
#include "net/core/msg.h"
#include "net/core/net_namespace.h"
#include "net/core/skb_queue.h"

namespace ph {

enum sock_shutdown : u8 { rcv_shutdown = 1, send_shutdown = 2, shutdown_mask = 3 };

/// The options of SOL_SOCKET that protocols look at.
struct sock_options {
  u32 rcvbuf = 212992, sndbuf = 212992;   ///< bytes, as getsockopt returns them (doubled)
  bool rcvbuf_locked = false, sndbuf_locked = false;  ///< set by the program: no auto-tuning
  u32 rcvlowat = 1;
  bool reuseaddr = false, reuseport = false, keepalive = false, broadcast = false;
  bool dontroute = false, oobinline = false, timestamp = false, timestamp_ns = false;
  bool timestamp_new = false;  ///< told in the form of SO_TIMESTAMP(NS)_NEW
  bool rxq_ovfl = false, no_check = false, zerocopy = false;
  bool rcvmark = false, rcvpriority = false;
  /// What devices, file events and pollers of other machines would make something of.
  bool debug = false, wifi_status = false, nofcs = false, select_err_queue = false;
  bool prefer_busy_poll = false, txrehash = true;
  u16 busy_poll_budget = 0;
  bool txtime = false;                    ///< SO_TXTIME was set: SCM_TXTIME may be given
  s32 txtime_clock = 0;
  u32 txtime_flags = 0;
  bool lock_filter = false;               ///< SO_LOCK_FILTER: the filter stays for ever
  u32 timestamping = 0;                   ///< sof_timestamping_* of SO_TIMESTAMPING
  bool linger = false;
  duration linger_time{};
  duration rcvtimeo{}, sndtimeo{};        ///< zero: wait for ever
  u32 priority = 0, mark = 0;
  ifindex bound_dev_if{};
  u64 max_pacing_rate = ~u64{0};          ///< bytes per second
  u32 busy_poll_us = 0;
  s32 incoming_cpu = -1;
  u32 uid = 0;
  bool net_admin = true;                  ///< the caller may do what CAP_NET_ADMIN allows
};

class cbpf_program;

/// What a composition has taken from the stack for a program that has not read it yet. Datagrams go
/// on filling SO_RCVBUF; a stream's bytes make no receive buffer grow before they are read.
class handed_on {
 public:
  virtual ~handed_on() = default;
  /// The memory that they take at this moment, in bytes; it may cost a system call.
  [[nodiscard]] virtual u32 bytes() const = 0;
  /// The same, remembered.
  u32 ask() { return most_ = bytes(); }
  /// They take no more than this: what they took when somebody asked, and all that came since.
  [[nodiscard]] u32 most() const { return most_; }

 protected:
  /// One more was handed on, which takes at most so much.
  void handed(u32 memory) { most_ += std::min(memory, ~u32{0} - most_); }

 private:
  u32 most_ = 0;
};

class sock : public counted, public sock_place {
 public:
  sock(net_namespace& net, cpu& home, u16 family, u16 type, u8 protocol);
  virtual ~sock();
  static void release_last(sock* sk);

  [[nodiscard]] net_namespace& net() const { return net_; }
  /// The cpu that runs this socket; everything that touches it runs there.
  [[nodiscard]] cpu& home() const { return *home_; }
  void set_home(cpu& home) { home_ = &home; }
  [[nodiscard]] u16 family() const { return family_; }
  [[nodiscard]] u16 type() const { return type_; }
  [[nodiscard]] u8 protocol() const { return protocol_; }

  // --- operations (errors as in the man page of the call) -------------------------------------
  virtual result<void> bind(cpu& cx, byte_view addr) = 0;
  /// inprogress: the answer comes as POLLOUT and SO_ERROR. again / already as connect(2).
  virtual result<void> connect(cpu& cx, byte_view addr) = 0;
  virtual result<void> listen(cpu& cx, int backlog);
  /// again: no connection waits.
  virtual result<ref<sock>> accept(cpu& cx);
  /// May take less than asked (streams); again: no room.
  virtual result<std::size_t> sendmsg(cpu& cx, const send_msg& msg) = 0;
  /// 0: end of stream; again: nothing there. Datagrams set MSG_TRUNC and return what was copied
  /// (the full length with MSG_TRUNC asked).
  virtual result<std::size_t> recvmsg(cpu& cx, recv_msg& msg) = 0;
  /// poll(2) bits.
  [[nodiscard]] virtual u32 poll() = 0;
  virtual result<void> shutdown(cpu& cx, u8 how) = 0;
  /// The file is gone. The sock may live on by references of its own (TCP's goodbye).
  virtual void close(cpu& cx) = 0;
  /// Levels other than SOL_SOCKET. Errors: noprotoopt for what is not known.
  virtual result<void> setsockopt(cpu& cx, int level, int name, byte_view value) = 0;
  /// Writes at most out.size() bytes; returns the length of the answer.
  virtual result<std::size_t> getsockopt(cpu& cx, int level, int name, byte_span out) = 0;
  virtual result<sockaddr_buf> getname(bool peer) = 0;
  /// The address that accept() tells: the peer's, also when the connection is over again. Errors:
  /// notconn.
  virtual result<sockaddr_buf> accepted_name() { return getname(true); }
  /// Errors: notty (ENOIOCTLCMD) for what is not known. `arg` is read and written in place.
  virtual result<int> ioctl(cpu& cx, u32 command, byte_span arg);
  /// SO_ATTACH_REUSEPORT_CBPF: what chooses in its group from now on; null: nothing does. Errors:
  /// noprotoopt (no such groups), inval (it is in none), noent (nothing does).
  virtual result<void> set_chooser(std::shared_ptr<const cbpf_program> program);
  /// SOL_SOCKET's option `name` changed (sndbuf, keepalive …).
  virtual void option_changed(cpu& cx, int name);
  /// Where SOF_TIMESTAMPING_OPT_ID begins to count: 0, or the position in a stream (`next_write`:
  /// of the next byte that is written, not of the first unacknowledged one). Errors: inval.
  [[nodiscard]] virtual result<u32> timestamp_base(bool next_write) const;
  /// A packet of ours reached the point that it has `kind` (one of its tx_flags) set for.
  virtual void tx_timestamp(cpu& cx, const sk_buff& skb, u8 kind);

  // --- shared state ---------------------------------------------------------------------------
  sock_options opt;
  skb_queue receive_queue;
  skb_queue error_queue;
  wait_queue waiters;
  u8 shutdown_state = 0;              ///< sock_shutdown bits
  bool dead = false;                  ///< close() was called
  bool listening = false;             ///< listen() succeeded (SO_ACCEPTCONN)
  u64 cookie = 0;                     ///< SO_COOKIE; 0: nobody asked yet
  u32 rmem_alloc = 0;                 ///< bytes charged by receive queues
  handed_on* outside = nullptr;       ///< what left them unread, if that is possible
  std::shared_ptr<const cbpf_program> filter;  ///< SO_ATTACH_FILTER of datagram sockets
  u32 wmem_alloc = 0;                 ///< bytes charged by packets on their way out
  u32 omem_alloc = 0;                 ///< bytes of options: keys and the like
  u64 drops = 0;                      ///< datagrams lost for want of room (SO_RXQ_OVFL)
  u32 tskey = 0;                      ///< SOF_TIMESTAMPING_OPT_ID counts from here
  u32 zerocopy_id = 0;                ///< of the next MSG_ZEROCOPY send
  /// Arrival of the packet last read, of those of which no SO_TIMESTAMP told it (SIOCGSTAMP).
  instant stamp{};

  /// Pending error, reported once by the next call or SO_ERROR.
  void set_error(errc e);
  [[nodiscard]] errc pending_error() const { return err_; }
  errc take_error() { return std::exchange(err_, errc::ok); }
  /// The pending error as a failure, taken; success when there is none.
  result<void> check_error();
  /// Tells waiters (poll bits).
  void wake(u32 events) { waiters.wake(events); }

  /// Charges a packet's truesize to the receive buffer; the charge goes with the packet. Whoever
  /// changes the truesize of a charged packet changes rmem_alloc (wmem_alloc) by as much.
  void set_owner_r(sk_buff& skb);
  /// What fills SO_RCVBUF, bytes.
  [[nodiscard]] u32 rcvbuf_used() const {
    return rmem_alloc + (outside != nullptr ? outside->ask() : 0);
  }
  /// Whether fits(what fills SO_RCVBUF) holds. What fits beside more fits beside less, so that
  /// datagrams that left are asked about only where the most that they can take would be too much.
  template <class Fits>
  [[nodiscard]] bool rcvbuf_fits(Fits&& fits) const {
    if (outside == nullptr) return fits(rmem_alloc);
    return fits(rmem_alloc + outside->most()) || fits(rcvbuf_used());
  }
  /// Charges a packet to the send buffer; charged packets keep the sock alive.
  void set_owner_w(sk_buff& skb);
  /// Room left by SO_SNDBUF.
  [[nodiscard]] u32 sndbuf_space() const {
    return wmem_alloc >= opt.sndbuf ? 0 : opt.sndbuf - wmem_alloc;
  }
  /// Charges `bytes` of options (net.core.optmem_max). Errors: nomem.
  result<void> charge_omem(u32 bytes);
  void release_omem(u32 bytes) { omem_alloc -= std::min(bytes, omem_alloc); }
  /// wmem fell: tell writers. Called when a charged packet is freed.
  virtual void write_space();

 private:
  static void rfree(sk_buff& skb);
  static void wfree(sk_buff& skb);
  net_namespace& net_;
  ref<sock> in_flight_;  ///< to itself while wmem_alloc > 0
  cpu* home_;
  u16 family_, type_;
  u8 protocol_;
  errc err_ = errc::ok;
};

}  // namespace ph
