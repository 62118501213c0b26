// Reading /proc, and waiting for processes by their descriptors.
#include "daemon/lab_processes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string_view>

#include "daemon/protocol.h"
#include "platform/patience.h"
#include "platform/whole_file.h"

namespace ph {

struct listed_process {
  pid_t pid;
  pid_t parent;
  s64 began;
};

namespace {

constexpr std::size_t most_environment = 4 << 20;

/// A file of a process below /proc that neither lies in the process's own memory nor is read under
/// its mmap_lock.
std::string read_file(pid_t pid, std::string_view name) {
  const unique_fd file(::open(fmt::format("/proc/{}/{}", pid, name).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> buffer;
  const ssize_t got = file ? ::read(file.get(), buffer.data(), buffer.size()) : 0;
  return {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
}

/// What the kernel says of a process in one line (proc_pid_stat(5)).
class process_stat {
 public:
  explicit process_stat(pid_t pid) : text_(read_file(pid, "stat")) {
    // The second field, the name, may hold anything.
    const std::size_t name_end = text_.rfind(')');
    at_ = name_end == std::string::npos ? text_.size() : name_end + 1;
  }
  /// A numeric field, counted from 1 as the manual does; 0 when it is not there.
  [[nodiscard]] u64 field(int number) const {
    std::size_t at = at_;
    for (int i = 3; i < number && at != std::string::npos; ++i) at = text_.find(' ', at + 1);
    u64 value = 0;
    if (at >= text_.size()) return 0;
    std::from_chars(text_.data() + at + 1, text_.data() + text_.size(), value);
    return value;
  }
  [[nodiscard]] pid_t parent() const { return static_cast<pid_t>(field(4)); }
  [[nodiscard]] s64 began() const { return static_cast<s64>(field(22)); }
  /// It has memory, which may be looked at (where it begins would else be told as 1), and in which
  /// no environment was put yet.
  [[nodiscard]] bool is_amid_exec() const {
    return field(23) != 0 && field(26) != 1 && field(50) == 0;
  }

 private:
  std::string text_;
  std::size_t at_ = 0;
};

/// Waits while a process is amid an exec: its new memory has no environment yet. `looks`: how often
/// that may still be asked, a millisecond apart, of all processes together.
process_stat behind_exec(pid_t pid, std::atomic<int>& looks) {
  process_stat stat(pid);
  while (stat.is_amid_exec() && looks > 0) {
    --looks;
    ::usleep(1000);
    stat = process_stat(pid);
  }
  return stat;
}

/// True when all pages of a process's environment are there, or on a disk of the machine's own:
/// what a process has put in their place may never come. May wait for ever, too: pagemap is read
/// under the process's mmap_lock, and whoever waits for another page may hold that.
bool environment_is_there(pid_t pid, const process_stat& stat) {
  const u64 page = static_cast<u64>(::sysconf(_SC_PAGESIZE));
  const u64 begin = stat.field(50) / page, end = (stat.field(51) + page - 1) / page;
  if (begin == 0 || end <= begin || end - begin > most_environment / page) return false;
  const unique_fd map(::open(fmt::format("/proc/{}/pagemap", pid).c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<u64> pages(end - begin);
  const std::size_t len = pages.size() * sizeof(u64);
  const ssize_t got =
      ::pread(map.get(), pages.data(), len, static_cast<off_t>(begin * sizeof(u64)));
  if (got != static_cast<ssize_t>(len)) return false;
  constexpr u64 present = u64{1} << 63, swapped = u64{1} << 62;
  return std::all_of(pages.begin(), pages.end(),
                     [](u64 entry) { return (entry & (present | swapped)) != 0; });
}

/// Is `name=value` an entry of the environment?
bool has_entry(const std::string& environment, const std::string& name, const std::string& value) {
  const std::string wanted = name + "=" + value;
  for (std::size_t at = 0; at < environment.size();) {
    const std::size_t end = std::min(environment.find('\0', at), environment.size());
    const std::string_view entry(environment.data() + at, end - at);
    if (entry == wanted) return true;
    at = end + 1;
  }
  return false;
}

/// `ph run` takes from every program, for good, what set-uid programs would give (no_new_privs):
/// few others of the machine have that, and no environment but of those that do is read.
bool may_be_of_a_lab(pid_t pid) {
  const std::string status = read_file(pid, "status");
  return status.find("\nNoNewPrivs:\t0") == std::string::npos;
}

/// The process itself, and not another one that has its number now or what it was before.
bool is_there(const known_process& p) {
  const s64 began = process_stat(p.pid).began();
  if (began == 0 || began > p.heard) return false;
  return p.before.empty() || program_of(p.pid) != p.before;
}

std::vector<listed_process> all_processes() {
  std::vector<listed_process> out;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || *end != 0) continue;
    const process_stat stat(pid);
    out.push_back({pid, stat.parent(), stat.began()});
  }
  return out;
}

/// Adds the descendants of the processes that are in it.
void add_descendants(std::set<pid_t>& found, const std::vector<listed_process>& all) {
  std::map<pid_t, pid_t> parents;
  for (const listed_process& p : all) parents[p.pid] = p.parent;
  for (const listed_process& p : all) {
    pid_t above = p.pid;
    for (std::size_t steps = 0; steps < all.size() && above > 1; ++steps) {
      if (found.contains(above)) {
        found.insert(p.pid);
        break;
      }
      const auto parent = parents.find(above);
      above = parent == parents.end() ? 0 : parent->second;
    }
  }
}

/// False when it may not be signalled, as another user's may not.
bool send(const lab_process& p, int signal) {
  return ::syscall(SYS_pidfd_send_signal, p.pidfd.get(), signal, nullptr, 0) == 0 || errno != EPERM;
}

std::string name_of(pid_t pid) {
  std::string name = read_file(pid, "comm");
  if (!name.empty() && name.back() == '\n') name.pop_back();
  return name;
}

/// Calls `wait` until all have ended, `patience` is over, or it comes back for no such reason.
void wait_for_ends(const std::vector<const lab_process*>& all, duration patience,
                   const std::function<void(int fd)>& wait) {
  const unique_fd any(::epoll_create1(EPOLL_CLOEXEC));
  const unique_fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  epoll_event e{};
  e.events = EPOLLIN;
  for (const lab_process* p : all) {
    e.data.fd = p->pidfd.get();
    ::epoll_ctl(any.get(), EPOLL_CTL_ADD, p->pidfd.get(), &e);
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

bool lab_process::has_ended() const {
  pollfd look{pidfd.get(), POLLIN, 0};
  return ::poll(&look, 1, 0) == 1;
}

s64 process_clock() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  const s64 ticks = ::sysconf(_SC_CLK_TCK);
  return now.tv_sec * ticks + now.tv_nsec * ticks / 1'000'000'000;
}

std::string program_of(pid_t pid) {
  std::array<char, 4096> name;
  const ssize_t len =
      ::readlink(fmt::format("/proc/{}/exe", pid).c_str(), name.data(), name.size());
  return {name.data(), static_cast<std::size_t>(std::max<ssize_t>(len, 0))};
}

/// Those are looked at that are not known to be of the lab, nor `found` by other means. Nothing is
/// remembered of one that is not: it may be on its way through `ph run`, or amid an exec, where
/// there is no environment to be seen.
void lab_process_finder::judge(const std::vector<listed_process>& all,
                               const std::set<pid_t>& found) {
  std::map<pid_t, s64> living;
  std::vector<listed_process> unknown;
  for (const listed_process& p : all) {
    const auto before = of_lab_.find(p.pid);
    if (found.contains(p.pid) || (before != of_lab_.end() && before->second == p.began)) {
      living[p.pid] = p.began;
    } else if (p.pid != ::getpid() && may_be_of_a_lab(p.pid)) {
      unknown.push_back(p);
    }
  }
  of_lab_ = std::move(living);
  const auto looks = std::make_shared<std::atomic<int>>(100);
  const auto leads_here = [address = address_, unknown, looks](std::size_t i) {
    const pid_t pid = unknown[i].pid;
    return environment_is_there(pid, behind_exec(pid, *looks)) &&
           has_entry(whole_file(fmt::format("/proc/{}/environ", pid), most_environment),
                     dropin::env_socket, address);
  };
  const auto answers = ask_patiently(unknown.size(), leads_here);
  for (std::size_t i = 0; i < unknown.size(); ++i) {
    if (answers[i].value_or(false)) of_lab_[unknown[i].pid] = unknown[i].began;
  }
}

std::vector<lab_process> lab_process_finder::find(const std::vector<known_process>& known) {
  const std::vector<listed_process> all = all_processes();
  std::set<pid_t> found;
  for (const known_process& p : known) {
    if (p.pid > 1 && is_there(p)) found.insert(p.pid);
  }
  found.erase(::getpid());
  add_descendants(found, all);
  judge(all, found);
  for (const auto& [pid, began] : of_lab_) found.insert(pid);
  found.erase(::getpid());
  add_descendants(found, all);
  found.erase(::getpid());
  std::vector<lab_process> out;
  for (const pid_t pid : found) {
    lab_process p{pid, name_of(pid),
                  unique_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))};
    if (p.pidfd && !p.has_ended()) out.push_back(std::move(p));
  }
  return out;
}

void end_lab_processes(std::vector<lab_process>& all, duration grace,
                       const std::function<void(int fd)>& wait) {
  std::vector<const lab_process*> heard;
  for (const lab_process& p : all) {
    if (send(p, SIGTERM)) heard.push_back(&p);
    send(p, SIGCONT);  // a stopped one hears nothing
  }
  wait_for_ends(heard, grace, wait);
  for (const lab_process& p : all) send(p, SIGKILL);
  wait_for_ends(heard, seconds(1), wait);  // the kernel takes its time too
}

void expected_programs::add(pid_t pid) {
  known_process p{pid, process_clock(), program_of(pid)};
  if (p.before.empty()) return;  // whether it becomes another could not be seen
  all_[pid] = std::move(p);
  if (all_.size() < look_again_) return;
  std::erase_if(all_, [](const auto& entry) { return process_stat(entry.first).began() == 0; });
  look_again_ = std::max<std::size_t>(64, 2 * all_.size());
}

std::vector<known_process> expected_programs::list() const {
  std::vector<known_process> out;
  for (const auto& [pid, p] : all_) out.push_back(p);
  return out;
}

}  // namespace ph
