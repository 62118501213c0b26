// The registry of congestion controls and the arithmetic that algorithms share.
#include "net/tcp/tcp_cong.h"

#include <algorithm>

namespace ph {

const congestion_entry* tcp_congestion_registry::find(std::string_view name) const {
  for (const congestion_entry& entry : entries_) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

u32 tcp_slow_start(congestion_state& state, u32 acked_segs) {
  const u32 target = std::min(state.cwnd + acked_segs, state.ssthresh);
  acked_segs -= target - state.cwnd;
  state.cwnd = std::min(target, state.cwnd_clamp);
  return acked_segs;
}

void tcp_cong_avoid_ai(congestion_state& state, u32 w, u32 acked_segs) {
  if (state.cwnd_cnt >= w) {
    state.cwnd_cnt = 0;
    ++state.cwnd;
  }
  state.cwnd_cnt += acked_segs;
  if (state.cwnd_cnt >= w) {
    state.cwnd += state.cwnd_cnt / w;
    state.cwnd_cnt %= w;
  }
  state.cwnd = std::min(state.cwnd, state.cwnd_clamp);
}

}  // namespace ph
