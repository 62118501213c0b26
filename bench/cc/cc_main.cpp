// ph_cc: the two halves of `./ph bench cc` that need the project's own code. tools/bench_cc.py runs
// them; both print JSON.
//
//   ph_cc sim  ALGORITHM FLOWS MBIT_S RTT_MS QUEUE_PACKETS LOSS SECONDS SEED
//   ph_cc link TAP TAP         MBIT_S RTT_MS QUEUE_PACKETS LOSS SECONDS SEED
#include <cstdlib>
#include <string>
#include <vector>

#include "bench/cc/cc_sim.h"
#include "bench/cc/cc_tap.h"

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() != 9 || (words[0] != "sim" && words[0] != "link")) {
    std::fprintf(stderr, "usage: ph_cc sim ALGORITHM FLOWS | link TAP TAP, then MBIT_S RTT_MS "
                         "QUEUE_PACKETS LOSS SECONDS SEED\n");
    return 2;
  }
  const auto number = [&](std::size_t i) { return std::strtod(words[i].c_str(), nullptr); };
  const ph::bench::path path{.mbit_s = number(3),
                             .rtt_ms = number(4),
                             .queue_packets = static_cast<ph::u32>(number(5)),
                             .loss = number(6),
                             .seconds = number(7),
                             .seed = static_cast<ph::u64>(number(8))};
  if (words[0] == "link") return ph::bench::run_link(words[1], words[2], path);
  return ph::bench::run_sim(words[1], path, static_cast<ph::u32>(number(2)));
}
