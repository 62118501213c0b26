// Any bytes as a packetdrill script: events or an error with its line, never a crash or a hang.
#include "base/check.h"
#include "sim/packetdrill/script.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto script = ph::packetdrill::parse_script("fuzzed.pkt", text, {{"WINDOW", "1000"}});
  if (script) {
    for (const auto& event : script->events) ph_check(event.line >= 1);
  } else {
    ph_check(script.error().line >= 0 && !script.error().message.empty());
  }
  return 0;
}
