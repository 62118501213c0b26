// host_sockets over a host of a lab: the system calls of net/socket/syscall.h, made by one task
// that owns every socket of the host's programs, however many processes share them. When the host
// dies (sim::host::dead) they are reset, and nothing can be opened any more.
#pragma once

#include <map>
#include <memory>

#include "daemon/host_sockets.h"
#include "daemon/running_lab.h"

namespace ph::dropin {

class stack_sockets final : public host_sockets {
 public:
  /// `where` is a host of `lab`; both outlive this.
  stack_sockets(running_lab& lab, sim::host& where);

  [[nodiscard]] bool memory_low() const override { return lab_.memory_low(); }
  result<int> open(int domain, int type, int protocol) override;
  void close(int s) override;
  std::unique_ptr<closed_socket> close_watched(int s, wait_entry& entry) override;
  result<void> bind(int s, byte_view addr) override;
  result<void> listen(int s, int backlog) override;
  result<int> accept(int s) override;
  void set_waiting(int s, u32 count) override;
  result<void> connect(int s, byte_view addr) override;
  result<void> shutdown(int s, int how) override;
  result<std::size_t> sendmsg(int s, const send_msg& msg) override;
  result<std::size_t> recvmsg(int s, recv_msg& msg) override;
  result<void> setsockopt(int s, int level, int name, byte_view value) override;
  result<std::size_t> getsockopt(int s, int level, int name, byte_span out) override;
  result<sockaddr_buf> name(int s, bool peer) override;
  result<int> ioctl(int s, u32 command, byte_span arg) override;
  void set_outside(int s, handed_on* queue) override;
  void count_lost(int s) override;
  u32 poll(int s) override;
  void watch(int s, wait_entry& entry) override;
  bool has_address(byte_view addr) override;
  std::vector<sockaddr_buf> resolve(std::string_view name) override;
  std::string name_of(byte_view addr) override;
  std::vector<interface_record> interfaces() override;
  result<std::string> read_file(std::string_view path) override;
  result<void> write_file(std::string_view path, std::string_view text) override;

 private:
  class closed_tcp;
  void host_died();
  sock* find(int s);

  running_lab& lab_;
  sim::host& host_;
  std::shared_ptr<task> task_;
  std::map<int, wait_entry*> watched_;
  std::map<const closed_tcp*, wait_entry*> closed_;
  int control_ = -1;  ///< the socket on which interface ioctls are made
};

}  // namespace ph::dropin
