"""What the small programs of this folder check about TCP, on a host of a lab, where the stack is
our own. And what a connection that does nothing costs the daemon."""

import os
import re
import signal
import subprocess
import unittest

import lib

BIN = os.path.dirname(lib.PH)

MANY = """
import socket, sys
count = int(sys.argv[1])
listener = socket.create_server(("127.0.0.1", 0), backlog=128)
kept = []
for _ in range(count):
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    client.sendall(b"x" * 10000)
    got = 0
    while got < 10000:
        got += len(server.recv(10000 - got))
    kept += [client, server]
print("ready", flush=True)
sys.stdin.readline()
"""

# What waits for accept(), as a listener's TCP_INFO tells it in the fields of segments.
WAITING = """
import select, socket, struct
listener = socket.create_server(("127.0.0.1", 0), backlog=7)
def told():
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    return struct.unpack_from("II", info, 24)
said, clients = [told()], []
for wanted in (1, 2, 3):
    clients.append(socket.create_connection(listener.getsockname()))
    while told()[0] < wanted:
        select.select([], [], [], 0.01)
    said.append(told())
listener.accept()
while told()[0] > 2:
    select.select([], [], [], 0.01)
print(*said, told())
"""

# A client whose SYN waits for its first bytes, and which has no more to say.
FAST_AND_SHORT = """
import collections, socket
TCP_FASTOPEN, TCP_FASTOPEN_CONNECT = 23, 30
with open("/proc/sys/net/ipv4/tcp_fastopen", "w") as setting:
    setting.write("1027")
listener = socket.create_server(("127.0.0.1", 0), backlog=16)
listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
heard = collections.Counter()
for _ in range(20):
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
    client.connect(listener.getsockname())
    client.send(b"short")
    client.close()
    server, _ = listener.accept()
    heard[server.recv(10, socket.MSG_WAITALL)] += 1
print(dict(heard))
"""

# Clients whose SYN waits for first bytes that never come.
FAST_AND_SILENT = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
for _ in range(50):
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
    client.connect(listener.getsockname())
    client.close()
"""

# As much as fits between a writer and a program that does not read.
UNREAD = """
import select, socket
listener = socket.create_server(("127.0.0.1", 0))
writer = socket.create_connection(listener.getsockname())
reader = listener.accept()[0]
def room():
    return reader.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
writer.setblocking(False)
before, sent = room(), 0
while select.select([], [writer], [], 1)[1]:
    sent += writer.send(b"x" * 65536)
print("as before" if room() == before else (before, room()), "little" if sent < 5000000 else sent)
"""

# Connections to the own host that do nothing, beside some to another host. While the daemon does
# not run nobody may ask it anything.
TO_OTHERS = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
idle = [socket.create_connection(listener.getsockname()), listener.accept()[0]]
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.connect(("10.0.0.2", 9))
stream = socket.create_connection(("10.0.0.2", 7))
served = socket.create_server(("10.0.0.1", 8))
print("listening", flush=True)
accepted = served.accept()[0]
print("connected", flush=True)
sys.stdin.readline()
for s in datagrams, stream, accepted:
    s.send(b"x")
    try:
        s.recv(1, socket.MSG_DONTWAIT)
    except BlockingIOError:
        pass
stream.close()
try:
    idle[0].recv(1, socket.MSG_DONTWAIT)
except BlockingIOError:
    print("nothing came", flush=True)
sys.stdin.readline()
idle[0].send(b"x")
print(idle[1].recv(1, socket.MSG_DONTWAIT), flush=True)
"""
OTHERS = """
import socket
listener = socket.create_server(("10.0.0.2", 7))
print("listening", flush=True)
kept = listener.accept()[0]
other = None
while other is None:
    try:
        other = socket.create_connection(("10.0.0.1", 8))
    except ConnectionRefusedError:
        pass
other.recv(1)
kept.recv(2)
"""


class StreamsTest(lib.LabTest):
    def setUp(self):
        self.lab = self.start_lab(lib.TWO_HOSTS)

    def run_program(self, name, **environment):
        words = [f"{key}={value}" for key, value in environment.items()]
        done = self.lab.run("alice", "/usr/bin/env", *words, os.path.join(BIN, f"prog_{name}"),
                            check=False, timeout=120)
        self.assertEqual((done.returncode, done.stdout), (0, done.stdout), done.stdout)

    def test_loopback_costs_traffic_to_others_nothing(self):
        self.lab.spawn("bob", lib.PYTHON, "-c", OTHERS).wait_for("listening")
        program = self.lab.spawn("alice", lib.PYTHON, "-c", TO_OTHERS, stdin=-1)
        program.wait_for("connected")
        os.kill(self.lab.pid, signal.SIGSTOP)
        try:
            print(file=program.stdin, flush=True)
            program.wait_for("nothing came")
        finally:
            os.kill(self.lab.pid, signal.SIGCONT)
        print(file=program.stdin, flush=True)
        program.wait_for("b'x'")

    def test_every_size_by_every_call(self):
        self.run_program("tcp_large")

    def test_connect(self):
        self.run_program("tcp_connect")

    def test_waits_end_with_the_socket(self):
        self.run_program("tcp_waits")

    def test_resets(self):
        self.run_program("tcp_reset")

    def test_what_was_sent_to_the_own_host_is_there(self):
        self.run_program("loopback")

    def test_urgent_data_options_and_listeners(self):
        self.run_program("tcp_special")

    def test_urgent_data_without_help_of_the_kernel(self):
        self.run_program("tcp_urgent")
        program = os.path.join(BIN, "prog_tcp_urgent")
        done = subprocess.run([os.path.join(BIN, "prog_no_urgent"), lib.PH, "run", "--", program],
                              capture_output=True, text=True, timeout=lib.PATIENCE_S, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_states_and_ends(self):
        self.run_program("tcp_table",
                         TCP_TABLE=os.path.join(lib.ROOT, "tests", "programs", "tcp_table.txt"))

    def test_close_waits_for_the_peer(self):
        self.run_program("tcp_linger")

    def test_accept_that_no_shim_sees(self):
        self.run_program("tcp_unseen")
        lib.wait_until(lambda: self.lab.status()["program_sockets"] == 0, "all sockets are gone")

    def test_what_comes_beside_the_bytes(self):
        self.run_program("tcp_aside")

    def resident_kib(self):
        with open(f"/proc/{self.lab.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))

    def test_a_child_takes_no_error_queue_out_of_a_shared_epoll_set(self):
        self.assertEqual(self.lab.python("alice", '''
import os, select, socket
ends = socket.create_server(("127.0.0.1", 7000))
client = socket.create_connection(("127.0.0.1", 7000))
server = ends.accept()[0]
epoll = select.epoll()
epoll.register(client, select.EPOLLET)
client.setsockopt(socket.SOL_SOCKET, 60, 1)  # SO_ZEROCOPY
if os.fork() == 0:
    os.close(client.fileno())
    os._exit(0)
os.wait()
client.send(b"x", 0x4000000)  # MSG_ZEROCOPY
print(server.recv(1), [events for _, events in epoll.poll(10)])
'''), "b'x' [8]\n")

    def test_a_listener_tells_how_many_wait(self):
        told = self.lab.python("alice", WAITING)
        self.assertEqual(told, "(0, 7) (1, 7) (2, 7) (3, 7) (2, 7)\n")

    def test_a_fast_open_that_closes_at_once_arrives_whole(self):
        self.assertEqual(self.lab.python("alice", FAST_AND_SHORT), "{b'short': 20}\n")

    def test_a_fast_open_that_never_sends_leaves_nothing(self):
        # Without a cookie the SYN goes out at once: the rounds before have brought one.
        self.lab.python("alice", FAST_AND_SHORT)
        self.lab.python("alice", FAST_AND_SILENT)
        lib.wait_until(lambda: self.lab.status()["program_sockets"] == 0, "no socket is left")

    def test_what_nobody_reads_makes_no_buffer_grow(self):
        self.assertEqual(self.lab.python("alice", UNREAD), "as before little\n")

    def test_only_streams_raise_sigpipe(self):
        self.assertEqual(self.lab.python("alice", '''
import os, signal, socket
for kind in socket.SOCK_SEQPACKET, socket.SOCK_DGRAM, socket.SOCK_STREAM:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        end, other = socket.socketpair(socket.AF_UNIX, kind)
        other.shutdown(socket.SHUT_RD)
        try:
            end.send(b"x")
        except BrokenPipeError:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), end=" ")
'''), "1 1 -13 ")

    def test_idle_connections_cost_the_daemon_little(self):
        count = 400  # of two sockets each
        warm = self.lab.spawn("alice", lib.PYTHON, "-c", MANY, "20", stdin=lib.subprocess.PIPE)
        warm.wait_for("ready")
        before = self.resident_kib()
        program = self.lab.spawn("alice", lib.PYTHON, "-c", MANY, str(count),
                                 stdin=lib.subprocess.PIPE)
        program.wait_for("ready")
        each = (self.resident_kib() - before) / (2 * count)
        self.assertLess(each, 5, "KiB for a connected socket that does nothing")


if __name__ == "__main__":
    lib.main()
