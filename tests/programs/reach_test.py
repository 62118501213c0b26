"""What a network does, seen by plain programs: names, ports, errors, routers, and that nothing
leaks out of the lab or from one lab into another."""

import os
import subprocess
import tempfile

import lib

ECHO_SERVER = """
import socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
while True:
    c, peer = s.accept()
    print("peer", *peer, flush=True)
    while data := c.recv(65536):
        c.sendall(data)
    c.close()
"""

ECHO_CLIENT = """
import socket, sys
c = socket.create_connection((sys.argv[1], int(sys.argv[2])), 100)
names = *c.getsockname()[:1], *c.getpeername()
c.sendall(b"hello")
c.shutdown(socket.SHUT_WR)
got = b""
while data := c.recv(65536):
    got += data
print(got.decode(), *names)
"""

# Prints the errno's name when a connection fails, "connected" otherwise.
TRY = """
import errno, socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 100)
    print("connected")
except TimeoutError:
    print("timeout")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


class ReachTest(lib.LabTest):
    def test_tcp_between_neighbours(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        with lab.capture("alice:eth0") as capture:
            server = lab.spawn("bob", lib.PYTHON, "-c", ECHO_SERVER, "10.0.0.2", "7000")
            server.wait_for("listening")
            out = lab.python("alice", ECHO_CLIENT, "10.0.0.2", "7000")
            self.assertEqual(out, "hello 10.0.0.1 10.0.0.2 7000\n")
            server.wait_for(r"peer 10\.0\.0\.1 \d+")
        self.assert_clean_capture(capture)
        handshake = capture.packets("tcp.flags.syn == 1", ("ip.src", "tcp.flags.ack"))
        self.assertEqual([source for source, _ in handshake], ["10.0.0.1", "10.0.0.2"])
        self.assertEqual(len(capture.packets("arp.opcode == 1 && arp.dst.proto_ipv4 == 10.0.0.2")),
                         1)

    def test_tcp_and_ping_through_a_router(self):
        lab = self.start_lab(lib.ROUTED)
        server = lab.spawn("bob", lib.PYTHON, "-c", ECHO_SERVER, "0.0.0.0", "80")
        server.wait_for("listening")
        with lab.capture("alice:eth0") as near, lab.capture("bob:eth0") as far:
            out = lab.python("alice", ECHO_CLIENT, "10.0.2.2", "80")
            self.assertEqual(out, "hello 10.0.1.2 10.0.2.2 80\n")
            out = lab.run("alice", "ping", "-n", "-c", "3", "-i", "0.2", "10.0.2.2").stdout
            self.assertIn("3 packets transmitted, 3 received, 0% packet loss", out)
            self.assertIn("ttl=63", out)
        self.assert_clean_capture(near)
        self.assert_clean_capture(far)
        self.assertEqual({ttl for (ttl,) in near.packets("ip.src == 10.0.1.2", ("ip.ttl",))},
                         {"64"})
        self.assertEqual({ttl for (ttl,) in far.packets("ip.src == 10.0.1.2", ("ip.ttl",))},
                         {"63"})

    def test_udp_both_ways_and_a_closed_port(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        server = lab.spawn("bob", lib.PYTHON, "-c", """
import socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind(("", 5000))
print("bound", flush=True)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data.upper(), peer)
""")
        server.wait_for("bound")
        out = lab.python("alice", """
import socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.settimeout(100)
for size in (0, 1, 1472, 1473, 60000):
    s.sendto(b"x" * size, ("10.0.0.2", 5000))
    data, peer = s.recvfrom(65536)
    assert data == b"X" * size and peer == ("10.0.0.2", 5000), (size, len(data), peer)
s.connect(("10.0.0.2", 5001))
s.send(b"nobody")
try:
    s.recv(1)
except ConnectionRefusedError:
    print("refused")
""")
        self.assertEqual(out, "refused\n")

    def test_errors_are_those_of_linux(self):
        lab = self.start_lab(lib.ROUTED)
        for address, port, error in (("10.0.2.2", 81, "ECONNREFUSED"),
                                     ("10.0.1.99", 80, "EHOSTUNREACH"),
                                     ("127.0.0.1", 80, "ECONNREFUSED")):
            with self.subTest(address=address):
                self.assertEqual(lab.python("alice", TRY, address, str(port)), f"{error}\n")
        self.assertEqual(lab.python("r1", TRY, "192.0.2.1", "80"), "ENETUNREACH\n")

    def test_the_error_of_a_write_inside_libc(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        done = lab.run("alice", "bash", "-c", "exec 5<>/dev/udp/10.0.0.2/9; for i in {1..5000}; do "
                       "echo x >&5 || exit; sleep 0.01; done; exit 7", check=False)
        self.assertIn("echo: write error: Connection refused", done.stderr)

    def test_loopback_is_each_hosts_own(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        lab.spawn("alice", lib.PYTHON, "-c", ECHO_SERVER, "127.0.0.1", "7000").wait_for("listening")
        self.assertEqual(lab.python("alice", ECHO_CLIENT, "127.0.0.1", "7000"),
                         "hello 127.0.0.1 127.0.0.1 7000\n")
        self.assertEqual(lab.python("bob", TRY, "127.0.0.1", "7000"), "ECONNREFUSED\n")

    def test_the_same_port_on_two_hosts_and_twice_on_one(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        for host in ("alice", "bob"):
            lab.spawn(host, lib.PYTHON, "-c", ECHO_SERVER, "", "80").wait_for("listening")
        second = lab.run("alice", lib.PYTHON, "-c", ECHO_SERVER, "", "80", check=False)
        self.assertIn("Address already in use", second.stderr)

    def test_two_labs_with_the_same_addresses_do_not_meet(self):
        first, second = self.start_lab(lib.TWO_HOSTS), self.start_lab(lib.TWO_HOSTS)
        first.spawn("bob", lib.PYTHON, "-c", ECHO_SERVER, "", "80").wait_for("listening")
        self.assertEqual(first.python("alice", TRY, "10.0.0.2", "80"), "connected\n")
        self.assertEqual(second.python("alice", TRY, "10.0.0.2", "80"), "ECONNREFUSED\n")

    def test_the_machines_own_network_is_out_of_reach(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        outside = lib.Program([lib.PYTHON, "-c", ECHO_SERVER, "127.0.0.1", "0"])
        self.addCleanup(outside.end)
        outside.wait_for("listening")
        listening = subprocess.run(["ss", "-tlnpH"], capture_output=True, text=True).stdout
        port = next(line for line in listening.splitlines()
                    if f"pid={outside.pid}," in line).split()[3].rsplit(":", 1)[1]
        self.assertEqual(lab.python("alice", TRY, "127.0.0.1", port), "ECONNREFUSED\n")

    def test_a_lossy_slow_wire_delivers_every_byte(self):
        lab = self.start_lab("""
hosts: { alice: {}, bob: {} }
links:
  - ends: [ "alice:eth0 10.0.0.1/24", "bob:eth0 10.0.0.2/24" ]
    rate: 20mbit
    delay: 5ms
    jitter: 1ms
    loss: 1%
    reorder: 1%
    duplicate: 1%
    corrupt: 0.5%
    queue: 100
""")
        lab.spawn("bob", lib.PYTHON, "-c", ECHO_SERVER, "", "7000").wait_for("listening")
        out = lab.python("alice", """
import hashlib, socket, threading
c = socket.create_connection(("10.0.0.2", 7000), 110)
sent = bytes(range(256)) * 8192  # 2 MiB
def send():
    c.sendall(sent)
    c.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
got = hashlib.sha256()
while data := c.recv(65536):
    got.update(data)
print(got.digest() == hashlib.sha256(sent).digest())
""", timeout=120)
        self.assertEqual(out, "True\n")


class AloneTest(lib.LabTest):
    """`ph run` without a lab."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ph-test-")
        self.addCleanup(folder.cleanup)
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": folder.name}
        self.environment.pop("PH_LAB", None)

    def alone(self, *words):
        return subprocess.run([lib.PH, "run", "--", *words], capture_output=True, text=True,
                              timeout=lib.PATIENCE_S, env=self.environment)

    def test_the_program_has_a_loopback_and_nothing_else(self):
        done = self.alone(lib.PYTHON, "-c", """
import errno, os, socket, threading
s = socket.create_server(("127.0.0.1", 8080))
def serve():
    c, _ = s.accept()
    c.sendall(b"from myself")
    c.close()
threading.Thread(target=serve).start()
print(socket.create_connection(("127.0.0.1", 8080)).recv(100).decode())
try:
    socket.create_connection(("192.0.2.1", 80), 20)
except OSError as error:
    print(errno.errorcode[error.errno])
""")
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (0, "from myself\nENETUNREACH\n", ""))

    def test_its_lab_goes_with_the_program(self):
        done = self.alone("sh", "-c", 'echo "$PH_LAB"; ph=$1; "$ph" status --json; exit 7', "sh",
                          lib.PH)
        self.assertEqual(done.returncode, 7, done.stderr)
        socket, _, status = done.stdout.partition("\n")
        pid = lib.json.loads(status)["pid"]
        lib.wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the lab's daemon")
        self.assertFalse(os.path.exists(os.path.dirname(socket)))


if __name__ == "__main__":
    lib.main()
