// The turns of the daemon, and the life of control connections.
#include "daemon/server.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace ph {
namespace {

constexpr u64 events_per_turn = 20'000;         // then programs and connections get theirs
constexpr std::size_t most_connections = 256;
constexpr duration slow_reader_retry = milliseconds(5);
constexpr duration journey_check = milliseconds(20);

}  // namespace

server::server(const serve_options& options, control_listener listener)
    : options_(options), listener_(std::move(listener)), started_(clock_.now()),
      epoch_(wall_clock_now()) {}

server::~server() {
  for (auto& [id, c] : connections_) c->recording.reset();
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
  journeys_ = std::make_unique<journeys>(lab_->world().trace());
  watch_taps();
  auto programs_served = programs::serve(*lab_);
  if (!programs_served) return tl::unexpected(programs_served.error());
  programs_ = std::move(*programs_served);
  // Only ends the sleep: programs are served in every turn.
  if (!poller_.add(programs_->fd(), EPOLLIN, [](u32) {})) {
    return tl::unexpected(std::string("cannot wait for programs"));
  }
  if (options_.until_readable >= 0) watch_end(options_.until_readable);
  const auto listening =
      poller_.add(listener_.fd(), EPOLLIN, [this](u32) { accept_ready_ = true; });
  if (!listening) return tl::unexpected(std::string("cannot wait for connections"));
  return {};
}

void server::watch_taps() {
  for (const running_lab::tap tap : lab_->taps()) {
    const std::span<const int> fds = tap.port->fds();
    for (std::size_t q = 0; q < fds.size(); ++q) {
      const auto ready = [this, tap, q](u32 events) { ready_taps_.push_back({tap, q, events}); };
      static_cast<void>(poller_.add(fds[q], EPOLLIN | EPOLLOUT | EPOLLET, ready));
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
}

void server::run_until(int fd) {
  ending_ = false;
  watch_end(fd);
  take_turns();
  static_cast<void>(poller_.remove(fd));
}

std::vector<lab_process> server::lab_processes() const {
  return find_lab_processes(programs_->address(), programs_->peers());
}

void server::take_turns() {
  while (!ending_) {
    bool behind = !lab_->world().run_some_until(lab_now(), events_per_turn);
    serve_taps();
    if (programs_->process()) behind = true;
    if (std::exchange(accept_ready_, false)) accept_connections();
    for (const u64 id : std::exchange(ready_connections_, {})) serve_connection(id);
    serve_captures();
    serve_journeys();
    remove_ended();
    if (!ending_) poller_.wait(patience(behind));
  }
  for (auto& [id, c] : connections_) c->line.flush();
}

/// How long to sleep: until the world has something to do, or something here must be looked at.
duration server::patience(bool busy) {
  if (busy) return {0};
  duration out = time_until(lab_->world().next_deadline(), lab_now());
  for (const auto& [id, c] : connections_) {
    if (c->recording != nullptr && !c->recording->flushed()) {
      out = std::min(out, slow_reader_retry);
    }
    if (c->wants_journey) out = std::min(out, journey_check);
  }
  return out;
}

void server::serve_taps() {
  for (const ready_tap& ready : std::exchange(ready_taps_, {})) {
    ready.tap.host->call([&] {
      tap_port& port = *ready.tap.port;
      if ((ready.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) port.on_readable(ready.queue);
      if ((ready.events & EPOLLOUT) != 0 && port.wants_write(ready.queue)) {
        port.on_writable(ready.queue);
      }
    });
  }
}

// --- connections --------------------------------------------------------------------------------

void server::accept_connections() {
  for (;;) {
    unique_fd socket(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;  // none left, or no descriptors: the next turn tries again
    if (connections_.size() >= most_connections) {
      control_connection full(std::move(socket));
      full.refuse("the lab serves too many control connections already");
      full.flush();
      continue;
    }
    const u64 id = ++last_connection_;
    auto c = std::make_unique<connection>(std::move(socket));
    const auto ready = [this, id](u32 events) {
      if ((events & (EPOLLHUP | EPOLLERR)) != 0) connections_.at(id)->broken = true;
      ready_connections_.push_back(id);
    };
    c->polled = EPOLLIN;
    if (poller_.add(c->line.fd(), c->polled, ready)) connections_[id] = std::move(c);
  }
}

void server::serve_connection(u64 id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  connection& c = *found->second;
  if (!c.line.at_end() && !c.line.read()) c.broken = true;
  serve_requests(c);
  settle(c);
  update_poll(id, c);
}

void server::serve_requests(connection& c) {
  // A capture occupies its connection: what is asked behind it waits for its end.
  while (c.recording == nullptr && !c.wants_journey) {
    auto request = c.line.next();
    if (!request) return;
    serve_request(c, std::move(*request));
  }
}

/// Ends what the client's end of sending ends, and sends answers.
void server::settle(connection& c) {
  const bool asked_to_end = c.line.at_end() || c.broken;
  if (c.recording != nullptr && (asked_to_end || c.recording->over())) {
    c.recording->stop();
    c.recording->flush();
    if (c.recording->flushed() || c.broken) {
      if (c.recording->error().empty()) {
        c.line.answer({{"ok", true}, {"packets", c.recording->packets()},
                       {"left_out", c.recording->left_out()}});
      } else {
        c.line.refuse(c.recording->error());
      }
      c.recording.reset();
      c.line.close_after_flush();
    }
  }
  if (c.line.at_end() && c.recording == nullptr && !c.wants_journey) c.line.close_after_flush();
  if (!c.line.flush()) c.broken = true;
}

void server::update_poll(u64 id, connection& c) {
  const u32 wanted = (c.line.at_end() ? 0u : u32{EPOLLIN}) |
                     (c.line.wants_write() ? u32{EPOLLOUT} : 0u);
  if (wanted == c.polled || c.broken) return;
  c.polled = wanted;
  if (!poller_.mod(c.line.fd(), wanted)) connections_.at(id)->broken = true;
}

void server::remove_ended() {
  if (ending_) return;
  std::erase_if(connections_, [this](auto& entry) {
    connection& c = *entry.second;
    if (!c.broken && !(c.line.closing() && !c.line.wants_write())) return false;
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
  }
}

void server::serve_journeys() {
  bool wanted = tracing_;
  for (auto& [id, c] : connections_) {
    if (!c->wants_journey) continue;
    const auto sample = journeys_->sample();
    if (!sample && lab_->world().now() < c->journey_until && !c->broken) {
      wanted = true;
      continue;
    }
    c->wants_journey = false;
    if (sample) {
      nlohmann::json answer = journeys::to_json(*sample);
      answer["ok"] = true;
      c->line.answer(answer);
    } else {
      c->line.refuse("no packet went from one host of the lab to another and was delivered there");
    }
    serve_requests(*c);
    settle(*c);
    update_poll(id, *c);
  }
  if (journeys_->on() != wanted) journeys_->set_on(wanted);
}

}  // namespace ph
