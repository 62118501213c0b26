"""A daemon that has too little: memory (RLIMIT_AS) or descriptors (RLIMIT_NOFILE). What programs
ask for is refused or waits, nothing is lost without a word, and when there is room all goes on."""

import json
import resource

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

# Takes connections one after the other, each to its end.
SERVER = """
import socket, sys
listener = socket.create_server(("10.0.0.2", 7), backlog=100)
print("listening", flush=True)
for number in range(int(sys.argv[1])):
    sock = listener.accept()[0]
    got = 0
    while data := sock.recv(65536):
        got += len(data)
    sock.close()
    print(f"{number + 1}: {got}", flush=True)
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


class MemoryTest(lib.LabTest):
    def test_a_flood_is_refused_and_the_rest_goes_on(self):
        lab = self.start_lab(LONG_WIRE)
        lab.spawn("carol", lib.PYTHON, "-c", ECHO).wait_for("listening")
        resource.prlimit(lab.pid, resource.RLIMIT_AS, (80 << 20, resource.RLIM_INFINITY))
        said = lab.python("alice", FLOOD)
        taken, refused = said.split(" ", 1)
        self.assertGreater(int(taken), 1000)
        self.assertLess(int(taken), 500_000, "there was memory for everything")
        self.assertIn("EAGAIN", refused)
        # It drains: then new sockets are to be had, and the others never noticed.
        def served():
            return lab.run("alice", lib.PYTHON, "-c", ASK, "10.0.1.2", check=False).stdout
        lib.wait_until(lambda: served() == "hello\n", "an echo")
        self.assertNotIn("dead", json.dumps(lab.status()["hosts"]))
        log = lab.log()
        self.assertIn("there is memory again", log)


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

    def test_40_descriptors(self):
        self.with_limit(40)


if __name__ == "__main__":
    lib.main()
