// Furnishing a kernel with the congestion controls and a namespace with TCP: tables and settings
// (net.ipv4.tcp_* as ip-sysctl describes them).
#include <algorithm>
#include <bit>

#include "net/tcp/tcp.h"
#include "net/tcp/tcp_bbr.h"
#include "net/tcp/tcp_bbr3.h"
#include "net/tcp/tcp_cubic.h"
#include "net/tcp/tcp_dctcp.h"
#include "net/tcp/tcp_fastopen.h"
#include "net/tcp/tcp_reno.h"
#include "net/tcp/tcp_sock.h"
#include "net/tcp/tcp_vegas.h"

namespace ph {
namespace {

constexpr s32 s32_max = 0x7fffffff;

/// Adds net.ipv4.tcp_<name>.
void add_number(tcp_net& tn, const char* name, s32& value, s32 min, s32 max) {
  tn.net.sysctls().add(std::string("net.ipv4.tcp_") + name, value, min, max);
}

/// Timeouts and how often to try.
void add_timer_sysctls(tcp_net& tn) {
  tcp_sysctls& s = tn.sysctl;
  add_number(tn, "syn_retries", s.syn_retries, 1, 127);
  add_number(tn, "syn_linear_timeouts", s.syn_linear_timeouts, 0, 127);
  add_number(tn, "rto_max_ms", s.rto_max_ms, 1000, 120'000);
  add_number(tn, "rto_min_us", s.rto_min_us, 1, s32_max);
  add_number(tn, "thin_linear_timeouts", s.thin_linear_timeouts, 0, 1);
  add_number(tn, "synack_retries", s.synack_retries, 0, 255);
  add_number(tn, "retries1", s.retries1, 0, 255);
  add_number(tn, "retries2", s.retries2, 0, 255);
  add_number(tn, "orphan_retries", s.orphan_retries, 0, 255);
  add_number(tn, "fin_timeout", s.fin_timeout, 0, s32_max);
  add_number(tn, "keepalive_time", s.keepalive_time, 0, s32_max);
  add_number(tn, "keepalive_intvl", s.keepalive_intvl, 0, s32_max);
  add_number(tn, "keepalive_probes", s.keepalive_probes, 0, 255);
}

void add_fastopen_sysctls(tcp_net& tn) {
  tcp_sysctls* s = &tn.sysctl;
  add_number(tn, "fastopen", s->fastopen, 0, s32_max);
  tn.net.sysctls().add("net.ipv4.tcp_fastopen_key", s->fastopen_key, [s](std::string_view text) {
    if (!tcp_fastopen_key_valid(text)) return false;
    s->fastopen_key_given = true;  // also when it is all zeros
    return true;
  });
}

void add_sysctls(tcp_net& tn) {
  tcp_sysctls& s = tn.sysctl;
  sysctl_table& table = tn.net.sysctls();
  const auto add = [&](const char* name, s32& value, s32 min, s32 max) {
    add_number(tn, name, value, min, max);
  };
  table.add("net.ipv4.tcp_rmem", {&s.rmem[0], &s.rmem[1], &s.rmem[2]}, 1, s32_max);
  table.add("net.ipv4.tcp_wmem", {&s.wmem[0], &s.wmem[1], &s.wmem[2]}, 1, s32_max);
  table.add("net.ipv4.tcp_mem", {&s.mem[0], &s.mem[1], &s.mem[2]}, 0, s32_max);
  add("max_syn_backlog", s.max_syn_backlog, -s32_max - 1, s32_max);
  add("syncookies", s.syncookies, 0, 255);
  add("abort_on_overflow", s.abort_on_overflow, 0, 255);
  add("window_scaling", s.window_scaling, 0, 1);
  add("timestamps", s.timestamps, 0, 1);
  add("sack", s.sack, 0, 1);
  add("dsack", s.dsack, 0, 1);
  add("moderate_rcvbuf", s.moderate_rcvbuf, 0, 1);
  add("slow_start_after_idle", s.slow_start_after_idle, 0, 1);
  add("tw_reuse", s.tw_reuse, 0, 2);
  add("tw_reuse_delay", s.tw_reuse_delay, 1, 60'000);
  add("max_tw_buckets", s.max_tw_buckets, 0, s32_max);
  add("max_orphans", s.max_orphans, 0, s32_max);
  add("rfc1337", s.rfc1337, 0, 255);
  add("stdurg", s.stdurg, 0, 1);
  add("challenge_ack_limit", s.challenge_ack_limit, 0, s32_max);
  add("invalid_ratelimit", s.invalid_ratelimit, 0, s32_max);
  add("min_snd_mss", s.min_snd_mss, 28, 65535);
  add("min_tso_segs", s.min_tso_segs, 1, 65535);
  add("tso_rtt_log", s.tso_rtt_log, 0, 31);
  add("pacing_ss_ratio", s.pacing_ss_ratio, 0, 1000);
  add("pacing_ca_ratio", s.pacing_ca_ratio, 0, 1000);
  table.add("net.ipv4.tcp_notsent_lowat", s.notsent_lowat);
  add("mtu_probing", s.mtu_probing, 0, 2);
  add("base_mss", s.base_mss, 0, s32_max);
  add("mtu_probe_floor", s.mtu_probe_floor, 0, s32_max);
  add("probe_interval", s.probe_interval, 0, 86400);
  add("probe_threshold", s.probe_threshold, 0, s32_max);
  add("recovery", s.recovery, 0, 7);
  add("early_retrans", s.early_retrans, 0, 4);
  add("frto", s.frto, 0, 2);
  add("reordering", s.reordering, 1, s32_max);
  add("max_reordering", s.max_reordering, 1, s32_max);
  add("ecn", s.ecn, 0, 5);
  add("ecn_fallback", s.ecn_fallback, 0, 1);
  add("ecn_option", s.ecn_option, 0, 3);
  add("ecn_option_beacon", s.ecn_option_beacon, 0, 3);
  kernel* machine = &tn.net.machine();
  table.add("net.ipv4.tcp_congestion_control", s.congestion_control,
            [machine](std::string_view name) {
              return machine->slots().get(tcp_congestion_key).find(name) != nullptr;
            });
  table.add("net.ipv4.tcp_available_congestion_control", [machine] {
    std::string out;
    for (const congestion_entry& entry : machine->slots().get(tcp_congestion_key).all()) {
      if (!out.empty()) out += ' ';
      out += entry.name;
    }
    return out;
  });
}

}  // namespace

void tcp_kernel_init(kernel& machine) {
  auto& registry =
      machine.slots().set(tcp_congestion_key, std::make_unique<tcp_congestion_registry>());
  registry.add<tcp_reno>("reno");
  registry.add<tcp_cubic>("cubic");
  registry.add<tcp_cubic_pp>("cubic++");
  registry.add<tcp_bbr>("bbr");
  registry.add<tcp_bbr3>("bbr3");
  registry.add<tcp_dctcp>("dctcp");
  registry.add<tcp_vegas>("vegas");
}

void tcp_set_limits(net_namespace& net, u64 memory_bytes) {
  // Linux has a slot of the table of connections for each 128 KiB, their number a power of two.
  constexpr u64 per_slot = 128 * 1024, most_slots = 512 * 1024;
  const u64 slots = std::min(std::bit_ceil(std::max<u64>(memory_bytes / per_slot, 1)), most_slots);
  tcp_sysctls& sysctl = tcp_of(net).sysctl;
  sysctl.max_tw_buckets = sysctl.max_orphans = static_cast<s32>(slots / 2);
  sysctl.max_syn_backlog = static_cast<s32>(std::max<u64>(slots / 128, 128));
}

void tcp_init(net_namespace& net) {
  tcp_mib_init(net.mib());
  tcp_net& tn = net.slots().set(tcp_key, std::make_unique<tcp_net>(net));
  tcp_set_limits(net, u64{24} << 30);
  add_timer_sysctls(tn);
  add_fastopen_sysctls(tn);
  add_sysctls(tn);
}

}  // namespace ph
