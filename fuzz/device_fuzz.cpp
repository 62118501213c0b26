// Any bytes as frames, time and calls of one machine with sockets of every kind: it survives, ends
// every packet with a reason, keeps nothing, and still answers afterwards.
#include "device_ops.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  ph::fuzz::device_input({data, size});
  return 0;
}
