// One TCP stream between two machines in this process, joined by a wire without rate or delay.
// Every received byte is compared with what was sent. The machines' time is the real one, read once
// a batch.
//
//   stream/0  MTU 1500, no offload: every segment is cut, summed and checked
//   stream/1  the same MTU, but the wire takes super-packets and no checksums (TSO, hw_csum)
#include <benchmark/benchmark.h>

#include <chrono>
#include <deque>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "drivers/net/mem.h"
#include "init/builtin.h"
#include "kernel/task.h"
#include "net/ipv4/devinet.h"
#include "net/socket/syscall.h"
#include "uapi/socket.h"

namespace ph {
namespace {

sockaddr_buf name_of(ipv4_addr addr, u16 port) {
  uapi::sockaddr_in in;
  in.sin_family.set(uapi::af_inet);
  in.sin_port.set(port);
  in.sin_addr = addr.raw;
  sockaddr_buf out;
  out.set(in);
  return out;
}

class two_machines {
 public:
  explicit two_machines(u32 features) : ends_{{{memory_, 1, features}, {memory_, 2, features}}} {
    for (std::size_t i = 0; i < 2; ++i) {
      ends_[i].port->set_transmit([this, i](cpu&, skb_ptr& skb) {
        skb_scrub_packet(*skb);
        flying_.push_back({ends_[1 - i].port, std::move(skb)});
        return true;
      });
    }
  }
  two_machines(const two_machines&) = delete;
  two_machines& operator=(const two_machines&) = delete;
  ~two_machines() {
    for (end& e : ends_) e.app.reset();
    for (end& e : ends_) e.port->set_transmit({});
    while (!flying_.empty()) {
      consume(ends_[0].machine.boot_cpu(), std::move(flying_.front().skb));
      flying_.pop_front();
    }
  }
  /// The task of an end, with its clock up to date.
  task& at(std::size_t i) {
    ends_[i].machine.enter(now_);
    return *ends_[i].app;
  }
  /// Carries frames and runs both machines until nothing moves.
  void settle() {
    using namespace std::chrono;
    now_ = std::max(now_, instant{duration_cast<std::chrono::nanoseconds>(
                                      steady_clock::now().time_since_epoch()).count()});
    for (bool busy = true; busy;) {
      busy = !flying_.empty();
      while (!flying_.empty()) {
        flight arrived = std::move(flying_.front());
        flying_.pop_front();
        arrived.to->receive(std::move(arrived.skb));
      }
      for (end& e : ends_) {
        e.machine.enter(now_);
        if (e.machine.next_deadline() > now_) continue;
        e.machine.run(now_);
        busy = true;
      }
    }
  }

 private:
  struct end {
    end(packet_memory& memory, u8 number, u32 features)
        : machine({.name = "host" + std::to_string(number), .memory = &memory}) {
      builtin_init(machine);
      const rtnl_guard rtnl(machine.rtnl());
      mem_config config{.addr = mac_addr{{2, 0, 0, 0, 0, number}}, .features = features};
      port = *mem_create(rtnl.held(), init_net(machine), config);
      ph_check(port->device().open(rtnl.held(), machine.boot_cpu()).has_value());
      in_ifaddr addr;
      addr.local = addr.address = ipv4_addr(10, 0, 0, number);
      addr.prefix_len = 24;
      ph_check(inet_addr_add(rtnl.held(), machine.boot_cpu(), port->device(), addr).has_value());
      app = std::make_unique<task>(machine, init_net(machine), "app");
    }
    kernel machine;
    mem_port* port;
    std::unique_ptr<task> app;
  };
  struct flight {
    mem_port* to;
    skb_ptr skb;
  };
  packet_memory memory_;
  std::array<end, 2> ends_;
  std::deque<flight> flying_;
  instant now_{};
};

/// Positions in the stream and the bytes that belong there.
struct pattern {
  pattern() : bytes(1'000'003) {
    rng random(11);
    for (u8& byte : bytes) byte = static_cast<u8>(random.next());
  }
  /// At most `most` bytes of the stream from `at` on.
  [[nodiscard]] byte_view from(u64 at, std::size_t most) const {
    const std::size_t start = at % bytes.size();
    return byte_view(bytes).subspan(start, std::min(most, bytes.size() - start));
  }
  std::vector<u8> bytes;
};

bool same(byte_view received, const pattern& sent, u64 at) {
  while (!received.empty()) {
    const byte_view expected = sent.from(at, received.size());
    if (std::memcmp(received.data(), expected.data(), expected.size()) != 0) return false;
    at += expected.size();
    received = received.subspan(expected.size());
  }
  return true;
}

void stream(benchmark::State& state) {
  two_machines world(state.range(0) == 0 ? netif_f_none
                                         : netif_f_sg | netif_f_hw_csum | netif_f_tso |
                                               netif_f_rxcsum);
  world.settle();
  const int listener = *sys_socket(world.at(1), uapi::af_inet, uapi::sock_stream, 0);
  ph_check(sys_bind(world.at(1), listener, name_of({}, 5001).view()).has_value());
  ph_check(sys_listen(world.at(1), listener, 1).has_value());
  const int from = *sys_socket(world.at(0), uapi::af_inet, uapi::sock_stream, 0);
  static_cast<void>(
      sys_connect(world.at(0), from, name_of(ipv4_addr(10, 0, 0, 2), 5001).view()));
  world.settle();
  const auto to = sys_accept4(world.at(1), listener, nullptr, 0);
  if (!to) return state.SkipWithError("the connection was not made");

  const pattern sent;
  std::vector<u8> room(128 * 1024);
  u64 written = 0, read = 0;
  constexpr u64 batch = 16u << 20;
  for (auto _ : state) {
    const u64 goal = read + batch;
    u64 last_progress = 0;
    for (u64 rounds = 0; read < goal; ++rounds) {
      while (written < goal) {
        const auto n = sys_send(world.at(0), from, sent.from(written, 64 * 1024));
        if (!n) break;
        written += *n;
      }
      world.settle();
      for (;;) {
        const auto n = sys_recv(world.at(1), *to, room);
        if (!n || *n == 0) break;
        if (!same(byte_view(room).first(*n), sent, read)) {
          return state.SkipWithError("received data differ from what was sent");
        }
        read += *n;
        last_progress = rounds;
      }
      constexpr u64 patience = 50'000'000;
      if (rounds - last_progress > patience) return state.SkipWithError("the stream stands still");
    }
  }
  state.SetBytesProcessed(static_cast<s64>(read));
  state.counters["Gbit/s"] =
      benchmark::Counter(static_cast<double>(read) * 8e-9, benchmark::Counter::kIsRate);
}
BENCHMARK(stream)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace ph
