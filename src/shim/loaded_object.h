// What the loader has put into this process, and where an object defines a symbol: for who must
// know whose definition an address is, or must find one without dlsym(3).
//
// Sanitizers ask before they can serve: nothing here calls what they replace (strcmp(3),
// dl_iterate_phdr(3)).
#pragma once

#include <link.h>

namespace ph::shim {

/// The executable or library that the address lies in; nullptr when in none.
const link_map* object_of(const void* address);

/// The function of this name that an object defines, of whatever version; nullptr when it defines
/// none. The object must not be unloaded meanwhile.
void* function_of(const link_map& object, const char* name);

}  // namespace ph::shim
