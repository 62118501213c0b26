// Under AddressSanitizer, memory that a pool has taken back is poisoned, so that use after free
// inside a pool is found as it would be on the heap. Elsewhere the macros do nothing.
#pragma once

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1  // clang says it another way
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define PH_POISON(p, n) __asan_poison_memory_region((p), (n))
#define PH_UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define PH_POISON(p, n) static_cast<void>(0)
#define PH_UNPOISON(p, n) static_cast<void>(0)
#endif
