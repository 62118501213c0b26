// The readers of the control protocol between programs and the daemon on arbitrary bytes: what they
// accept lies within the message, whoever wrote it.
#include "protocol_properties.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  ph::fuzz::protocol_properties(data, size);
  return 0;
}
