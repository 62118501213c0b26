// Requests over the control socket. Blocking, with a limit to patience; never raises SIGPIPE.
#include "daemon/control_client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "daemon/obituary.h"
#include "platform/fd_message.h"

namespace ph {
namespace {

using nlohmann::json;
using told = tl::unexpected<std::string>;

constexpr int no_fd = -1;
constexpr duration without_end = milliseconds(-1);  // as poll(2) takes it
constexpr duration answer_patience = seconds(10);
constexpr duration last_patience = seconds(2);
constexpr duration journey_at_once = milliseconds(500);
constexpr std::size_t longest_answer = 64 << 20;
constexpr std::size_t copied_at_once = 64 << 10;

std::string start_one(const std::string& why, const std::string& path) {
  return fmt::format("{} at {}: start one with `ph up -f lab.yaml`", why, path);
}

u64 number_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<u64>() : 0;
}

/// The process at the other end, as a pidfd; none when it is this one, or cannot be seen from here.
unique_fd process_of(int socket) {
  ucred who{};
  socklen_t len = sizeof who;
  const bool known = ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0;
  if (!known || who.pid <= 0 || who.pid == ::getpid()) return {};
  return unique_fd(static_cast<int>(::syscall(SYS_pidfd_open, who.pid, 0)));
}

/// A program of a lab that is about to end.
struct named_program {
  std::string name;
  pid_t pid;
  unique_fd pidfd;  ///< none where there are too many
  [[nodiscard]] bool runs() const {
    if (!pidfd) return ::kill(pid, 0) == 0 || errno == EPERM;
    pollfd look{pidfd.get(), POLLIN, 0};
    return ::poll(&look, 1, 0) == 0;
  }
};

std::vector<named_program> programs_in(const json& reply) {
  std::vector<named_program> out;
  for (const json& program : reply.value("programs", json::array())) {
    if (!program.is_object()) continue;
    const json name = program.value("name", json(""));
    const auto pid = static_cast<pid_t>(number_of(program, "pid"));
    if (pid <= 0) continue;
    out.push_back({fmt::format("{} ({})", pid, name.is_string() ? name.get<std::string>() : ""),
                   pid, unique_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))});
  }
  return out;
}

answer<json> without_ok(answer<json> reply) {
  if (reply) reply->erase("ok");
  return reply;
}

/// True when this user or root listens at the other end. Another user's daemon would choose the
/// network and the environment of our programs.
bool is_ours(int fd) {
  ucred who{};
  socklen_t len = sizeof who;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 &&
         (who.uid == ::geteuid() || who.uid == 0);
}

bool is_socket(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode);
}

/// A connected socket, or the errno.
tl::expected<unique_fd, int> open_socket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return tl::unexpected(ENAMETOOLONG);
  std::copy(path.begin(), path.end(), address.sun_path);
  unique_fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return tl::unexpected(errno);
  }
  return socket;
}

}  // namespace

bool control_client::somebody_listens(const std::string& path) {
  const auto socket = open_socket(path);
  return socket || (socket.error() != ENOENT && socket.error() != ECONNREFUSED);
}

answer<control_client> control_client::connect(const std::string& path) {
  auto socket = open_socket(path);
  if (socket && !is_ours(socket->get())) {
    return told(
        fmt::format("the lab at {} is another user's: only its own user and root's labs are "
                    "trusted",
                    path));
  }
  if (socket) return control_client(path, std::move(*socket));
  switch (socket.error()) {
    case ENOENT: return told(start_one("no lab is running", path));
    case ECONNREFUSED:
      if (!is_socket(path)) return told(start_one("that is no socket, so no lab is running", path));
      return told(start_one(
          fmt::format("no lab is running (only its old socket is left{})", obituary(path)), path));
    default:
      return told(
          fmt::format("cannot reach the lab at {}: {}", path, std::strerror(socket.error())));
  }
}

answer<void> control_client::send(const std::string& line) {
  std::size_t sent = 0;
  while (sent < line.size()) {
    const ssize_t n = ::send(socket_.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return told(fmt::format("the lab at {} has gone away{}", path_, obituary(path_)));
    sent += static_cast<std::size_t>(n);
  }
  return {};
}

/// True when something (an answer or the end) can be read within `patience`.
answer<bool> control_client::readable(duration patience) {
  for (;;) {
    pollfd wanted{socket_.get(), POLLIN, 0};
    const int n = ::poll(&wanted, 1, static_cast<int>(patience.ms()));
    if (n >= 0) return n > 0;
    if (errno != EINTR) return told(fmt::format("cannot wait: {}", std::strerror(errno)));
  }
}

answer<json> control_client::receive(duration patience) {
  std::size_t end = 0;
  while ((end = received_.find('\n')) == std::string::npos) {
    if (received_.size() > longest_answer) {
      return told(fmt::format("the lab at {} sends without an end", path_));
    }
    const auto ready = readable(patience);
    if (!ready) return told(ready.error());
    if (!*ready) {
      return told(fmt::format("the lab at {} does not answer (waited {} s)", path_,
                              patience.ns / seconds(1).ns));
    }
    std::array<char, 65536> buffer;
    const ssize_t n = receive_with_fd(socket_.get(), buffer, passed_);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return told(fmt::format("the lab at {} ended before it answered{}", path_, obituary(path_)));
    }
    received_.append(buffer.data(), static_cast<std::size_t>(n));
  }
  json reply = json::parse(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(end),
                           nullptr, false);
  received_.erase(0, end + 1);
  if (!reply.is_object()) {
    return told(fmt::format("what answers at {} is no lab of this version", path_));
  }
  if (reply.value("ok", json(false)) != true) {
    const auto why = reply.find("error");
    return told(why != reply.end() && why->is_string() ? why->get<std::string>()
                                                       : "the lab refused and gave no reason");
  }
  return reply;
}

answer<json> control_client::ask(const json& request, duration patience) {
  const std::string line = request.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  if (const auto sent = send(line); !sent) return told(sent.error());
  return receive(patience);
}

answer<json> control_client::status() {
  return without_ok(ask({{"verb", "status"}}, answer_patience));
}

answer<json> control_client::journey(u64 wait_s, const std::function<void()>& still_waiting) {
  const std::string line = json{{"verb", "journey"}, {"wait_s", wait_s}}.dump() + "\n";
  if (const auto sent = send(line); !sent) return told(sent.error());
  const auto at_once = readable(journey_at_once);
  if (!at_once) return told(at_once.error());
  if (!*at_once && still_waiting) still_waiting();
  return without_ok(receive(answer_patience + seconds(static_cast<s64>(wait_s))));
}

answer<std::vector<std::pair<std::string, std::string>>> control_client::run_env(
    const std::string& host) {
  const auto reply = ask({{"verb", "attach"}, {"host", host}}, answer_patience);
  if (!reply) return told(reply.error());
  std::vector<std::pair<std::string, std::string>> environment;
  const auto env = reply->find("env");
  if (env == reply->end() || !env->is_object()) {
    return told(fmt::format("what answers at {} is no lab of this version", path_));
  }
  for (const auto& [name, value] : env->items()) {
    const bool harmless = name.starts_with("PH_");  // and not, say, LD_PRELOAD
    if (harmless && value.is_string()) environment.emplace_back(name, value.get<std::string>());
  }
  return environment;
}

answer<down_result> control_client::down(bool keep_programs) {
  json request{{"verb", "down"}};
  if (keep_programs) request["keep_programs"] = true;
  const unique_fd daemon = process_of(socket_.get());
  const auto reply = ask(request, answer_patience);
  if (!reply) return told(reply.error());
  std::vector<named_program> programs = programs_in(*reply);
  const auto ended = readable(seconds(30));
  if (!ended) return told(ended.error());
  if (!*ended) return told(fmt::format("the lab at {} said yes but has not ended", path_));
  // What it leaves behind, its log, it removes as the last thing.
  pollfd gone{daemon.get(), POLLIN, 0};
  if (daemon) ::poll(&gone, 1, static_cast<int>(last_patience.ms()));
  down_result out;
  for (const named_program& p : programs) {
    (p.runs() ? out.left : out.ended).push_back(p.name);
  }
  return out;
}

answer<void> control_client::start_capture(const capture_request& request, int output) {
  output_.reset(::fcntl(output, F_DUPFD_CLOEXEC, 0));
  if (!output_) return told(fmt::format("cannot write the capture: {}", std::strerror(errno)));
  const auto reply = ask({{"verb", "capture"},
                          {"on", request.on},
                          {"snaplen", request.snaplen},
                          {"packets", request.packets}},
                         answer_patience);
  if (!reply) return told(reply.error());
  captured_ = std::move(passed_);
  if (!captured_) return told(fmt::format("what answers at {} is no lab of this version", path_));
  return {};
}

void control_client::read_captured() {
  unwritten_.resize(copied_at_once);
  const ssize_t got = ::recv(captured_.get(), unwritten_.data(), unwritten_.size(), MSG_DONTWAIT);
  const bool later = got < 0 && (errno == EINTR || errno == EAGAIN);
  unwritten_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  if (got <= 0 && !later) captured_.reset();
}

/// As much as whatever is ready to be written to takes without waiting (pipe(7)).
answer<void> control_client::write_captured() {
  const std::size_t len = std::min<std::size_t>(unwritten_.size(), PIPE_BUF);
  const ssize_t n = ::write(output_.get(), unwritten_.data(), len);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return {};
  if (n < 0) return told(fmt::format("cannot write the capture: {}", std::strerror(errno)));
  unwritten_.erase(0, static_cast<std::size_t>(n));
  return {};
}

/// Waits until something can be read or written, or something else happens, and moves that.
answer<control_client::copy_turn> control_client::copy_some(bool for_answer, int other,
                                                            duration patience) {
  const bool full = !unwritten_.empty();
  std::array<pollfd, 4> wanted{pollfd{for_answer ? socket_.get() : no_fd, POLLIN, 0},
                               pollfd{other, POLLIN, 0},
                               pollfd{full ? no_fd : captured_.get(), POLLIN, 0},
                               pollfd{output_.get(), full ? short{POLLOUT} : short{0}, 0}};
  const int n = ::poll(wanted.data(), wanted.size(), static_cast<int>(patience.ms()));
  if (n < 0 && errno == EINTR) return copy_turn{};
  if (n < 0) return told(fmt::format("cannot wait: {}", std::strerror(errno)));
  if ((wanted[3].revents & (POLLERR | POLLHUP)) != 0) {
    return told(std::string("cannot write the capture: nobody reads it"));
  }
  if (wanted[2].revents != 0) read_captured();
  if ((wanted[3].revents & POLLOUT) != 0) {
    if (const auto written = write_captured(); !written) return told(written.error());
  }
  return copy_turn{wanted[0].revents != 0, wanted[1].revents != 0, n == 0};
}

answer<bool> control_client::wait_capture(int other) {
  while (received_.empty()) {
    const auto turn = copy_some(true, other, without_end);
    if (!turn) return told(turn.error());
    if (turn->answered || turn->told) return turn->answered;
  }
  return true;
}

answer<capture_result> control_client::finish_capture() {
  ::shutdown(socket_.get(), SHUT_WR);
  // The answer comes when the daemon has sent all, so it is copied meanwhile.
  while (received_.find('\n') == std::string::npos) {
    const auto turn = copy_some(true, no_fd, answer_patience);
    if (!turn) return told(turn.error());
    if (turn->answered || turn->idle) break;
  }
  const auto reply = receive(answer_patience);
  if (!reply) return told(reply.error());
  while (captured_ || !unwritten_.empty()) {
    const auto turn = copy_some(false, no_fd, answer_patience);
    if (!turn) return told(turn.error());
    if (turn->idle) return told(std::string("cannot write the capture: its output is full"));
  }
  return capture_result{number_of(*reply, "packets"), number_of(*reply, "left_out")};
}

}  // namespace ph
