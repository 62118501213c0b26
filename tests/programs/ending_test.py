"""The end of a lab: its programs end with it, or it is said that they run on; its files go."""

import os
import re
import signal
import subprocess

import lib

# Takes the place of its environment in memory, as servers do that show a title in ps(1).
TITLED = """
import ctypes, os, socket, sys
s = socket.create_server(("", 80))
with open("/proc/self/stat") as f:
    fields = f.read().rsplit(")", 1)[1].split()
start, end = int(fields[47]), int(fields[48])
ctypes.memset(start, 0, end - start)
print("titled", flush=True)
s.accept()
"""
# Puts memory that never comes in the place of its environment: whoever reads that waits.
HIDDEN = """
import ctypes, fcntl, os, struct, sys, time
with open("/proc/self/stat") as f:
    fields = f.read().rsplit(")", 1)[1].split()
start, end = int(fields[47]) & ~4095, (int(fields[48]) + 4095) & ~4095
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
if os.fork() != 0:
    os._exit(0)  # nobody's child
os.setsid()
uffd = libc.syscall(323 if os.uname().machine == "x86_64" else 282, os.O_CLOEXEC)
if uffd < 0:
    print("not allowed", flush=True)
    sys.exit()
fcntl.ioctl(uffd, 0xc018aa3f, bytearray(struct.pack("QQQ", 0xAA, 0, 0)))  # UFFDIO_API
assert libc.mmap(start, end - start, 3, 0x32, -1, 0) == start  # MAP_FIXED | MAP_ANONYMOUS | PRIVATE
fcntl.ioctl(uffd, 0xc020aa00, bytearray(struct.pack("QQQQ", start, end - start, 1, 0)))
print("hidden", os.getpid(), flush=True)
if sys.argv[1] == "asks":
    import socket
    kept = socket.socket()
time.sleep(1000)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(1000)
"""
# On SIGTERM, says goodbye over the network of the lab.
POLITE = """
import signal, socket, sys
c = socket.create_connection(("10.0.0.2", 80), 20)
def goodbye(*_):
    c.sendall(b"goodbye")
    c.shutdown(socket.SHUT_WR)
    c.recv(1)
    open(sys.argv[1], "w").write("heard")
    sys.exit()
signal.signal(signal.SIGTERM, goodbye)
print("connected", flush=True)
signal.pause()
"""
HOST_OF_POLITE = """
import signal, socket
signal.signal(signal.SIGTERM, signal.SIG_IGN)
s = socket.create_server(("", 80))
print("listening", flush=True)
c, _ = s.accept()
while c.recv(100): pass
c.close()
"""


def of_this_session(leader):
    """The living processes of a session, by their status; its leader is ours to wait for."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.getsid(int(entry)) == leader:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    if file.read().rsplit(")", 1)[1].split()[0] not in "ZX":
                        found.append(int(entry))
        except (OSError, ProcessLookupError):
            continue
    return found


class EndingTest(lib.LabTest):
    def _assert_alive(self, lab):
        """Here labs are meant to end."""

    def setUp(self):
        self.lab = self.start_lab(lib.TWO_HOSTS)

    def spawn(self, host, says, *words):
        program = self.lab.spawn(host, *words)
        program.wait_for(says)
        return program

    def test_down_ends_programs_of_every_kind(self):
        shell = self.spawn("alice", "go", "sh", "-c", "sleep 1000 & echo go; wait")
        titled = self.spawn("alice", "titled", lib.PYTHON, "-c", TITLED)
        deaf = self.spawn("bob", "deaf", lib.PYTHON, "-c", STUBBORN)
        stopped = self.spawn("bob", "go", "sh", "-c", "echo go; kill -STOP $$; sleep 1000")
        outside = lib.Program(["sleep", "1000"])
        self.addCleanup(outside.end)
        said = self.lab.ph("down").stdout
        self.assertRegex(said, r"^the lab has ended, and its programs: \d+ \(")
        self.assertEqual(said.count("("), 5, said)
        self.assertEqual(shell.wait(), -signal.SIGTERM)
        self.assertEqual(titled.wait(), -signal.SIGTERM)
        self.assertEqual(deaf.wait(), -signal.SIGKILL)
        self.assertLess(stopped.wait(), 0)
        self.assertIsNone(outside.returncode)
        self.assertEqual([f for f in os.listdir(self.lab.folder) if f.startswith("lab.sock")], [])

    def test_programs_that_hide_hide_nobody_else(self):
        # An orphan without a socket does not hide; one that hides had better have none.
        hidden = [self.lab.spawn("alice", lib.PYTHON, "-c", HIDDEN, "asks") for _ in range(9)]
        for program in hidden:
            program.wait_for(re.compile("hidden|not allowed"))
        if any("not allowed" in program.output for program in hidden):
            self.skipTest("needs the right to use userfaultfd")
        pids = [re.search(r"hidden (\d+)", program.output).group(1) for program in hidden]
        plain = self.spawn("alice", "go", "sh", "-c", "echo go; exec sleep 1000")
        orphan = self.spawn("alice", "go", "sh", "-c", "setsid sleep 1000 & echo go $!")
        said = self.lab.ph("down").stdout
        self.assertEqual(said.count("("), 10, said)
        self.assertIn("and 1 more", said)
        self.assertEqual(plain.wait(), -signal.SIGTERM)
        for pid in [*pids, re.search(r"go (\d+)", orphan.output).group(1)]:
            lib.wait_until(lambda pid=pid: not os.path.exists(f"/proc/{pid}"), f"{pid} has ended")

    def test_programs_have_their_network_while_they_end(self):
        heard = os.path.join(self.lab.folder, "heard")
        server = self.spawn("bob", "listening", lib.PYTHON, "-c", HOST_OF_POLITE)
        polite = self.spawn("alice", "connected", lib.PYTHON, "-c", POLITE, heard)
        self.lab.ph("down")
        self.assertEqual(polite.wait(), 0, polite.output)
        self.assertTrue(os.path.exists(heard))
        self.assertEqual(server.wait(), 0, server.output)

    def test_down_may_keep_them_and_says_which(self):
        kept = self.spawn("alice", "go", "sh", "-c", "echo go; exec sleep 1000")
        said = self.lab.ph("down", "--keep-programs").stdout
        self.assertEqual(said, "the lab has ended; without a network still run: "
                               f"{kept.pid} (sleep)\n")
        self.assertIsNone(kept.returncode)

    def test_down_from_inside_says_what_it_did(self):
        kept = self.spawn("alice", "go", "sh", "-c", "echo go; exec sleep 1000")
        said = self.lab.run("bob", lib.PH, "down").stdout
        self.assertEqual(said, f"the lab has ended, and its programs: {kept.pid} (sleep)\n")

    def test_programs_that_start_others_end_as_well(self):
        respawns = ("trap '' TERM; echo go; while :; do sleep 1000 & wait; done")
        shell = self.spawn("alice", "go", "sh", "-c", respawns)
        self.lab.ph("down")
        self.assertEqual(shell.wait(), -signal.SIGKILL)
        self.assertEqual(of_this_session(shell.pid), [])

    def test_without_programs_nothing_is_said_of_them(self):
        self.assertEqual(self.lab.ph("down").stdout, "the lab has ended\n")

    def front(self, *words):
        """A lab in front, by `ph up`."""
        self.lab.ph("down")
        file = os.path.join(self.lab.folder, "lab.yaml")
        front = lib.Program([lib.PH, "up", file, "--socket", self.lab.socket, *words])
        self.addCleanup(front.end)
        front.wait_for("Ctrl-C ends it")
        return front

    def test_ctrl_c_of_up_ends_them(self):
        front = self.front()
        program = self.spawn("alice", "go", "sh", "-c", "echo go; exec sleep 1000")
        front.signal(signal.SIGINT)
        self.assertEqual(front.wait(), 0)
        self.assertEqual(program.wait(), -signal.SIGTERM)
        self.assertIn(f"the lab has ended, and its programs: {program.pid} (sleep)", front.output)

    def test_ctrl_c_of_up_may_keep_them(self):
        front = self.front("--keep-programs")
        program = self.spawn("alice", "go", "sh", "-c", "echo go; exec sleep 1000")
        front.signal(signal.SIGINT)
        self.assertEqual(front.wait(), 0)
        self.assertIn(f"still run: {program.pid} (sleep)", front.output)
        self.assertIsNone(program.returncode)

    def test_a_capture_ends_well_with_the_lab(self):
        file = os.path.join(self.lab.folder, "all.pcapng")
        capture = lib.Program([lib.PH, "capture", "--socket", self.lab.socket, "--on", "any",
                               "-w", file])
        self.addCleanup(capture.end)
        capture.wait_for("capturing on ")
        self.lab.run("alice", "ping", "-c", "1", "10.0.0.2")
        self.lab.ph("down")
        self.assertEqual(capture.wait(), 0, capture.output)
        self.assertRegex(capture.output, r"[1-9]\d* packets in ")

    def test_another_lab_goes_on(self):
        other = self.start_lab(lib.TWO_HOSTS)
        program = other.spawn("alice", "sh", "-c", "echo go; exec sleep 1000")
        program.wait_for("go")
        self.lab.ph("down")
        self.assertTrue(other.alive())
        self.assertIsNone(program.returncode)

    def test_another_network_namespace_is_said_in_words(self):
        words = ["unshare", "--net", lib.PH, "run", "--socket", self.lab.socket, "--host", "alice",
                 "--", "true"]
        if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
            self.skipTest("needs the right to make network namespaces")
        done = subprocess.run(words, capture_output=True, text=True, timeout=lib.PATIENCE_S)
        self.assertEqual(done.returncode, 125)
        self.assertIn("runs in another network namespace of this machine", done.stderr)

    def test_user_namespaces(self):
        if subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode != 0:
            self.skipTest("needs the right to make user namespaces")
        words = [lib.PH, "run", "--socket", self.lab.socket, "--host", "alice", "--", lib.PYTHON,
                 "-c", "import socket; socket.socket().listen(); print('served')"]
        mapped = subprocess.run(["unshare", "--map-root-user", *words], capture_output=True,
                                text=True, timeout=lib.PATIENCE_S)
        self.assertEqual(mapped.stdout, "served\n", mapped.stderr)
        bare = subprocess.run(["unshare", "--user", *words], capture_output=True, text=True,
                              timeout=lib.PATIENCE_S)
        self.assertEqual(bare.returncode, 125)
        self.assertIn("maps no users", bare.stderr)


if __name__ == "__main__":
    lib.main()
