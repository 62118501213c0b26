// pthread affinity and names around std::jthread.
#include "platform/workers.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <utility>

namespace ph {

worker::worker(std::string name, std::optional<u32> processor, body run)
    : thread_([run = std::move(run)](const std::stop_token& stop) { run(stop); }) {
  constexpr std::size_t longest_name = 15;
  name.resize(std::min(name.size(), longest_name));
  ::pthread_setname_np(thread_.native_handle(), name.c_str());
  if (!processor || *processor >= CPU_SETSIZE) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(*processor, &set);
  pinned_ = ::pthread_setaffinity_np(thread_.native_handle(), sizeof set, &set) == 0;
}

void worker::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

std::vector<u32> usable_processors() {
  std::vector<u32> out;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return out;
  for (u32 i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) out.push_back(i);
  }
  return out;
}

}  // namespace ph
