// A hostile peer of one live connection, in every state: the host keeps its invariants, earns its
// window honestly, bounds its memory, and sends nothing that the rules of TCP forbid.
#include "tcp_peer_ops.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  ph::fuzz::tcp_peer_input({data, size});
  return 0;
}
