// Building a world from a plan, running it to its end, and judging what is left.
#include "sim/swarm.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "kernel/trace_sinks.h"
#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/ipv4_net.h"
#include "net/tcp/tcp_sock.h"
#include "sim/swarm_attack.h"
#include "sim/swarm_dialogue.h"
#include "sim/swarm_flows.h"

namespace ph::sim {

using namespace literals;

namespace {

constexpr duration run_limit = seconds(86'400);  ///< for the programs, after the faults: without
                                                 ///< SACK and timestamps a loss can cost 120 s
constexpr u64 most_events = 20'000'000;          ///< more is going round in a circle
constexpr duration quiet_time = seconds(1500);   ///< for TIME-WAIT and connections without a file
constexpr u64 look_every = 256;                  ///< events between two looks at the connections
constexpr std::size_t most_violations = 8;       ///< of one seed; the first ones tell
constexpr double count_only = 1e-15;             ///< rare branches are counted, not forced

/// One run of one plan.
class run {
 public:
  run(const swarm_plan& plan, trace_sink* sink)
      : plan_(plan),
        checker_([this](violation v) { note(std::move(v)); }),
        attack_(plan.seed),
        lo_chance_(rng(plan.seed).fork("lo")),
        world_({.seed = plan.seed, .buggify = std::max(plan.buggify, count_only)}) {
    if (sink != nullptr) world_.trace().add(*sink);
    result_.seed = plan.seed;
  }
  swarm_result go();
  /// Tells each segment between these ports.
  void listen_to(swarm_dialogue& to) { dialogue_ = &to; }

 private:
  void note(violation v) {
    if (result_.violations.size() < most_violations) result_.violations.push_back(std::move(v));
  }
  void note(const char* rule, std::string where, std::string what, u16 port = 0, u16 peer = 0) {
    note({world_.now(), rule, std::move(where), std::move(what), 0, port, peer});
  }
  void make_lo_lossy();
  void build();
  void add_routes();
  void spawn_weather();
  void spawn_attacker();
  void run_programs();
  void look_at_connections();
  void judge_flow(const flow_plan& plan, const flow_outcome& outcome);
  void judge_side(const flow_plan& plan, const side_outcome& side, bool client);
  void judge_pair(const flow_plan& plan, const side_outcome& to, const side_outcome& from,
                  bool client);
  void judge_rest();
  void finish();

  const swarm_plan& plan_;
  // Before the world: what dies there still sends, and is still watched.
  swarm_result result_;
  wire_checker checker_;
  swarm_attack attack_;
  swarm_dialogue* dialogue_ = nullptr;
  rng lo_chance_;
  world world_;
  std::vector<link*> wires_;
  std::vector<std::shared_ptr<flow_outcome>> outcomes_;
};

std::string flow_name(const flow_plan& plan) {
  return fmt::format("{} {} -> {}:{}", flow_kind_name(plan.kind), swarm_host_name(plan.client),
                     swarm_host_name(plan.server), plan.port);
}

void run::build() {
  for (std::size_t i = 0; i < plan_.hosts; ++i) {
    host& h = world_.add_host(swarm_host_name(i));
    for (const auto& [name, value] : plan_.sysctls[i]) {
      // What this build does not have, or takes only in a smaller range, keeps its default.
      static_cast<void>(h.net().sysctls().set(name, value));
    }
  }
  for (std::size_t i = 0; i < plan_.wires.size(); ++i) {
    const wire_plan& w = plan_.wires[i];
    const std::string device = fmt::format("eth{}", i);
    const auto prefix = [&](bool end_b) { return swarm_addr(i, end_b).to_string() + "/24"; };
    wires_.push_back(&world_.connect(
        attachment{swarm_host_name(w.a), device, {prefix(false)}, w.mtu},
        attachment{swarm_host_name(w.b), device, {prefix(true)}, w.mtu}));
    wires_.back()->set_config(link_end::a, w.a_to_b);
    wires_.back()->set_config(link_end::b, w.b_to_a);
    checker_.owns(swarm_host_name(w.a), swarm_addr(i, false));
    checker_.owns(swarm_host_name(w.b), swarm_addr(i, true));
  }
  for (link* wire : wires_) checker_.attach(*wire, false, plan_.corrupts);
  checker_.set_lost_inside([this](const std::string& name) {
    host& h = world_.host_at(name);
    return h.drops(drop_reason::neigh_failed) + h.drops(drop_reason::neigh_queuefull) +
               h.drops(drop_reason::neigh_dead) + h.drops(drop_reason::ip_outnoroutes) +
               h.drops(drop_reason::tcp_no_route) + h.drops(drop_reason::pkt_too_big) !=
           0;
  });
  checker_.set_witness([this](link& wire, const link::frame_seen& seen) {
    if (plan_.attack_every.ns > 0) attack_.overhear(wire, seen);
    if (dialogue_ != nullptr) dialogue_->on_wire(wire, seen);
  });
  if (plan_.lo_loss > 0) make_lo_lossy();
  if (dialogue_ != nullptr) dialogue_->watch_lo(world_);
  add_routes();
}

void run::make_lo_lossy() {
  for (const auto& h : world_.hosts()) {
    h->net().hooks().add(nf_family::ipv4, nf_hooknum::prerouting,
                         {0, [this](cpu& cx, net_namespace&, skb_ptr& skb, const nf_state& at) {
                            const bool lost = at.in->is_loopback() && cx.now() < plan_.faults_end &&
                                              lo_chance_.chance(plan_.lo_loss);
                            if (!lost) return nf_verdict::accept;
                            drop(cx, std::move(skb), drop_reason::fault_loss);
                            return nf_verdict::stolen;
                          }});
  }
}

/// Toward each wire's network by the wire that leads there.
void run::add_routes() {
  for (std::size_t net = 0; net < plan_.wires.size(); ++net) {
    for (const std::size_t target : {plan_.wires[net].a, plan_.wires[net].b}) {
      const std::vector<std::size_t> next = swarm_next_wires(plan_, target);
      for (std::size_t h = 0; h < plan_.hosts; ++h) {
        const bool on_net = plan_.wires[net].a == h || plan_.wires[net].b == h;
        if (on_net || h == target || next[h] == net) continue;
        // Of the two ends the nearer one comes first on the way; both lead through the same wire.
        if (target == plan_.wires[net].b) continue;
        const wire_plan& via = plan_.wires[next[h]];
        world_.host_at(swarm_host_name(h))
            .add_route(fmt::format("10.0.{}.0/24 via {}", net,
                                   swarm_addr(next[h], via.a == h).to_string()));
      }
    }
  }
}

/// Blackouts, and the end of all faults.
void run::spawn_weather() {
  struct change {
    instant when;
    std::size_t wire;
    bool dark;
  };
  std::vector<change> changes;
  for (std::size_t i = 0; i < plan_.wires.size(); ++i) {
    for (const blackout& dark : plan_.wires[i].blackouts) {
      changes.push_back({dark.from, i, true});
      changes.push_back({dark.to, i, false});
    }
  }
  std::sort(changes.begin(), changes.end(), [](const change& x, const change& y) {
    return std::tie(x.when, x.wire, x.dark) < std::tie(y.when, y.wire, y.dark);
  });
  world_.spawn(swarm_host_name(0), "weather", [this, changes](app& a) -> co<> {
    for (const change& c : changes) {
      co_await a.sleep_until(c.when);
      const wire_plan& w = plan_.wires[c.wire];
      wires_[c.wire]->set_config(link_end::a, c.dark ? link_config{.loss = 1} : w.a_to_b);
      wires_[c.wire]->set_config(link_end::b, c.dark ? link_config{.loss = 1} : w.b_to_a);
    }
    co_await a.sleep_until(std::max(plan_.faults_end, a.now()));
    for (std::size_t i = 0; i < wires_.size(); ++i) {
      for (const link_end e : {link_end::a, link_end::b}) {
        const link_config& now = e == link_end::a ? plan_.wires[i].a_to_b : plan_.wires[i].b_to_a;
        wires_[i]->set_config(e, {.rate = now.rate, .delay = now.delay, .jitter = now.jitter,
                                  .queue_packets = now.queue_packets});
      }
    }
  });
}

void run::spawn_attacker() {
  if (plan_.attack_every.ns == 0) return;
  world_.spawn(swarm_host_name(0), "attacker", [this](app& a) -> co<> {
    while (a.now() < plan_.faults_end) {
      co_await a.sleep(plan_.attack_every);
      attack_.strike();
    }
  });
}

void run::look_at_connections() {
  for (const auto& h : world_.hosts()) {
    tcp_of(h->net()).ehash.for_each([&](ehash_entry& entry) {
      if (entry.kind != ehash_kind::established) return;
      tcp_sock& tp = static_cast<tcp_sock&>(entry);
      tcp_check_invariants(tp);
      if (tp.cong.cwnd >= 1 && tp.cong.cwnd <= tp.cong.cwnd_clamp && tp.cong.cwnd < (1u << 24) &&
          tp.cong.ssthresh >= 1) {
        return;
      }
      note("cwnd", fmt::format("{} port {}", h->name(), tp.key.lport.value),
           fmt::format("cwnd {}, ssthresh {}, clamp {}", tp.cong.cwnd, tp.cong.ssthresh,
                       tp.cong.cwnd_clamp));
    });
  }
}

void run::run_programs() {
  const instant end = plan_.faults_end + run_limit;
  const auto over = [&] {
    for (const auto& flow : outcomes_) {
      if (flow->clients.empty()) return false;
      for (const auto& s : flow->clients) if (!s->done) return false;
      for (const auto& s : flow->servers) if (!s->done) return false;
    }
    return true;
  };
  u64 events = 0;
  while (world_.next_deadline() <= end && events < most_events) {
    world_.step();
    if (++events % look_every != 0) continue;
    look_at_connections();
    if (over()) break;
  }
  look_at_connections();
  if (!over()) {
    for (std::size_t i = 0; i < outcomes_.size(); ++i) {
      for (const bool client : {true, false}) {
        for (const auto& s : client ? outcomes_[i]->clients : outcomes_[i]->servers) {
          if (s->done) continue;
          note("stuck", flow_name(plan_.flows[i]),
               fmt::format("the {} (client's port {}) has not ended: {} sent, {} received, end {}",
                           client ? "client" : "server", s->client_port, s->sent, s->received,
                           s->saw_end ? "seen" : "not seen"),
               s->client_port, plan_.flows[i].port);
        }
      }
    }
    return;
  }
  world_.run_for(quiet_time);
}

void run::judge_side(const flow_plan& plan, const side_outcome& s, bool client) {
  const std::string who = fmt::format("{} (the {})", flow_name(plan), client ? "client" : "server");
  if (s.wrong_byte != ~u64{0}) {
    note("bytes", who, fmt::format("byte {} is not what was sent", s.wrong_byte), s.client_port,
         plan.port);
  }
  if (s.error == errc::ok) return;
  static constexpr std::array allowed{errc::timedout,   errc::connreset,  errc::pipe,
                                      errc::hostunreach, errc::netunreach, errc::connrefused};
  const bool known = std::find(allowed.begin(), allowed.end(), s.error) != allowed.end();
  if (plan.may_fail && known) return;
  note("outcome", who, fmt::format("{} says {}, which the plan does not allow", s.failed_call,
                                   errc_name(s.error)),
       s.client_port, plan.port);
}

/// What one side got against what the other gave.
void run::judge_pair(const flow_plan& plan, const side_outcome& to, const side_outcome& from,
                     bool client) {
  const std::string who = fmt::format("{} (the {}, client's port {})", flow_name(plan),
                                      client ? "client" : "server", to.client_port);
  // A call that fails may have sent its data with the SYN all the same (RFC 7413).
  const bool unsure = from.error != errc::ok && from.sent == 0;
  if (to.received > from.sent && !unsure) {
    note("bytes", who, fmt::format("it received {} bytes of {}", to.received, from.sent),
         to.client_port, plan.port);
  }
  // Once an error was told, a further call sees an end that is none.
  if (to.saw_end && to.error == errc::ok && to.received != from.sent) {
    note("bytes", who, fmt::format("its stream ended after {} of {} bytes", to.received,
                                   from.sent),
         to.client_port, plan.port);
  }
}

void run::judge_flow(const flow_plan& plan, const flow_outcome& outcome) {
  for (const auto& s : outcome.clients) judge_side(plan, *s, true);
  for (const auto& s : outcome.servers) judge_side(plan, *s, false);
  // A client that keeps no TIME-WAIT may draw the same port again: the order then tells who is who.
  std::map<u16, std::vector<const side_outcome*>> by_port;
  std::map<u16, std::size_t> calls, calls_before;
  for (const auto& s : outcome.servers) by_port[s->client_port].push_back(s.get());
  for (const auto& c : outcome.clients) ++calls[c->client_port];
  for (const auto& c : outcome.clients) {
    ++result_.connections;
    if (c->error != errc::ok) ++result_.failed_connections;
    const auto found = by_port.find(c->client_port);
    const std::size_t turn = calls_before[c->client_port]++;
    if (found != by_port.end() && found->second.size() == calls[c->client_port]) {
      judge_pair(plan, *c, *found->second[turn], true);
      judge_pair(plan, *found->second[turn], *c, false);
    } else if (!plan.may_fail) {
      note("outcome", flow_name(plan),
           fmt::format("no server got the connection from port {}", c->client_port),
           c->client_port, plan.port);
    }
  }
}

void run::judge_rest() {
  for (const auto& h : world_.hosts()) {
    tcp_net& tn = tcp_of(h->net());
    if (h->net().sockets != 0 || tn.ehash.size() != 0 || !tn.timewaits.empty() ||
        tn.orphans != 0) {
      std::string states;
      u16 port = 0, peer = 0;  // of one that is left, whose dialogue tells why
      tn.ehash.for_each([&](ehash_entry& entry) {
        port = entry.key.lport.value;
        peer = entry.key.rport.value;
        if (entry.kind != ehash_kind::established) return;
        const tcp_sock& tp = static_cast<tcp_sock&>(entry);
        states += fmt::format(" state {} port {}", static_cast<int>(tp.state), port);
      });
      note("memory", h->name(),
           fmt::format("{} sockets, {} connections, {} in TIME-WAIT, {} orphans are left{}",
                       h->net().sockets, tn.ehash.size(), tn.timewaits.size(), tn.orphans, states),
           port, peer);
    }
    if (h->drops(drop_reason::unreasoned) != 0) {
      note("drop", h->name(), "a packet died without a reason");
    }
  }
  if (world_.memory().unreasoned() != 0) note("drop", "all hosts", "a packet died unreasoned");
  if (world_.memory().live_packets() != 0 || world_.memory().live_blocks() != 0) {
    note("memory", "all hosts",
         fmt::format("{} packets and {} blocks are left", world_.memory().live_packets(),
                     world_.memory().live_blocks()));
  }
}

void run::finish() {
  u64 digest = checker_.digest();
  for (const auto& flow : outcomes_) {
    for (const auto* sides : {&flow->clients, &flow->servers}) {
      for (const auto& s : *sides) {
        digest = mix64(digest + s->sent);
        digest = mix64(digest + s->received);
        digest = mix64(digest + static_cast<u64>(s->error));
      }
    }
  }
  result_.digest = mix64(digest + static_cast<u64>(world_.now().ns));
  result_.frames = checker_.frames();
  result_.end = world_.now();
  for (const auto& h : world_.hosts()) {
    for (const auto& [name, count] : h->machine().sometimes()) {
      auto& sum = result_.branches[name];
      sum.reached += count.reached;
      sum.armed += count.armed;
    }
  }
}

swarm_result run::go() {
  build();
  for (const flow_plan& flow : plan_.flows) {
    outcomes_.push_back(spawn_flow(world_, flow, swarm_host_addr(plan_, flow.server),
                                   swarm_host_addr(plan_, flow.client)));
  }
  spawn_weather();
  spawn_attacker();
  try {
    run_programs();
    for (std::size_t i = 0; i < outcomes_.size(); ++i) judge_flow(plan_.flows[i], *outcomes_[i]);
    if (result_.violations.empty() || result_.violations.back().rule != "stuck") judge_rest();
  } catch (const std::exception& e) {
    note("exception", "a program", e.what());
  }
  finish();
  return std::move(result_);
}

}  // namespace

swarm::swarm() {
  world w;
  const auto names = w.add_host("any").net().sysctls().get(
      "net.ipv4.tcp_available_congestion_control");
  ph_check(names.has_value());
  for (std::size_t at = 0; at < names->size();) {
    const std::size_t end = std::min(names->find(' ', at), names->size());
    congestion_.push_back(names->substr(at, end - at));
    at = end + 1;
  }
}

swarm_result swarm::run(u64 seed) {
  const swarm_plan drawn = plan(seed);
  return sim::run(drawn, nullptr).go();
}

std::vector<std::string> swarm::dialogue(u64 seed) {
  const swarm_plan drawn = plan(seed);
  const swarm_result result = sim::run(drawn, nullptr).go();
  for (const violation& v : result.violations) {
    if (v.port == 0) continue;
    swarm_dialogue said(v.port, v.peer_port);
    sim::run again(drawn, nullptr);
    again.listen_to(said);
    static_cast<void>(again.go());
    return said.take();
  }
  return {};
}

std::vector<std::string> swarm::journey(u64 seed) {
  constexpr std::size_t remembered = 400'000;
  ring_sink ring(remembered);
  const swarm_plan drawn = plan(seed);
  const swarm_result result = sim::run(drawn, &ring).go();
  std::vector<std::string> out;
  if (result.violations.empty()) return out;
  u64 number = result.violations.front().journey;
  const std::vector<trace_event> all = ring.events();
  for (auto it = all.rbegin(); number == 0 && it != all.rend(); ++it) {
    if (it->when <= result.violations.front().when) number = it->journey;
  }
  for (const trace_event& event : ring.family(number)) out.push_back(trace_line(event));
  return out;
}

}  // namespace ph::sim
