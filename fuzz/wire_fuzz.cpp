// Every parser of wire/ on arbitrary bytes. The first byte chooses where to begin (the frame, an
// IP packet, or one protocol alone), so that small inputs reach deep parsers.
//
// Beside memory errors it looks for broken promises: views stay inside their input, what was
// parsed can be written and parsed again with the same meaning, one packet prints as one line.
#include "wire_properties.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  ph::fuzz::wire_properties({data, size});
  return 0;
}
