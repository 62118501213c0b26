// What daemons of this user that were killed or crashed have left behind: folders of anchors and of
// labs that `ph run` started. Who lives holds a lock on them. And copies of the shim.
#pragma once

namespace ph {

/// Removes those that nobody holds. A folder with the log of a crash stays for a day.
void sweep_leftovers();

}  // namespace ph
