// The TAP character device: opening its queues, and one frame per read and write, each behind a
// virtio-net header (virtio 1.2 §5.1.6; Documentation/networking/tuntap). Does not: configure
// the machine's side, buffer frames of its own (a full TAP stops our queue instead).
#include "drivers/net/tap.h"

#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "net/core/gso.h"
#include "net/core/scarce_memory.h"
#include "net/ethernet/eth.h"
#include "platform/unique_fd.h"
#include "uapi/packet.h"
#include "uapi/socket.h"
#include "wire/tcp.h"

namespace ph {
namespace {

using vnet_hdr = uapi::virtio_net_hdr;

constexpr u32 rx_linear = 2048;        // bytes read into the packet itself, as headers and small
                                       // frames; the rest of a super-packet goes to blocks, small
constexpr u32 rx_block = 16 * 1024;    // ones, as a receiver's buffer pays for the unused part
constexpr std::size_t rx_blocks = 5;   // of the last: enough for 64 KiB and its headers

// --- virtio-net header <-> metadata -----------------------------------------------------------

/// What the header says about a frame (data at the Ethernet header). False: it contradicts it.
bool apply_vnet_hdr(sk_buff& skb, const vnet_hdr& hdr) {
  if ((hdr.flags & uapi::virtio_net_hdr_f_needs_csum) != 0) {
    const u32 start = hdr.csum_start.value(), offset = hdr.csum_offset.value();
    if (start + offset + 2 > skb.len()) return false;
    skb.ip_summed = checksum_state::partial;
    skb.csum_start = static_cast<u16>(skb.headroom() + start);
    skb.csum_offset = static_cast<u16>(offset);
  } else if ((hdr.flags & uapi::virtio_net_hdr_f_data_valid) != 0) {
    skb.ip_summed = checksum_state::unnecessary;
  }
  const u8 kind = hdr.gso_type & static_cast<u8>(~uapi::virtio_net_hdr_gso_ecn);
  if (kind == uapi::virtio_net_hdr_gso_none) return true;
  switch (kind) {
    case uapi::virtio_net_hdr_gso_tcpv4: skb.gso_type = gso_tcpv4; break;
    case uapi::virtio_net_hdr_gso_tcpv6: skb.gso_type = gso_tcpv6; break;
    case uapi::virtio_net_hdr_gso_udp_l4: skb.gso_type = gso_udp_l4; break;
    default: return false;
  }
  if (skb.ip_summed != checksum_state::partial || hdr.gso_size.value() == 0) return false;
  if ((hdr.gso_type & uapi::virtio_net_hdr_gso_ecn) != 0) skb.gso_type |= gso_ecn;
  skb.gso_size = hdr.gso_size.value();
  const u32 headers = std::min<u32>(hdr.hdr_len.value(), skb.len());
  skb.gso_segs = static_cast<u16>(gso_segments(skb.len() - headers, skb.gso_size));
  return true;
}

vnet_hdr make_vnet_hdr(const sk_buff& skb) {
  vnet_hdr hdr;
  if (skb.ip_summed != checksum_state::partial) return hdr;
  hdr.flags = uapi::virtio_net_hdr_f_needs_csum;
  const u32 start = skb.csum_start - skb.headroom();
  hdr.csum_start.set(static_cast<u16>(start));
  hdr.csum_offset.set(skb.csum_offset);
  if (skb.gso_size == 0) return hdr;
  const bool tcp = (skb.gso_type & (gso_tcpv4 | gso_tcpv6)) != 0;
  hdr.gso_type = (skb.gso_type & gso_tcpv4) != 0   ? uapi::virtio_net_hdr_gso_tcpv4
                 : (skb.gso_type & gso_tcpv6) != 0 ? uapi::virtio_net_hdr_gso_tcpv6
                                                   : uapi::virtio_net_hdr_gso_udp_l4;
  if ((skb.gso_type & gso_ecn) != 0) hdr.gso_type |= uapi::virtio_net_hdr_gso_ecn;
  hdr.gso_size.set(skb.gso_size);
  const tcphdr* th = view_as<tcphdr>(skb.data(), start);
  const std::size_t transport = tcp && th != nullptr ? th->header_bytes() : 8;
  hdr.hdr_len.set(static_cast<u16>(start + transport));
  return hdr;
}

iovec piece_of(byte_view bytes) {
  return {const_cast<u8*>(bytes.data()), bytes.size()};  // writev does not write to it
}

// --- the device -------------------------------------------------------------------------------

class tap_device;

/// One queue of the TAP.
class tap_queue final : public napi {
 public:
  tap_queue(net_device& dev, cpu& home_cpu, int fd) : napi(dev), home(home_cpu), fd_(fd) {}
  ~tap_queue() override { consume(home, std::move(spare_)); }
  int poll(cpu& cx, int budget) override;
  /// errc::again: the machine has no room; other errors: it refused the frame.
  result<void> write(const sk_buff& skb) const;

  cpu& home;
  bool wants_write = false;
  bool gone = false;  ///< the TAP was removed
  const std::atomic<bool>* starved = nullptr;  ///< set: there is hardly any memory

 private:
  skb_ptr read(cpu& cx);
  void deliver(cpu& cx, skb_ptr skb, const vnet_hdr& hdr);
  int fd_;
  vnet_hdr hdr_;
  skb_ptr spare_;       ///< for the next read
  std::array<block_ref, rx_blocks> overflow_;  ///< those used are replaced before the next read
};

class tap_device final : public netdev_ops, public tap_port {
 public:
  tap_device(std::vector<unique_fd> files, std::string host_name)
      : files_(std::move(files)), host_name_(std::move(host_name)) {
    for (const unique_fd& file : files_) fds_.push_back(file.get());
  }
  void attach(net_device& dev) {
    dev_ = &dev;
    kernel& machine = dev.net().machine();
    for (u32 i = 0; i < fds_.size(); ++i) {
      cpu& home = machine.cpu_at(cpu_id(i % machine.cpu_count()));
      queues_.push_back(std::make_unique<tap_queue>(dev, home, fds_[i]));
    }
  }

  result<void> open(cpu&, net_device&) override { return {}; }
  void stop(cpu&, net_device&) override {}

  netdev_tx xmit(cpu& cx, net_device& dev, skb_ptr& skb, bool) override {
    const std::size_t number = cx.id().value % queues_.size();
    tap_queue& queue = *queues_[number];
    netdev_stats& stats = dev.stats(cx);
    const result<void> written = queue.write(*skb);
    if (!written && written.error() == errc::again) {
      if (!std::exchange(queue.wants_write, true) && on_wants_write_) on_wants_write_(number);
      return netdev_tx::busy;
    }
    if (!written) {
      ++stats.tx_errors;
      drop(cx, std::move(skb), drop_reason::host_write_failed);
      return netdev_tx::ok;
    }
    ++stats.tx_packets;
    stats.tx_bytes += skb->len();
    if (skb->journey != 0) trace_packet(cx, *skb, trace_kind::sent, "tap_xmit");
    kfree_skb(skb.release());
    return netdev_tx::ok;
  }

  std::span<const int> fds() const override { return fds_; }
  void on_readable(std::size_t queue) override {
    tap_queue& q = *queues_[queue];
    if (!q.gone) q.home.schedule(q);
  }
  void on_writable(std::size_t queue) override {
    queues_[queue]->wants_write = false;
    netdev_queue& tx = *dev_->tx_queues()[queue];
    netif_wake_queue(tx.home, tx);
  }
  bool wants_write(std::size_t queue) const override { return queues_[queue]->wants_write; }
  void set_on_wants_write(inline_fn<void(std::size_t), 16> fn) override { on_wants_write_ = fn; }
  bool gone() const override {
    return std::any_of(queues_.begin(), queues_.end(), [](const auto& q) { return q->gone; });
  }
  void set_starved(const std::atomic<bool>& flag) override {
    for (const auto& q : queues_) q->starved = &flag;
  }
  const std::string& host_name() const override { return host_name_; }
  net_device& device() override { return *dev_; }

 private:
  std::vector<unique_fd> files_;
  std::vector<int> fds_;
  std::string host_name_;
  net_device* dev_ = nullptr;
  inline_fn<void(std::size_t), 16> on_wants_write_;
  std::vector<std::unique_ptr<tap_queue>> queues_;
};

// --- HOT: frames in and out -------------------------------------------------------------------

int tap_queue::poll(cpu& cx, int budget) {
  for (int done = 0; done < budget; ++done) {
    skb_ptr skb = read(cx);
    if (!skb) return done;
    deliver(cx, std::move(skb), hdr_);
  }
  return budget;
}

/// The next frame, its virtio-net header in hdr_; empty when there is none.
skb_ptr tap_queue::read(cpu& cx) {
  if (!spare_) {
    spare_ = alloc_skb(cx, max_header + rx_linear);
    spare_->reserve(max_header);
  }
  const byte_span linear = spare_->put(rx_linear);
  std::array<iovec, 2 + rx_blocks> pieces = {iovec{&hdr_, sizeof(hdr_)},
                                             iovec{linear.data(), linear.size()}};
  for (std::size_t i = 0; i < rx_blocks; ++i) {
    if (!overflow_[i]) overflow_[i] = cx.memory().allocate_block(rx_block);
    pieces[2 + i] = {overflow_[i]->bytes(), rx_block};
  }
  ssize_t n = 0;
  do {
    n = ::readv(fd_, pieces.data(), static_cast<int>(pieces.size()));
  } while (n < 0 && errno == EINTR);
  if (n < static_cast<ssize_t>(sizeof(hdr_))) {
    spare_->trim(0);
    if (n < 0 && errno != EAGAIN) {  // EBADFD and the like: somebody deleted the TAP
      gone = true;
      dev().set_carrier(cx, false);
    }
    return {};
  }
  const u32 frame = static_cast<u32>(n) - static_cast<u32>(sizeof(hdr_));
  spare_->trim(frame);
  u32 rest = frame > rx_linear ? frame - rx_linear : 0;
  for (std::size_t i = 0; rest != 0; ++i) {
    const u32 taken = std::min(rest, rx_block);
    spare_->truesize += overflow_[i]->capacity;
    ph_check(spare_->add_frag(std::move(overflow_[i]), 0, taken));
    rest -= taken;
  }
  return std::move(spare_);
}

void tap_queue::deliver(cpu& cx, skb_ptr skb, const vnet_hdr& hdr) {
  netdev_stats& stats = dev().stats(cx);
  skb->dev = &dev();
  trace_born(cx, *skb, "tap_poll");
  const u64 bytes = skb->len();
  if (starved != nullptr && starved->load(std::memory_order_relaxed)) {
    ++stats.rx_dropped;
    return drop(cx, std::move(skb), drop_reason::nomem);
  }
  if (!apply_vnet_hdr(*skb, hdr)) {
    ++stats.rx_errors;
    ++stats.rx_frame_errors;
    return drop(cx, std::move(skb), drop_reason::bad_vnet_header);
  }
  if (!eth_type_trans(cx, *skb, dev())) {
    ++stats.rx_errors;
    ++stats.rx_length_errors;
    return drop(cx, std::move(skb), drop_reason::frame_too_short);
  }
  ++stats.rx_packets;
  stats.rx_bytes += bytes;
  if (skb->pkt_type == packet_type_for::multicast) ++stats.multicast;
  napi_gro_receive(cx, *this, std::move(skb));
}

result<void> tap_queue::write(const sk_buff& skb) const {
  const vnet_hdr hdr = make_vnet_hdr(skb);
  std::array<iovec, 2 + max_skb_frags> pieces;
  int n = 0;
  pieces[0] = piece_of(bytes_of(hdr));
  skb.for_pieces(0, skb.len(), [&](byte_view piece) {
    pieces[static_cast<std::size_t>(++n)] = piece_of(piece);
  });
  ssize_t done = 0;
  do {
    done = ::writev(fd_, pieces.data(), n + 1);
  } while (done < 0 && errno == EINTR);
  if (done >= 0) return {};
  return fail(errno == EAGAIN ? errc::again : errc::io);
}

// --- opening ----------------------------------------------------------------------------------

tl::unexpected<tap_error> refuse(errc code, const std::string& name, std::string_view text) {
  return tl::unexpected<tap_error>({code, name + ": " + std::string(text)});
}

/// What an errno of open or TUNSETIFF means for whoever wants the TAP.
tl::unexpected<tap_error> explain(int error, const std::string& name) {
  const std::string how = "; as root: ip tuntap add dev " + name +
                          " mode tap multi_queue vnet_hdr user <you>, then ip link set " + name +
                          " up";
  switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return refuse(errc::noent, name, "this machine has no /dev/net/tun; load the module tun");
    case EPERM:
    case EACCES:
      return refuse(errc::perm, name, "no permission to use this TAP, or to make one" + how);
    case EBUSY:
      return refuse(errc::busy, name, "another program uses this TAP; end it or name another");
    case EINVAL:
      return refuse(errc::inval, name,
                    "an interface of this name exists, but is no TAP or has other flags" + how);
    default:
      return refuse(static_cast<errc>(error), name,
                    "cannot open the TAP: " + std::string(errc_name(static_cast<errc>(error))));
  }
}

/// Attaches one descriptor; the machine's choice of name replaces "%d". 0 or an errno.
int attach_queue(unique_fd& file, std::string& name, bool multi) {
  file = unique_fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (file.get() < 0) return errno;
  std::array<u8, uapi::ifreq_bytes> request{};
  copy_bytes(byte_span(request).first(uapi::ifnamsiz - 1), bytes_of(std::string_view(name)));
  const u16 flags = static_cast<u16>(uapi::iff_tap | uapi::iff_no_pi | uapi::iff_vnet_hdr |
                                     (multi ? uapi::iff_multi_queue : 0));
  copy_bytes(byte_span(request).subspan(uapi::ifreq_value_offset), bytes_of(le16(flags)));
  if (::ioctl(file.get(), uapi::tunsetiff, request.data()) < 0) return errno;
  const std::string_view chosen = text_of(byte_view(request).first(uapi::ifnamsiz));
  name = std::string(chosen.substr(0, chosen.find('\0')));
  return 0;
}

/// All queues. A TAP made without multi-queue serves with one, if the caller left the number
/// open.
tl::expected<std::vector<unique_fd>, tap_error> open_queues(std::string& name, u32 wanted,
                                                            u32 cpus) {
  const std::string asked = name;
  const u32 most = wanted == 0 ? cpus : wanted;
  bool multi = most > 1;
  std::vector<unique_fd> out(1);
  int error = attach_queue(out[0], name, multi);
  if (error == EINVAL) {  // made with the other setting
    multi = !multi;
    if (!multi && wanted > 1) return explain(error, asked);
    error = attach_queue(out[0], name, multi);
  }
  if (error != 0) return explain(error, asked);
  while (multi && out.size() < most) {
    out.emplace_back();
    error = attach_queue(out.back(), name, multi);
    if (error != 0) return explain(error, asked);
  }
  return out;
}

/// Agrees with the machine on header size and offloads.
int configure_queue(int fd, bool offload) {
  int header = sizeof(vnet_hdr);
  if (::ioctl(fd, uapi::tunsetvnethdrsz, &header) < 0) return errno;
  const u32 offloads = offload ? uapi::tun_f_csum | uapi::tun_f_tso4 | uapi::tun_f_tso_ecn : 0;
  return ::ioctl(fd, uapi::tunsetoffload, static_cast<unsigned long>(offloads)) < 0 ? errno : 0;
}

mac_addr derived_address(net_namespace& net, const std::string& name) {
  rng random = net.machine().fork_random("tap address of " + net.name() + " " + name);
  mac_addr out;
  for (u8& byte : out.bytes) byte = static_cast<u8>(random.next());
  out.bytes[0] = static_cast<u8>((out.bytes[0] & 0xfc) | 2);  // unicast, locally administered
  return out;
}

}  // namespace

tl::expected<tap_port*, tap_error> tap_create(const rtnl_held& rtnl, net_namespace& net,
                                              const tap_config& config) {
  std::string name = config.host_name;
  if (name.empty() || name.size() >= uapi::ifnamsiz) {
    return refuse(errc::inval, name, "a TAP's name has 1 to 15 characters");
  }
  if (!config.create && ::if_nametoindex(name.c_str()) == 0) {
    return refuse(errc::nodev, name,
                  "no such interface; as root: ip tuntap add dev " + name + " mode tap");
  }
  auto files = open_queues(name, config.queues, net.machine().cpu_count());
  if (!files) return tl::unexpected(std::move(files).error());
  for (const unique_fd& file : *files) {
    if (const int error = configure_queue(file.get(), config.offload); error != 0) {
      return explain(error, name);
    }
  }
  net_device_config out;
  out.name = config.name;
  out.mtu = config.mtu;
  out.addr = config.addr.is_zero() ? derived_address(net, config.name) : config.addr;
  out.flags = uapi::iff_broadcast | uapi::iff_multicast;
  out.features = netif_f_sg;
  if (config.offload) {
    out.features |= netif_f_hw_csum | netif_f_rxcsum | netif_f_tso | netif_f_tso6;
  }
  out.tx_queues = static_cast<u32>(files->size());
  out.kind = "tun";
  auto device = std::make_unique<tap_device>(std::move(*files), name);
  tap_device* port = device.get();
  auto registered = net.register_device(rtnl, std::move(out), std::move(device));
  if (!registered) {
    return refuse(registered.error(), config.name,
                  "our interface cannot have this name: " +
                      std::string(errc_name(registered.error())));
  }
  (*registered)->set_headers(&eth_header_ops());
  port->attach(**registered);
  return port;
}

}  // namespace ph
