"""Ends that nobody planned: programs and the daemon killed at bad moments, sockets inherited over
fork and exec, and names instead of addresses."""

import os
import signal
import urllib.parse

import lib

# Accepts, then sends for ever.
FIREHOSE = """
import socket
s = socket.create_server(("10.0.0.2", 7000))
print("listening", flush=True)
while True:
    c, _ = s.accept()
    try:
        while True:
            c.sendall(b"x" * 65536)
    except OSError:
        c.close()
"""

# Reads a little, tells, then reads to the end and says what the end was.
DRAIN = """
import errno, socket
c = socket.create_connection(("10.0.0.2", 7000), 20)
c.settimeout(40)
c.recv(1000)
print("flowing", flush=True)
try:
    while c.recv(1 << 20):
        pass
    print("end of file")
except OSError as error:
    print(errno.errorcode.get(error.errno, str(error)))
"""

INHERIT = """
import os, socket, subprocess, sys
s = socket.create_server(("10.0.0.2", 7001))
s.set_inheritable(True)
print("listening", flush=True)
code = ("import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); c, _ = s.accept();"
        "c.sendall(b'from a child over exec'); c.close()")
for how in range(2):
    subprocess.run([sys.executable, "-c", code, str(s.fileno())], close_fds=False,
                   env={} if how else None, check=True)
"""


# Waits in every way, says so, and says how each wait ended.
WAITS = """
import errno, select, socket, threading
own = "10.0.0.2"
listener = socket.create_server((own, 0))
client = socket.create_connection(listener.getsockname())
served, _ = listener.accept()
bound = socket.socket(type=socket.SOCK_DGRAM)
bound.bind((own, 0))
connected = socket.socket(type=socket.SOCK_DGRAM)
connected.connect(bound.getsockname())
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253)
said = {}
def wait(name, call):
    try:
        said[name] = repr(call())
    except OSError as error:
        said[name] = errno.errorcode[error.errno]
threads = [threading.Thread(target=wait, args=(name, call)) for name, call in {
    "accept": listener.accept, "accept 2": listener.accept, "accept 3": listener.accept,
    "recv": lambda: served.recv(9),
    "recvfrom": lambda: bound.recvfrom(9), "recvfrom 2": lambda: bound.recvfrom(9),
    "recv connected": lambda: connected.recv(9),
    "recv raw": lambda: raw.recv(9),
    "poll": lambda: len(select.select([client], [], [])[0])}.items()]
for thread in threads:
    thread.start()
print("waiting", flush=True)
for thread in threads:
    thread.join()
print(sorted(said.items()))
for name, call in {"socket": socket.socket, "send": lambda: client.send(b"x"),
                   "sendto": lambda: bound.sendto(b"x", (own, 9)),
                   "getsockname": listener.getsockname, "accept": listener.accept}.items():
    wait(name, call)
    print(name, said[name])
"""


class LifecycleTest(lib.LabTest):
    def setUp(self):
        self.lab = self.start_lab(lib.TWO_HOSTS)

    def sockets(self, host):
        return next(h["sockets"] for h in self.lab.status()["hosts"] if h["name"] == host)

    def test_a_killed_server_ends_its_connections_and_frees_its_port(self):
        for _ in range(3):
            server = self.lab.spawn("bob", lib.PYTHON, "-c", FIREHOSE)
            server.wait_for("listening")
            client = self.lab.spawn("alice", lib.PYTHON, "-c", DRAIN)
            client.wait_for("flowing")
            os.kill(server.pid, signal.SIGKILL)
            self.assertEqual(client.wait(), 0, client.output)
            self.assertRegex(client.output, "end of file|ECONNRESET")
            server.wait()

    def test_a_killed_client_leaves_nothing_behind(self):
        server = self.lab.spawn("bob", lib.PYTHON, "-c", FIREHOSE)
        server.wait_for("listening")
        for _ in range(3):
            client = self.lab.spawn("alice", lib.PYTHON, "-c", DRAIN)
            client.wait_for("flowing")
            os.kill(client.pid, signal.SIGKILL)
            client.wait()
        lib.wait_until(lambda: self.sockets("bob") <= 1, "bob's sockets to go")
        lib.wait_until(lambda: self.sockets("alice") == 0, "alice's sockets to go")

    def test_a_listener_inherited_over_fork_and_exec(self):
        server = self.lab.spawn("bob", lib.PYTHON, "-c", INHERIT)
        server.wait_for("listening")
        fetch = ("import socket; c = socket.create_connection(('10.0.0.2', 7001), 20);"
                 "print(c.makefile().read())")
        for _ in range(2):
            self.assertEqual(self.lab.python("alice", fetch), "from a child over exec\n")
        self.assertEqual(server.wait(), 0, server.output)

    def test_names_of_the_lab_resolve(self):
        self.lab.spawn("bob", lib.PYTHON, "-m", "http.server", "80",
                       cwd="/usr/share/common-licenses")
        self.lab.wait_port("alice", "10.0.0.2", 80)
        for url in ("http://bob/GPL-3", "http://10.0.0.2/GPL-3"):
            out = self.lab.python("alice", "import sys, urllib.request as r;"
                                  "print(len(r.urlopen(sys.argv[1], timeout=20).read()))", url)
            size = os.path.getsize("/usr/share/common-licenses/GPL-3")
            self.assertEqual(int(out), size, urllib.parse.urlparse(url).hostname)
        said = self.lab.run("alice", "ping", "-c", "1", "-W", "5", "bob").stdout
        self.assertIn("PING bob (10.0.0.2)", said)


class DaemonDeathTest(lib.LabTest):
    def _assert_alive(self, lab):
        """Here the daemon is meant to die."""

    def test_programs_see_a_reset_when_the_daemon_is_killed(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        server = lab.spawn("bob", lib.PYTHON, "-c", FIREHOSE)
        server.wait_for("listening")
        client = lab.spawn("alice", lib.PYTHON, "-c", DRAIN)
        client.wait_for("flowing")
        os.kill(lab.pid, signal.SIGKILL)
        client.wait_for("ECONNRESET|end of file")
        client.wait()
        self.assertNotEqual(server.wait(), 0, server.output)  # accept() failed

    def test_every_wait_ends_when_the_daemon_is_killed(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        program = lab.spawn("bob", lib.PYTHON, "-c", WAITS)
        program.wait_for("waiting")
        os.kill(lab.pid, signal.SIGKILL)
        self.assertEqual(program.wait(), 0, program.output)
        reset = "'ECONNRESET'"
        self.assertIn(f"[('accept', {reset}), ('accept 2', {reset}), ('accept 3', {reset}), "
                      f"('poll', '1'), ('recv', {reset}), ('recv connected', {reset}), "
                      f"('recv raw', {reset}), ('recvfrom', {reset}), ('recvfrom 2', {reset})]",
                      program.output)
        for name in ("socket", "send", "sendto", "getsockname", "accept"):
            self.assertIn(f"{name} ECONNRESET\n", program.output)


if __name__ == "__main__":
    lib.main()
