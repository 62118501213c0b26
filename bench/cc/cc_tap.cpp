// ph_cc link: what one TAP's owner sends reaches the other through sim::link, the same code that
// joins simulated hosts, with events due by the monotonic clock. No stack of ours takes part.
#include "bench/cc/cc_tap.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "kernel/kernel.h"

namespace ph::bench {
namespace {

using namespace sim;

constexpr duration queue_step = milliseconds(1);

instant monotonic() {
  using namespace std::chrono;
  return instant{duration_cast<std::chrono::nanoseconds>(steady_clock::now().time_since_epoch())
                     .count()};
}

/// A TAP as the end of a wire.
class tap_end final : public mem_port {
 public:
  /// `bare`: a device of the machine that carries the frames while they are on the wire.
  tap_end(kernel& machine, mem_port& bare, const std::string& name)
      : machine_(machine), bare_(bare) {
    fd_ = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    ifreq request{};
    std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (fd_ >= 0 && ::ioctl(fd_, TUNSETIFF, &request) == 0) return;
    std::fprintf(stderr, "%s: %s\n", name.c_str(), std::strerror(errno));
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  tap_end(const tap_end&) = delete;
  tap_end& operator=(const tap_end&) = delete;
  ~tap_end() override {
    if (fd_ >= 0) ::close(fd_);
  }
  void set_transmit(transmit_fn fn) override { transmit_ = fn; }
  void set_on_state(state_fn) override {}  // the TAP's owner alone takes it down
  void receive(skb_ptr frame) override {
    std::array<u8, 2048> bytes;
    const u32 len = frame->len();
    if (len <= bytes.size() && frame->copy_bits(0, byte_span(bytes).first(len))) {
      if (::write(fd_, bytes.data(), len) < 0) ++refused_;
    }
    consume(machine_.boot_cpu(), std::move(frame));
  }
  void receive_bytes(byte_view) override {}
  void ready() override {}
  [[nodiscard]] net_device& device() override { return bare_.device(); }

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] u64 refused() const { return refused_; }
  /// Hands over what the TAP's owner sent; false when there was nothing.
  bool read_one() {
    std::array<u8, 2048> bytes;
    const ssize_t got = ::read(fd_, bytes.data(), bytes.size());
    if (got <= 0) return false;
    cpu& cx = machine_.boot_cpu();
    skb_ptr skb = alloc_skb(cx, max_header + static_cast<u32>(got));
    skb->reserve(max_header);
    skb->put_bytes(byte_view(bytes).first(static_cast<std::size_t>(got)));
    if (!transmit_(cx, skb)) drop(cx, std::move(skb), drop_reason::ring_full);
    return true;
  }

 private:
  kernel& machine_;
  mem_port& bare_;
  transmit_fn transmit_;
  int fd_ = -1;
  u64 refused_ = 0;
};

struct real_time {
  event_queue events;
  packet_memory memory;
  kernel machine{{.name = "wire", .memory = &memory}};
  net_namespace net{machine, "wire"};
  duration latest{};  ///< by how much an event was late at most

  /// Everything that is due.
  void catch_up() {
    const instant now = monotonic();
    while (events.next_deadline() <= now) {
      latest = std::max(latest, now - events.next_deadline());
      machine.enter(events.next_deadline());
      events.run_one(now);
    }
    events.advance_to(now);
    machine.enter(now);
  }
};

struct probe {
  probe(real_time& rt, link& w, instant start) : clock(rt), wire(w), begin(start) {
    clock.events.schedule(tick, begin);
  }
  void take() {
    const instant now = clock.events.now();
    queue.add((now - begin).seconds(), wire.queue_delay(link_end::a).seconds() * 1000);
    clock.events.schedule(tick, now + queue_step);
  }
  real_time& clock;
  link& wire;
  instant begin;
  series queue;
  event tick{[this] { take(); }};
};

void wait(const real_time& clock, tap_end& a, tap_end& b) {
  std::array<pollfd, 2> fds = {pollfd{a.fd(), POLLIN, 0}, pollfd{b.fd(), POLLIN, 0}};
  const s64 ns = std::clamp<s64>((clock.events.next_deadline() - monotonic()).ns, 0, 100'000'000);
  const timespec limit{0, ns};
  static_cast<void>(::ppoll(fds.data(), fds.size(), &limit, nullptr));
}

}  // namespace

int run_link(const std::string& tap_a, const std::string& tap_b, const path& p) {
  real_time clock;
  clock.catch_up();
  const rtnl_guard rtnl(clock.machine.rtnl());
  tap_end a(clock.machine, **mem_create(rtnl.held(), clock.net, {}), tap_a);
  tap_end b(clock.machine, **mem_create(rtnl.held(), clock.net, {}), tap_b);
  if (a.fd() < 0 || b.fd() < 0) return 1;
  std::printf("ready\n");
  std::fflush(stdout);
  link wire(clock.events, "bottleneck", a, b, {}, rng(p.seed));
  wire.set_config(link_end::a, p.forward());
  wire.set_config(link_end::b, p.back());
  const instant begin = monotonic();
  probe watch(clock, wire, begin);
  while (clock.events.now() - begin < p.length()) {
    wait(clock, a, b);
    clock.catch_up();
    for (int i = 0; i < 64 && a.read_one(); ++i) {
    }
    for (int i = 0; i < 64 && b.read_one(); ++i) {
    }
  }
  std::printf("{\"begin\":%.6f,\"queue_ms\":%s,\"queue_drops\":%llu,\"late_ms\":%.3f,"
              "\"refused\":%llu}\n",
              static_cast<double>(begin.ns) / 1e9, watch.queue.json().c_str(),
              static_cast<unsigned long long>(wire.stats(link_end::a).queue_full),
              clock.latest.seconds() * 1000,
              static_cast<unsigned long long>(a.refused() + b.refused()));
  return 0;
}

}  // namespace ph::bench
