"""Raw frames to a machine and what it answers: the same packets into a host of ours and into one of
Linux's, so that the two can be compared packet by packet and counter by counter.

The machine is a router: device `left` has 10.9.1.1/24, `right` 10.9.2.1/24. At the other ends is
this process, as 10.9.1.2 and 10.9.2.2 (and whatever else the packets say): it answers ARP for any
address that ends with .0 or 2 and is silent otherwise. A question that is always answered follows
the packets of a case, so that nothing waits for a time: what was answered before it is the answer.
"""

import collections
import ctypes
import os
import select
import socket
import struct
import time

import lib
from namespaces import Namespace

SIDES = ("left", "right")
MACS = {"left": bytes.fromhex("020000000901"), "right": bytes.fromhex("020000000902")}
OWN = {"left": "10.9.1.2", "right": "10.9.2.2"}
ROUTER = {"left": "10.9.1.1", "right": "10.9.2.1"}
ETH_P_ALL, SENTINEL = 3, 0xFEED

LAB = """
hosts:
  router: {{ sysctl: {{ {sysctls} }} }}
devices:
  - {{ host: router, name: left, tap: {left}, address: 10.9.1.1/24 }}
  - {{ host: router, name: right, tap: {right}, address: 10.9.2.1/24, mtu: {mtu} }}
"""


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip(payload=b"", src="10.9.1.2", dst="10.9.1.1", proto=1, ttl=64, ident=1, tos=0, offset=0,
       more=False, df=False, options=b"", **odd):
    """An IPv4 packet. odd: fields as they shall be (ihl, version, length, flags, check)."""
    options += b"\0" * (-len(options) % 4)
    flags = odd.get("flags", (0x4000 if df else 0) | (0x2000 if more else 0) | (offset // 8))
    head = bytearray(struct.pack(
        ">BBHHHBBH4s4s", odd.get("version", 4) << 4 | odd.get("ihl", 5 + len(options) // 4), tos,
        odd.get("length", 20 + len(options) + len(payload)), ident, flags, ttl, proto, 0,
        socket.inet_aton(src), socket.inet_aton(dst)) + options)
    head[10:12] = struct.pack(">H", odd.get("check", checksum(bytes(head))))
    return bytes(head) + payload


def icmp(kind, code=0, rest=0, data=b"", check=None):
    body = struct.pack(">BBHI", kind, code, 0, rest) + data
    value = checksum(body) if check is None else check
    return body[:2] + struct.pack(">H", value) + body[4:]


def udp(port, data, length=None, check=0):
    size = 8 + len(data) if length is None else length
    return struct.pack(">HHHH", 5000, port, size, check) + data


def echo(data=b"", ident=7, seq=1):
    return icmp(8, 0, ident << 16 | seq, data)


def fragments(payload, cuts, **fields):
    """The fragments of a datagram, cut at offsets (multiples of 8)."""
    edges = [0, *cuts, len(payload)]
    return [ip(payload[a:b], offset=a, more=b != len(payload), **fields)
            for a, b in zip(edges, edges[1:])]


def arp(side, op=1, sip="10.9.1.2", tip="10.9.1.1", sha=None, tha=bytes(6), head=None):
    """An ARP message without its Ethernet header. head: its first eight bytes, to lie with."""
    head = head or bytes.fromhex("0001080006040000")
    return (head[:6] + struct.pack(">H", op) + (sha or MACS[side]) + socket.inet_aton(sip) + tha
            + socket.inet_aton(tip))


def _enter_namespace(path):
    with open(path, "rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def _packet_socket(namespace, device):
    """A packet socket in another network namespace."""
    with open("/proc/self/ns/net", "rb") as home:
        _enter_namespace(f"/var/run/netns/{namespace.name}")
        try:
            out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            out.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
            out.bind((device, ETH_P_ALL))
        finally:
            _enter_namespace(f"/proc/self/fd/{home.fileno()}")
    return out


def _mask_options(out, begin):
    """No times in the options of the packet that begins there."""
    header = min(begin + (out[begin] & 15) * 4, len(out)) if begin + 20 <= len(out) else begin
    at = begin + 20
    while at + 2 < header and out[at] != 0:
        if out[at] == 1:
            at += 1
            continue
        size = max(out[at + 1], 2)
        if out[at] == 68:
            step = 4 if out[at + 3] & 15 == 0 else 8
            end = at + out[at + 2] - 1
            while end <= header and end - step >= at + 3:
                out[end - 4:end] = b"tttt"
                end -= step
        at += size


def _without_times(packet, header):
    """Zero for what differs from run to run: identification, times, and sums over them."""
    out = bytearray(packet)
    notes = "" if checksum(bytes(packet[:header])) == 0 else " BAD-IP-SUM"
    out[4:6] = out[10:12] = b"\0\0"
    _mask_options(out, 0)
    offset = struct.unpack(">H", out[6:8])[0] & 0x3FFF
    if out[9] == 1 and offset == 0:
        body = bytes(packet[header:])
        notes += "" if checksum(body) == 0 else " BAD-ICMP-SUM"
        if body[:1] in (b"\3", b"\5", b"\x0b", b"\x0c") and len(body) > 28:
            _mask_options(out, header + 8)
        if body[:1] == b"\x0e":
            out[header + 12:header + 20] = b"tttttttt"
        out[header + 2:header + 4] = b"\0\0"
    return bytes(out), notes


def describe(side, packet):
    """One answer as a line of text."""
    header = (packet[0] & 15) * 4
    length = struct.unpack(">H", packet[2:4])[0]
    packet = packet[:length]
    plain, notes = _without_times(packet, header)
    first = struct.unpack(">H", packet[6:8])[0] & 0x1FFF == 0 and len(packet) > header + 1
    kind = f"icmp {packet[header]}/{packet[header + 1]}" \
        if packet[9] == 1 and first else f"proto {packet[9]}"
    flags = struct.unpack(">H", packet[6:8])[0]
    return (f"{side} {socket.inet_ntoa(packet[12:16])}>{socket.inet_ntoa(packet[16:20])} {kind} "
            f"len {length} tos {packet[1]} ttl {packet[8]} flags {flags:04x}{notes} "
            f"{plain[:120].hex()} {checksum(plain):04x}")


class Machine:
    """A router with this process at both of its wires."""

    def __init__(self, sockets):
        self._sockets = sockets
        self._router_macs = {}
        self._asked = 0

    def _frame(self, side, packet, mac=None):
        return (mac or self._router_macs[side]) + MACS[side] + b"\x08\x00" + packet

    def learn(self):
        """Finds the router's link addresses by ARP, and lets it find ours."""
        for side in SIDES:
            ask = (b"\xff" * 6 + MACS[side] + bytes.fromhex("08060001080006040001") + MACS[side]
                   + socket.inet_aton(OWN[side]) + bytes(6) + socket.inet_aton(ROUTER[side]))

            def answered(side=side, ask=ask):
                self._sockets[side].send(ask)
                for frame in self._frames(side, 0.2):
                    if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\x02":
                        return frame[22:28]
                return None
            self._router_macs[side] = lib.wait_until(answered, f"an ARP answer from {side}")

    def _frames(self, side, patience_s):
        """Frames that come, until none comes for so long."""
        sock = self._sockets[side]
        while select.select([sock], [], [], patience_s)[0]:
            frame, where = sock.recvfrom(70000)
            if where[2] != socket.PACKET_OUTGOING:
                yield frame

    def _answer_arp(self, side, frame):
        asked = socket.inet_ntoa(frame[38:42])
        if frame[20:22] != b"\0\x01" or not asked.endswith((".0", "2")):
            return
        self._sockets[side].send(frame[6:12] + MACS[side] + bytes.fromhex("08060001080006040002")
                                 + MACS[side] + frame[38:42] + frame[22:32])

    def _describe_arp(self, side, frame):
        """An ARP answer, with the router's own link addresses as words."""
        names = {self._router_macs[s]: f"router's {s}" for s in SIDES}
        addresses = [frame[0:6], frame[6:12], frame[22:28], frame[32:38]]
        said = ", ".join(names.get(address, address.hex()) for address in addresses)
        return (f"{side} arp {frame[21]} {socket.inet_ntoa(frame[28:32])} to "
                f"{socket.inet_ntoa(frame[38:42])}: {said}")

    def _collect(self, side, seq, into):
        """Takes what comes at one side until the question is answered."""
        deadline = time.monotonic() + lib.PATIENCE_S
        while time.monotonic() < deadline:
            for frame in self._frames(side, 1):
                if frame[12:14] == b"\x08\x06":
                    self._answer_arp(side, frame)
                    if frame[20:22] != b"\0\x01":
                        into.append(self._describe_arp(side, frame))
                elif frame[12:14] == b"\x08\x00":
                    packet = frame[14:]
                    header = (packet[0] & 15) * 4
                    mark = struct.pack(">HH", SENTINEL, seq)
                    if packet[9] == 1 and packet[header + 4:header + 8] == mark:
                        return
                    into.append(describe(side, packet))
        raise AssertionError(f"nothing is answered at {side} any more; so far: {into}")

    def ask(self, packets, mac=None):
        """The answers to (side, packet)s, in order of coming, the left ones first. mac: the link
        address that they are sent to, where it is not the router's."""
        for side, packet in packets:
            self._sockets[side].send(self._frame(side, packet, mac))
        return self._answers()

    def ask_arp(self, messages):
        """The answers to (side, link address, ARP message)s; no address: to all."""
        for side, mac, message in messages:
            target = {"router": self._router_macs[side]}.get(mac, mac) or b"\xff" * 6
            self._sockets[side].send(target + MACS[side] + b"\x08\x06" + message)
        return self._answers()

    def _answers(self):
        answers = []
        for side in SIDES:
            self._asked += 1
            seq = self._asked & 0xFFFF
            self._sockets[side].send(self._frame(side, ip(
                echo(ident=SENTINEL, seq=seq), src=OWN[side], dst=ROUTER[side], ident=seq)))
            self._collect(side, seq, answers)
        return answers

    def meet(self, side, address):
        """The router learns where an address is, so that answers to it wait for nothing."""
        mark = f">{address} icmp 0/0"

        def answered():
            self._sockets[side].send(self._frame(side, ip(echo(b"meet"), src=address,
                                                          dst=ROUTER[side])))
            return any(mark in line for line in self._seen(side))
        lib.wait_until(answered, f"the router answers {address}")
        self.ask([])  # and nothing of it comes later

    def _seen(self, side):
        for frame in self._frames(side, 0.1):
            if frame[12:14] == b"\x08\x06":
                self._answer_arp(side, frame)
            elif frame[12:14] == b"\x08\x00":
                yield describe(side, frame[14:])

    def until(self, side, condition, what):
        """The answers at one side up to the first that meets a condition."""
        answers = []
        deadline = time.monotonic() + lib.PATIENCE_S
        while time.monotonic() < deadline:
            for frame in self._frames(side, 1):
                if frame[12:14] == b"\x08\x06":
                    self._answer_arp(side, frame)
                elif frame[12:14] == b"\x08\x00":
                    answers.append(describe(side, frame[14:]))
                    if condition(answers[-1]):
                        return answers
        raise AssertionError(f"{what} did not come; but: {answers}")

    def close(self):
        for sock in self._sockets.values():
            sock.close()


class LinuxMachine(Machine):
    """The router is a network namespace."""

    def __init__(self, test, sysctls, routes=(), mtu=1500):
        self._router = Namespace(test, "wire-router")
        tester = Namespace(test, "wire-tester")
        for side in SIDES:
            self._router.ip("link", "add", side, "type", "veth", "peer", "name", side, "netns",
                            tester.name)
            self._router.ip("addr", "add", f"{ROUTER[side]}/24", "dev", side)
            for where in (self._router, tester):
                where.run("sysctl", "-qw", f"net.ipv6.conf.{side}.disable_ipv6=1")
                where.ip("link", "set", side, "up")
        for where in ("all", "left", "right"):
            for name in ("rp_filter", "accept_source_route", "send_redirects",
                         "accept_redirects"):
                self._router.sysctl(**{f"conf.{where}.{name}": sysctls.get(f"conf.all.{name}", 0)})
        for name, value in sysctls.items():
            if not name.startswith("conf."):
                self._router.sysctl(**{name: value})
        self._router.ip("link", "set", "right", "mtu", str(mtu))
        for words in routes:
            self._router.ip("route", "add", *words.split())
        super().__init__({side: _packet_socket(tester, side) for side in SIDES})
        test.addCleanup(self.close)
        self.learn()

    def counters(self):
        return self._router.counters()


class OurMachine(Machine):
    """The router is a host of a lab."""

    def __init__(self, test, sysctls, routes=(), mtu=1500):
        home = Namespace(test, "wire-home")
        for side in SIDES:
            home.tap("ph" + side)
            home.run("sysctl", "-qw", f"net.ipv6.conf.ph{side}.disable_ipv6=1")
        settings = ", ".join(f"net.ipv4.{name}: {value}" for name, value in sysctls.items())
        text = LAB.format(sysctls=settings, left="phleft", right="phright", mtu=mtu)
        if routes:
            text += "routes: { router: [ " + ", ".join(f'"{words}"' for words in routes) + " ] }\n"
        self._lab = test.start_lab(text, home.words)
        super().__init__({side: _packet_socket(home, "ph" + side) for side in SIDES})
        test.addCleanup(self.close)
        self.learn()

    def counters(self):
        return collections.Counter(self._lab.status()["hosts"][0]["counters"])


def pin_to_one_cpu():
    """The kernel hands frames over on the CPU that sends them: on one CPU they keep their order."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
