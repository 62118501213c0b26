// Symbols are found by the hash table of the GNU tools (DT_GNU_HASH), which each library of a glibc
// system has: a filter, buckets, and for each bucket a run of hashes, of which the last one is odd.
#include "shim/loaded_object.h"

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>

namespace ph::shim {
namespace {

std::uint32_t gnu_hash(const char* name) {
  std::uint32_t hash = 5381;
  for (; *name != 0; ++name) hash = hash * 33 + static_cast<unsigned char>(*name);
  return hash;
}

bool same(const char* a, const char* b) {
  while (*a != 0 && *a == *b) ++a, ++b;
  return *a == *b;
}

/// A table that the object's dynamic section tells of. glibc's loader has added the base to the
/// address, but not in the kernel's own object (vDSO).
template <class Element>
const Element* table(const link_map& object, long tag) {
  for (const ElfW(Dyn)* entry = object.l_ld; entry->d_tag != DT_NULL; ++entry) {
    if (entry->d_tag != tag) continue;
    const ElfW(Addr) at = entry->d_un.d_ptr;
    return reinterpret_cast<const Element*>(at < object.l_addr ? at + object.l_addr : at);
  }
  return nullptr;
}

}  // namespace

const link_map* object_of(const void* address) {
  Dl_info info;
  void* found = nullptr;
  const int known = dladdr1(address, &info, &found, RTLD_DL_LINKMAP);
  return known != 0 ? static_cast<const link_map*>(found) : nullptr;
}

void* function_of(const link_map& object, const char* name) {
  const auto* const names = table<char>(object, DT_STRTAB);
  const auto* const symbols = table<ElfW(Sym)>(object, DT_SYMTAB);
  const auto* const header = table<std::uint32_t>(object, DT_GNU_HASH);
  if (names == nullptr || symbols == nullptr || header == nullptr) return nullptr;
  const std::uint32_t bucket_count = header[0];
  const std::uint32_t first = header[1];
  constexpr std::size_t halves = sizeof(ElfW(Addr)) / sizeof(std::uint32_t);
  const std::uint32_t* const buckets = header + 4 + header[2] * halves;  // behind the filter
  const std::uint32_t* const hashes = buckets + bucket_count;
  if (bucket_count == 0) return nullptr;
  const std::uint32_t hash = gnu_hash(name);
  std::uint32_t at = buckets[hash % bucket_count];
  if (at < first) return nullptr;  // an empty bucket
  for (;; ++at) {
    const std::uint32_t found = hashes[at - first];
    const ElfW(Sym)& symbol = symbols[at];
    const bool function = symbol.st_shndx != SHN_UNDEF && (symbol.st_info & 0xf) == STT_FUNC;
    if ((found | 1) == (hash | 1) && function && same(names + symbol.st_name, name)) {
      return reinterpret_cast<void*>(object.l_addr + symbol.st_value);
    }
    if ((found & 1) != 0) return nullptr;
  }
}

}  // namespace ph::shim
