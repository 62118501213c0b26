// The limits. A program needs as many channels as it has threads in calls at the same time; a
// process says hello at once, so few are silent at any time.
#include "daemon/channel_gate.h"

namespace ph::dropin {
namespace {

constexpr std::size_t most_channels = 16384;
constexpr std::size_t most_of_strangers = most_channels / 2;
constexpr std::size_t most_of_user = 4096;
constexpr std::size_t most_of_process = 1024;
constexpr std::size_t most_silent_of_process = 128;
constexpr std::size_t most_silent_of_user = 1024;

}  // namespace

bool channel_gate::enter(const channel_peer& who) {
  tally& process = processes_[who.process];
  const auto leave_no_trace = [&] {
    if (process.all == 0) processes_.erase(who.process);
    return false;
  };
  if (!room(total_, {most_channels, most_channels})) return leave_no_trace();
  // Process 0 is whoever lives in a PID namespace that is not below ours.
  if (who.process != 0 && !room(process, {most_of_process, most_silent_of_process}))
    return leave_no_trace();
  if (!trusts(who.user)) {
    const auto user = users_.find(who.user);
    if (!room(strangers_, {most_of_strangers, most_of_strangers}) ||
        (user != users_.end() && !room(user->second, {most_of_user, most_silent_of_user}))) {
      return leave_no_trace();
    }
    ++strangers_.all;
    ++strangers_.silent;
  }
  for (tally* t : {&total_, &process, &users_[who.user]}) {
    ++t->all;
    ++t->silent;
  }
  return true;
}

void channel_gate::greet(const channel_peer& who) {
  --total_.silent;
  --processes_[who.process].silent;
  --users_[who.user].silent;
  if (!trusts(who.user)) --strangers_.silent;
}

void channel_gate::leave(const channel_peer& who, bool greeted) {
  if (!greeted) greet(who);
  --total_.all;
  if (!trusts(who.user)) --strangers_.all;
  if (--processes_[who.process].all == 0) processes_.erase(who.process);
  if (--users_[who.user].all == 0) users_.erase(who.user);
}

}  // namespace ph::dropin
