// `ph sim`: simulations without a daemon. `ph sim swarm` runs seeds of the swarm in worker
// processes, so that a seed that brings the stack down is one failure and not the end.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/verb.h"
#include "sim/rare_branches.h"
#include "sim/swarm.h"

namespace ph::cli {
namespace {

using sim::swarm_result;

struct swarm_settings {
  u64 seeds = 1000;
  u64 first = 1;
  unsigned jobs = 1;
  bool journey = false;
  bool trace = false;
  bool plan = false;
};

/// What all seeds add up to.
struct totals {
  u64 seeds = 0, failed = 0, frames = 0, connections = 0, failed_connections = 0;
  u64 digest = 0;
  std::map<std::string, u64> branches;
};

// --- between a worker and us: one line of JSON per event -----------------------------------------

std::string line_of(const swarm_result& r) {
  nlohmann::json out{{"seed", r.seed}, {"digest", r.digest}, {"frames", r.frames},
                     {"end", r.end.ns}, {"connections", r.connections},
                     {"failed", r.failed_connections}};
  for (const auto& [name, count] : r.branches) out["branches"][name] = count.reached;
  for (const sim::violation& v : r.violations) {
    out["violations"].push_back({v.when.ns, v.rule, v.where, v.what});
  }
  return out.dump();
}

/// Writes "begin SEED" and the result of each seed to a pipe; in the worker process.
[[noreturn]] void work(int out, const swarm_settings& s, u64 first_seed, u64 step) {
  std::FILE* to = ::fdopen(out, "w");
  sim::swarm all;
  for (u64 seed = first_seed; seed < s.first + s.seeds; seed += step) {
    fmt::print(to, "begin {}\n", seed);
    std::fflush(to);
    fmt::print(to, "{}\n", line_of(all.run(seed)));
  }
  std::fclose(to);
  ::_exit(0);
}

// --- telling -------------------------------------------------------------------------------------

std::string replay(u64 seed) {
  return fmt::format("  again: ./ph sim swarm --seeds 1 --first {} --trace", seed);
}

void tell_violations(const nlohmann::json& r) {
  const u64 seed = r["seed"];
  fmt::print("seed {} FAILED\n", seed);
  for (const auto& v : r["violations"]) {
    fmt::print("  {} at {:.9f} s, {}: {}\n", v[1].get<std::string>(),
               static_cast<double>(v[0].get<s64>()) / 1e9, v[2].get<std::string>(),
               v[3].get<std::string>());
  }
  fmt::print("{}\n", replay(seed));
}

void tell_journey(u64 seed) {
  const std::vector<std::string> lines = sim::swarm().journey(seed);
  if (lines.empty()) return;
  fmt::print("the journey of the packet at fault:\n");
  for (const std::string& line : lines) fmt::print("  {}\n", line);
}

void tell_dialogue(u64 seed) {
  const std::vector<std::string> lines = sim::swarm().dialogue(seed);
  if (lines.empty()) return;
  fmt::print("the dialogue of the connection at fault:\n");
  for (const std::string& line : lines) fmt::print("  {}\n", line);
}

void tell_totals(const totals& t, double elapsed_s) {
  u64 reached = 0;
  std::string never;
  for (const std::string_view name : sim::rare_branches) {
    const auto found = t.branches.find(std::string(name));
    if (found != t.branches.end() && found->second != 0) ++reached;
    else never += fmt::format("  {}\n", name);
  }
  if (t.seeds > 1) {
    fmt::print("rare branches: {} of {} reached{}\n{}", reached, sim::rare_branches.size(),
               never.empty() ? "" : "; never:", never);
  }
  fmt::print("{} seeds, {} failed; {} connections ({} ended with an error, as planned), {} frames, "
             "{:.1f} s\ndigest {:016x}\n",
             t.seeds, t.failed, t.connections, t.failed_connections, t.frames, elapsed_s, t.digest);
}

// --- running -------------------------------------------------------------------------------------

class worker {
 public:
  /// Starts at `first_seed` and takes each `step`th.
  worker(const swarm_settings& s, u64 first_seed, u64 step)
      : settings_(s), next_(first_seed), step_(step) {
    begin();
  }
  /// Reads one line; false when the worker has done all its seeds.
  bool read_line(totals& sum) {
    if (from_ == nullptr) return false;
    char* line = nullptr;
    std::size_t room = 0;
    const ssize_t got = ::getline(&line, &room, from_);
    const std::string text(line == nullptr || got < 0 ? "" : line);
    std::free(line);
    if (got < 0) return ended(sum);
    if (text.starts_with("begin ")) {
      at_ = std::stoull(text.substr(6));
      return true;
    }
    take(nlohmann::json::parse(text), sum);
    return true;
  }

 private:
  void begin() {
    int ends[2];
    std::fflush(nullptr);
    if (::pipe(ends) != 0 || (pid_ = ::fork()) < 0) {
      throw std::runtime_error("cannot start a worker");
    }
    if (pid_ == 0) {
      ::close(ends[0]);
      work(ends[1], settings_, next_, step_);
    }
    ::close(ends[1]);
    from_ = ::fdopen(ends[0], "r");
  }
  void take(const nlohmann::json& r, totals& sum) {
    next_ = at_ + step_;
    ++sum.seeds;
    sum.frames += r["frames"].get<u64>();
    sum.connections += r["connections"].get<u64>();
    sum.failed_connections += r["failed"].get<u64>();
    sum.digest ^= mix64(r["digest"].get<u64>() + r["seed"].get<u64>());  // in any order
    if (r.contains("branches")) {
      for (const auto& [name, reached] : r["branches"].items()) {
        sum.branches[name] += reached.get<u64>();
      }
    }
    if (!r.contains("violations")) return;
    ++sum.failed;
    tell_violations(r);
    if (settings_.trace) tell_dialogue(r["seed"]);
    if (settings_.journey) tell_journey(r["seed"]);
  }
  /// The pipe is closed: the end, or a crash in seed at_.
  bool ended(totals& sum) {
    std::fclose(std::exchange(from_, nullptr));
    int status = 0;
    ::waitpid(pid_, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return false;
    if (at_ < next_) throw std::runtime_error("a worker stopped before it began a seed");
    ++sum.seeds;
    ++sum.failed;
    fmt::print("seed {} FAILED\n  crash: the stack stopped with {}\n{}\n", at_,
               WIFSIGNALED(status) ? fmt::format("signal {}", WTERMSIG(status))
                                   : fmt::format("exit code {}", WEXITSTATUS(status)),
               replay(at_));
    next_ = at_ + step_;
    if (next_ >= settings_.first + settings_.seeds) return false;
    begin();
    return true;
  }

  const swarm_settings& settings_;
  u64 next_, step_;
  u64 at_ = 0;                  // the seed that was begun last
  ::pid_t pid_ = -1;
  std::FILE* from_ = nullptr;
};

int run_swarm(const swarm_settings& s) {
  if (s.plan) {
    for (u64 seed = s.first; seed < s.first + s.seeds; ++seed) {
      fmt::print("{}", sim::swarm().plan(seed).describe());
    }
    return 0;
  }
  const auto begun = std::chrono::steady_clock::now();
  totals sum;
  std::vector<std::unique_ptr<worker>> workers;
  for (unsigned i = 0; i < s.jobs; ++i) {
    workers.push_back(std::make_unique<worker>(s, s.first + i, s.jobs));
  }
  // Each in turn: they run ahead of us as far as their pipes hold.
  for (bool any = true; any;) {
    any = false;
    for (const auto& w : workers) any = w->read_line(sum) || any;
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begun;
  tell_totals(sum, elapsed.count());
  return sum.failed == 0 ? 0 : 1;
}

}  // namespace

void add_sim(CLI::App& app, invocation& call) {
  CLI::App* verb = app.add_subcommand("sim", "Simulations in virtual time, by seeds");
  verb->require_subcommand(1);
  CLI::App* swarm = verb->add_subcommand(
      "swarm",
      "Random networks, faults, settings and programs, one for each seed, held against the rules "
      "of TCP. Prints each failing seed with the rule it broke and the command that replays it, "
      "the rare branches that no seed reached, and a digest: the same seeds give the same digest. "
      "Exits with 1 if a seed failed.");
  const auto s = std::make_shared<swarm_settings>();
  swarm->add_option("--seeds", s->seeds, "How many seeds")
      ->capture_default_str()
      ->check(CLI::Range(u64{1}, u64{1'000'000'000}))
      ->type_name("N");
  swarm->add_option("--first", s->first, "The first seed")
      ->capture_default_str()
      ->type_name("SEED");
  swarm->add_option("--jobs", s->jobs, "Worker processes")
      ->capture_default_str()
      ->check(CLI::Range(1u, 64u))
      ->type_name("N");
  swarm->add_flag("--journey", s->journey, "Tell the journey of the packet behind each failure");
  swarm->add_flag("--trace", s->trace,
                  "Tell every segment of the connection at fault of each failure");
  swarm->add_flag("--plan", s->plan, "Only print what each seed stands for");
  swarm->callback([s, &call] { call.exit_code = run_swarm(*s); });
}

}  // namespace ph::cli
