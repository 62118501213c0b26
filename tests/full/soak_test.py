"""A soak: for an hour (PH_SOAK_S seconds) programs of many kinds come, talk over a wire that loses,
duplicates and reorders, and are killed at any moment. At the end nothing is left over: no socket,
no packet, no descriptor of the daemon's; its memory is what it was after the first minutes; the
counters of wires and devices sum up, and no packet ended without a reason.

The order of things is drawn from PH_SOAK_SEED, which the first line of output names."""

import contextlib
import hashlib
import os
import random
import re
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(FOLDER), "programs"))

import lib  # noqa: E402

SECONDS = float(os.environ.get("PH_SOAK_S", 3600))
SEED = int(os.environ.get("PH_SOAK_SEED", 0)) or random.randrange(1, 1 << 32)
AT_ONCE = 8  # programs besides the servers
ROOM = 16 << 20  # bytes that the daemon's memory may have grown by, whatever the soak's length

LAB = """
hosts: { alice: {}, bob: {} }
links:
  - ends: [ "alice:eth0 10.0.0.1/24", "bob:eth0 10.0.0.2/24" ]
    delay: 1ms
    loss: 0.2%
    duplicate: 0.1%
    reorder: 0.1%
"""

ECHO = """
import selectors, socket, sys
listener = socket.create_server(("", 7), backlog=512)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("", 7))
waiting = selectors.DefaultSelector()
for one in (listener, datagrams):
    one.setblocking(False)
    waiting.register(one, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in waiting.select():
        one = key.fileobj
        try:
            if one is listener:
                peer, _ = one.accept()
                peer.setblocking(True)
                peer.settimeout(5)
                waiting.register(peer, selectors.EVENT_READ)
            elif one is datagrams:
                data, peer = one.recvfrom(65536)
                one.sendto(data, peer)
            else:
                data = one.recv(65536)
                if data:
                    one.sendall(data)
                else:
                    raise ConnectionError
        except BlockingIOError:
            pass
        except OSError:
            if one not in (listener, datagrams):
                waiting.unregister(one)
                one.close()
"""

# Many connections at once, some left open until the end comes, some reset, some half shut.
STORM = """
import random, socket, struct
ends = []
for i in range(150):
    try:
        end = socket.create_connection(("10.0.0.2", 7), 20)
        end.sendall(bytes(random.randrange(1, 20000)))
        ends.append(end)
    except OSError:
        pass
random.shuffle(ends)
for i, end in enumerate(ends):
    if i % 3 == 0:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif i % 3 == 1:
        end.shutdown(socket.SHUT_WR)
    end.close()
"""

DATAGRAMS = """
import socket
end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
end.connect(("10.0.0.2", 7))
end.settimeout(0.2)
for i in range(500):
    end.send(bytes(1 + i * 29 % 9000))
    try:
        end.recv(65536)
    except OSError:
        pass
"""


class SoakTest(lib.LabTest):
    def setUp(self):
        print(f"PH_SOAK_SEED={SEED} PH_SOAK_S={SECONDS:.0f}", flush=True)
        self.draw = random.Random(SEED)
        self.lab = self.start_lab(LAB)
        self.file = os.path.join(self.lab.folder, "file")
        with open(self.file, "wb") as file:
            data = self.draw.randbytes(2_000_000)
            file.write(data)
        self.wanted = hashlib.sha256(data).hexdigest()
        self.running = []  # (program, file that it fetches or None)
        self.count = 0
        self.servers = {}

    def serve(self, name):
        """Starts a server again, after its predecessor was killed or for the first time."""
        words = {"echo": (lib.PYTHON, "-c", ECHO),
                 "web": (lib.PYTHON, "-m", "http.server", "80")}[name]
        if name in self.servers:
            self.servers.pop(name).end()
        self.servers[name] = self.lab.spawn("bob", *words, cwd=self.lab.folder)
        self.lab.wait_port("alice", "10.0.0.2", {"echo": 7, "web": 80}[name])

    def begin_one(self):
        kinds = [("storm", lib.PYTHON, "-c", STORM), ("datagrams", lib.PYTHON, "-c", DATAGRAMS),
                 ("ping", "ping", "-q", "-c", "20", "-i", "0.05", "10.0.0.2"), ("fetch",)]
        kind, *words = self.draw.choice(kinds)
        got = None
        if kind == "fetch":
            self.count += 1
            got = os.path.join(self.lab.folder, f"got-{self.count}")
            words = ["curl", "-sS", "--max-time", "60", "--limit-rate", "20M", "-o", got,
                     "http://10.0.0.2/file"]
        self.running.append((self.lab.spawn("alice", *words), got))

    def finish(self, program, got):
        """A program has ended: what it fetched is right, unless it says that it failed."""
        if got is None or not os.path.exists(got):
            return
        if program.returncode == 0:
            with open(got, "rb") as file:
                self.assertEqual(hashlib.sha256(file.read()).hexdigest(), self.wanted)
            self.whole += 1
        os.remove(got)

    def turn(self):
        """Ends, kills and begins some programs."""
        still = []
        for program, got in self.running:
            if program.returncode is None and self.draw.random() < 0.03:
                program.end()
                if got and os.path.exists(got):
                    os.remove(got)
            elif program.returncode is None:
                still.append((program, got))
            else:
                program.wait()
                self.finish(program, got)
                program.end()
        self.running = still
        self.lab.forget_ended()
        while len(self.running) < AT_ONCE:
            self.begin_one()
        if self.draw.random() < 0.01:
            self.serve(self.draw.choice(("echo", "web")))
        time.sleep(0.1)

    def quiet(self):
        """Ends every program and waits until their sockets have gone; the status then."""
        for program, _ in self.running:
            program.end()
        for server in self.servers.values():
            server.end()
        self.running, self.servers = [], {}

        def gone():
            status = self.lab.status()
            # TIME-WAIT keeps no descriptor; packets of connections that die on their own do.
            flying = sum(link[way]["in_flight"] for link in status["links"]
                         for way in ("forth", "back"))
            return status if not any(h["sockets"] for h in status["hosts"]) and not flying else None
        return lib.wait_until(gone, "every socket is gone", 200)

    def memory(self):
        with open(f"/proc/{self.lab.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) * 1024

    def descriptors(self):
        """How many the daemon has, but for the bounded cache of names of datagrams' senders and the
        page that each host has from its first program on."""
        count = 0
        for fd in os.listdir(f"/proc/{self.lab.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                what = os.readlink(f"/proc/{self.lab.pid}/fd/{fd}")
                count += "ph-datagram" not in what and "ph-settling" not in what
        return count

    def test_nothing_is_left_over(self):
        started = time.monotonic()
        self.whole = 0
        fds = self.descriptors()
        for name in ("echo", "web"):
            self.serve(name)
        while time.monotonic() - started < min(SECONDS / 4, 300):
            self.turn()
        self.quiet()
        memory = self.memory()
        for name in ("echo", "web"):
            self.serve(name)
        while time.monotonic() - started < SECONDS:
            self.turn()
        status = self.quiet()
        self.assertGreater(self.whole, 0, "no fetch came to its end")
        self.assert_sums(status)
        lib.wait_until(lambda: self.descriptors() <= fds, f"no more descriptors than {fds}")
        self.assertLess(self.memory(), memory + ROOM, f"the daemon's memory grew from {memory}")
        print(f"{self.whole} files came whole; memory {memory >> 20} MiB, then "
              f"{self.memory() >> 20} MiB", flush=True)

    def assert_sums(self, status):
        devices = {f"{host['name']}:{device['name']}": device
                   for host in status["hosts"] for device in host["devices"]}
        for link in status["links"]:
            for way, sender, receiver in (("forth", *link["ends"]), ("back", *link["ends"][::-1])):
                wire = link[way]
                self.assertEqual(wire["packets"] + wire["duplicated"],
                                 wire["delivered"] + wire["fault_loss"] + wire["fault_corrupt"] +
                                 wire["link_queue_full"] + wire["link_flight_full"] +
                                 wire["nomem"] + wire["in_flight"],
                                 (way, wire))
                self.assertEqual(devices[sender]["tx_packets"], wire["packets"], way)
                self.assertEqual(devices[receiver]["rx_packets"] + devices[receiver]["rx_dropped"],
                                 wire["delivered"], way)
        for host in status["hosts"]:
            self.assertNotIn("unreasoned", host["drops"])
            self.assertEqual(host["counters"].get("TcpCurrEstab", 0), 0)


if __name__ == "__main__":
    lib.main()
