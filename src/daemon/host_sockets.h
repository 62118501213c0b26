// What drop-in needs of a host's network: its sockets, by number, and its names and interfaces.
// Nothing blocks: what would answers errc::again (connect: errc::inprogress), and a watcher is
// woken when to look again. A wake-up only marks; it must not call back.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/protocol.h"
#include "kernel/wait_queue.h"
#include "net/core/msg.h"
#include "net/core/sock.h"

namespace ph::dropin {

/// A socket that was closed and still has something to tell its peer.
class closed_socket {
 public:
  virtual ~closed_socket() = default;
  /// The peer has acknowledged everything, or will never do so.
  [[nodiscard]] virtual bool over() const = 0;
};

class host_sockets {
 public:
  virtual ~host_sockets() = default;

  /// There is none for new work: sockets and connections are refused (nobufs), what programs send
  /// waits (again for who does not), and nothing tells when there is more.
  [[nodiscard]] virtual bool memory_low() const { return false; }
  virtual result<int> open(int domain, int type, int protocol) = 0;
  virtual void close(int s) = 0;
  /// Closes `s` like close(); wakes `entry` when what comes back, which ends before the entry, may
  /// be over. nullptr: nobody can tell.
  virtual std::unique_ptr<closed_socket> close_watched(int s, wait_entry& entry) = 0;
  virtual result<void> bind(int s, byte_view addr) = 0;
  virtual result<void> listen(int s, int backlog) = 0;
  virtual result<int> accept(int s) = 0;
  /// Connections that were accepted from listener `s` and still wait for their program: they count
  /// against its backlog, as far as the host can do that.
  virtual void set_waiting(int s, u32 count) = 0;
  virtual result<void> connect(int s, byte_view addr) = 0;
  virtual result<void> shutdown(int s, int how) = 0;
  virtual result<std::size_t> sendmsg(int s, const send_msg& msg) = 0;
  virtual result<std::size_t> recvmsg(int s, recv_msg& msg) = 0;
  virtual result<void> setsockopt(int s, int level, int name, byte_view value) = 0;
  virtual result<std::size_t> getsockopt(int s, int level, int name, byte_span out) = 0;
  virtual result<sockaddr_buf> name(int s, bool peer) = 0;
  /// s may be -1: about the host's interfaces and routes.
  virtual result<int> ioctl(int s, u32 command, byte_span arg) = 0;
  /// What `s` has received waits in `queue` for the program: datagrams count against its SO_RCVBUF
  /// and a stream's bytes as unread, as far as the host can do that; nullptr: no more.
  virtual void set_outside(int s, handed_on* queue) = 0;
  /// One of them is lost for want of room.
  virtual void count_lost(int s) = 0;
  /// poll(2) bits.
  virtual u32 poll(int s) = 0;
  /// Wakes `entry` whenever the socket may have become ready; ends with the entry or the socket.
  virtual void watch(int s, wait_entry& entry) = 0;

  /// True when what is sent to this socket address comes back to the host itself: one of its own,
  /// of broadcast or of a group.
  virtual bool has_address(byte_view addr) = 0;
  /// IPv4 socket addresses (port 0) of a host name; empty when it is not known here.
  virtual std::vector<sockaddr_buf> resolve(std::string_view name) = 0;
  /// The host name of a socket address; empty when it has none.
  virtual std::string name_of(byte_view addr) = 0;
  virtual std::vector<interface_record> interfaces() = 0;

  /// Files that are the host's own, not the machine's: /etc/hosts, its hostname, and what lies
  /// below /proc/sys/net. noent: this host has no such file.
  virtual result<std::string> read_file(std::string_view path) = 0;
  /// One write(2) to such a file.
  virtual result<void> write_file(std::string_view path, std::string_view text) = 0;
};

}  // namespace ph::dropin
