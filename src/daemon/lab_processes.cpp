// Reading /proc, and waiting for processes by their descriptors.
#include "daemon/lab_processes.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>

#include "daemon/protocol.h"
#include "platform/patient_reader.h"

namespace ph {
namespace {

/// The files of processes below /proc.
class process_files {
 public:
  std::string read(pid_t pid, std::string_view name) {
    return reader_.read(fmt::format("/proc/{}/{}", pid, name));
  }

 private:
  patient_reader reader_;
};

/// Is `name=value` an entry of the environment? With an empty value: any entry of that name.
bool has_entry(const std::string& environment, const std::string& name, const std::string& value) {
  const std::string wanted = name + "=" + value;
  for (std::size_t at = 0; at < environment.size();) {
    const std::size_t end = std::min(environment.find('\0', at), environment.size());
    const std::string_view entry(environment.data() + at, end - at);
    if (value.empty() ? entry.starts_with(wanted) : entry == wanted) return true;
    at = end + 1;
  }
  return false;
}

bool leads_to(process_files& files, pid_t pid, const std::string& address) {
  return has_entry(files.read(pid, "environ"), dropin::env_socket, address);
}

/// A process that once opened a channel may be gone and its number another's: it counts only while
/// it has the shim and does not say that it belongs elsewhere.
bool is_peer(process_files& files, pid_t pid) {
  return files.read(pid, "maps").find("libph_preload") != std::string::npos &&
         !has_entry(files.read(pid, "environ"), dropin::env_socket, "");
}

/// The parent, from the fourth field of stat; the second, the name, may hold anything.
pid_t parent_of(process_files& files, pid_t pid) {
  const std::string stat = files.read(pid, "stat");
  const std::size_t name_end = stat.rfind(')');
  pid_t parent = 0;
  if (name_end == std::string::npos || name_end + 4 >= stat.size()) return 0;
  std::from_chars(stat.data() + name_end + 4, stat.data() + stat.size(), parent);
  return parent;
}

std::vector<pid_t> all_processes() {
  std::vector<pid_t> out;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc() && *end == 0) out.push_back(pid);
  }
  return out;
}

/// Adds the descendants of the processes that are in it.
void add_descendants(process_files& files, std::set<pid_t>& found, const std::vector<pid_t>& all) {
  std::map<pid_t, pid_t> parents;
  for (const pid_t pid : all) parents[pid] = parent_of(files, pid);
  for (const pid_t pid : all) {
    pid_t above = pid;
    for (std::size_t steps = 0; steps < all.size() && above > 1; ++steps) {
      if (found.contains(above)) {
        found.insert(pid);
        break;
      }
      const auto parent = parents.find(above);
      above = parent == parents.end() ? 0 : parent->second;
    }
  }
}

bool has_ended(const lab_process& p) {
  pollfd look{p.pidfd.get(), POLLIN, 0};
  return ::poll(&look, 1, 0) == 1;
}

void send(const lab_process& p, int signal) {
  ::syscall(SYS_pidfd_send_signal, p.pidfd.get(), signal, nullptr, 0);
}

std::string name_of(process_files& files, pid_t pid) {
  std::string name = files.read(pid, "comm");
  if (!name.empty() && name.back() == '\n') name.pop_back();
  return name;
}

/// Calls `wait` until all have ended, `patience` is over, or it comes back for no such reason.
void wait_for_ends(const std::vector<lab_process>& all, duration patience,
                   const std::function<void(int fd)>& wait) {
  const unique_fd any(::epoll_create1(EPOLL_CLOEXEC));
  const unique_fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  epoll_event e{};
  e.events = EPOLLIN;
  for (const lab_process& p : all) {
    e.data.fd = p.pidfd.get();
    ::epoll_ctl(any.get(), EPOLL_CTL_ADD, p.pidfd.get(), &e);
  }
  e.data.fd = timer.get();
  ::epoll_ctl(any.get(), EPOLL_CTL_ADD, timer.get(), &e);
  itimerspec at{};
  at.it_value.tv_sec = patience.ns / 1'000'000'000;
  at.it_value.tv_nsec = patience.ns % 1'000'000'000 + 1;
  ::timerfd_settime(timer.get(), 0, &at, nullptr);
  for (std::size_t living = all.size(); living != 0; --living) {
    wait(any.get());
    if (::epoll_wait(any.get(), &e, 1, 0) != 1 || e.data.fd == timer.get()) return;
    ::epoll_ctl(any.get(), EPOLL_CTL_DEL, e.data.fd, nullptr);
  }
}

}  // namespace

std::vector<lab_process> find_lab_processes(const std::string& address,
                                            const std::vector<pid_t>& peers) {
  const std::vector<pid_t> all = all_processes();
  std::set<pid_t> found;
  process_files files;
  for (const pid_t pid : all) {
    if (leads_to(files, pid, address)) found.insert(pid);
  }
  for (const pid_t pid : peers) {
    if (pid > 1 && is_peer(files, pid)) found.insert(pid);
  }
  found.erase(::getpid());
  add_descendants(files, found, all);
  found.erase(::getpid());
  std::vector<lab_process> out;
  for (const pid_t pid : found) {
    lab_process p{pid, name_of(files, pid),
                  unique_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))};
    const bool ours =
        p.pidfd && ::syscall(SYS_pidfd_send_signal, p.pidfd.get(), 0, nullptr, 0) == 0;
    if (ours && !has_ended(p)) out.push_back(std::move(p));
  }
  return out;
}

void end_lab_processes(std::vector<lab_process>& all, duration grace,
                       const std::function<void(int fd)>& wait) {
  for (const lab_process& p : all) {
    send(p, SIGTERM);
    send(p, SIGCONT);  // a stopped one hears nothing
  }
  wait_for_ends(all, grace, wait);
  for (const lab_process& p : all) send(p, SIGKILL);
  wait_for_ends(all, seconds(1), wait);  // the kernel takes its time too
}

}  // namespace ph
