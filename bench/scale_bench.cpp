// What one operation costs beside range(0) sockets of the same machine: opening and binding,
// connecting and accepting over lo, closing, finding the receiver of a datagram. A curve that is
// flat is O(1), but for the cache: what lies in more memory than fits there is waited for, as the
// benchmark of loads shows, which is what no structure can go below. Each benchmark runs once and
// times itself, in nanoseconds for one operation.
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "init/builtin.h"
#include "kernel/task.h"
#include "net/socket/syscall.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph {
namespace {

constexpr s64 ports_an_address = 50'000;

/// 127.x.y.z and a port for the i-th of many: no address is used up.
sockaddr_buf nth_name(s64 i) {
  uapi::sockaddr_in in;
  in.sin_family.set(uapi::af_inet);
  in.sin_port.set(static_cast<u16>(10'000 + i % ports_an_address));
  in.sin_addr = ipv4_addr(0x7f000001u + static_cast<u32>(i / ports_an_address)).raw;
  sockaddr_buf out;
  out.set(in);
  return out;
}

/// One machine with lo, and a clock that moves when told.
struct crowd {
  crowd() {
    builtin_init(host);
    program = std::make_unique<task>(host, init_net(host));
    host.enter(now);
    for (const char* name : {"net.ipv4.tcp_max_orphans", "net.ipv4.tcp_max_tw_buckets"}) {
      static_cast<void>(init_net(host).sysctls().set(name, "10000000"));
    }
    program->set_limit(1u << 22);
  }
  /// Runs until nothing is due.
  void settle() {
    now.ns += 1000;
    host.enter(now);
    for (int i = 0; i < 50 && host.next_deadline() <= now; ++i) host.run(now);
  }
  packet_memory memory;
  kernel host{{.memory = &memory}};
  instant now{1'000'000'000};
  std::unique_ptr<task> program;
};

/// Bytes of memory that this process holds.
double resident() {
  long pages = 0, of_those = 0;
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  if (std::fscanf(file, "%ld %ld", &pages, &of_those) != 2) of_those = 0;
  std::fclose(file);
  return static_cast<double>(of_those) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

/// Memory that each of range(0) sockets takes at the peak, and what each leaves when all are
/// closed.
class memory_counters {
 public:
  explicit memory_counters(benchmark::State& state) : state_(state) {}
  void at_peak() { state_.counters["held"] = each(); }
  void when_closed() {
    malloc_trim(0);
    state_.counters["kept"] = each();
  }

 private:
  [[nodiscard]] double each() const {
    return std::max(resident() - before_, 0.0) / static_cast<double>(state_.range(0));
  }
  benchmark::State& state_;
  double before_ = resident();
};

/// The time of the CPU that this process took since it was made, for one of `count`: what others do
/// on the machine meanwhile is not in it.
class stopwatch {
 public:
  [[nodiscard]] double each(s64 count) const {
    return (now() - start_) / static_cast<double>(count);
  }

 private:
  static double now() {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  }
  double start_ = now();
};

/// True, with a word for the reader, where the machine has not the memory for that many.
bool too_many(benchmark::State& state, s64 bytes_each) {
  const s64 there = s64{sysconf(_SC_AVPHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  if (state.range(0) * bytes_each < there) return false;
  state.SkipWithError("not enough memory");
  return true;
}

/// `n` datagram sockets, each bound to a name of its own. Empty after an error.
std::vector<int> open_and_bind(crowd& all, s64 n) {
  std::vector<int> fds;
  for (s64 i = 0; i < n; ++i) {
    const auto fd = sys_socket(*all.program, uapi::af_inet, uapi::sock_dgram, 0);
    if (!fd || !sys_bind(*all.program, *fd, nth_name(i).view())) return {};
    fds.push_back(*fd);
  }
  return fds;
}

void udp_open_bind(benchmark::State& state) {
  if (too_many(state, 4096)) return;
  crowd all;
  for (auto _ : state) {
    const stopwatch watch;
    const auto fds = open_and_bind(all, state.range(0));
    state.SetIterationTime(watch.each(state.range(0)));
    if (fds.empty()) return state.SkipWithError("a socket could not be bound");
  }
}

void udp_close(benchmark::State& state) {
  if (too_many(state, 4096)) return;
  crowd all;
  memory_counters memory(state);
  for (auto _ : state) {
    auto fds = open_and_bind(all, state.range(0));
    memory.at_peak();
    const stopwatch watch;
    for (const int fd : fds) static_cast<void>(sys_close(*all.program, fd));
    state.SetIterationTime(watch.each(state.range(0)));
    fds = {};
    memory.when_closed();
  }
}

/// Sockets of one port: all of one address, which they share by an option, or (0) each with an
/// address of its own. Opened, bound and closed.
void share_a_port(benchmark::State& state, int option) {
  if (too_many(state, 4096)) return;
  crowd all;
  const s64 n = state.range(0), step = option == 0 ? ports_an_address : 0;
  for (auto _ : state) {
    std::vector<int> fds;
    const stopwatch watch;
    for (s64 i = 0; i < n; ++i) {
      fds.push_back(*sys_socket(*all.program, uapi::af_inet, uapi::sock_dgram, 0));
      const int fd = fds.back();
      if (option != 0) {
        static_cast<void>(sys_setsockopt_int(*all.program, fd, uapi::sol_socket, option, 1));
      }
      if (!sys_bind(*all.program, fd, nth_name(i * step).view())) {
        return state.SkipWithError("a socket could not be bound");
      }
    }
    for (const int fd : fds) static_cast<void>(sys_close(*all.program, fd));
    state.SetIterationTime(watch.each(n));
  }
}

void udp_one_port(benchmark::State& state) { share_a_port(state, 0); }
void udp_reuseaddr(benchmark::State& state) { share_a_port(state, uapi::so_reuseaddr); }
void udp_reuseport(benchmark::State& state) { share_a_port(state, uapi::so_reuseport); }

/// Loads that wait for each other, from as much memory as so many UDP sockets take: each in a page
/// and a line that nobody touched for long.
void memory_loads(benchmark::State& state) {
  constexpr s64 bytes_of_socket = 1536;
  if (too_many(state, bytes_of_socket)) return;
  struct alignas(64) line {
    line* next = nullptr;
  };
  std::vector<line> lines(static_cast<std::size_t>(state.range(0) * bytes_of_socket / 64));
  // One ring through all of them, in random order (Sattolo's shuffle).
  rng random(1);
  for (line& one : lines) one.next = &one;
  for (std::size_t i = lines.size() - 1; i > 0; --i) {
    std::swap(lines[i].next, lines[random.below(i)].next);
  }
  constexpr s64 count = 1'000'000;
  for (auto _ : state) {
    const line* now = lines.data();
    const stopwatch watch;
    for (s64 i = 0; i < count; ++i) now = now->next;
    benchmark::DoNotOptimize(now);
    state.SetIterationTime(watch.each(count));
  }
}

/// A datagram from one socket to another, received: the way through lo with one look-up.
void udp_demux(benchmark::State& state) {
  if (too_many(state, 4096)) return;
  crowd all;
  const auto fds = open_and_bind(all, state.range(0));
  const auto sender = sys_socket(*all.program, uapi::af_inet, uapi::sock_dgram, 0);
  if (fds.empty() || !sender) return state.SkipWithError("a socket could not be bound");
  constexpr s64 count = 20'000;
  for (auto _ : state) {
    const stopwatch watch;
    for (s64 i = 0; i < count; ++i) {
      const s64 to = i * 7919 % state.range(0);
      const u8 data[1] = {42};
      u8 got[4] = {};
      static_cast<void>(sys_sendto(*all.program, *sender, data, 0, nth_name(to).view()));
      all.settle();
      if (!sys_recv(*all.program, fds[static_cast<std::size_t>(to)], got)) {
        return state.SkipWithError("a datagram did not arrive");
      }
    }
    state.SetIterationTime(watch.each(count));
  }
}

/// Connections over lo to one listener; what both ends are, in pairs.
class pairs {
 public:
  explicit pairs(crowd& all) : all_(all) {
    listener_ = *sys_socket(*all.program, uapi::af_inet, uapi::sock_stream, 0);
    uapi::sockaddr_in in;
    in.sin_family.set(uapi::af_inet);
    in.sin_port.set(80);
    sockaddr_buf name;
    name.set(in);
    static_cast<void>(sys_bind(*all.program, listener_, name.view()));
    static_cast<void>(sys_listen(*all.program, listener_, 4096));
  }
  /// False if one fails.
  bool open(s64 n) {
    for (s64 i = 0; i < n; ++i) {
      uapi::sockaddr_in in;
      in.sin_family.set(uapi::af_inet);
      in.sin_port.set(80);
      in.sin_addr = ipv4_addr(0x7f000001u + static_cast<u32>(i / 20'000)).raw;
      sockaddr_buf name;
      name.set(in);
      const auto fd = sys_socket(*all_.program, uapi::af_inet, uapi::sock_stream, 0);
      if (!fd) return false;
      static_cast<void>(sys_connect(*all_.program, *fd, name.view()));
      all_.settle();
      const auto other = sys_accept4(*all_.program, listener_, nullptr, 0);
      if (!other) return false;
      ends.push_back(*fd);
      ends.push_back(*other);
    }
    return true;
  }
  std::vector<int> ends;

 private:
  crowd& all_;
  int listener_;
};

void tcp_connect_accept(benchmark::State& state) {
  if (too_many(state, 12'000)) return;
  crowd all;
  pairs connections(all);
  const std::size_t before = mallinfo2().uordblks;
  for (auto _ : state) {
    const stopwatch watch;
    const bool well = connections.open(state.range(0));
    state.SetIterationTime(watch.each(state.range(0)));
    if (!well) return state.SkipWithError("a connection could not be made");
  }
  state.counters["bytes"] =
      static_cast<double>(mallinfo2().uordblks - before) / static_cast<double>(state.range(0));
}

void tcp_close(benchmark::State& state) {
  if (too_many(state, 12'000)) return;
  crowd all;
  pairs connections(all);
  if (!connections.open(state.range(0))) {
    return state.SkipWithError("a connection could not be made");
  }
  for (auto _ : state) {
    const stopwatch watch;
    for (const int fd : connections.ends) {
      static_cast<void>(sys_close(*all.program, fd));
      all.settle();
    }
    state.SetIterationTime(watch.each(state.range(0)));
  }
}

void register_curve(const char* name, void (*run)(benchmark::State&)) {
  auto* made = benchmark::RegisterBenchmark(name, run);
  for (const s64 n : {1'000, 10'000, 100'000, 1'000'000}) made->Arg(n);
  made->Iterations(1)->UseManualTime()->Unit(benchmark::kNanosecond);
}

[[maybe_unused]] const bool registered = [] {
  register_curve("scale/udp_open_bind", udp_open_bind);
  register_curve("scale/udp_close", udp_close);
  register_curve("scale/udp_demux", udp_demux);
  register_curve("scale/udp_one_port", udp_one_port);
  register_curve("scale/udp_reuseaddr", udp_reuseaddr);
  register_curve("scale/udp_reuseport", udp_reuseport);
  register_curve("scale/memory_loads", memory_loads);
  register_curve("scale/tcp_connect_accept", tcp_connect_accept);
  register_curve("scale/tcp_close", tcp_close);
  return true;
}();

}  // namespace
}  // namespace ph
