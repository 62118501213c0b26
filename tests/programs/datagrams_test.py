"""Datagram sockets on hosts of a lab, where the stack is our own: how much waits, who is told of
ends, how an ordinary user's lab holds out, and options that only the stack knows."""

import os
import signal
import tempfile

import lib

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

# Datagrams of one size to a socket that does not read: [sent, told as drops, read afterwards].
WAITING = """
import socket, struct, sys
def waiting(size, rcvbuf):
    receiver, sender = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
    receiver.bind(("127.0.0.1", 0))
    if rcvbuf:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    receiver.setsockopt(socket.SOL_SOCKET, 40, 1)  # SO_RXQ_OVFL
    sent = 1500
    for _ in range(sent):
        sender.sendto(bytes(size), receiver.getsockname())
    info = struct.unpack("9I", receiver.getsockopt(socket.SOL_SOCKET, 55, 36))  # SO_MEMINFO
    receiver.setblocking(False)
    read = 0
    while True:
        try:
            receiver.recvmsg(70000, 100)
            read += 1
        except BlockingIOError:
            break
    assert read + info[8] == sent, (size, rcvbuf, read, info)
    assert info[0] <= info[1] or read == 1, (size, rcvbuf, read, info)
    sender.sendto(b"", receiver.getsockname())
    control = receiver.recvmsg(9, 100)[1]
    assert [struct.unpack("I", value)[0] for _, _, value in control] == [info[8]], control
    return read
for case in sys.argv[1:]:
    print(waiting(*map(int, case.split("/"))))
"""

# What Linux 6.18 lets wait: (size, SO_RCVBUF or 0) -> datagrams.
LINUX_WAITING = {(0, 0): 256, (100, 0): 256, (1000, 0): 92, (9000, 0): 12, (40000, 0): 5,
                 (100, 2304): 5, (1000, 2304): 2, (9000, 2304): 1, (40000, 2304): 1,
                 (100, 10000): 24, (1000, 50000): 43, (40000, 50000): 2}

# Keeps datagrams waiting at many sockets; then one that reads gets its own, and they theirs.
HOARD = """
import socket, struct
hoarders = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(60)]
reader, sender = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
for one in (*hoarders, reader):
    one.bind(("127.0.0.1", 0))
    one.settimeout(20)
for number in range(40):
    for one in hoarders[:8]:
        sender.sendto(b"%d" % number, one.getsockname())
sender.sendto(b"hello", reader.getsockname())
assert reader.recvfrom(9) == (b"hello", ("127.0.0.1", sender.getsockname()[1]))
print("one reads")
for number in range(40):
    for one in hoarders[8:]:
        sender.sendto(b"%d" % number, one.getsockname())
for one in hoarders:
    drops = struct.unpack("9I", one.getsockopt(socket.SOL_SOCKET, 55, 36))[8]
    assert drops == 0, drops
    for number in range(40):
        got = one.recvfrom(9)
        assert got == (b"%d" % number, ("127.0.0.1", sender.getsockname()[1])), got
print("all there")
"""

FILTERS = """
import ctypes, socket, struct
def attach(s, option, *code):
    block = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
    s.setsockopt(socket.SOL_SOCKET, option, struct.pack("HxxxxxxQ", len(code),
                                                        ctypes.addressof(block)))
receiver, sender = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
receiver.bind(("127.0.0.1", 0))
receiver.settimeout(20)
attach(receiver, 26, (0x30, 0, 0, 8), (0x15, 0, 1, 65), (6, 0, 0, 65535), (6, 0, 0, 0))
sender.sendto(b"B", receiver.getsockname())
sender.sendto(b"A", receiver.getsockname())
print(receiver.recv(9))
for length, pointer in ((1, 8), (0, 0), (5000, 8)):
    try:
        receiver.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxQ", length, pointer))
    except OSError as error:
        print(error.strerror)
sender.setsockopt(17, 103, 3)  # UDP_SEGMENT
receiver.setsockopt(socket.SOL_SOCKET, 27, 0)
sender.sendto(b"abcdef", receiver.getsockname())
print(receiver.recv(9), receiver.recv(9))
"""

# Plain sends on connected sockets whose outcome depends on more than their bytes: [outcome, …].
AT_ONCE = """
import errno, os, socket
def said(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return errno.errorcode[error.errno]
receiver = socket.socket(type=socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
receiver.settimeout(20)
def connected(*kind):
    one = socket.socket(socket.AF_INET, *kind)
    one.connect(receiver.getsockname())
    return one
s = connected(socket.SOCK_DGRAM)
print(said(s.send, bytes(60000), socket.MSG_MORE), said(s.send, bytes(9000)), said(s.send, b"x"))
print(receiver.recv(99))
s.setsockopt(socket.IPPROTO_UDP, 1, 1)  # UDP_CORK
print(said(s.send, bytes(60000)), said(s.send, bytes(9000)), said(s.send, b"y"))
s.setsockopt(socket.IPPROTO_UDP, 1, 0)
print(receiver.recv(99))
s.send(b"a", socket.MSG_MORE)
s.send(b"b")
s.send(b"c")
print(receiver.recv(99), receiver.recv(99))
with_header = connected(socket.SOCK_RAW, socket.IPPROTO_RAW)
print([said(with_header.send, bytes(n)) for n in (0, 4, 19, 20)])
icmp = connected(socket.SOCK_RAW, socket.IPPROTO_ICMP)
print([said(icmp.send, bytes(n)) for n in (0, 1, 2, 65515, 65516)])
raw = connected(socket.SOCK_RAW, 99)
raw.shutdown(socket.SHUT_WR)
print([said(raw.send, bytes(n)) for n in (0, 1, 65515, 65516)])
print([said(os.write, raw.fileno(), bytes(n)) for n in (0, 1, 65515, 65516)],
      said(os.writev, raw.fileno(), [b"a", b"bc"]))
"""

# What Linux 6.18 says to them.
AT_ONCE_ON_LINUX = [
    "60000 EMSGSIZE 1", "b'x'", "60000 EMSGSIZE 1", "b'y'", "b'ab' b'c'",
    "['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL']", "['EFAULT', 'EFAULT', 2, 65515, 'EMSGSIZE']",
    "[0, 1, 65515, 'EMSGSIZE']", "[0, 1, 65515, 'EMSGSIZE'] 3"]

# SIOCGSTAMP is about what no SO_TIMESTAMP told.
STAMPS = """
import fcntl, socket, struct
receiver, sender = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
receiver.bind(("127.0.0.1", 0))
receiver.settimeout(20)
def stamp():
    try:
        return struct.unpack("qq", fcntl.ioctl(receiver, 0x8907, bytes(16)))  # SIOCGSTAMPNS
    except FileNotFoundError:
        return None
def send(count):
    for _ in range(count):
        sender.sendto(b"x", receiver.getsockname())
send(2)
receiver.recv(9)
first = stamp()
receiver.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
told = receiver.recvmsg(9, 99)[1]
print(first is not None, len(told), stamp() == first)
receiver.setsockopt(socket.SOL_SOCKET, 35, 0)
send(1)
receiver.recv(9)
print(stamp() > first, stamp() == stamp())
"""

# Told of the daemon's death, by poll and by epoll, and again.
AGAIN = """
import errno, select, socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
t = socket.socket(type=socket.SOCK_DGRAM)
t.connect(s.getsockname())
poll, epoll = select.poll(), select.epoll()
poll.register(s, select.POLLIN)
epoll.register(t, select.EPOLLIN | select.EPOLLET)
print("waiting", flush=True)
for one, wait in ((s, poll), (t, epoll)):
    assert wait.poll(60000 if wait is poll else 60)
    for blocking in (True, False, True):
        one.setblocking(blocking)
        for receive in (one.recv, one.recvfrom, one.recvmsg):
            try:
                print("got", receive(9))
            except OSError as error:
                print(errno.errorcode[error.errno])
    assert wait.poll(60000 if wait is poll else 60)
"""


class DatagramsTest(lib.LabTest):
    def test_as_much_waits_as_on_linux(self):
        lab = self.start_lab()
        cases = [f"{size}/{rcvbuf}" for size, rcvbuf in LINUX_WAITING]
        found = [int(line) for line in lab.python("alice", WAITING, *cases).split()]
        for case, ours, linux in zip(LINUX_WAITING, found, LINUX_WAITING.values()):
            slack = 1 + linux // 10
            self.assertLessEqual(abs(ours - linux), slack, f"{case}: {ours}, on Linux {linux}")

    def test_filters_and_segments(self):
        lab = self.start_lab()
        self.assertEqual(lab.python("alice", FILTERS).splitlines(),
                         ["b'A'", "Bad address", "Invalid argument", "Invalid argument",
                          "b'abc' b'def'"])

    def test_what_becomes_of_a_send_is_known_at_once(self):
        lab = self.start_lab()
        self.assertEqual(lab.python("alice", AT_ONCE).splitlines(), AT_ONCE_ON_LINUX)

    def test_the_stamp_of_what_was_not_told(self):
        lab = self.start_lab()
        self.assertEqual(lab.python("alice", STAMPS).split(), ["True", "1", "True", "True", "True"])


class OrdinaryUserTest(lib.LabTest):
    """An ordinary user's daemon has no more descriptors on their way than its limit allows."""

    def test_waiting_datagrams_are_neither_lost_nor_in_the_way(self):
        folder = tempfile.TemporaryDirectory(prefix="ph-test-")
        self.addCleanup(folder.cleanup)
        os.chown(folder.name, 65534, 65534)
        lab = lib.Lab(lib.TWO_HOSTS, folder.name, ("prlimit", "--nofile=512:512", *NOBODY))
        self.addCleanup(lab.close)
        self.assertEqual(lab.python("alice", HOARD), "one reads\nall there\n")


class DaemonDeathTest(lib.LabTest):
    def _assert_alive(self, lab):
        """Here the daemon is meant to die."""

    def test_who_reads_again_does_not_wait(self):
        lab = self.start_lab()
        program = lab.spawn("alice", lib.PYTHON, "-c", AGAIN)
        program.wait_for("waiting")
        os.kill(lab.pid, signal.SIGKILL)
        self.assertEqual(program.wait(), 0, program.output)
        self.assertEqual(program.output.split()[1:], ["ECONNRESET"] * 18)


if __name__ == "__main__":
    lib.main()
