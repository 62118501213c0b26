"""The stack against the Linux kernel: TAP devices between a lab and network namespaces made for
the test, with the kernel's own ping, curl, nginx, python and traceroute at the far side, and
tshark as the judge of every frame."""

import hashlib
import os

import lib
from namespaces import Namespace

MIB = 1 << 20

STUB = """
hosts: {{ ours: {{}} }}
devices:
  - {{ host: ours, name: eth0, tap: {tap}, address: 10.9.0.2/24 }}
"""

ROUTER = """
hosts:
  router: { sysctl: { net.ipv4.ip_forward: 1 } }
devices:
  - { host: router, name: left, tap: phleft, address: 10.9.1.1/24 }
  - { host: router, name: right, tap: phright, address: 10.9.2.1/24 }
"""

UDP_ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 7000))
print("listening", flush=True)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data[::-1], peer)
"""

# Sends datagrams of many sizes and checks the echoes byte by byte.
UDP_CLIENT = """
import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
s.connect((sys.argv[1], 7000))
for size in (0, 1, 100, 1472, 1473, 2960, 2961, 8192, 30000, 65507):
    data = os.urandom(size)
    s.send(data)
    assert s.recv(65536) == data[::-1], size
try:
    s.send(b"x" * 65508)
except OSError as error:
    print("all echoed, then", error.errno)
"""


class LinuxPeerTest(lib.LabTest):
    """One host of ours and one of Linux's on a TAP."""

    def setUp(self):
        self.linux = Namespace(self, "peer")
        self.linux.tap("ph0", "10.9.0.1/24")
        self.lab = self.start_lab(STUB.format(tap="ph0"), self.linux.words)
        self.folder = self.lab.folder

    def file_of(self, size):
        """A file of random bytes in the lab's folder; (name, SHA-256)."""
        digest = hashlib.sha256()
        with open(os.path.join(self.folder, "big.bin"), "wb") as out:
            for _ in range(size // MIB):
                piece = os.urandom(MIB)
                digest.update(piece)
                out.write(piece)
        return "big.bin", digest.hexdigest()

    @staticmethod
    def digest(path):
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def test_ping_of_every_size_both_ways(self):
        with self.lab.capture("ours:eth0") as capture:
            for size in (0, 8, 56, 1472, 1473, 4000, 20000, 65507):
                words = ("ping", "-n", "-c", "2", "-i", "0.05", "-W", "5", "-s", str(size))
                self.assertIn(" 0% packet loss", self.linux.run(*words, "10.9.0.2"), size)
                self.assertIn(" 0% packet loss",
                              self.lab.run("ours", *words, "10.9.0.1").stdout, size)
        self.assert_clean_capture(capture)

    def test_udp_with_fragments_both_ways(self):
        with self.lab.capture("ours:eth0") as capture:
            ours = self.lab.spawn("ours", lib.PYTHON, "-c", UDP_ECHO, "10.9.0.2")
            ours.wait_for("listening")
            said = self.linux.run(lib.PYTHON, "-c", UDP_CLIENT, "10.9.0.2")
            self.assertEqual(said, "all echoed, then 90\n")
            linux = self.linux.spawn(self, lib.PYTHON, "-c", UDP_ECHO, "10.9.0.1")
            linux.wait_for("listening")
            said = self.lab.python("ours", UDP_CLIENT, "10.9.0.1")
            self.assertEqual(said, "all echoed, then 90\n")
        self.assert_clean_capture(capture, random_udp=[7000])
        self.assertGreater(len(capture.packets("ip.flags.mf == 1 || ip.frag_offset > 0")), 100)

    def serve(self, words, port):
        return [*words, lib.PYTHON, "-u", "-m", "http.server", str(port), "--directory",
                self.folder]

    def test_linux_curl_fetches_a_lot_from_our_server(self):
        name, digest = self.file_of(256 * MIB)
        server = self.lab.spawn("ours", *self.serve([], 80))
        server.wait_for("Serving")
        out = os.path.join(self.folder, "got")
        self.linux.run("curl", "-sS", "--fail", "-o", out, f"http://10.9.0.2/{name}")
        self.assertEqual(self.digest(out), digest)

    def test_our_curl_fetches_a_lot_from_linux_nginx(self):
        name, digest = self.file_of(256 * MIB)
        os.chmod(self.folder, 0o755)
        config = os.path.join(self.folder, "nginx.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"pid {self.folder}/nginx.pid; error_log stderr; daemon off;\n"
                       "user root; events {}\nhttp { access_log off; sendfile on; server {"
                       f" listen 10.9.0.1:80; root {self.folder}; }} }}\n")
        self.linux.spawn(self, "nginx", "-c", config, "-e", "stderr")
        out = os.path.join(self.folder, "got")
        self.lab.wait_port("ours", "10.9.0.1", 80)
        self.lab.run("ours", "curl", "-sS", "--fail", "-o", out, f"http://10.9.0.1/{name}")
        self.assertEqual(self.digest(out), digest)

    def test_nothing_is_missing_on_a_clean_wire(self):
        name, digest = self.file_of(4 * MIB)
        linux = self.linux.spawn(self, *self.serve([], 8000))
        linux.wait_for("Serving")
        ours = self.lab.spawn("ours", *self.serve([], 80))
        ours.wait_for("Serving")
        out = os.path.join(self.folder, "got")
        with self.lab.capture("ours:eth0") as capture:
            self.lab.run("ours", "curl", "-sS", "--fail", "-o", out,
                         f"http://10.9.0.1:8000/{name}")
            self.assertEqual(self.digest(out), digest)
            self.linux.run("curl", "-sS", "--fail", "-o", out, f"http://10.9.0.2/{name}")
            self.assertEqual(self.digest(out), digest)
        self.assert_clean_capture(capture)
        # Probes and timeouts (on both sides) tell of a busy machine only; a gap, or what either
        # side took for one, is a fault.
        self.assertEqual(capture.packets("tcp.analysis.fast_retransmission || "
                                         "tcp.analysis.lost_segment || "
                                         "tcp.analysis.ack_lost_segment"), [])

    def test_errors_cross_the_wire(self):
        refused = ("import socket\ntry: socket.create_connection(('{}', 9), 10)\n"
                   "except ConnectionRefusedError: print('refused')")
        self.assertEqual(self.lab.python("ours", refused.format("10.9.0.1")), "refused\n")
        self.assertEqual(self.linux.run(lib.PYTHON, "-c", refused.format("10.9.0.2")), "refused\n")


class LinuxRouterTest(lib.LabTest):
    """Two Linux namespaces with a router of ours between them."""

    def setUp(self):
        self.home = Namespace(self, "home")
        for tap in ("phleft", "phright"):
            self.home.tap(tap)
        self.lab = self.start_lab(ROUTER, self.home.words)
        self.left = self.end("left", "phleft", "10.9.1.2/24", "10.9.1.1")
        self.right = self.end("right", "phright", "10.9.2.2/24", "10.9.2.1")

    def end(self, name, tap, address, gateway):
        """A namespace that takes the kernel's side of the TAP."""
        out = Namespace(self, name)
        self.home.ip("link", "set", tap, "netns", out.name)
        out.ip("addr", "add", address, "dev", tap)
        out.ip("link", "set", tap, "up")
        out.ip("route", "add", "default", "via", gateway)
        return out

    def test_linux_speaks_to_linux_through_our_router(self):
        with self.lab.capture("router:left", "router:right") as capture:
            said = self.left.run("ping", "-n", "-c", "3", "-i", "0.05", "-s", "3000", "10.9.2.2")
            self.assertIn(" 0% packet loss", said)
            self.assertIn("ttl=63", said)
            server = self.right.spawn(self, lib.PYTHON, "-u", "-m", "http.server", "80",
                                      "--directory", "/usr/share/common-licenses")
            server.wait_for("Serving")
            self.left.run("curl", "-sS", "--fail", "-o", "/dev/null", "http://10.9.2.2/Apache-2.0")
        self.assert_clean_capture(capture, lossless=False)

    def test_traceroute_sees_the_router(self):
        said = self.left.run("traceroute", "-n", "-q", "1", "-w", "5", "10.9.2.2")
        hops = [line.split()[1] for line in said.splitlines()[1:]]
        self.assertEqual(hops, ["10.9.1.1", "10.9.2.2"])


if __name__ == "__main__":
    lib.main()
