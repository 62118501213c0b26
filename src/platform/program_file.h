// What an executable file is to someone who wants a library preloaded into it: will the dynamic
// loader load the library, can it be brought to, or is there no way? Reads files only.
//
// Also called between vfork(2) and exec, in a process whose memory is its parent's, and on small
// stacks: nothing here allocates, keeps state, changes errno, or takes more than some hundred bytes
// of stack.
#pragma once

#include <cstddef>

namespace ph {

enum class preload_reach : unsigned char {
  reached,               ///< LD_PRELOAD is enough
  unknown,               ///< not readable, or of no format that we know: exec(2) decides
  by_loader,             ///< its file capabilities make the loader ignore LD_PRELOAD; reached when
                         ///< the loader itself is started, with the file as an argument
  capable_not_readable,  ///< as before, but nobody but exec(2) may read it
  not_dynamic,           ///< has no loader
  go,                    ///< its runtime makes its own system calls
  other_loader,          ///< not glibc's
  other_machine,         ///< not of this architecture, or of 32 bits
  changed_ids,           ///< effective and real ids of this process differ: the loader ignores it
};

/// A file as exec(2) sees it, scripts followed to the program that reads them.
struct program_file {
  static constexpr std::size_t most_levels = 5;  // exec(2) gives up there too
  /// A "#!" line, of which exec(2) reads 256 bytes: the interpreter and the one argument that there
  /// may be, each with its end.
  struct script {
    char words[256];
    unsigned char argument_at;
    [[nodiscard]] const char* interpreter() const { return words; }
    [[nodiscard]] const char* argument() const { return words + argument_at; }  ///< empty: none
  };

  preload_reach reach = preload_reach::unknown;
  std::size_t levels = 0;       ///< how many scripts[] are used
  script scripts[most_levels];  ///< the file's own line first
  char loader[256] = {};        ///< of the program: PT_INTERP
};

/// Looks at the file that execve(path) would run. `dir`: what a relative path is relative to
/// (AT_FDCWD: the working directory); an empty path means `dir` itself, as execveat(2) has it.
void inspect_program(int dir, const char* path, program_file& out);

/// Fills `out` with the arguments that start `file` (found at `path`) by its loader; `out` has room
/// for those of `argv` and `loader_words` more. The first of them is the program to execute.
inline constexpr std::size_t loader_words = 2 * program_file::most_levels + 6;
void loader_arguments(const program_file& file, const char* path, char* const* argv,
                      const char** out);

/// Why a library cannot be preloaded and what to do about it: a sentence's rest, after the name of
/// program_of(). nullptr for what is reached or unknown.
const char* why_not_preloaded(preload_reach reach);

/// The program that `file`, found at `path`, comes to: the last interpreter of a script.
const char* program_of(const program_file& file, const char* path);

}  // namespace ph
