// The dice: what is drawn, how often, and within what bounds.
#include "sim/swarm_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::sim {

using namespace literals;
using namespace uapi;

std::string_view flow_kind_name(flow_kind kind) {
  static constexpr std::array<std::string_view, static_cast<std::size_t>(flow_kind::count)> names{
      "bulk", "request_response", "half_close", "slow_reader", "zero_window", "abort",
      "short_connections", "simultaneous_close", "simultaneous_open", "urgent", "leave_early",
      "both_ways"};
  return names[static_cast<std::size_t>(kind)];
}

ipv4_addr swarm_addr(std::size_t wire, bool end_b) {
  return {10, 0, static_cast<u8>(wire), static_cast<u8>(end_b ? 2 : 1)};
}

ipv4_addr swarm_host_addr(const swarm_plan& plan, std::size_t host) {
  for (std::size_t i = 0; i < plan.wires.size(); ++i) {
    if (plan.wires[i].a == host) return swarm_addr(i, false);
    if (plan.wires[i].b == host) return swarm_addr(i, true);
  }
  ph_unreachable("a host without a wire");
}

std::string swarm_host_name(std::size_t host) { return fmt::format("h{}", host); }

std::vector<std::size_t> swarm_next_wires(const swarm_plan& plan, std::size_t target) {
  std::vector<std::size_t> out(plan.hosts, plan.wires.size());
  std::vector<std::size_t> seen{target};
  for (std::size_t at = 0; at < seen.size(); ++at) {
    for (std::size_t i = 0; i < plan.wires.size(); ++i) {
      const wire_plan& w = plan.wires[i];
      if (w.a != seen[at] && w.b != seen[at]) continue;
      const std::size_t other = w.a == seen[at] ? w.b : w.a;
      if (other == target || out[other] != plan.wires.size()) continue;
      out[other] = i;
      seen.push_back(other);
    }
  }
  return out;
}

namespace {

class dice {
 public:
  explicit dice(u64 seed) : chance_(rng(seed).fork("swarm")) {}
  bool one_in(u64 n) { return chance_.below(n) == 0; }
  bool chance(double p) { return chance_.chance(p); }
  /// low ... high, both included.
  s64 between(s64 low, s64 high) {
    return low + static_cast<s64>(chance_.below(static_cast<u64>(high - low + 1)));
  }
  /// The same with each order of magnitude as likely as any other.
  s64 magnitude(s64 low, s64 high) {
    const double x = std::exp(std::log(static_cast<double>(low)) +
                              chance_.uniform() * std::log(static_cast<double>(high + 1) /
                                                           static_cast<double>(low)));
    return std::clamp(static_cast<s64>(x), low, high);
  }
  double probability(double low, double high) {
    return low * std::pow(high / low, chance_.uniform());
  }
  template <class T>
  const T& pick(const std::vector<T>& from) { return from[chance_.below(from.size())]; }

 private:
  rng chance_;
};

/// A setting, the values it may get besides its default, and one in how many hosts gets one.
struct sysctl_choice {
  const char* name;
  std::vector<std::string> values;
  u64 one_in;
};

/// Names that this build does not have are passed over by the runner.
std::vector<sysctl_choice> sysctl_choices() {
  return {
      {"tcp_sack", {"0"}, 5},
      {"tcp_dsack", {"0"}, 6},
      {"tcp_timestamps", {"0", "2"}, 5},
      {"tcp_window_scaling", {"0"}, 6},
      {"tcp_recovery", {"0", "3", "5", "7"}, 5},
      {"tcp_early_retrans", {"0", "1", "4"}, 5},
      {"tcp_frto", {"0", "1"}, 5},
      {"tcp_fastopen", {"0", "2", "3", "519"}, 3},
      {"tcp_ecn", {"0", "1", "2"}, 2},
      {"tcp_ecn_fallback", {"0"}, 6},
      {"tcp_mtu_probing", {"1", "2"}, 5},
      {"tcp_moderate_rcvbuf", {"0"}, 6},
      {"tcp_slow_start_after_idle", {"0"}, 5},
      {"tcp_reordering", {"1", "2", "10"}, 8},
      {"tcp_max_reordering", {"3", "10"}, 12},
      {"tcp_retries2", {"8"}, 10},
      {"tcp_syncookies", {"0"}, 8},
      {"tcp_abort_on_overflow", {"1"}, 20},
      {"tcp_notsent_lowat", {"4096", "65536"}, 10},
      {"tcp_min_tso_segs", {"1", "4"}, 10},
      {"tcp_tso_win_divisor", {"1", "8"}, 12},
      {"tcp_limit_output_bytes", {"8192"}, 12},
      {"tcp_no_metrics_save", {"1"}, 8},
      {"tcp_thin_linear_timeouts", {"1"}, 8},
      {"tcp_retrans_collapse", {"0"}, 8},
      {"tcp_autocorking", {"0"}, 8},
      {"tcp_rfc1337", {"1"}, 8},
      {"tcp_max_tw_buckets", {"0", "2"}, 10},
      {"tcp_syn_retries", {"1", "3"}, 12},
      {"tcp_stdurg", {"1"}, 20},
      {"tcp_tw_reuse", {"0", "1"}, 6},
      {"tcp_fin_timeout", {"5", "20"}, 8},
      {"tcp_rmem", {"4096 8192 65536", "4096 32768 6291456", "2304 4608 16384"}, 4},
      {"tcp_wmem", {"4096 8192 65536", "4096 65536 4194304", "4608 4608 4608"}, 4},
      {"tcp_challenge_ack_limit", {"1"}, 20},
      {"tcp_invalid_ratelimit", {"0"}, 10},
      {"tcp_shrink_window", {"0"}, 12},
      {"tcp_comp_sack_nr", {"0"}, 10},
      {"tcp_pacing_ca_ratio", {"80", "200"}, 12},
  };
}

link_config draw_direction(dice& d, bool faulty) {
  link_config out;
  out.delay = microseconds(d.magnitude(20, 80'000));
  if (d.one_in(2)) {
    out.rate = {static_cast<u64>(d.magnitude(1'000'000, 500'000'000))};
    out.queue_packets = static_cast<u32>(d.magnitude(4, 300));
  }
  if (d.one_in(3)) out.jitter = out.delay / d.between(1, 20);
  if (!faulty) return out;
  if (d.one_in(2)) out.loss = d.probability(0.001, 0.2);
  if (d.one_in(4)) {
    out.burst = d.probability(0.0005, 0.02);
    out.burst_frames = static_cast<double>(d.magnitude(2, 30));
  }
  if (d.one_in(3)) out.reorder = d.probability(0.005, 0.3);
  if (d.one_in(4)) out.duplicate = d.probability(0.005, 0.3);
  if (d.one_in(5)) out.corrupt = d.probability(0.002, 0.05);
  return out;
}

wire_plan draw_wire(dice& d, std::size_t a, std::size_t b, instant faults_end) {
  wire_plan out;
  out.a = a;
  out.b = b;
  out.faulty = d.chance(0.6);
  if (d.one_in(4)) {
    out.mtu = d.pick<u32>({68, 88, 128, 296, 576, 1006, 1280, 1400, 9000, 32768, 65535, 65536});
  }
  out.a_to_b = draw_direction(d, out.faulty && !d.one_in(5));
  out.b_to_a = draw_direction(d, out.faulty && !d.one_in(5));
  if (out.faulty && d.one_in(5)) {
    const s64 from = d.between(0, faults_end.ms() - 100);
    out.blackouts.push_back(
        {{from * 1'000'000},
         {std::min(from + d.magnitude(50, 15'000), faults_end.ms()) * 1'000'000}});
  }
  return out;
}

void draw_options(dice& d, side_plan& side, const std::vector<std::string>& congestion) {
  const auto sometimes = [&](u64 one_in, int level, int name, int value) {
    if (d.one_in(one_in)) side.options.push_back({level, name, value});
  };
  sometimes(3, ipproto_tcp, tcp_nodelay, 1);
  sometimes(12, ipproto_tcp, tcp_cork, 1);
  sometimes(5, sol_socket, so_sndbuf, static_cast<int>(d.magnitude(2'000, 400'000)));
  sometimes(5, sol_socket, so_rcvbuf, static_cast<int>(d.magnitude(1'200, 400'000)));
  sometimes(8, ipproto_tcp, tcp_maxseg, static_cast<int>(d.magnitude(100, 1'400)));
  sometimes(10, ipproto_tcp, tcp_quickack, static_cast<int>(d.between(0, 1)));
  sometimes(12, ipproto_tcp, tcp_window_clamp, static_cast<int>(d.magnitude(3'000, 200'000)));
  sometimes(12, ipproto_tcp, tcp_notsent_lowat, static_cast<int>(d.magnitude(1'000, 100'000)));
  sometimes(10, ipproto_tcp, tcp_linger2, static_cast<int>(d.between(1, 20)));
  // A connection whose peer died silently must end: somebody has to ask.
  side.options.push_back({sol_socket, so_keepalive, 1});
  side.options.push_back({ipproto_tcp, tcp_keepidle, static_cast<int>(d.magnitude(2, 300))});
  side.options.push_back({ipproto_tcp, tcp_keepintvl, static_cast<int>(d.magnitude(1, 60))});
  side.options.push_back({ipproto_tcp, tcp_keepcnt, static_cast<int>(d.between(2, 9))});
  if (!congestion.empty() && d.one_in(3)) side.congestion = d.pick(congestion);
}

void draw_pace(dice& d, side_plan& side) {
  side.write_chunk = static_cast<u32>(d.magnitude(100, 60'000));
  side.read_chunk = static_cast<u32>(d.magnitude(500, 60'000));
  if (d.one_in(4)) side.write_pause = microseconds(d.magnitude(10, 60'000));
}

/// A pause that leaves a transfer of so many reads or writes within a minute.
duration bounded_pause(dice& d, u64 bytes, u32 chunk) {
  const s64 turns = static_cast<s64>(bytes / chunk) + 1;
  return microseconds(d.magnitude(100, std::max<s64>(200, 60'000'000 / turns)));
}

void shape_flow(dice& d, flow_plan& f) {
  side_plan& c = f.client_side;
  side_plan& s = f.server_side;
  switch (f.kind) {
    case flow_kind::request_response:
      f.rounds = static_cast<u32>(d.magnitude(2, 60));
      c.bytes = static_cast<u64>(d.magnitude(1, 3'000));  // of each request
      s.bytes = static_cast<u64>(d.magnitude(1, 12'000));
      if (d.one_in(4)) c.write_pause = milliseconds(d.magnitude(1, 3'000));
      break;
    case flow_kind::half_close: s.writes_after_eof = true; break;
    case flow_kind::slow_reader:
      s.read_chunk = static_cast<u32>(d.magnitude(200, 4'000));
      s.read_pause = bounded_pause(d, c.bytes, s.read_chunk);
      break;
    case flow_kind::zero_window:
      s.read_delay = milliseconds(d.magnitude(300, 40'000));
      c.bytes += 100'000;
      break;
    case flow_kind::abort: {
      side_plan& quitter = d.one_in(2) ? c : s;
      const u64 coming = (&quitter == &c ? s : c).bytes;
      if (d.one_in(2)) {
        quitter.abort_after = d.between(0, static_cast<s64>(coming));
        quitter.bytes = 0;
      } else {
        quitter.leaves_early = quitter.resets = true;
      }
      break;
    }
    case flow_kind::short_connections:
      f.connections = static_cast<u32>(d.magnitude(3, 20));
      c.bytes = static_cast<u64>(d.magnitude(1, 4'000));
      s.bytes = static_cast<u64>(d.magnitude(1, 4'000));
      break;
    case flow_kind::simultaneous_close:
      c.waits_to_close = s.waits_to_close = true;
      f.close_after = milliseconds(d.magnitude(500, 30'000));
      break;
    case flow_kind::urgent:
      c.urgent_every = static_cast<u32>(d.between(1, 5));
      s.options.push_back({sol_socket, so_oobinline, 1});
      break;
    case flow_kind::both_ways:
      c.bytes = static_cast<u64>(d.magnitude(100'000, 2'000'000));
      s.bytes = static_cast<u64>(d.magnitude(100'000, 2'000'000));
      break;
    case flow_kind::leave_early: (d.one_in(2) ? c : s).leaves_early = true; break;
    default: break;
  }
}

flow_plan draw_flow(dice& d, const swarm_plan& plan, std::size_t number,
                    const std::vector<std::string>& congestion) {
  flow_plan f;
  f.kind = static_cast<flow_kind>(d.between(0, static_cast<s64>(flow_kind::count) - 1));
  f.client = static_cast<std::size_t>(d.between(0, static_cast<s64>(plan.hosts) - 1));
  f.server = static_cast<std::size_t>(d.between(0, static_cast<s64>(plan.hosts) - 2));
  if (f.server >= f.client) ++f.server;
  // Nobody can open from both sides of one address and port.
  if (f.kind != flow_kind::simultaneous_open && d.one_in(6)) f.server = f.client;
  f.port = static_cast<u16>(1000 + number);
  f.start = {d.magnitude(1, 5'000) * 1'000'000};
  f.client_side.bytes = static_cast<u64>(d.magnitude(1'000, 1'000'000));
  f.server_side.bytes = static_cast<u64>(d.magnitude(1, 500'000));
  for (side_plan* side : {&f.client_side, &f.server_side}) {
    if (d.one_in(3)) side->bytes = 0;
    draw_pace(d, *side);
    draw_options(d, *side, congestion);
  }
  shape_flow(d, f);
  // Small packets carry so little that much would take for ever.
  for (const wire_plan& w : plan.wires) {
    if (w.mtu >= 500) continue;
    for (side_plan* side : {&f.client_side, &f.server_side}) {
      side->bytes = std::min<u64>(side->bytes, u64{w.mtu} * 100);
    }
  }
  // Who waits for more than the other says would wait for ever.
  if (f.kind != flow_kind::request_response && d.one_in(12)) {
    f.server_side.options.push_back(
        {sol_socket, so_rcvlowat, static_cast<int>(d.magnitude(2, 9'000))});
  }
  f.client_side.write_chunk = std::max<u32>(f.client_side.write_chunk,
                                            static_cast<u32>(f.client_side.bytes / 500));
  f.server_side.write_chunk = std::max<u32>(f.server_side.write_chunk,
                                            static_cast<u32>(f.server_side.bytes / 500));
  if (d.one_in(5) && f.client_side.bytes != 0) {
    f.client_side.opens_with_data = true;
    f.client_side.options.push_back({ipproto_tcp, tcp_fastopen_connect, 1});
    f.server_side.options.push_back({ipproto_tcp, tcp_fastopen, 16});
  }
  if (d.one_in(15)) f.server_side.options.push_back({ipproto_tcp, tcp_defer_accept, 3});
  if (d.one_in(12)) {
    f.client_side.options.push_back({ipproto_tcp, tcp_user_timeout,
                                     static_cast<int>(d.magnitude(3'000, 100'000))});
    f.may_fail = true;
  }
  if (f.kind == flow_kind::abort || f.kind == flow_kind::leave_early ||
      f.kind == flow_kind::simultaneous_open) {
    f.may_fail = true;
  }
  return f;
}

}  // namespace

swarm_plan draw_swarm_plan(u64 seed, const std::vector<std::string>& congestion) {
  dice d(seed);
  swarm_plan plan;
  plan.seed = seed;
  plan.faults_end = {d.between(2'000, 30'000) * 1'000'000};
  plan.hosts = static_cast<std::size_t>(d.one_in(2) ? 2 : d.between(2, 6));
  const bool line = d.one_in(3);  // else stars and trees
  bool faulty = false;
  for (std::size_t i = 1; i < plan.hosts; ++i) {
    const auto any = static_cast<std::size_t>(d.between(0, static_cast<s64>(i) - 1));
    const std::size_t from = line ? i - 1 : any;
    plan.wires.push_back(draw_wire(d, from, i, plan.faults_end));
    wire_plan& w = plan.wires.back();
    // Two bits that turn one after the other can leave the checksum right: one wire turns bits.
    if (plan.corrupts) w.a_to_b.corrupt = w.b_to_a.corrupt = 0;
    faulty = faulty || w.faulty;
    plan.corrupts = plan.corrupts || w.a_to_b.corrupt > 0 || w.b_to_a.corrupt > 0;
  }
  // Below min_pmtu (552) routers would cut segments, and fragments tell the checkers nothing.
  u32 least = 552;
  for (const wire_plan& w : plan.wires) least = std::min(least, w.mtu);
  for (wire_plan& w : plan.wires) {
    if (least < 552) w.mtu = least;
  }
  plan.sysctls.resize(plan.hosts);
  const std::vector<sysctl_choice> choices = sysctl_choices();
  for (auto& settings : plan.sysctls) {
    settings.emplace_back("net.ipv4.ip_forward", "1");
    settings.emplace_back("net.ipv4.tcp_congestion_control", d.pick(congestion));
    for (const sysctl_choice& choice : choices) {
      const std::string& value = d.pick(choice.values);
      if (d.one_in(choice.one_in)) {
        settings.emplace_back(std::string("net.ipv4.") + choice.name, value);
      }
    }
  }
  for (auto& settings : plan.sysctls) {
    // Else no segment is small enough (48 bytes and headers), as on Linux.
    if (least < 100) settings.emplace_back("net.ipv4.tcp_min_snd_mss", "28");
    // Else an acknowledgement with three blocks and a timestamp has 80 bytes and never gets out, as
    // on Linux: the peer would send in vain until it gives up.
    if (least < 80) settings.emplace_back("net.ipv4.tcp_sack", "0");
  }
  if (d.one_in(3)) plan.lo_loss = d.probability(0.0005, 0.03);
  if (d.one_in(3)) plan.attack_every = microseconds(d.magnitude(500, 100'000));
  if (d.one_in(2)) plan.buggify = d.probability(0.001, 0.1);
  const s64 flows = d.between(1, 4);
  for (s64 i = 0; i < flows; ++i) {
    plan.flows.push_back(draw_flow(d, plan, static_cast<std::size_t>(i), congestion));
    flow_plan& f = plan.flows.back();
    const bool lossy = f.client == f.server && plan.lo_loss > 0;
    f.may_fail = f.may_fail || faulty || lossy || plan.buggify > 0;
  }
  return plan;
}

std::string swarm_plan::describe() const {
  std::string out =
      fmt::format("seed {}: {} hosts, faults until {:.3f} s, forced branches {:.3f}\n", seed, hosts,
                  static_cast<double>(faults_end.ms()) / 1e3, buggify);
  if (lo_loss > 0) out += fmt::format("  lo loses {:.4f}\n", lo_loss);
  if (attack_every.ns > 0) out += fmt::format("  an attacker, each {} us\n", attack_every.us());
  const auto direction = [](const link_config& c) {
    return fmt::format("{:.1f} Mbit/s {:.2f}±{:.2f} ms queue {} loss {:.3f} burst {:.4f}x{} "
                       "reorder {:.3f} dup {:.3f} corrupt {:.3f}",
                       static_cast<double>(c.rate.bps) / 1e6, c.delay.seconds() * 1e3,
                       c.jitter.seconds() * 1e3, c.queue_packets, c.loss, c.burst, c.burst_frames,
                       c.reorder, c.duplicate, c.corrupt);
  };
  for (const wire_plan& w : wires) {
    out += fmt::format("  wire h{} - h{} mtu {}\n    -> {}\n    <- {}\n", w.a, w.b, w.mtu,
                       direction(w.a_to_b), direction(w.b_to_a));
    for (const blackout& dark : w.blackouts) {
      out += fmt::format("    dark {} .. {} ms\n", dark.from.ms(), dark.to.ms());
    }
  }
  for (std::size_t i = 0; i < sysctls.size(); ++i) {
    out += fmt::format("  h{}:", i);
    for (const auto& [name, value] : sysctls[i]) {
      out += fmt::format(" {}={}", name.substr(name.rfind('.') + 1), value);
    }
    out += '\n';
  }
  const auto side = [](const side_plan& s) {
    std::string text = fmt::format("{} bytes in {}s, reads {}s", s.bytes, s.write_chunk,
                                   s.read_chunk);
    if (s.read_delay.ns != 0) text += fmt::format(" after {} ms", s.read_delay.ms());
    if (s.read_pause.ns != 0) text += fmt::format(" each {} us", s.read_pause.us());
    if (s.abort_after >= 0) text += fmt::format(", resets after {}", s.abort_after);
    if (!s.congestion.empty()) text += ", " + s.congestion;
    for (const option_setting& o : s.options) {
      text += fmt::format(" {}/{}={}", o.level, o.name, o.value);
    }
    return text;
  };
  for (const flow_plan& f : flows) {
    out += fmt::format("  {} h{} -> h{}:{} at {} ms, {} connections, {} rounds\n    client {}\n"
                       "    server {}\n",
                       flow_kind_name(f.kind), f.client, f.server, f.port, f.start.ms(),
                       f.connections, f.rounds, side(f.client_side), side(f.server_side));
  }
  return out;
}

}  // namespace ph::sim
