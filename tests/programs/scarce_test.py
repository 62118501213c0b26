"""A daemon that has too little: memory (RLIMIT_AS), descriptors (RLIMIT_NOFILE), inotify. What
programs ask for is refused or waits, nothing is lost without a word, and when there is room all
goes on."""

import os
import resource
import subprocess
import tempfile
import unittest

import lib

LONG_WIRE = """
hosts: { alice: {}, bob: {}, carol: {} }
links:
  - { ends: [ "alice:eth0 10.0.0.1/24", "bob:eth0 10.0.0.2/24" ], delay: 5s }
  - { ends: [ "alice:eth1 10.0.1.1/24", "carol:eth0 10.0.1.2/24" ] }
"""

# Fills a wire of five seconds with datagrams until nothing more is taken; says what was refused.
FLOOD = """
import errno, select, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"first", ("10.0.0.2", 9))
taken, refused = 0, {}
while sum(refused.values()) < 300 and taken < 500_000:
    try:
        s.sendto(bytes(1400), socket.MSG_DONTWAIT, ("10.0.0.2", 9))
        taken += 1
    except OSError as error:
        name = errno.errorcode[error.errno]
        refused[name] = refused.get(name, 0) + 1
        select.select([], [s], [], 0.001)
print(taken, sorted(refused), flush=True)
"""

# Takes connections one after the other, each to its end, until so many have brought something. One
# whose connect() was refused for want of a descriptor may show up here, and is reset.
SERVER = """
import errno, socket, sys
listener = socket.create_server(("10.0.0.2", 7), backlog=100)
print("listening", flush=True)
number = 0
while number < int(sys.argv[1]):
    try:
        sock = listener.accept()[0]
    except OSError as error:
        assert error.errno == errno.ENFILE, error  # of the daemon's descriptors
        continue
    got = 0
    try:
        while data := sock.recv(65536):
            got += len(data)
    except ConnectionResetError:
        got = -1 if got else 0
    sock.close()
    if got:
        number += 1
        print(f"{number}: {got}", flush=True)
"""

# Opens connections until it is refused one, closes them, and does so again.
CLIENT = """
import errno, socket, time
all = 0
for _ in range(3):
    kept = []
    try:
        while True:
            kept.append(socket.socket())
            kept[-1].connect(("10.0.0.2", 7))
            kept[-1].sendall(b"x" * 10_000)
            all += 1
    except OSError as error:
        print(len(kept), errno.errorcode[error.errno], flush=True)
    for end in kept:
        end.close()
while all < 100:
    try:
        sock = socket.create_connection(("10.0.0.2", 7))
        sock.sendall(b"x" * 10_000)
        sock.close()
        all += 1
    except OSError as error:
        assert error.errno == errno.ENFILE, error  # until the server has closed some
        time.sleep(0.01)
"""

ECHO = """
import socket, sys
listener = socket.create_server(("", 7), backlog=10)
print("listening", flush=True)
while True:
    sock = listener.accept()[0]
    while data := sock.recv(65536):
        sock.sendall(data)
    sock.close()
"""

ASK = """
import socket, sys
sock = socket.create_connection((sys.argv[1], 7))
sock.sendall(b"hello")
print(sock.recv(10).decode())
"""


# Opens sockets until there are no more; keeps them until it is told otherwise.
HOG = """
import errno, resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
kept = []
try:
    while True:
        kept.append(socket.socket())
except OSError as error:
    print("full", errno.errorcode[error.errno], len(kept), flush=True)
sys.stdin.readline()
"""


# Opens many sockets, and closes them again when it is told.
PEAK = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
for count in map(int, sys.argv[1:]):
    kept = [socket.socket() for _ in range(count)]
    print("open", count, flush=True)
    sys.stdin.readline()
    for sock in kept:
        sock.close()
    print("closed", count, flush=True)
sys.stdin.readline()
"""


def resident(lab):
    """KiB of memory that the daemon holds."""
    with open(f"/proc/{lab.pid}/statm", encoding="utf-8") as sizes:
        return int(sizes.read().split()[1]) * resource.getpagesize() // 1024


class MemoryTest(lib.LabTest):
    def limit_memory(self, lab, more):
        """The daemon may have so many MiB more than now."""
        with open(f"/proc/{lab.pid}/statm", encoding="utf-8") as sizes:
            now = int(sizes.read().split()[0]) * resource.getpagesize()
        resource.prlimit(lab.pid, resource.RLIMIT_AS, (now + (more << 20), resource.RLIM_INFINITY))

    def assert_goes_on(self, lab):
        def served():
            return lab.run("alice", lib.PYTHON, "-c", ASK, "10.0.1.2", check=False).stdout
        lib.wait_until(lambda: served() == "hello\n", "an echo")
        status = lab.status()
        self.assertFalse(status["memory_low"])
        self.assertNotIn("dead", [key for host in status["hosts"] for key in host])
        lib.wait_until(lambda: "there is memory again" in lab.log(), "the log to say so")

    def test_a_flood_is_refused_and_the_rest_goes_on(self):
        lab = self.start_lab(LONG_WIRE)
        lab.spawn("carol", lib.PYTHON, "-c", ECHO).wait_for("listening")
        self.limit_memory(lab, 12)  # which also a slow machine sends before the wire ends
        before = resident(lab)
        said = lab.python("alice", FLOOD)
        taken, refused = said.split(" ", 1)
        self.assertGreater(int(taken), 1000)
        self.assertLess(int(taken), 500_000, "there was memory for everything")
        self.assertIn("EAGAIN", refused)
        # It drains: then new sockets are to be had, and the others never noticed.
        self.assert_goes_on(lab)
        lib.wait_until(lambda: resident(lab) < before + 4096, "the memory of the flood")

    def test_what_a_peak_needed_goes_back_to_the_machine(self):
        lab = self.start_lab()
        program = lab.spawn("alice", lib.PYTHON, "-c", PEAK, "50", "1500",
                            stdin=lib.subprocess.PIPE)
        program.wait_for("open 50")
        before = resident(lab)
        print(file=program.stdin, flush=True)
        program.wait_for("open 1500")
        needed = resident(lab) - before
        self.assertGreater(needed, 1000)
        print(file=program.stdin, flush=True)
        lib.wait_until(lambda: resident(lab) - before < needed / 3, "the memory of 1500 sockets")

    def test_sockets_are_refused_until_others_are_closed(self):
        lab = self.start_lab(LONG_WIRE)
        lab.spawn("carol", lib.PYTHON, "-c", ECHO).wait_for("listening")
        self.limit_memory(lab, 4)
        hog = lab.spawn("bob", lib.PYTHON, "-c", HOG, stdin=lib.subprocess.PIPE)
        full = hog.wait_for(r"full (\w+) (\d+)")
        self.assertEqual(full.group(1), "ENOBUFS")
        self.assertGreater(int(full.group(2)), 100)
        # A user can look, and is told; another program is refused in words.
        self.assertTrue(lab.status()["memory_low"])
        asked = lab.run("alice", lib.PYTHON, "-c", ASK, "10.0.1.2", check=False)
        self.assertIn("No buffer space available", asked.stderr)
        hog.end()
        self.assert_goes_on(lab)


# Connections to the own host whose readers are slow, until there are no more.
FULL = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0), backlog=300)
kept = []
try:
    while len(kept) < 300:
        client = socket.create_connection(listener.getsockname(), timeout=20)
        kept += [client, listener.accept()[0]]
        for end in kept[-2:]:
            end.setblocking(False)
            try:
                for _ in range(20):
                    end.send(b"x" * 20000)
            except BlockingIOError:
                pass
except OSError:
    pass
print("full", len(kept), flush=True)
sys.stdin.readline()
"""

# Connections that are reset while much of what came is still unread.
RESET = """
import socket, struct, sys
listener = socket.create_server(("127.0.0.1", 0))
kept = []
try:
    for _ in range(600):
        client = socket.create_connection(listener.getsockname(), timeout=20)
        server = listener.accept()[0]
        server.settimeout(0.05)
        try:
            server.sendall(b"x" * 200000)
        except OSError:
            pass
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        kept.append(client)
except OSError:
    pass
print("full", len(kept), flush=True)
sys.stdin.readline()
"""


@unittest.skipUnless(os.geteuid() == 0, "needs root: a control group")
class GroupTest(lib.LabTest):
    """A control group at its limit loses its largest process: what the kernel holds for sockets
    counts there, and no allocation of the daemon's fails before."""

    def group(self, limit):
        """A new group for memory; (its folder, how to begin `ph up` in it)."""
        root = "/sys/fs/cgroup"
        first = os.path.exists(f"{root}/memory/memory.limit_in_bytes")
        folder = tempfile.mkdtemp(prefix="ph-test-", dir=f"{root}/memory" if first else root)
        self.addCleanup(os.rmdir, folder)
        file = os.path.join(folder, "memory.limit_in_bytes" if first else "memory.max")
        if not os.path.exists(file):
            self.skipTest("no control group for memory is to be had")
        with open(file, "w", encoding="ascii") as out:
            out.write(str(limit))
        enter = f'[ "$2" != up ] || echo $$ >{folder}/cgroup.procs; exec "$@"'
        return ("sh", "-c", enter, "sh")

    def test_full_connections_of_a_program_do_not_end_the_lab(self):
        self.assert_survives(FULL)

    def test_unread_rests_of_connections_that_were_reset_do_not_end_the_lab(self):
        self.assert_survives(RESET)

    def assert_survives(self, program):
        try:
            prefix = self.group(96 << 20)
        except OSError as error:
            self.skipTest(f"no control group can be made: {error}")
        lab = self.start_lab(LONG_WIRE, prefix)
        lab.spawn("carol", lib.PYTHON, "-c", ECHO).wait_for("listening")
        hog = lab.spawn("bob", lib.PYTHON, "-c", program, stdin=lib.subprocess.PIPE)
        hog.wait_for(r"full \d+")
        hog.end()
        lib.wait_until(lambda: lab.run("alice", lib.PYTHON, "-c", ASK, "10.0.1.2",
                                       check=False).stdout == "hello\n", "an echo")


class StartTest(unittest.TestCase):
    def test_too_little_memory_is_said_at_once(self):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "lab.yaml")
            with open(file, "w", encoding="utf-8") as lab:
                lab.write(lib.TWO_HOSTS)
            done = subprocess.run(["prlimit", f"--as={20 << 20}", lib.PH, "up", "--socket",
                                   f"{folder}/s", "-f", file, "--detach"],
                                  capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 125)
        self.assertIn("memory", done.stderr)


class DescriptorTest(lib.LabTest):
    def with_limit(self, limit):
        lab = self.start_lab(lib.TWO_HOSTS, prefix=("prlimit", f"--nofile={limit}:{limit}"))
        server = lab.spawn("bob", lib.PYTHON, "-c", SERVER, "100")
        server.wait_for("listening")
        refusals = [line.split() for line in lab.python("alice", CLIENT).splitlines()]
        self.assertEqual([error for _, error in refusals], ["ENFILE"] * 3)
        self.assertGreaterEqual(int(refusals[0][0]), 1)
        self.assertEqual(server.wait(), 0)
        self.assertEqual(server.output.count(": 10000\n"), 100)

    def test_64_descriptors(self):
        self.with_limit(64)

    def test_100_descriptors(self):
        self.with_limit(100)

    def test_no_watch_for_closes(self):
        """Without an inotify instance no close would be seen: no daemon starts, and it says why."""
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "lab.yaml")
            with open(file, "w", encoding="utf-8") as lab:
                lab.write(lib.TWO_HOSTS)
            script = ("echo 0 >/proc/sys/user/max_inotify_instances || exit 77\n"
                      f'exec "{lib.PH}" up --socket "{folder}/s" -f "{file}" --detach')
            done = subprocess.run(["unshare", "--user", "--map-root-user", "sh", "-c", script],
                                  capture_output=True, text=True, check=False)
        if done.returncode in (1, 77):
            self.skipTest(f"no user namespaces here: {done.stderr}")
        self.assertEqual(done.returncode, 125)
        self.assertIn("fs.inotify.max_user_instances", done.stderr)


if __name__ == "__main__":
    lib.main()
