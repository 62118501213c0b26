// The list: everything a machine is furnished with, in order. No static constructors anywhere.
#pragma once

#include "net/core/net_namespace.h"

namespace ph {

/// Registers all families, protocols, algorithms, disciplines, and makes the initial namespace
/// with "lo" up and addressed.
void builtin_init(kernel& machine);
/// Another namespace, furnished the same way.
net_namespace& builtin_new_namespace(kernel& machine, std::string name);

}  // namespace ph
