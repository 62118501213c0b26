// Reading ELF headers and "#!" lines as the kernel does, with pread(2) into fixed room.
#include "platform/program_file.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "platform/fd_path.h"

namespace ph {
namespace {

constexpr std::size_t first_bytes = 256;  // what exec(2) looks at to tell what a file is
constexpr unsigned most_segments = 128;
constexpr unsigned most_sections = 256;
constexpr unsigned most_notes = 16;

#if defined(__x86_64__)
constexpr unsigned own_machine = EM_X86_64;
constexpr char own_loader[] = "/lib64/ld-linux-x86-64.so.2";
#else
constexpr unsigned own_machine = EM_AARCH64;
constexpr char own_loader[] = "/lib/ld-linux-aarch64.so.1";
#endif

class saved_errno {
 public:
  saved_errno() = default;
  saved_errno(const saved_errno&) = delete;
  saved_errno& operator=(const saved_errno&) = delete;
  ~saved_errno() { errno = value_; }

 private:
  int value_ = errno;
};

/// A file that is open while this lives, for reading or only to be named, or could not be opened.
class opened_file {
 public:
  /// As inspect_program() has them; a descriptor may be one that cannot be read (O_PATH).
  opened_file(int dir, const char* path) {
    struct stat st {};
    if (::fstatat(dir, path, &st, *path == 0 ? AT_EMPTY_PATH : 0) != 0) return;
    exists_ = S_ISREG(st.st_mode);
    if (!exists_) return;
    const fd_path folder(dir);
    const char* const at = *path == 0 ? folder.c_str() : path;
    fd_ = ::openat(dir, at, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    readable_ = fd_ >= 0;
    if (!readable_) fd_ = ::openat(dir, at, O_PATH | O_CLOEXEC);
  }
  opened_file(const opened_file&) = delete;
  opened_file& operator=(const opened_file&) = delete;
  ~opened_file() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] bool exists() const { return exists_; }
  [[nodiscard]] bool readable() const { return readable_; }
  [[nodiscard]] int fd() const { return fd_; }
  /// True when exactly `len` bytes are there.
  bool read(void* to, std::size_t len, std::uint64_t at) const {
    return ::pread(fd_, to, len, static_cast<off_t>(at)) == static_cast<ssize_t>(len);
  }
  /// Up to `len` bytes; how many there were.
  std::size_t read_some(void* to, std::size_t len, std::uint64_t at) const {
    const ssize_t got = ::pread(fd_, to, len, static_cast<off_t>(at));
    return got > 0 ? static_cast<std::size_t>(got) : 0;
  }

 private:
  bool exists_ = false;
  bool readable_ = false;
  int fd_ = -1;
};

/// Does exec(2) take the file's capabilities as a reason for secure mode (AT_SECURE)? Only the
/// effective bit counts, for no_new_privs takes away the rest; and not for root.
bool has_effective_capabilities(const vfs_cap_data& caps, ssize_t len) {
  return len >= static_cast<ssize_t>(sizeof caps.magic_etc) &&
         (caps.magic_etc & VFS_CAP_FLAGS_EFFECTIVE) != 0 && ::getuid() != 0;
}

bool has_capabilities(const opened_file& file) {
  vfs_cap_data caps{};
  constexpr char name[] = "security.capability";
  char room[sizeof(vfs_ns_cap_data)];
  const fd_path at(file.fd());
  const ssize_t len = file.readable() ? ::fgetxattr(file.fd(), name, room, sizeof room)
                                      : ::getxattr(at.c_str(), name, room, sizeof room);
  if (len > 0) std::memcpy(&caps, room, sizeof caps.magic_etc);
  return has_effective_capabilities(caps, len);
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }

/// The words of a "#!" line, as exec(2) takes them. False when there is no interpreter in it.
bool parse_script(const char* line, std::size_t len, program_file::script& out) {
  std::size_t at = 2;
  std::size_t end = at;
  while (end < len && line[end] != '\n' && line[end] != 0) ++end;
  while (end > at && is_blank(line[end - 1])) --end;
  while (at < end && is_blank(line[at])) ++at;
  std::size_t word = at;
  while (word < end && !is_blank(line[word])) ++word;
  if (word == at) return false;
  // Both together are shorter than the line, which begins with "#!".
  const std::size_t first = word - at;
  std::memcpy(out.words, line + at, first);
  out.words[first] = 0;
  while (word < end && is_blank(line[word])) ++word;
  out.argument_at = static_cast<unsigned char>(first + 1);
  std::memcpy(out.words + first + 1, line + word, end - word);
  out.words[first + 1 + (end - word)] = 0;
  return true;
}

/// A Go linker's note, in a segment of notes: name "Go", type 4 (the build id).
bool has_go_note(const opened_file& file, const Elf64_Phdr& segment) {
  struct {
    Elf64_Nhdr head;
    char name[4];
  } note{};
  std::uint64_t at = 0;
  for (unsigned i = 0; i < most_notes && segment.p_filesz - at >= sizeof note; ++i) {
    if (!file.read(&note, sizeof note, segment.p_offset + at)) return false;
    const std::uint64_t name = (std::uint64_t{note.head.n_namesz} + 3) & ~std::uint64_t{3};
    const std::uint64_t value = (std::uint64_t{note.head.n_descsz} + 3) & ~std::uint64_t{3};
    if (note.head.n_type == 4 && note.head.n_namesz == 4 && std::memcmp(note.name, "Go", 3) == 0) {
      return true;
    }
    const std::uint64_t whole = sizeof note.head + name + value;
    if (whole > segment.p_filesz - at) return false;
    at += whole;
  }
  return false;
}

/// Programs linked without a build id still have this section.
bool has_go_section(const opened_file& file, const Elf64_Ehdr& head) {
  constexpr char wanted[] = ".go.buildinfo";
  Elf64_Shdr names{};
  const auto at = [&head](std::uint64_t index) { return head.e_shoff + index * sizeof names; };
  if (head.e_shoff == 0 || head.e_shentsize != sizeof names || head.e_shnum > most_sections ||
      head.e_shstrndx >= head.e_shnum || !file.read(&names, sizeof names, at(head.e_shstrndx))) {
    return false;
  }
  for (unsigned i = 0; i < head.e_shnum; ++i) {
    Elf64_Shdr section{};
    char name[sizeof wanted] = {};
    if (!file.read(&section, sizeof section, at(i))) return false;
    if (file.read(name, sizeof name, names.sh_offset + section.sh_name) &&
        std::memcmp(name, wanted, sizeof wanted) == 0) {
      return true;
    }
  }
  return false;
}

bool is_glibc_loader(const char* path) {
  const char* slash = std::strrchr(path, '/');
  const char* name = slash != nullptr ? slash + 1 : path;
  return std::strncmp(name, "ld-linux", 8) == 0 || std::strncmp(name, "ld-2.", 5) == 0;
}

/// The loader itself has no loader, and heeds LD_PRELOAD (ldd(1) starts it so).
bool is_own_loader(const opened_file& file) {
  struct stat one {};
  struct stat other {};
  return ::fstat(file.fd(), &one) == 0 && ::stat(own_loader, &other) == 0 &&
         one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

preload_reach reach_of_elf(const opened_file& file, const Elf64_Ehdr& head, program_file& out) {
  if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_machine != own_machine) {
    return preload_reach::other_machine;
  }
  if (head.e_phentsize != sizeof(Elf64_Phdr)) return preload_reach::unknown;
  bool go = false;
  for (unsigned i = 0; i < head.e_phnum && i < most_segments; ++i) {
    Elf64_Phdr segment{};
    if (!file.read(&segment, sizeof segment, head.e_phoff + i * sizeof segment)) {
      return preload_reach::unknown;
    }
    if (segment.p_type == PT_INTERP) {
      if (segment.p_filesz == 0 || segment.p_filesz > sizeof out.loader ||
          !file.read(out.loader, segment.p_filesz, segment.p_offset)) {
        return preload_reach::unknown;
      }
      out.loader[segment.p_filesz - 1] = 0;
    } else if (segment.p_type == PT_NOTE && !go) {
      go = has_go_note(file, segment);
    }
  }
  if (go || has_go_section(file, head)) return preload_reach::go;
  if (out.loader[0] == 0) {
    return is_own_loader(file) ? preload_reach::reached : preload_reach::not_dynamic;
  }
  return is_glibc_loader(out.loader) ? preload_reach::reached : preload_reach::other_loader;
}

/// The set-id bits do not count: no_new_privs makes exec(2) ignore them.
preload_reach with_rights(preload_reach reach, const opened_file& file) {
  if (reach != preload_reach::reached) return reach;
  if (::getuid() != ::geteuid() || ::getgid() != ::getegid()) return preload_reach::changed_ids;
  return has_capabilities(file) ? preload_reach::by_loader : reach;
}

/// One file. True when it is a script, whose interpreter is to be looked at next.
bool inspect_one(int dir, const char* path, program_file& out) {
  const opened_file file(dir, path);
  if (!file.exists()) return false;
  union {
    char bytes[first_bytes];
    Elf64_Ehdr elf;
  } head{};
  const std::size_t len = file.readable() ? file.read_some(head.bytes, sizeof head.bytes, 0) : 0;
  if (!file.readable()) {
    if (has_capabilities(file)) out.reach = preload_reach::capable_not_readable;
  } else if (len >= sizeof head.elf && std::memcmp(head.bytes, ELFMAG, SELFMAG) == 0) {
    out.reach = with_rights(reach_of_elf(file, head.elf, out), file);
  } else if (len > 2 && head.bytes[0] == '#' && head.bytes[1] == '!' &&
             out.levels < program_file::most_levels) {
    return parse_script(head.bytes, len, out.scripts[out.levels]);
  }
  return false;
}

}  // namespace

void inspect_program(int dir, const char* path, program_file& out) {
  const saved_errno keep;
  out.reach = preload_reach::unknown;
  out.levels = 0;
  out.loader[0] = 0;
  while (inspect_one(dir, path, out)) {
    path = out.scripts[out.levels++].interpreter();
    dir = AT_FDCWD;
  }
}

const char* program_of(const program_file& file, const char* path) {
  return file.levels == 0 ? path : file.scripts[file.levels - 1].interpreter();
}

void loader_arguments(const program_file& file, const char* path, char* const* argv,
                      const char** out) {
  const char* program = program_of(file, path);
  const bool named = argv != nullptr && argv[0] != nullptr;
  const char* own_name = file.levels == 0 && named ? argv[0] : program;
  *out++ = file.loader;
  *out++ = "--argv0";
  *out++ = own_name;
  *out++ = program;
  for (std::size_t level = file.levels; level-- > 0;) {  // the innermost line comes first
    if (*file.scripts[level].argument() != 0) *out++ = file.scripts[level].argument();
    *out++ = level == 0 ? path : file.scripts[level - 1].interpreter();
  }
  for (std::size_t i = 1; named && argv[i] != nullptr; ++i) *out++ = argv[i];
  *out = nullptr;
}

const char* why_not_preloaded(preload_reach reach) {
  switch (reach) {
    case preload_reach::reached:
    case preload_reach::by_loader:
    case preload_reach::unknown: return nullptr;
    case preload_reach::capable_not_readable:
      return "has file capabilities and cannot be read: the dynamic loader would not load the "
             "lab's library into it; make it readable, or use a copy without capabilities";
    case preload_reach::not_dynamic:
      return "is statically linked: the lab's library cannot be loaded into it, so it would have "
             "no network; use a dynamically linked build of it";
    case preload_reach::go:
      return "is a Go program: it makes system calls past the lab's library, so it would have no "
             "network; use another implementation, or one built with gccgo";
    case preload_reach::other_loader:
      return "is linked with another C library than glibc: the lab's library cannot be loaded "
             "into it, so it would have no network; use a build for glibc";
    case preload_reach::other_machine:
      return "is of another architecture or of 32 bits: the lab's library cannot be loaded into "
             "it, so it would have no network; use a build for this machine";
    case preload_reach::changed_ids:
      return "would run with an effective user or group that is not the real one: the dynamic "
             "loader would not load the lab's library; set both ids before it is started";
  }
  return nullptr;
}

}  // namespace ph
