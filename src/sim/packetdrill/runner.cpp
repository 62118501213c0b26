// The script's clock: each event in its time, sent packets matched as they come, blocking calls
// finished when the machine lets them.
#include "sim/packetdrill/runner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "net/tcp/tcp_sock.h"
#include "sim/packetdrill/acks.h"
#include "sim/packetdrill/calls.h"
#include "sim/packetdrill/machine.h"
#include "sim/packetdrill/nstat.h"
#include "sim/packetdrill/settings.h"
#include "sim/packetdrill/values.h"

namespace ph::packetdrill {
namespace {

/// How long a '*' packet or a call without a stated end may take, in script time.
constexpr duration patience = seconds(600);

/// The end of a run before its last event.
struct run_stop {
  outcome result;
  std::string reason;
};

class runner {
 public:
  runner(const script& s, const run_options& options)
      : script_(s),
        options_(options),
        settings_(script_settings(s, options)),
        host_(settings_.local, settings_.mtu),
        calls_(host_, options, settings_.local, settings_.remote) {
    how_.windows = how_.option_layout = !options.lenient_freebsd;
    how_.freebsd = options.lenient_freebsd;
    how_.strict_segments = settings_.strict_segments;
    calls_.tolerance = how_.tolerance = settings_.tolerance;
    how_.timestamp_tick = settings_.timestamp_tick;
    flows_.push_back(new_flow(-1));
  }

  run_report run() {
    run_report report;
    try {
      for (const auto& [name, value] : settings_.defaults) set_sysctl(name, value);
      refused_.clear();  // a suite's defaults are many; what the script itself asks for counts
      for (const auto& [name, value] : settings_.sysctls) set_sysctl(name, value);
      for (const std::string& route : settings_.routes) host_.change_route(route);
      for (const event& e : script_.events) {
        report.line = e.line;
        step(e);
      }
      finish_pending(host_.now() + patience);
      pay_debts(never);
    } catch (const run_stop& stop) {
      report.result = stop.result;
      report.reason = stop.reason;
    } catch (const not_supported& what) {
      report.result = outcome::skip;
      report.reason = what.what();
    } catch (const std::exception& fault) {
      report.result = outcome::fail;
      report.reason = fault.what();
    }
    if (report.result == outcome::fail && !refused_.empty()) {
      report.reason += fmt::format("\n    not in this stack: {}", fmt::join(refused_, " "));
    }
    return report;
  }

 private:
  struct pending_call {
    const event* what;
    duration begun, end;
    bool any_time = false;  ///< a lenient run does not ask when
  };

  flow new_flow(int fd) const {
    flow f;
    f.fd = fd;
    f.local = settings_.local;
    f.remote = settings_.remote;
    f.local_port = call_runner::default_port;
    f.remote_port = call_runner::default_port;
    return f;
  }
  flow& current() { return flows_.back(); }
  [[noreturn]] void fail_now(std::string why) const {
    throw run_stop{outcome::fail, std::move(why)};
  }
  [[nodiscard]] duration now_in_script() const { return host_.since_start(host_.now()); }

  /// Settings that this stack does not have are no reason to stop: scripts of other systems set
  /// many, and what matters shows in the packets. A failure names them.
  void set_sysctl(const std::string& name, const std::string& value) {
    if (!host_.net().sysctls().set(name, value)) refused_.insert(name + '=' + value);
  }

  // --- time -------------------------------------------------------------------------------------
  /// Relative times count from now. Only between packets that the script injects they count from
  /// when the one before was due, so that their distances stay exact.
  [[nodiscard]] duration base_of(const event& e) const {
    const bool injects = e.kind == event::kind_type::packet && e.packet.inbound;
    return injects && injected_last_ ? last_ : now_in_script();
  }

  void step(const event& e) {
    const bool relative = e.time.kind != event_time::kind_type::absolute;
    const bool any = e.time.kind == event_time::kind_type::any;
    base_ = relative ? base_of(e) : duration{};
    const duration from = any ? base_ : base_ + e.time.from;
    const duration to = any ? base_ : base_ + e.time.to;
    const bool expects = e.kind == event::kind_type::packet && !e.packet.inbound;
    injected_last_ = e.kind == event::kind_type::packet && e.packet.inbound;
    pay_debts(host_.at(from));
    if (!expects) advance_to(host_.at(from));
    switch (e.kind) {
      case event::kind_type::packet:
        if (expects) expect(e.packet, from, to, any);
        else inject(e.packet);
        break;
      case event::kind_type::syscall: system_call(e, from); break;
      case event::kind_type::command: command(e.text); break;
      case event::kind_type::code: code(e.text); break;
    }
    last_ = from;
  }

  /// As machine::advance, and a call that waits gives up in its time.
  template <class Stop>
  bool run_until(instant t, Stop&& stop) {
    if (pending_ && calls_.gives_up() < t && !host_.advance(calls_.gives_up(), stop)) return false;
    return host_.advance(t, stop);
  }

  void advance_to(instant t) {
    run_until(t, [&] {
      try_pending();
      return false;
    });
    try_pending();
  }

  /// The longer a script waits, the less exact is the moment.
  [[nodiscard]] duration tolerance(duration waited) const {
    return std::max(settings_.tolerance, waited * settings_.tolerance_per_mille / 1000);
  }

  /// `since`: when the wait for it began.
  void check_time(const char* what, duration got, duration from, duration to,
                  duration since) const {
    const duration off = tolerance(from - since);
    if (got + off < from || got > to + off) {
      fail_now(fmt::format("{}: expected at {:.6f}{} s, happened at {:.6f} s", what, from.seconds(),
                           to == from ? "" : fmt::format("~{:.6f}", to.seconds()), got.seconds()));
    }
  }

  // --- packets ----------------------------------------------------------------------------------
  void expect(const packet_spec& spec, duration from, duration to, bool any) {
    if (spec.icmp || spec.udp_payload || spec.udp_encapsulation) {
      throw run_stop{outcome::skip, "expects a packet that is not plain TCP"};
    }
    flow& f = current();
    // A SYN may ask for ECN by flags of its own.
    const bool opens = (spec.flags & ~(tcphdr_ece | tcphdr_cwr)) == tcphdr_syn;
    if (f.state == flow::state_type::connecting && opens) f.local_port = 0;
    const instant limit = any ? host_.now() + patience : host_.at(to + tolerance(from - last_));
    host_.settle();
    for (;;) {
      while (!host_.sent.empty() && !belongs(host_.sent.front(), f)) host_.sent.pop_front();
      const auto& sent = host_.sent;
      const instant when = sent.empty() ? never : sent.front().when;
      const auto live = sent.empty() ? std::nullopt : in_script_numbers(sent.front(), f);
      const std::string shown = live ? format_spec(*live) : "";
      bool missing = false;
      const std::string why = match_packet(spec, f, host_.sent, how_, missing);
      if (why.empty()) {
        const duration happened = host_.since_start(when);
        if (!any) check_time("packet", happened, earliest(spec, from), to, last_);
        if (opens) f.state = flow::state_type::active;
        if (live) acks_.matched(spec, *live);
        return;
      }
      const std::size_t seen = host_.sent.size();
      if (options_.lenient_freebsd) {
        if (!missing && live && acks_.pass_over(*live)) {
          host_.sent.pop_front();
          continue;
        }
        if (missing && advance_until_sent(std::min(limit, host_.at(from)), seen)) continue;
        if (acks_.came_earlier(spec) || acks_.may_come_later(spec, host_.now()) ||
            acks_.only_widens(spec)) {
          return;
        }
      }
      if (!missing || !advance_until_sent(limit, seen)) {
        fail_now(fmt::format("{} at {:.6f} s\n    expected: {}\n      actual: {}", why,
                             now_in_script().seconds(), format_spec(spec),
                             shown.empty() ? "nothing" : format_sent_or(shown, f)));
      }
    }
  }
  /// When a packet may come at the earliest: a lenient run takes an acknowledgement at once where
  /// the script's system delays it, and retransmissions without FreeBSD's slop.
  duration earliest(const packet_spec& spec, duration from) const {
    if (!options_.lenient_freebsd) return from;
    if (is_pure_ack(spec)) return std::min(from, last_);
    const duration slop = from - last_ >= seconds(1) ? settings_.retransmit_slop : duration{};
    return from - slop;
  }
  /// A lenient run: what was not acknowledged in its time must be by `t`, if it is due by then.
  void pay_debts(instant t) {
    while (acks_.due() != never && (t == never || acks_.due() < t)) {
      const instant due = acks_.due();
      advance_to(due);
      for (const sent_packet& packet : host_.sent) {
        if (const auto live = in_script_numbers(packet, current())) acks_.settle(*live);
      }
      if (acks_.due() == due) fail_now(acks_.owed());
    }
  }
  std::string format_sent_or(const std::string& shown, const flow& f) const {
    return host_.sent.empty() ? shown : format_sent(host_.sent.front(), f);
  }

  /// Lets time pass until more packets were sent; false when none came by `limit`.
  bool advance_until_sent(instant limit, std::size_t seen) {
    run_until(limit, [&] {
      try_pending();
      return host_.sent.size() > seen;
    });
    return host_.sent.size() > seen;
  }

  void inject(const packet_spec& spec) {
    if (spec.udp_encapsulation) throw run_stop{outcome::skip, "TCP over UDP is not supported"};
    const bool syn = !spec.icmp && (spec.flags & (tcphdr_syn | tcphdr_ack)) == tcphdr_syn;
    if (syn && current().state == flow::state_type::listening) {
      flow child = new_flow(-1);
      child.state = flow::state_type::passive;
      child.remote_port = next_remote_port_++;
      flows_.push_back(child);
      acks_ = {};
    }
    const bool opens = !spec.icmp && (spec.flags & tcphdr_syn) != 0;
    if (opens && !current().remote_known) {
      current().remote_known = true;
      current().remote_isn = spec.seq;
    }
    packet_spec placed = spec;
    if (options_.lenient_freebsd) placed.seq = acks_.place(spec);
    acks_.injected(placed);
    const u32 mss = settings_.arriving_mss;
    host_.arrive(build_packet(placed, current()), spec.payload > mss ? mss : 0, spec.payload);
    host_.settle();
    try_pending();
  }

  // --- system calls -----------------------------------------------------------------------------
  void note_call(const syscall_spec& call, const call_result& got) {
    if (call.name == "socket" && got) {
      flows_.push_back(new_flow(static_cast<int>(*got)));
      acks_ = {};
    } else if (call.name == "listen" && got) {
      current().state = flow::state_type::listening;
    } else if ((call.name == "accept" || call.name == "accept4") && got) {
      current().fd = static_cast<int>(*got);
    } else if (call.name == "getsockopt" && call.arguments.size() > 3 &&
               call.arguments[2].word == "SO_RCVBUF") {
      acks_.buffer_is(static_cast<u32>(evaluate(call.arguments[3], nullptr).value_or(0)));
    }
  }
  void note_attempt(const syscall_spec& call) {
    const bool sends = call.name == "sendto" || call.name == "sendmsg";
    const bool fast_open = sends && current().state == flow::state_type::fresh;
    if (call.name == "connect" || fast_open) {
      const auto fd = evaluate(call.arguments.at(0), nullptr);
      for (auto it = flows_.begin(); it != flows_.end(); ++it) {
        if (fd && it->fd == *fd && it->state == flow::state_type::fresh) {
          std::rotate(it, it + 1, flows_.end());  // the flow under test is the last one
          current().state = flow::state_type::connecting;
          return;
        }
      }
    }
  }

  void system_call(const event& e, duration from) {
    finish_pending(host_.now() + patience);
    calls_.begin();
    note_attempt(e.call);
    std::string difference;
    const auto got = calls_.attempt(e.call, &difference);
    if (calls_.bad_script) throw run_stop{outcome::skip, difference};
    if (got) {
      const duration end = e.time.end ? base_ + *e.time.end : from;
      done(e, *got, difference, now_in_script(), end, from);
      host_.settle();
      return;
    }
    const duration end = e.time.end ? base_ + *e.time.end : from;
    pending_ = pending_call{&e, from, end, calls_.opens_early(e.call)};
    host_.settle();
    if (!e.time.end && !pending_->any_time) finish_pending(host_.at(from) + patience);
  }

  void done(const event& e, const call_result& got, const std::string& difference, duration at,
            duration end, duration begun) {
    check_time(e.call.name.c_str(), at, end, end, begun);
    std::string why = calls_.check(e.call, got);
    if (why.empty()) why = difference;
    if (!why.empty() && !settings_.non_fatal_syscalls) fail_now(why);
    note_call(e.call, got);
  }

  void try_pending() {
    if (!pending_) return;
    std::string difference;
    const auto got = calls_.attempt(pending_->what->call, &difference);
    if (!got) return;
    const pending_call call = *std::exchange(pending_, std::nullopt);
    const duration at = now_in_script();
    done(*call.what, *got, difference, at, call.any_time ? at : call.end, call.begun);
    host_.settle();
  }

  void finish_pending(instant limit) {
    if (!pending_) return;
    run_until(limit, [&] {
      try_pending();
      return !pending_;
    });
    if (pending_) fail_now(pending_->what->call.name + "() never returned");
  }

  // --- commands and code ------------------------------------------------------------------------
  void command(const std::string& text) {
    if (forgets_peers(text)) tcp_of(host_.net()).fastopen_peers.clear();
    for (const auto& [name, value] : command_settings(text, options_)) set_sysctl(name, value);
    for (const std::string& route : route_changes(text)) host_.change_route(route);
    if (const auto limit = queue_limit(text)) host_.limit_queue(*limit);
    const std::string why = nstat_.run(text, host_.net().mib());
    if (!why.empty()) fail_now(why);
  }

  void code(const std::string& text) {
    int fd = -1;
    for (auto it = flows_.rbegin(); it != flows_.rend() && fd < 0; ++it) {
      if (it->fd >= 0) fd = calls_.live_fd(it->fd);
    }
    load_tcp_info(host_.program(), fd, vars_);
    load_meminfo(host_.program(), fd, vars_);
    const std::string why = run_code(text, vars_);
    if (!why.empty()) fail_now(why);
  }

  const script& script_;
  const run_options& options_;
  run_settings settings_;
  machine host_;
  call_runner calls_;
  strictness how_;
  std::vector<flow> flows_;
  u16 next_remote_port_ = 49152;
  duration last_{};             ///< when the event before was due
  duration base_{};             ///< what times of the present event are relative to
  bool injected_last_ = false;
  std::optional<pending_call> pending_;
  ack_ledger acks_;
  variables vars_;
  nstat nstat_;
  std::set<std::string> refused_;  ///< settings that the stack did not take
};

}  // namespace

run_report run_script(const script& s, const run_options& options) {
  const std::string skip = reason_to_skip(s, options);
  if (!skip.empty()) return {outcome::skip, 0, skip};
  try {
    return runner(s, options).run();
  } catch (const not_supported& what) {
    return {outcome::skip, 0, what.what()};
  }
}

run_report run_file(const std::string& path, const run_options& options) {
  std::ifstream file(path);
  if (!file) return {outcome::fail, 0, "cannot read the file"};
  std::stringstream text;
  text << file.rdbuf();
  if (text.str().find(" sctp:") != std::string::npos) {
    return {outcome::skip, 0, "SCTP is not in this stack"};
  }
  const auto run = [&](const run_options& how) -> run_report {
    const auto parsed = parse_script(path, text.str(), how.defines);
    if (!parsed) {
      const script_error& error = parsed.error();
      return {error.unsupported ? outcome::skip : outcome::fail, error.line, error.message};
    }
    return run_script(*parsed, how);
  };
  if (!options.lenient_freebsd) return run(options);
  // FreeBSD's suite says in places what the standard wants and what FreeBSD does: either will do.
  run_options standard = options;
  standard.defines.emplace_back("STANDARD", "");
  run_report report = run(standard);
  if (report.result != outcome::fail || text.str().find("#ifdef FreeBSD") == std::string::npos) {
    return report;
  }
  run_options freebsd = options;
  freebsd.defines.emplace_back("FreeBSD", "");
  run_report other = run(freebsd);
  return other.result == outcome::fail ? report : other;
}

}  // namespace ph::packetdrill
