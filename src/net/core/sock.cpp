// What every socket's network half does alike: charging packets, pending errors, and the
// answers of protocols that do not know a call.
#include "net/core/sock.h"

#include "net/core/cbpf.h"
#include "uapi/socket.h"

namespace ph {

// --- HOT: charging packets --------------------------------------------------------------------

void sock::set_owner_r(sk_buff& skb) {
  skb_orphan(skb);
  skb.sk = this;
  skb.destructor = &sock::rfree;
  rmem_alloc += skb.truesize;
}

void sock::rfree(sk_buff& skb) {
  ph_debug_check(skb.sk->rmem_alloc >= skb.truesize);
  skb.sk->rmem_alloc -= skb.truesize;
}

void sock::set_owner_w(sk_buff& skb) {
  skb_orphan(skb);
  if (wmem_alloc == 0) in_flight_ = ref<sock>(this);
  skb.sk = this;
  skb.destructor = &sock::wfree;
  wmem_alloc += skb.truesize;
}

void sock::wfree(sk_buff& skb) {
  sock& sk = *skb.sk;
  ph_debug_check(sk.wmem_alloc >= skb.truesize);
  sk.wmem_alloc -= skb.truesize;
  ref<sock> last;  // may end the sock, after write_space
  if (sk.wmem_alloc == 0) last = std::move(sk.in_flight_);
  if (!sk.dead) sk.write_space();
}

result<void> sock::charge_omem(u32 bytes) {
  if (s64{omem_alloc} + bytes >= net_.optmem_max) return fail(errc::nomem);
  omem_alloc += bytes;
  return {};
}

void sock::write_space() {
  // As Linux: a writer is woken when half of the buffer is free again.
  if (wmem_alloc <= opt.sndbuf / 2) wake(uapi::pollout | uapi::pollwrnorm | uapi::pollwrband);
}

// --- lifetime ---------------------------------------------------------------------------------

sock::sock(net_namespace& net, cpu& home, u16 family, u16 type, u8 protocol)
    : net_(net), home_(&home), family_(family), type_(type), protocol_(protocol) {
  ++net_.sockets;
}

sock::~sock() {
  receive_queue.purge(*home_, drop_reason::socket_closed);
  error_queue.purge(*home_, drop_reason::socket_closed);
  ph_check(rmem_alloc == 0 && wmem_alloc == 0);
  sock_list::remove(*this);
  --net_.sockets;
}

void sock::release_last(sock* sk) { std::unique_ptr<sock>(sk).reset(); }

// --- errors and defaults ----------------------------------------------------------------------

void sock::set_error(errc e) {
  err_ = e;
  if (e != errc::ok) wake(uapi::pollerr);
}

result<void> sock::check_error() {
  const errc e = take_error();
  if (e != errc::ok) return fail(e);
  return {};
}

result<void> sock::listen(cpu&, int) { return fail(errc::opnotsupp); }
result<ref<sock>> sock::accept(cpu&) { return fail(errc::opnotsupp); }
result<int> sock::ioctl(cpu&, u32, byte_span) { return fail(errc::notty); }
void sock::option_changed(cpu&, int) {}
result<void> sock::set_chooser(std::shared_ptr<const cbpf_program> program) {
  if (program) return fail(errc::noprotoopt);
  return fail(opt.reuseport ? errc::noent : errc::inval);
}
result<u32> sock::timestamp_base(bool) const { return u32{0}; }
void sock::tx_timestamp(cpu&, const sk_buff&, u8) {}

}  // namespace ph
