// The machine's own network settings, out of reach of programs whatever calls they make.
//
// A system-call filter sees no paths, and Landlock, which does, can only allow whole trees: what
// programs must write below /proc (/proc/PID/comm, uid_map, oom_score_adj of processes to come)
// cannot be told from /proc/sys, and under Landlock nobody may mount or move files about. So this
// is done with mounts; who may not mount may not change settings either.
#pragma once

#include "base/result.h"

namespace ph {

/// Gives the calling process, and whatever it becomes or starts, a mount namespace in which
/// /proc/sys/net, the machine's names and the network devices of sysfs are read-only. Mounts that
/// it makes elsewhere, or that are made outside, go on to reach the other side where they are
/// shared. Errors: perm and the like: this process may not, so what it can write stays as it is.
result<void> seal_machine_settings();

}  // namespace ph
