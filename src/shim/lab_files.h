// Files that a host of the lab has of its own, and files of the machine that are none of a
// program's business: which path is which, and what a program gets instead of the machine's file.
//
// The host's: its names (/etc/hosts, /etc/hostname, /proc/sys/kernel/hostname), for reading, and
// what lies below /proc/sys/net. Its content is the
// daemon's: a file in memory for who reads, a channel for who writes, so that also writes that no
// hook sees (those of stdio) arrive. The machine's: what lies below a folder "net" of procfs and
// sysfs may be read, but never written.
//
// A path says only how a file was looked for. So the kernel opens it first, which changes nothing,
// and then what was opened is asked for its file system and its name there: links, relative paths,
// /proc/self/root and other mounts of procfs all come to the same.
#pragma once

namespace ph::shim {

/// `fd` is what the kernel gave for openat(dir, path, flags), or -errno. Returns what the program
/// gets: `fd`, behind which another file may lie by now, a new descriptor where the kernel gave
/// none, or -errno; a descriptor that was given is then the caller's to close.
int mend_open(int dir, const char* path, int flags, int fd);

/// `result` is what the kernel gave for faccessat2(dir, path, mode, flags): 0 or -errno. Returns
/// what holds for the program: where the machine refuses a host's file, whether opening that would
/// succeed. What the machine grants is granted, also of a file that the host does not have.
int mend_access(int dir, const char* path, int mode, int flags, int result);

/// This process has opened such a file for writing. Only then is the next question worth a call.
bool lab_files_written();
/// After a write to `fd`: 0, or the -errno that it, or one before it, came to.
int lab_file_error(int fd);

}  // namespace ph::shim
