// Hooks of the functions by which a program loads code and looks functions up at run time: what it
// gets there must be the hooks as well. dlopen(3) loses RTLD_DEEPBIND, with which a library would
// find libc's functions before them; dlsym(3) and dlvsym(3) give the hook where the answer is
// libc's own function. An interposer gets what it asks for, since the hook may call it: an object
// that itself defines the function, and what was there at the start and asks by RTLD_NEXT.
//
// libc's functions tell by their return address who called (RUNPATH, $ORIGIN, the namespace, what
// RTLD_NEXT comes after), so the hooks are a few instructions that jump to them and leave no trace
// on the stack. The one behind a hook of these cannot be looked up by dlsym(3), which is one.
#include <dlfcn.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "shim/config.h"
#include "shim/loaded_object.h"

namespace {

using namespace ph::shim;

using dlsym_function = void* (*)(void*, const char*);
using dlvsym_function = void* (*)(void*, const char*, const char*);

struct loaded {
  const link_map* shim = nullptr;
  const link_map* libc = nullptr;
  const link_map* first = nullptr;  ///< and last of those that were loaded at the start
  const link_map* last = nullptr;
  void* dlopen = nullptr;  ///< those behind the hooks
  void* dlsym = nullptr;
  void* dlvsym = nullptr;
};

constinit loaded kept;
constinit std::atomic<bool> known{false};

/// The first definition behind the shim's, in the order in which symbols are looked up.
void* behind(const link_map& shim, const char* name) {
  for (const link_map* object = shim.l_next; object != nullptr; object = object->l_next) {
    if (void* const found = function_of(*object, name); found != nullptr) return found;
  }
  __builtin_trap();  // a libc without this function cannot call it either
}

/// Found at the start, or earlier when a library that starts before asks. Two threads that come at
/// once write the same.
const loaded& objects() {
  if (!known.load(std::memory_order_acquire)) {
    kept.shim = object_of(&kept);
    for (kept.first = kept.shim; kept.first->l_prev != nullptr;) kept.first = kept.first->l_prev;
    for (kept.last = kept.shim; kept.last->l_next != nullptr;) kept.last = kept.last->l_next;
    kept.dlopen = behind(*kept.shim, "dlopen");
    kept.dlsym = behind(*kept.shim, "dlsym");
    kept.dlvsym = behind(*kept.shim, "dlvsym");
    kept.libc = object_of(behind(*kept.shim, "gnu_get_libc_version"));
    known.store(true, std::memory_order_release);
  }
  return kept;
}

[[gnu::constructor]] void find_at_start() { objects(); }

/// What a hook does next: it jumps to `target`, with `value` as its second argument; or, without
/// a target, it returns `value`.
struct next_step {
  const void* target;
  std::uintptr_t value;
};

std::uintptr_t number(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

/// Was the object loaded at the start, not by dlopen(3)? Such objects are never unloaded.
bool was_there(const link_map* object) {
  const link_map* other = objects().first;
  while (other != nullptr && other != object && other != objects().last) other = other->l_next;
  return other == nullptr || other == object;
}

/// May the function be called through the object that `caller` lies in, on the way to libc?
bool is_interposer(const void* caller, void* handle, const char* name) {
  const link_map* const object = object_of(caller);
  if (object == nullptr) return handle == RTLD_NEXT;
  return function_of(*object, name) != nullptr || (handle == RTLD_NEXT && was_there(object));
}

/// look_up() asks libc. Of a library that came later the next function is that of everybody, who
/// finds libc's behind the hook.
template <class LookUp>
next_step looked_up(void* handle, const char* name, const void* caller, const void* target,
                    LookUp look_up) {
  const next_step as_it_is{target, number(name)};
  const void* const hook = function_of(*objects().shim, name);
  if (hook == nullptr || is_interposer(caller, handle, name) || !config().active) return as_it_is;
  if (handle != RTLD_NEXT && object_of(look_up()) != objects().libc) return as_it_is;
  return {nullptr, number(hook)};
}

}  // namespace

#define PH_BEFORE(name, ...) \
  extern "C" [[gnu::used, gnu::visibility("hidden")]] next_step ph_before_##name(__VA_ARGS__)

PH_BEFORE(dlopen, const char*, int mode) {
  const int kept_mode = config().active ? mode & ~RTLD_DEEPBIND : mode;
  return {objects().dlopen, static_cast<std::uintptr_t>(kept_mode)};
}

PH_BEFORE(dlsym, void* handle, const char* name, const void*, const void* caller) {
  void* const target = objects().dlsym;
  return looked_up(handle, name, caller, target,
                   [=] { return reinterpret_cast<dlsym_function>(target)(handle, name); });
}

PH_BEFORE(dlvsym, void* handle, const char* name, const char* version, const void* caller) {
  void* const target = objects().dlvsym;
  return looked_up(handle, name, caller, target, [=] {
    return reinterpret_cast<dlvsym_function>(target)(handle, name, version);
  });
}

// Keeps the three arguments that there may be, calls ph_before_NAME with them and the caller's
// address, and does what it says.
#if defined(__x86_64__)
#define PH_JUMPING_HOOK(name)                           \
  __asm__(".pushsection .text\n.globl " #name           \
          "\n"                                          \
          ".type " #name ", @function\n" #name          \
          ":\n"                                         \
          ".cfi_startproc\nendbr64\nmov (%rsp), %rcx\n" \
          "push %rdi\n.cfi_adjust_cfa_offset 8\n"       \
          "push %rsi\n.cfi_adjust_cfa_offset 8\n"       \
          "push %rdx\n.cfi_adjust_cfa_offset 8\n"       \
          "call ph_before_" #name                       \
          "\nmov %rdx, %rcx\n"                          \
          "pop %rdx\n.cfi_adjust_cfa_offset -8\n"       \
          "pop %rsi\n.cfi_adjust_cfa_offset -8\n"       \
          "pop %rdi\n.cfi_adjust_cfa_offset -8\n"       \
          "mov %rcx, %rsi\ntest %rax, %rax\njz 1f\n"    \
          "jmp *%rax\n1: mov %rcx, %rax\nret\n"         \
          ".cfi_endproc\n.size " #name ", .-" #name     \
          "\n"                                          \
          ".popsection\n")
#elif defined(__aarch64__)
#define PH_JUMPING_HOOK(name)                                      \
  __asm__(".pushsection .text\n.globl " #name                      \
          "\n"                                                     \
          ".type " #name ", %function\n" #name                     \
          ":\n"                                                    \
          ".cfi_startproc\nhint #34\nmov x3, x30\n"                \
          "stp x29, x30, [sp, #-32]!\n.cfi_adjust_cfa_offset 32\n" \
          ".cfi_rel_offset x29, 0\n.cfi_rel_offset x30, 8\n"       \
          "stp x0, x2, [sp, #16]\nmov x29, sp\n"                   \
          "bl ph_before_" #name                                    \
          "\nmov x16, x0\n"                                        \
          "ldp x0, x2, [sp, #16]\nldp x29, x30, [sp], #32\n"       \
          ".cfi_adjust_cfa_offset -32\n"                           \
          ".cfi_restore x29\n.cfi_restore x30\ncbz x16, 1f\n"      \
          "br x16\n1: mov x0, x1\nret\n"                           \
          ".cfi_endproc\n.size " #name ", .-" #name                \
          "\n"                                                     \
          ".popsection\n")
#else
#error "no way to hand a call on for this architecture"
#endif

PH_JUMPING_HOOK(dlopen);
PH_JUMPING_HOOK(dlsym);
PH_JUMPING_HOOK(dlvsym);
