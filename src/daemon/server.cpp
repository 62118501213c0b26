// The turns of the daemon, and the life of control connections.
#include "daemon/server.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <new>

#include "daemon/anchor.h"

namespace ph {
namespace {

constexpr u64 events_per_turn = 20'000;  // then programs and connections get theirs
constexpr std::size_t most_connections = 256;
constexpr int accepts_a_turn = 16;
constexpr duration requests_turn = milliseconds(1);  // and at least one request
constexpr duration name_retry = seconds(2);
constexpr duration accept_retry = milliseconds(50);
constexpr duration slow_reader_retry = milliseconds(5);
constexpr duration last_flush_patience = milliseconds(500);
constexpr duration journey_check = milliseconds(20);
constexpr duration memory_retry = milliseconds(50);
constexpr duration log_pause = seconds(10);  ///< between two lines about memory
constexpr duration undone_pause = milliseconds(5);
/// When packets needed more memory than ever since: first after so long, then each time after twice
/// as long, as a queue may take its time to drain.
constexpr duration first_trim = milliseconds(500), last_trim = seconds(64);

}  // namespace

server::server(const serve_options& options, control_listener listener)
    : options_(options), listener_(std::move(listener)) {}

server::~server() { end_captures(); }

/// The lab ends, and with it in good order the captures that run: whoever reads one is waited for
/// a little.
void server::end_captures() {
  const instant patience = clock_.now() + last_flush_patience;
  for (;;) {
    bool unwritten = false;
    for (auto& [id, c] : connections_) {
      if (c->recording == nullptr || c->broken) continue;
      c->line.set_at_end();
      settle(*c);
      unwritten |= c->recording != nullptr;
    }
    if (!unwritten || clock_.now() >= patience) return;
    ::usleep(static_cast<useconds_t>(slow_reader_retry.ns / 1000));
  }
}

tl::expected<std::unique_ptr<server>, std::string> server::start(const lab& what,
                                                                 const serve_options& options,
                                                                 int end) {
  auto listener = control_listener::listen(options.socket_path);
  if (!listener) return tl::unexpected(listener.error());
  auto out = std::make_unique<server>(options, std::move(*listener));
  out->watch_end(end);
  if (const auto built = out->build(what); !built) return tl::unexpected(built.error());
  return out;
}

tl::expected<void, std::string> server::build(const lab& what) {
  auto built = running_lab::build(what, entropy_);
  if (!built) return tl::unexpected(built.error());
  lab_ = std::move(*built);
  // Half of it is enough for an answer about every host.
  memory_reserve::sizes reserve;
  reserve.pieces += what.hosts.size() / 2;
  reserve_.emplace(reserve);
  if (reserve_->low()) {
    return tl::unexpected(
        fmt::format("this lab needs {} MiB more memory to keep in reserve: ulimit -v, or the "
                    "control group, allows too little",
                    (reserve.pieces * memory_reserve::piece_bytes >> 20) + 1));
  }
  lab_->set_reserve(*reserve_);
  capture_budget_.reserve = &*reserve_;
  for (const auto& h : lab_->world().hosts()) h->machine().set_outer_clocks(clocks_);
  journeys_ = std::make_unique<journeys>(lab_->world().trace());
  watch_taps();
  auto programs_served = programs::serve(*lab_, closer_);
  if (!programs_served) return tl::unexpected(programs_served.error());
  programs_ = std::move(*programs_served);
  // Only ends the sleep: programs are served in every turn.
  if (!poller_.add(programs_->fd(), EPOLLIN, [](u32) {})) {
    return tl::unexpected(std::string("cannot wait for programs"));
  }
  dropin::take_descriptors(listener_.fd(), false);
  if (options_.until_readable >= 0) watch_end(options_.until_readable);
  listener_watched_ = watch_listener();
  if (!listener_watched_) return tl::unexpected(std::string("cannot wait for connections"));
  return {};
}

bool server::watch_listener() {
  static_cast<void>(
      poller_.add(listener_.watch_fd(), EPOLLIN, [this](u32) { name_may_be_lost_ = true; }));
  return poller_.add(listener_.fd(), EPOLLIN, [this](u32) { accept_ready_ = true; }).has_value();
}

/// A session's end and cleaners of /tmp remove the control socket's file while the lab runs: it is
/// put back as soon as there is a place for it.
void server::keep_name() {
  if (!std::exchange(name_may_be_lost_, false) && clock_.now() < name_again_) return;
  name_again_ = clock_.now() + name_retry;  // also when what follows finds no memory
  bool there = !listener_.lost();
  if (!there) {
    const int fd = listener_.fd(), watch = listener_.watch_fd();
    listener_watched_ = false;
    static_cast<void>(poller_.remove(fd));
    static_cast<void>(poller_.remove(watch));
    there = listener_.listen_again();
  }
  if (!listener_watched_) listener_watched_ = watch_listener();
  if (there && listener_watched_) name_again_ = never;
}

void server::watch_taps() {
  std::size_t queues = 0;
  for (const running_lab::tap tap : lab_->taps()) {
    const std::span<const int> fds = tap.port->fds();
    for (std::size_t q = 0; q < fds.size(); ++q) {
      const auto ready = [this, tap, q](u32 events) { ready_taps_.push_back({tap, q, events}); };
      static_cast<void>(poller_.add(fds[q], EPOLLIN | EPOLLOUT | EPOLLET, ready));
      ready_taps_.reserve(++queues);  // an edge is told once: what notes it needs no memory
    }
  }
}

void server::watch_end(int fd) {
  static_cast<void>(poller_.add(fd, EPOLLIN, [this](u32) { ending_ = true; }));
}

// --- turns --------------------------------------------------------------------------------------

void server::run() {
  if (options_.on_ready) options_.on_ready();
  take_turns();
  // It stays readable, and has ended the lab: only another reason cuts what follows short.
  if (options_.until_readable >= 0) static_cast<void>(poller_.remove(options_.until_readable));
}

void server::run_until(int fd) {
  ending_ = false;
  watch_end(fd);
  take_turns();
  static_cast<void>(poller_.remove(fd));
}

std::vector<lab_process> server::lab_processes() {
  std::vector<known_process> known = programs_->peers();
  for (known_process& p : attached_.list()) known.push_back(std::move(p));
  if (!finder_) finder_.emplace(programs_->address());
  std::vector<lab_process> all = finder_->find(known);
  std::erase_if(all, [this](const lab_process& p) { return p.pid == spared_; });
  return all;
}

void server::take_turns() {
  while (!ending_) {
    // Whoever can says by himself that there is no memory. What comes here was cut off in the
    // middle of something of the daemon's own, which is lost; the lab goes on.
    try {
      take_turn();
    } catch (const std::bad_alloc&) {
      note_undone();
    }
  }
  for (auto& [id, c] : connections_) c->line.flush();
}

/// It may be the same again and again, as long as there is no memory.
void server::note_undone() {
  if (const instant now = clock_.now(); now >= tell_undone_) {
    tell_undone_ = now + log_pause;
    std::fputs("posthaste: out of memory: something was left undone\n", stderr);
  }
  ::usleep(static_cast<useconds_t>(undone_pause.ns / 1000));
}

void server::take_turn() {
  look_after_memory();
  bool behind = !lab_->world().run_some_until(lab_now(), events_per_turn);
  serve_taps();
  if (programs_->process()) behind = true;
  keep_name();
  if (std::exchange(accept_ready_, false) || clock_.now() >= accept_again_) accept_connections();
  serve_connections();
  serve_captures();
  serve_journeys();
  remove_ended();
  if (!ending_) poller_.wait(patience(behind || !ready_connections_.empty()));
}

/// What packets needed goes back to the heap, and from there to the machine, when their peak is
/// over; and at once, as far as it is free, while there is too little.
void server::look_after_memory() {
  packet_memory& packets = lab_->world().memory();
  const instant now = clock_.now();
  if (const u64 growth = packets.heap_trips(); growth != packet_growth_) {
    packet_growth_ = growth;
    trim_patience_ = first_trim;
    trim_at_ = now + trim_patience_;
  }
  if (now >= trim_at_) {
    trim_patience_ = trim_patience_ * 2;
    trim_at_ = trim_patience_ > last_trim ? never : now + trim_patience_;
    if (packets.trim() != 0) ::malloc_trim(0);
  }
  const bool low = reserve_->low();
  if (low != told_low_ && now >= tell_memory_) tell_memory(low);
  if (!low || now < memory_again_) return;
  memory_again_ = now + memory_retry;
  packets.trim();
  reserve_->refill();
}

/// At the edge of a limit it comes and goes.
void server::tell_memory(bool low) {
  told_low_ = low;
  tell_memory_ = clock_.now() + log_pause;
  std::fputs(low ? "posthaste: out of memory: new work is refused or waits\n"
                 : "posthaste: there is memory again\n",
             stderr);
}

/// How long to sleep: until the world has something to do, or something here must be looked at.
duration server::patience(bool busy) {
  if (busy) return {0};
  duration out = time_until(lab_->world().next_deadline(), lab_now());
  if (accept_again_ != never) out = std::min(out, accept_retry);
  if (name_again_ != never) out = std::min(out, name_retry);
  const bool low = reserve_->low();
  if (low) out = std::min(out, memory_retry);
  if (low != told_low_) out = std::min(out, time_until(tell_memory_, clock_.now()));
  if (trim_at_ != never) out = std::min(out, time_until(trim_at_, clock_.now()));
  for (const auto& [id, c] : connections_) {
    if (c->wants_journey) out = std::min(out, journey_check);
  }
  return out;
}

void server::serve_taps() {
  for (const ready_tap& ready : ready_taps_) {
    ready.tap.host->call([&] {
      tap_port& port = *ready.tap.port;
      if ((ready.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) port.on_readable(ready.queue);
      if ((ready.events & EPOLLOUT) != 0 && port.wants_write(ready.queue)) {
        port.on_writable(ready.queue);
      }
    });
  }
  ready_taps_.clear();
}

// --- connections --------------------------------------------------------------------------------

void server::accept_connections() {
  if (accept_again_ != never) {
    accept_again_ = never;
    static_cast<void>(poller_.mod(listener_.fd(), EPOLLIN));
  }
  for (int i = 0; i < accepts_a_turn; ++i) {
    unique_fd socket(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
      return pause_accepting();
    }
    if (!socket) return;
    if (connections_.size() >= most_connections && !make_room()) {
      control_connection full(std::move(socket), closer_);
      full.refuse("the lab serves too many control connections already");
      full.flush();
      continue;
    }
    const u64 id = ++last_connection_;
    auto c = std::make_unique<connection>(std::move(socket), closer_);
    const auto ready = [this, id](u32 events) {
      connection& at = *connections_.at(id);
      if ((events & (EPOLLHUP | EPOLLERR)) != 0) at.broken = true;
      // What the client sent before may wait here for long: its end is seen at once.
      const bool unseen = at.recording != nullptr && !at.line.has_room();
      if ((events & EPOLLRDHUP) != 0 && unseen) at.line.set_at_end();
      queue(id, at);
    };
    c->polled = EPOLLIN | EPOLLRDHUP;
    const int fd = c->line.fd();
    const u32 polled = c->polled;
    connections_[id] = std::move(c);
    bool watched = false;
    try {
      watched = poller_.add(fd, polled, ready).has_value();
    } catch (const std::bad_alloc&) {
      watched = false;
    }
    if (!watched) connections_.erase(id);
  }
}

/// There is nothing to be had now: without this, the poller would report the listener for ever.
void server::pause_accepting() {
  static_cast<void>(poller_.mod(listener_.fd(), 0));
  accept_again_ = clock_.now() + accept_retry;
}

/// Whoever holds connections keeps nobody from `ph down`: the oldest ends, an idle one if there is
/// one, but none of the few captures.
bool server::make_room() {
  const auto end_oldest = [this](auto&& may_end) {
    const auto at = std::find_if(connections_.begin(), connections_.end(),
                                 [&](const auto& entry) { return may_end(*entry.second); });
    if (at == connections_.end()) return false;
    static_cast<void>(poller_.remove(at->second->line.fd()));
    connections_.erase(at);
    return true;
  };
  return end_oldest([](const connection& c) {
           return !c.occupied() && !c.queued && !c.line.wants_write();
         }) ||
         end_oldest([](const connection& c) { return c.recording == nullptr; });
}

void server::queue(u64 id, connection& c) {
  if (c.queued) return;
  ready_connections_.push_back(id);
  c.queued = true;
}

/// One request of each connection that has some, then the others' turn; and packets' and programs'
/// turn when it has taken long.
void server::serve_connections() {
  const instant end = clock_.now() + requests_turn;
  for (std::size_t n = ready_connections_.size(); n > 0 && !ending_; --n) {
    const u64 id = ready_connections_.front();
    ready_connections_.pop_front();
    const auto found = connections_.find(id);
    if (found == connections_.end()) continue;
    connection& c = *found->second;
    c.queued = false;
    try {
      serve_connection(id, c);
    } catch (const std::bad_alloc&) {
      say_no_memory(c);
    }
    if (clock_.now() >= end) return;
  }
}

/// The request is left undone, and its connection ends.
void server::say_no_memory(connection& c) {
  try {
    c.line.refuse("the daemon has no memory left for this");
    c.line.close_after_flush();
  } catch (const std::bad_alloc&) {
    c.broken = true;
  }
}

void server::serve_connection(u64 id, connection& c) {
  if (!c.line.at_end() && !c.line.read()) c.broken = true;
  // A capture or a journey occupies its connection: what is asked behind it waits for its end.
  if (!c.occupied() && !c.broken) {
    if (auto request = c.line.next()) serve_request(c, std::move(*request));
  }
  settle(c);
  if (!c.occupied() && !c.broken && c.line.has_next()) queue(id, c);
  update_poll(id, c);
}

/// Ends what the client's end of sending ends, and sends answers.
void server::settle(connection& c) {
  const bool asked_to_end = c.line.at_end() || c.broken;
  if (c.recording != nullptr && (asked_to_end || c.recording->over())) {
    c.recording->stop();
    c.recording->flush();
    if (c.recording->flushed() || c.broken) {
      if (c.recording->error().empty()) {
        c.line.answer({{"ok", true},
                       {"packets", c.recording->packets()},
                       {"left_out", c.recording->left_out()}});
      } else {
        c.line.refuse(c.recording->error());
      }
      end_recording(c);
      c.line.close_after_flush();
    }
  }
  if (c.line.at_end() && !c.occupied() && !c.line.has_line()) c.line.close_after_flush();
  if (!c.line.flush()) c.broken = true;
}

void server::update_poll(u64 id, connection& c) {
  const u32 without_room = c.recording != nullptr ? u32{EPOLLRDHUP} : 0u;
  const u32 input = c.line.has_room() ? u32{EPOLLIN} | EPOLLRDHUP : without_room;
  const u32 wanted = (c.line.at_end() ? 0u : input) | (c.line.wants_write() ? u32{EPOLLOUT} : 0u);
  if (wanted == c.polled || c.broken) return;
  c.polled = wanted;
  if (!poller_.mod(c.line.fd(), wanted)) connections_.at(id)->broken = true;
}

void server::remove_ended() {
  if (ending_) return;
  std::erase_if(connections_, [this](auto& entry) {
    connection& c = *entry.second;
    if (!c.broken && !(c.line.closing() && !c.line.wants_write())) return false;
    end_recording(c);
    static_cast<void>(poller_.remove(c.line.fd()));
    return true;
  });
}

void server::serve_captures() {
  for (auto& [id, c] : connections_) {
    if (c->recording == nullptr) continue;
    c->recording->flush();
    if (c->recording->over() || c->line.at_end()) {
      settle(*c);
      update_poll(id, *c);
    }
    wait_for_reader(*c);
  }
}

/// A slow reader ends the sleep when it has made room.
void server::wait_for_reader(connection& c) {
  const bool stalls = c.recording != nullptr && !c.recording->flushed();
  if (std::exchange(c.reader_stalls, stalls) == stalls || c.recording == nullptr) return;
  const u32 events = stalls ? u32{EPOLLET} | EPOLLOUT : u32{EPOLLET};
  static_cast<void>(poller_.mod(c.recording->fd(), events));
}

void server::end_recording(connection& c) {
  if (c.recording == nullptr) return;
  static_cast<void>(poller_.remove(c.recording->fd()));
  c.recording.reset();
}

void server::serve_journeys() {
  bool wanted = tracing_;
  for (auto& [id, c] : connections_) {
    if (!c->wants_journey) continue;
    try {
      if (!answer_journey(*c)) {
        wanted = true;
        continue;
      }
    } catch (const std::bad_alloc&) {
      say_no_memory(*c);
    }
    c->wants_journey = false;
    queue(id, *c);
  }
  if (journeys_->on() != wanted) journeys_->set_on(wanted);
}

/// False when there is nothing to tell yet.
bool server::answer_journey(connection& c) {
  const auto sample = journeys_->sample();
  if (!sample && lab_->world().now() < c.journey_until && !c.broken) return false;
  if (sample) {
    nlohmann::json answer = journeys::to_json(*sample);
    answer["ok"] = true;
    c.line.answer(answer);
  } else {
    c.line.refuse(
        "no packet with data went from one host of the lab to another and was "
        "delivered there; ask while programs of the lab talk to each other");
  }
  return true;
}

}  // namespace ph
