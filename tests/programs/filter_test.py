"""What the shim does not see reaches no network of the machine: programs with system calls of their
own, of every kind, try to connect to a server that listens there, and meet a refusal."""

import errno
import os
import subprocess
import tempfile

import lib

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "escape.c")

# Accepts on the machine's own loopback and says so.
SERVER = """
import socket
s = socket.create_server(("127.0.0.1", 0))
print("port", s.getsockname()[1], flush=True)
while True:
    s.accept()
    print("somebody came", flush=True)
"""

# A libc call that is no hook of the shim's, and one that is.
CTYPES = """
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
s = libc.syscall(41 if sys.argv[2] == "x86_64" else 198, 2, 1, 0)
address = (2).to_bytes(2, "little") + int(sys.argv[1]).to_bytes(2, "big") + bytes([127, 0, 0, 1])
print("connected" if libc.connect(s, address + bytes(8), 16) == 0
      else errno.errorcode[ctypes.get_errno()])
"""


WITHOUT_SECCOMP = """
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct sock_filter code[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_seccomp},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
  struct sock_fprog program = {4, code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
  execv(argv[1], argv + 1);
  return 1;
}
"""


class FilterTest(lib.LabTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="ph-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.dynamic = os.path.join(folder.name, "escape")
        cls.static = os.path.join(folder.name, "escape-static")
        subprocess.run(["gcc", "-O1", "-o", cls.dynamic, SOURCE], check=True)
        subprocess.run(["gcc", "-O1", "-static", "-o", cls.static, SOURCE], check=True)

    def setUp(self):
        self.outside = lib.Program([lib.PYTHON, "-c", SERVER])
        self.addCleanup(self.outside.end)
        self.port = self.outside.wait_for(r"port (\d+)")[1]
        self.lab = self.start_lab(lib.TWO_HOSTS)

    def tearDown(self):
        self.assertNotIn("somebody came", self.outside.output)

    def escape(self, *words, by=None):
        return self.lab.run("alice", by or self.dynamic, *words).stdout

    def test_the_ways_lead_out_without_the_filter(self):
        """Else this file would show nothing."""
        for program in (self.dynamic, self.static):
            done = subprocess.run([program, "raw", self.port], capture_output=True, text=True)
            self.assertEqual(done.stdout, "connected\n")
        self.outside.wait_for("somebody came")
        self.outside._lines.clear()

    def test_system_calls_of_its_own(self):
        self.assertEqual(self.escape("raw", self.port), f"error {errno.EAFNOSUPPORT}\n")

    def test_other_entry_points(self):
        for way in ("compat", "x32"):
            self.assertIn(self.escape(way, self.port),
                          (f"error {errno.ENOSYS}\n", f"error {errno.EAFNOSUPPORT}\n"), way)

    def test_io_uring(self):
        self.assertEqual(self.escape("uring", self.port), f"error {errno.ENOSYS}\n")

    def test_a_static_program_started_past_the_hooks(self):
        for program in (self.static, self.dynamic):
            self.assertEqual(self.escape("exec", self.port, program),
                             f"error {errno.EAFNOSUPPORT}\n")

    def test_the_syscall_function_is_hooked(self):
        self.assertEqual(self.lab.python("alice", CTYPES, self.port, os.uname().machine),
                         "ECONNREFUSED\n")

    def test_after_fork_and_in_a_nested_run(self):
        out = self.lab.run("alice", "sh", "-c", f"( ( {self.dynamic} raw {self.port} ) )").stdout
        self.assertEqual(out, f"error {errno.EAFNOSUPPORT}\n")
        out = self.lab.run("alice", lib.PH, "run", "--host", "bob", "--", self.dynamic, "raw",
                           self.port).stdout
        self.assertEqual(out, f"error {errno.EAFNOSUPPORT}\n")

    def test_a_kernel_without_filters_is_said(self):
        """An outer filter plays that kernel: seccomp(2) is unknown there."""
        without = os.path.join(os.path.dirname(self.dynamic), "without")
        subprocess.run(["gcc", "-x", "c", "-o", without, "-"], input=WITHOUT_SECCOMP, text=True,
                       check=True)
        done = subprocess.run([without, lib.PH, "run", "--socket", self.lab.socket, "--host",
                               "alice", "--", "echo", "works"], capture_output=True, text=True,
                              timeout=lib.PATIENCE_S)
        self.assertEqual((done.returncode, done.stdout), (0, "works\n"))
        self.assertRegex(done.stderr, r"^ph: this kernel takes no system-call filter \(ENOSYS\): "
                                      r".* reaches this machine's network\n$")

    def test_programs_gain_no_rights(self):
        status = self.lab.run("alice", "grep", "-E", "^(NoNewPrivs|Seccomp):",
                              "/proc/self/status").stdout
        self.assertEqual(status.split(), ["NoNewPrivs:", "1", "Seccomp:", "2"])

    def test_the_daemon_is_not_filtered(self):
        with open(f"/proc/{self.lab.pid}/status", encoding="utf-8") as file:
            own = file.read()
        with open("/proc/self/status", encoding="utf-8") as file:
            ours = file.read()
        pick = [line for line in ours.splitlines() if line.startswith("Seccomp:")]
        self.assertIn(pick[0], own)


if __name__ == "__main__":
    lib.main()
