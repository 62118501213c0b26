// Any bytes as system calls of two programs on two connected hosts: every answer keeps to its
// bounds, nothing is left behind, and the hosts still talk afterwards.
#include "syscall_ops.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  ph::fuzz::syscall_input({data, size});
  return 0;
}
