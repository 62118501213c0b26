"""What other users, and hostile programs of the same user, try on a lab: names of its sockets, the
place of a dead daemon, the channels and descriptors of a living one."""

import os
import signal
import subprocess
import tempfile
import unittest

import lib

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

# Serves on every kind of socket, and says what comes in.
VICTIM = """
import os, select, socket
tcp = socket.create_server(("10.0.0.2", 7000))
udp = socket.socket(type=socket.SOCK_DGRAM)
udp.bind(("10.0.0.2", 7001))
paired = socket.socket(type=socket.SOCK_DGRAM)
paired.connect(("10.0.0.1", 7002))
fresh = socket.socket()
print("ready", flush=True)
while True:
    for s in select.select([tcp, udp, paired], [], [])[0]:
        print("disturbed", s.accept() if s is tcp else s.recvfrom(100), flush=True)
"""

# Sends to and connects to each name of an AF_UNIX socket that this machine shows, in every type.
REACH = """
import socket
names = set()
for line in open("/proc/net/unix", "rb").read().split(b"\\n")[1:]:
    words = line.split(b" ", 7)
    at = line.find(b"@")
    path = line.find(b"/")
    if b"ph1" in line and (at >= 0 or path >= 0):
        name = line[at:] if path < 0 or 0 <= at < path else line[path:]
        names.add(name.replace(b"@", b"\\0") if name.startswith(b"@") else name)
reached = 0
for name in names:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        s = socket.socket(socket.AF_UNIX, kind)
        s.settimeout(1)
        try:
            s.connect(name)
            s.send(b"from outside")
            reached += 1
            print("reached", name)
        except OSError:
            pass
print(len(names), "names,", reached, "reached")
"""

# Fills the daemon's listener, and keeps what it gets.
FLOOD = """
import re, resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
name = re.search(rb"@(posthaste-[0-9a-f]{16})", sys.argv[1].encode()).group(1)
kept = []
for _ in range(3000):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(b"\\0" + name)
    kept.append(s)
print("flooded", flush=True)
time.sleep(600)
"""

# Takes the dead daemon's name and writes down what it is told.
IMPOSTOR = """
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
while True:
    try:
        s.bind(b"\\0" + sys.argv[1][1:].encode())
        break
    except OSError:
        pass
s.listen(10)
print("took the name", flush=True)
while True:
    c, _ = s.accept()
    said = c.recv(70000)
    print("told", said if len(said) < 100 else sys.argv[2].encode() in said, flush=True)
    if said: c.send(said[:6].ljust(200, b"\\0"))  # no answer that says who it is
    c.close()
"""

# Opens a socket at the word that comes in.
SOCKETS = """
import errno, socket, sys
print("ready", flush=True)
for line in sys.stdin:
    try:
        socket.socket()
        print("a socket", flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
"""

# The same in a user namespace that maps nobody, and so does not tell whose a peer is.
UNMAPPED_SOCKETS = """
import ctypes
assert ctypes.CDLL(None).unshare(0x10000000) == 0  # CLONE_NEWUSER
""" + SOCKETS

# Speaks the protocol of the shim itself: passes sockets of its own making that claim, by their
# names and by their peers' names, to be one that the daemon has made.
FORGER = """
import array, base64, os, socket, struct, tempfile
env = os.environ
ch = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
ch.connect(b"\\0" + env["PH_SOCKET"][1:].encode())
def ask(kind, args=(0, 0, 0), data=b"", fds=()):
    head = struct.pack("<IHHIIiiiI", 0x31446870, 1, kind, 1, 0, *args, len(data))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    ch.sendmsg([head + data], rights)
    message, control, _, _ = ch.recvmsg(70000, 100)
    passed = [array.array("i", c[2][:4])[0] for c in control]
    return struct.unpack("<IHHIIiI", message[:24])[5], passed
hello = env["PH_HOST"].encode().ljust(64, b"\\0") + env["PH_TOKEN"].encode().ljust(64, b"\\0")
assert ask(1, data=hello)[0] == 0
anchor = socket.socket(fileno=ask(2, (2, 1, 0))[1][0], family=socket.AF_UNIX)
name = anchor.getsockname().rsplit("/", 1)[1]
GETSOCKNAME = 7
with tempfile.TemporaryDirectory() as folder:
    named = socket.socket(socket.AF_UNIX)
    named.bind(folder + "/" + name)
    print("named", ask(GETSOCKNAME, fds=[named.fileno()])[0])
    peer = b"\\0ph1d" + base64.urlsafe_b64decode(name[4:] + "=") + bytes(2)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(peer)
    listener.listen(2)
    named.connect(peer)
    print("paired", ask(GETSOCKNAME, fds=[named.fileno()])[0])
    anchor.connect(peer)
    print("anchor", ask(GETSOCKNAME, fds=[anchor.fileno()])[0])
"""

# As many descriptors on their way as the kernel lets this user have.
IN_FLIGHT = """
import array, socket, sys
pairs = []
try:
    while True:
        pairs.append(socket.socketpair())
        for _ in range(20):
            pairs[-1][0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                           array.array("i", [0] * 50))])
except OSError as error:
    print("in flight", error, flush=True)
sys.stdin.readline()
"""


# Takes sockets until there are no more, and keeps them.
HOARDER = """
import errno, socket, sys
kept = []
try:
    while True:
        kept.append(socket.socket())
except OSError as error:
    print("full", errno.errorcode[error.errno], flush=True)
sys.stdin.readline()
"""


# Holds both ends of its connections, until it is told that there are no more.
BOTH_ENDS = """
import errno, select, socket
listener = socket.create_server(("127.0.0.1", 80), backlog=300)
kept = []
try:
    while True:
        kept.append(socket.create_connection(("127.0.0.1", 80)))
        kept.append(listener.accept()[0])
except OSError as error:
    print("full", errno.errorcode[error.errno])
# What waits is accepted when there are descriptors again, behind the last refusals.
if len(kept) % 2 == 0:
    kept.pop(), kept.pop()
    while len(kept) % 2 == 0:  # what was closed has to end first
        try:
            kept.append(socket.create_connection(("127.0.0.1", 80)))
        except OSError as error:
            assert error.errno == errno.ENFILE, error
waits = kept[-1].getsockname()
del kept[:20]
while True:
    try:
        print("accepted", listener.accept()[1] == waits)
        break
    except OSError as error:
        assert error.errno == errno.ENFILE, error
"""

# As many listeners as the host may have; nobody accepts.
LISTENERS = """
import errno, socket, sys
kept = []
try:
    while True:
        s = socket.socket()
        kept.append(s)
        s.bind(("10.0.0.2", 1000 + len(kept)))
        s.listen()
except OSError as error:
    assert error.errno == errno.ENFILE, error
kept.pop()
print("full", len(kept) - 1, flush=True)
sys.stdin.readline()
"""
KNOCKS = """
import socket, sys
for port in range(1001, 1001 + int(sys.argv[1])):
    socket.create_connection(("10.0.0.2", port)).close()
"""

# Sends to a neighbour that does not answer, and has each batch moved on by a request.
PLAIN_SENDS = """
import socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
s.connect(("10.0.0.77", 9))
s.setblocking(False)
for round in range(400):
    try:
        while True: s.send(bytes(60000))
    except BlockingIOError:
        pass
    s.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 1)
"""


@unittest.skipUnless(os.geteuid() == 0, "needs root: acts as another user")
class OtherUserTest(lib.LabTest):
    def as_nobody(self, code, *words):
        program = lib.Program([*NOBODY, lib.PYTHON, "-c", code, *words])
        self.addCleanup(program.end)
        return program

    def test_no_socket_of_a_lab_can_be_reached_by_its_name(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        victim = lab.spawn("bob", lib.PYTHON, "-c", VICTIM)
        victim.wait_for("ready")
        stranger = self.as_nobody(REACH)
        self.assertEqual(stranger.wait(), 0, stranger.output)
        self.assertRegex(stranger.output, r"(?m)^[1-9]\d* names, 0 reached$")
        self.assertNotIn("disturbed", victim.output)

    def test_a_flood_of_silent_channels_keeps_nobody_waiting(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        address = lab.python("bob", "import os; print(os.environ['PH_SOCKET'])")
        flood = self.as_nobody(FLOOD, address)
        flood.wait_for("flooded")
        self.assertEqual(lab.python("bob", "import socket; socket.socket(); print('works')"),
                         "works\n")

    def test_who_takes_a_dead_daemons_name_is_told_nothing(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        address, token = lab.python(
            "bob", "import os; print(os.environ['PH_SOCKET'], os.environ['PH_TOKEN'])").split()
        program = lab.spawn("bob", lib.PYTHON, "-c", SOCKETS, stdin=-1)
        program.wait_for("ready")
        unmapped = lab.spawn("bob", lib.PYTHON, "-c", UNMAPPED_SOCKETS, stdin=-1)
        unmapped.wait_for("ready")
        impostor = self.as_nobody(IMPOSTOR, address, token)
        os.kill(lab.pid, signal.SIGKILL)
        impostor.wait_for("took the name")
        for one, told in ((program, "told b''"), (unmapped, "told False")):
            one.stdin.write("go\n")
            one.stdin.flush()
            one.wait_for("ECONNRESET")
            impostor.wait_for(told)

    def lab_of_nobody(self, limits=()):
        folder = tempfile.TemporaryDirectory(prefix="ph-test-")
        self.addCleanup(folder.cleanup)
        os.chown(folder.name, 65534, 65534)
        lab = lib.Lab(lib.TWO_HOSTS, folder.name, (*limits, *NOBODY))
        self.addCleanup(lab.close)
        return lab

    def test_the_same_user_cannot_look_into_the_daemon(self):
        lab = self.lab_of_nobody()
        with open(f"/proc/{lab.pid}/task/{lab.pid}/children", encoding="utf-8") as file:
            processes = [str(lab.pid), *file.read().split()]
        self.assertEqual(len(processes), 2)  # and the last words
        for process in processes:
            done = subprocess.run([*NOBODY, "ls", f"/proc/{process}/fd"], capture_output=True)
            self.assertNotEqual(done.returncode, 0, process)

    def test_another_users_lab_is_not_trusted(self):
        lab = self.lab_of_nobody()
        done = subprocess.run([lib.PH, "run", "--socket", lab.socket, "--host", "bob", "true"],
                              capture_output=True, text=True, timeout=lib.PATIENCE_S)
        self.assertEqual(done.returncode, 125)
        self.assertIn("another user's", done.stderr)

    def test_when_no_descriptor_can_be_passed_socket_says_so(self):
        lab = self.lab_of_nobody(("prlimit", "--nofile=600:600"))
        ask = ("import errno, socket\n"
               "try: socket.socket()\n"
               "except OSError as error: print(errno.errorcode[error.errno])")
        flight = lab.spawn("bob", lib.PYTHON, "-c", IN_FLIGHT, stdin=-1)
        flight.wait_for("in flight")
        self.assertEqual(lab.python("alice", ask), "ENFILE\n")
        flight.end()
        self.assertEqual(lab.python("alice", ask), "")

    def _assert_alive(self, lab):
        """One of these daemons is killed."""


class SameUserTest(lib.LabTest):
    def test_names_are_not_believed(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        told = lab.run("bob", "env").stdout.splitlines()
        env = {**os.environ, **dict(line.split("=", 1) for line in told if line.startswith("PH_"))}
        forger = lib.Program([lib.PYTHON, "-c", FORGER], env=env)  # not below the shim
        self.addCleanup(forger.end)
        self.assertEqual(forger.wait(), 0, forger.output)
        self.assertEqual(forger.output.splitlines(), ["named -9", "paired -9", "anchor 0"])

    def test_sends_that_go_nowhere_are_not_kept(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        with open(f"/proc/{lab.pid}/statm", encoding="ascii") as statm:
            def resident():
                statm.seek(0)
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
            before = resident()
            lab.python("alice", PLAIN_SENDS)
            self.assertLess(resident() - before, 8 << 20)

    def test_what_needs_descriptors_goes_on_when_there_are_some_again(self):
        lab = self.start_lab(lib.TWO_HOSTS, prefix=("prlimit", "--nofile=400:400"))
        server = lab.spawn("bob", lib.PYTHON, "-m", "http.server", "--bind", "10.0.0.2", "80")
        lab.wait_port("alice", "10.0.0.2", 80)
        hoarder = lab.spawn("alice", lib.PYTHON, "-c", HOARDER, stdin=-1)
        hoarder.wait_for("full ENFILE")
        self.assertEqual(lab.status()["pid"], lab.pid)
        hoarder.end()
        lab.wait_port("alice", "10.0.0.2", 80)
        self.assertIsNone(server.returncode)

    def test_a_program_that_waits_for_its_own_descriptors_is_told(self):
        lab = self.start_lab(lib.TWO_HOSTS, prefix=("prlimit", "--nofile=400:400"))
        self.assertEqual(lab.python("bob", BOTH_ENDS), "full ENFILE\naccepted True\n")

    def test_connections_that_wait_for_descriptors_take_none(self):
        lab = self.start_lab(lib.TWO_HOSTS, prefix=("prlimit", "--nofile=400:400"))
        hoarder = lab.spawn("bob", lib.PYTHON, "-c", LISTENERS, stdin=-1)
        count = int(hoarder.wait_for(r"full (\d+)").group(1))
        self.assertGreater(count, 20)
        lab.python("alice", KNOCKS, str(count))
        lab.python("alice", "import socket; kept = [socket.socket() for _ in range(40)]")

    def test_a_hoarder_takes_nothing_from_other_hosts(self):
        lab = self.start_lab(lib.TWO_HOSTS, prefix=("prlimit", "--nofile=400:400"))
        for _ in range(3):
            hoarder = lab.spawn("alice", lib.PYTHON, "-c", HOARDER, stdin=-1)
            hoarder.wait_for("full ENFILE")  # the last ones do not even get a channel
        lab.python("bob", "import socket; kept = [socket.socket() for _ in range(20)]")
        self.assertEqual(lab.status()["pid"], lab.pid)


if __name__ == "__main__":
    lib.main()
