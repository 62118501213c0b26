"""Packets that are odd, and what a router and host makes of them: ours beside Linux's, answer by
answer and counter by counter (wires.py). Each case is a list of packets; all are built here."""

import collections
import random
import struct
import unittest

import lib
import wires
from wires import echo, fragments, icmp, ip, udp

SYSCTLS = {"ip_forward": 1, "icmp_ratelimit": 0, "icmp_msgs_per_sec": 1000000,
           "icmp_msgs_burst": 1000000,
           "ipfrag_time": 3600}  # what waits, waits until its test is over
GROUPS = ("Ip", "Icmp", "IpExt")
# What the two count in different places of the same way, or of the questions that end a case.
UNCOUNTED = ("IpExtInOctets", "IpExtOutOctets", "IpOutTransmits")
# Linux 6.18 counts a timestamp reply as an echo reply.
ALIKE = {"IcmpOutTimestampReps": "IcmpOutEchoReps"}


def counted(before, after):
    out = collections.Counter()
    for name, value in after.items():
        if name.startswith(GROUPS) and name not in UNCOUNTED and not name.startswith("IcmpMsg"):
            out[ALIKE.get(name, name)] += value - before[name]
    return dict(+out)


def left(*packets):
    return [("left", packet) for packet in packets]


class Differential(lib.LabTest):
    """The two machines, made once for all cases of a class."""

    sysctls = SYSCTLS
    routes = ()
    mtu = 1500  # on the right

    def setUp(self):
        wires.pin_to_one_cpu()
        settings = (self.sysctls, self.routes, self.mtu)
        self.linux = wires.LinuxMachine(self, *settings)
        self.ours = wires.OurMachine(self, *settings)

    def meet(self, *addresses):
        for machine in (self.linux, self.ours):
            for address in addresses:
                machine.meet("left", address)

    def answers(self, machine, packets, **more):
        before = machine.counters()
        said = machine.ask(packets, **more)
        return [*said, counted(before, machine.counters())]

    def assert_same(self, cases, **more):
        """cases: name and packets."""
        for name, packets in cases:
            with self.subTest(name):
                linux = self.answers(self.linux, packets, **more)
                self.assertEqual(self.answers(self.ours, packets, **more), linux)


def random_fragments(seed):
    """A datagram in fragments that come in any order, some twice, some overlapping, some cut."""
    chance = random.Random(seed)
    ident = 1000 + seed
    payload = echo(chance.randbytes(chance.randrange(8, 2600)), seq=seed & 0xFFFF)
    count = chance.randrange(1, 9)
    cuts = sorted({1200, 2400, *(8 * chance.randrange(1, max(len(payload) // 8, 2))
                                 for _ in range(count))})
    fields = {"ident": ident, "df": chance.random() < 0.2}
    out = fragments(payload, [cut for cut in cuts if cut < len(payload)], **fields)
    if chance.random() < 0.7:
        chance.shuffle(out)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
        kind = chance.randrange(6)
        place = chance.randrange(len(out) + 1)
        begin = 8 * chance.randrange(len(payload) // 8 + 3)
        size = chance.choice((1, 7, 8, 16, 40, 180))
        if kind == 0:
            out.insert(place, chance.choice(out))
        elif kind == 1:
            out.insert(place, ip(chance.randbytes(8 * size), offset=begin, more=True, **fields))
        elif kind == 2:
            out.insert(place, ip(chance.randbytes(size), offset=begin, more=False, **fields))
        elif kind == 3:
            out.insert(place, ip(payload[begin:begin + 8 * size], offset=begin, more=True,
                                 **fields))
        elif kind == 4:
            out.insert(place, ip(payload[begin:begin + size], offset=begin, more=True, **fields))
        else:
            tos = chance.randrange(4)
            out = [packet if chance.random() < 0.5 else
                   ip(packet[20:], tos=tos, offset=(struct.unpack(">H", packet[6:8])[0] & 8191) * 8,
                      more=bool(packet[6] & 0x20), **fields) for packet in out]
    return out


class FragmentTest(Differential):
    def test_any_order_overlaps_duplicates(self):
        self.assert_same((f"seed {seed}", left(*random_fragments(seed))) for seed in range(300))

    def test_sizes_and_fields(self):
        data = bytes(range(256)) * 8
        good = echo(data[:1600])
        nowhere = udp(4, data[:1600])  # to a closed port: the error quotes the whole datagram
        rr, alert = b"\x07\x27\x04" + bytes(36), b"\x94\x04\0\0"
        self.assert_same([
            ("one fragment is none", left(ip(good[:1400], ident=31))),
            ("zero bytes", left(ip(b"", ident=32, more=True), ip(b"", ident=32, offset=8))),
            ("seven bytes, more follow", left(ip(good[:1007], ident=33, more=True))),
            ("nothing but a fragment of 1 byte", left(ip(b"x", ident=34, more=True))),
            ("last fragment of nothing", left(ip(good[:800], ident=35, more=True),
                                              ip(b"", ident=35, offset=800))),
            ("beyond 65535", left(ip(data[:1000], ident=36, offset=65528))),
            ("to 65535 exactly", left(ip(data[:7], ident=37, offset=65528 - 24, more=False))),
            ("reserved bit", left(ip(echo(data[:100]), ident=38, flags=0x8000))),
            ("reserved bit in fragments", left(ip(good[:800], ident=30, flags=0xA000),
                                               ip(good[800:], ident=30, flags=0x8064))),
            ("same number, other protocol", left(*fragments(good, [800], ident=39),
                                                 ip(b"z" * 8, ident=39, proto=99, more=True))),
            ("DF in all", left(*fragments(nowhere, [800], ident=40, proto=17, df=True))),
            ("DF in the small one", left(
                *fragments(nowhere, [1200], ident=41, proto=17)[:1],
                *fragments(nowhere, [1200], ident=41, proto=17, df=True)[1:])),
            ("DF in the large one", left(
                *fragments(nowhere, [1200], ident=42, proto=17, df=True)[:1],
                *fragments(nowhere, [1200], ident=42, proto=17)[1:])),
            ("options in the first", left(ip(good[:800], ident=43, more=True, options=rr),
                                          ip(good[800:], ident=43, offset=800))),
            ("options in the second", left(ip(good[:800], ident=44, more=True),
                                           ip(good[800:], ident=44, offset=800, options=alert))),
            ("other options", left(ip(nowhere[:800], ident=45, more=True, proto=17, options=rr),
                                   ip(nowhere[800:], ident=45, offset=800, proto=17,
                                      options=alert))),
            ("error about a whole", left(*fragments(nowhere, [800], ident=46, proto=17, tos=0x10))),
            ("other service in each", left(
                ip(good[:800], ident=47, more=True, tos=0x10),
                ip(good[800:], ident=47, offset=800, tos=0x60))),
            ("other life time in each", left(
                ip(nowhere[:800], ident=48, more=True, proto=17, ttl=9),
                ip(nowhere[800:], ident=48, offset=800, proto=17, ttl=3))),
            ("not for us", left(*fragments(good, [800], ident=49, dst="10.9.2.2"))),
            ("in two broadcasts", left(*fragments(good, [800], ident=50, dst="10.9.1.255"))),
        ])

    def test_each_pair_of_congestion_marks(self):
        good = echo(bytes(1600))
        self.assert_same((f"{a} {b}", left(
            ip(good[:800], ident=100 + 4 * a + b, more=True, tos=a),
            ip(good[800:], ident=100 + 4 * a + b, offset=800, tos=b)))
            for a in range(4) for b in range(4))

    def test_a_number_that_wrapped(self):
        """ipfrag_max_dist: what waits is not joined with what comes long after."""
        good = echo(bytes(1600))
        for others in (62, 63, 64, 65, 66):
            begin, end = fragments(good, [800], ident=600 + others)
            between = [ip(bytes(8), ident=10000 + 100 * others + n, more=True)
                       for n in range(others)]
            self.assert_same([(f"{others} between", left(begin, *between, end))])


class FragmentLimitsTest(Differential):
    sysctls = {**SYSCTLS, "ipfrag_low_thresh": 1, "ipfrag_high_thresh": 1,
               "ipfrag_time": 5}

    def test_what_waits_is_bounded_and_told(self):
        good = echo(bytes(1600))
        first, second = fragments(good, [800], ident=31)
        other = fragments(good, [800], ident=32)
        for machine in (self.linux, self.ours):
            machine.before = machine.counters()
        # Over the mark every fragment is refused, one of the datagram that waits as well.
        self.assert_same([("refused", left(first, second, *other))])
        said = []
        for machine in (self.linux, self.ours):
            said.append(machine.until("left", lambda line: "icmp 11/1" in line, "the time-out"))
            said[-1].append(counted(machine.before, machine.counters()))
        self.assertEqual(said[1], said[0])


class FragmentTimeTest(Differential):
    sysctls = {**SYSCTLS, "ipfrag_time": 1}

    def test_whose_time_is_over(self):
        good = echo(bytes(1600))
        rr = b"\x07\x0b\x04" + bytes(8)
        cases = [fragments(good, [800], ident=51)[1:],            # no first one: no error
                 [ip(good[:800], ident=53, more=True, dst="10.9.1.255")],
                 [ip(good[:800], ident=54, more=True, options=rr)],
                 [ip(icmp(3, 1, 0, bytes(60)), ident=55, more=True)],
                 [ip(b"x" * 8, ident=56, proto=17, more=True)],
                 [ip(good[:16], ident=57, more=True, tos=0x23)],
                 [ip(good[:16], ident=58, more=True)]]
        said = []
        for machine in (self.linux, self.ours):
            before = machine.counters()
            answers = []
            for packets in cases:
                answers += machine.ask(left(*packets))
            missing = {54, 56, 57, 58}  # those that are told of, in any order

            def all_told(line, missing=missing):
                told = line.partition("0b01")[2]
                missing -= {number for number in missing if f"{number:04x}" in told[12:48]}
                return not missing
            answers += machine.until("left", all_told, "every time-out")
            answers += machine.ask([])
            said.append([*sorted(answers), counted(before, machine.counters())])
        self.assertEqual(said[1], said[0])


class ErrorsOutTest(Differential):
    """Errors that the router sends, and to what it sends none."""

    def test_about_odd_packets(self):
        self.meet("10.9.1.0")
        payload = udp(9, bytes(range(40)))
        rr = b"\x07\x0b\x04" + bytes(8)
        error = icmp(3, 3, 0, ip(payload, src="10.9.1.1", dst="10.9.1.2", proto=17))
        # DIFFERS: without rp_filter Linux answers a subnet's broadcast address with errors; we do
        # not (RFC 1122 §3.2.2).
        sources = ("0.0.0.0", "127.0.0.1", "224.0.0.9", "255.255.255.255", "10.9.1.1", "10.9.2.2",
                   "240.0.0.1", "10.9.1.0", "10.8.0.1", "1.2.3.4")
        targets = ("10.9.1.255", "255.255.255.255", "224.0.0.1", "224.0.0.9", "10.9.1.0",
                   "127.0.0.1", "0.0.0.0", "10.9.2.1", "10.9.2.255")
        cases = [("port", left(ip(payload, proto=17))),
                 ("port, options", left(ip(payload, proto=17, options=rr))),
                 ("port, service", left(ip(payload, proto=17, tos=0xFF))),
                 ("port, long", left(ip(udp(9, bytes(1400)), proto=17))),
                 ("protocol", left(ip(payload, proto=99))),
                 ("protocol, empty", left(ip(b"", proto=99))),
                 ("protocol, options", left(ip(payload, proto=99, options=rr))),
                 ("packet in packet", left(ip(ip(payload, proto=17), proto=4))),
                 ("short udp", left(ip(payload[:7], proto=17))),
                 ("udp that lies", left(ip(udp(9, b"x" * 8, length=99), proto=17))),
                 ("udp, wrong sum", left(ip(udp(9, b"x" * 8, check=1), proto=17))),
                 ("life over", left(ip(payload, proto=17, dst="10.9.2.2", ttl=1))),
                 ("life zero", left(ip(payload, proto=17, dst="10.9.2.2", ttl=0))),
                 ("life zero, for us", left(ip(echo(b"x"), ttl=0))),
                 ("life over, error", left(ip(error, dst="10.9.2.2", ttl=1))),
                 ("life over, echo reply", left(ip(icmp(0, 0, 1, b"x"), dst="10.9.2.2", ttl=1))),
                 ("life over, unknown type", left(ip(icmp(99, 0, 1, b"x"), dst="10.9.2.2", ttl=1))),
                 ("life over, redirect", left(ip(icmp(5, 0, 1, b"x"), dst="10.9.2.2", ttl=1))),
                 ("life over, no icmp", left(ip(b"", dst="10.9.2.2", ttl=1))),
                 ("life over, later fragment", left(ip(payload, proto=17, dst="10.9.2.2", ttl=1,
                                                       offset=8))),
                 ("life over, first fragment", left(ip(payload, proto=17, dst="10.9.2.2", ttl=1,
                                                       more=True))),
                 ("no route, error", left(ip(error, dst="10.77.0.1")))]
        for source in sources:
            cases.append((f"port, from {source}", left(ip(payload, proto=17, src=source))))
            cases.append((f"life over, from {source}", left(ip(payload, proto=17, src=source,
                                                              dst="10.9.2.2", ttl=1))))
            cases.append((f"protocol, from {source}", left(ip(payload, proto=99, src=source))))
            cases.append((f"echo, from {source}", left(ip(echo(b"x"), src=source))))
        for target in targets:
            cases.append((f"port, to {target}", left(ip(payload, proto=17, dst=target))))
            cases.append((f"protocol, to {target}", left(ip(payload, proto=99, dst=target))))
            cases.append((f"echo, to {target}", left(ip(echo(b"x"), dst=target))))
            cases.append((f"life over, to {target}", left(ip(payload, proto=17, dst=target,
                                                             ttl=1))))
        self.assert_same(cases)

    def test_to_other_link_addresses(self):
        payload = udp(9, bytes(range(40)))
        for name, mac in (("all", b"\xff" * 6), ("a group", bytes.fromhex("01005e000001")),
                          ("another", bytes.fromhex("020000000977"))):
            self.assert_same([(f"{name}: port", left(ip(payload, proto=17))),
                              (f"{name}: protocol", left(ip(payload, proto=99))),
                              (f"{name}: echo", left(ip(echo(b"x")))),
                              (f"{name}: life over", left(ip(payload, proto=17, dst="10.9.2.2",
                                                             ttl=1))),
                              (f"{name}: forwarded", left(ip(payload, proto=17, dst="10.9.2.2"))),
                              (f"{name}: no route", left(ip(payload, proto=17, src="10.9.1.2",
                                                            dst="10.77.0.1")))], mac=mac)

    def test_without_a_route(self):
        payload = udp(9, bytes(range(40)))
        self.assert_same([("no route", left(ip(payload, proto=17, dst="10.77.0.1"))),
                          ("to class E", left(ip(payload, proto=17, dst="240.0.0.1")))])

    def test_broken_headers(self):
        self.assert_same([
            ("version 5", left(ip(echo(b"x"), version=5))),
            ("header of 16 bytes", left(ip(echo(b"x"), ihl=4))),
            ("header longer than all", left(ip(b"", ihl=15))),
            ("length below header", left(ip(echo(b"x"), length=19))),
            ("length beyond all", left(ip(echo(b"x"), length=1000))),
            ("length with a rest", left(ip(echo(b"x" * 30), length=40))),
            ("wrong sum", left(ip(echo(b"x"), check=0x1234))),
            ("short", left(ip(echo(b"x"))[:19])),
            ("nothing", left(b"")),
            ("icmp of 4 bytes", left(ip(echo(b"x")[:4]))),
            ("icmp of 7 bytes", left(ip(icmp(8)[:7]))),
            ("icmp, wrong sum", left(ip(icmp(8, 0, 1, b"x", check=3)))),
            ("echo with a code", left(ip(icmp(8, 7, 1, b"x")))),
            ("echo reply nobody asked for", left(ip(icmp(0, 0, 1, b"x")))),
            ("times", left(ip(icmp(13, 0, 1, bytes(12))))),
            ("times, short", left(ip(icmp(13, 0, 1, bytes(8))))),
            ("times, long", left(ip(icmp(13, 0, 1, bytes(40))))),
            ("times, a code", left(ip(icmp(13, 1, 1, bytes(12))))),
            ("times, to all", left(ip(icmp(13, 0, 1, bytes(12)), dst="10.9.1.255"))),
            *((f"type {kind}", left(ip(icmp(kind, 0, 1, bytes(12)))))
              for kind in (1, 2, 6, 7, 9, 10, 14, 15, 16, 17, 18, 19, 30, 40, 42, 43, 44, 255)),
        ])


class RouterTest(Differential):
    """What a router does with packets on their way (RFC 1812 §5)."""

    sysctls = {**SYSCTLS, "conf.all.send_redirects": 1}
    mtu = 1000
    routes = ("10.10.0.0/16 via 10.9.1.12", "unreachable 10.11.0.0/16", "prohibit 10.12.0.0/16",
              "blackhole 10.13.0.0/16", "10.14.0.0/16 via 10.9.2.12")

    def test_sizes(self):
        self.meet("10.9.1.2")
        rr, alert = b"\x07\x0b\4" + bytes(8), b"\x94\4\0\0"
        self.ask_both([("right", ip(echo(b"x"), src="10.9.2.2", dst="10.9.2.1"))])

        def across(size, **fields):
            return left(ip(udp(9, bytes(range(256)) * 6)[:size - 20], proto=17, dst="10.9.2.2",
                           **fields))
        cases = [(f"{size} df {df}", across(size, df=df, ident=size))
                 for size in (999, 1000, 1001, 1400, 1500) for df in (False, True)]
        whole = udp(9, bytes(range(256)) * 5)
        error = icmp(3, 3, 0, ip(bytes(1100), src="10.9.2.2", dst="10.9.1.2", proto=17))
        cases += [
            ("options cut", across(1400, ident=1, options=rr)),
            ("alert cut", across(1400, ident=2, options=alert)),
            ("both cut", across(1400, ident=3, options=rr + b"\1" + alert)),
            ("options, whole", across(1400, ident=4, df=True, options=rr)),
            ("a first fragment cut", left(ip(whole[:1280], ident=5, proto=17, dst="10.9.2.2",
                                             more=True))),
            ("a last fragment cut", left(ip(whole[:1280], ident=6, proto=17, dst="10.9.2.2",
                                            offset=1280))),
            ("a fragment that must stay", left(ip(whole[:1280], ident=7, proto=17, df=True,
                                                  dst="10.9.2.2", offset=1280))),
            ("a first one that must stay", left(ip(whole[:1280], ident=8, proto=17, df=True,
                                                   dst="10.9.2.2", more=True))),
            ("an error that must stay", left(ip(error, df=True, dst="10.9.2.2"))),
            ("life over first", across(1400, ident=9, df=True, ttl=1)),
            ("service", across(1400, ident=10, df=True, tos=0xB8)),
        ]
        self.assert_same(cases)

    def test_routes_that_refuse(self):
        self.meet("10.9.1.2")
        payload = udp(9, bytes(40))
        self.assert_same((f"to {target}{' ' if ttl == 1 else ''}",
                          left(ip(payload, proto=17, dst=target, ttl=ttl)))
                         for target in ("10.11.0.1", "10.12.0.1", "10.13.0.1") for ttl in (64, 1))

    def test_redirects(self):
        # Linux tells one host again after 20 ms, 40 ms, ... only: each source is told once.
        self.meet("10.9.1.2", "10.9.1.12", "10.9.1.22")
        payload = udp(9, bytes(40))
        for number, (name, packet) in enumerate((
                ("by a neighbour", ip(payload, proto=17, dst="10.10.0.1")),
                ("from elsewhere", ip(payload, proto=17, dst="10.10.0.1", src="10.8.0.2")),
                ("an error", ip(icmp(3, 1, 0, ip(bytes(20))), dst="10.10.0.2")),
                ("life over", ip(payload, proto=17, dst="10.10.0.3", ttl=1)),
                ("back to a neighbour", ip(payload, proto=17, src="10.9.1.22", dst="10.9.1.12")))):
            self.assert_same([(f"{number} {name}", left(packet))])

    def ask_both(self, packets):
        for machine in (self.linux, self.ours):
            machine.ask(packets)
            machine.ask([])


class ErrorsInTest(Differential):
    """Errors that come, about packets that were never sent or are none."""

    def test_quoting_odd_headers(self):
        inner = ip(udp(9, bytes(8)), src="10.9.1.1", dst="10.9.1.2", proto=17)
        cases = []
        for kind, codes in ((3, (0, 3, 4, 5, 13, 15, 16, 99)), (11, (0, 1, 2)), (12, (0, 1)),
                            (12, (2,))):
            for code in codes:
                cases.append((f"{kind}/{code}", left(ip(icmp(kind, code, 1200, inner)))))
        for size in (0, 1, 19, 20, 27, 28, 29):
            cases.append((f"quote of {size}", left(ip(icmp(3, 3, 0, inner[:size])))))
        tcp = b"\0\x16\x12\x34" + bytes(16)
        for name, packet in (
                ("version 6", ip(bytes(40), version=6)),
                ("header of 16", ip(bytes(40), ihl=4)),
                ("header of 60 cut", ip(bytes(8), ihl=15)),
                ("options", ip(udp(9, b"x"), proto=17, options=b"\x07\x07\x04" + bytes(4))),
                ("wrong sum", ip(udp(9, b"x"), proto=17, check=7)),
                ("later fragment", ip(udp(9, b"x"), proto=17, offset=800)),
                ("first fragment", ip(udp(9, b"x"), proto=17, more=True)),
                ("unknown protocol", ip(bytes(8), proto=99)),
                ("packet in packet", ip(ip(bytes(8), proto=17), proto=4)),
                ("icmp error", ip(icmp(3, 1, 0, inner), proto=1)),
                ("echo reply", ip(icmp(0, 0, 1), proto=1)),
                ("echo", ip(icmp(8, 0, 1), proto=1)),
                ("tcp", ip(tcp, proto=6)),
                ("tcp cut", ip(tcp[:4], proto=6)),
                ("to all", ip(bytes(8), proto=17, src="10.9.1.1", dst="10.9.1.255")),
                ("to a group", ip(bytes(8), proto=17, src="10.9.1.1", dst="224.0.0.9")),
                ("from a stranger", ip(bytes(8), proto=17, src="1.2.3.4", dst="5.6.7.8"))):
            for kind, code, rest in ((3, 3, 0), (3, 4, 1000), (3, 4, 0), (3, 4, 60), (11, 0, 0),
                                     (12, 0, 9 << 24)):
                cases.append((f"{name} in {kind}/{code} {rest}",
                              left(ip(icmp(kind, code, rest, packet)))))
        for target in ("10.9.1.255", "224.0.0.1", "10.9.2.1"):
            cases.append((f"to {target}", left(ip(icmp(3, 3, 0, inner), dst=target))))
        self.assert_same(cases)


class PathTest(Differential):
    """What routers say of a path is believed when the packet was ours (RFC 1191, RFC 5927)."""

    def cases(self, build):
        out = []
        for number, mtu in enumerate((0, 1, 67, 68, 300, 551, 552, 600, 1499, 1500, 1501, 65535)):
            peer = f"10.9.1.{number + 1}2"
            self.meet(peer)
            told = ip(icmp(3, 4, mtu, build(peer)), src=peer)
            out.append((f"MTU {mtu}", left(ip(echo(bytes(1400)), src=peer), told,
                                           ip(echo(bytes(1400)), src=peer))))
        return out

    def test_about_an_answer(self):
        self.assert_same(self.cases(lambda peer: ip(icmp(0, 0, 1, b"x" * 8), src="10.9.1.1",
                                                    dst=peer)))

    def test_about_a_datagram_nobody_sent(self):
        self.assert_same(self.cases(lambda peer: ip(udp(9, bytes(8)), src="10.9.1.1", dst=peer,
                                                    proto=17)))

    def test_about_other_things_nobody_sent(self):
        for proto, data in ((6, bytes(20)), (99, bytes(8)), (1, icmp(8, 0, 1))):
            self.assert_same(self.cases(lambda peer, proto=proto, data=data: ip(
                data, src="10.9.1.1", dst=peer, proto=proto)))

    def test_about_a_stranger_s_packet(self):
        self.assert_same(self.cases(lambda peer: ip(icmp(0, 0, 1, b"x" * 8), src="1.2.3.4",
                                                    dst=peer)))


class OptionsTest(Differential):
    """IP options at the destination and on the way (RFC 791 §3.1, RFC 1812 §5.2.4, §5.3.13)."""

    OPTIONS = {
        "nothing": b"", "ends": b"\0", "no operations": b"\1\1\1\1",
        "end, then rubbish": b"\0\xff\xff\xff", "no length": b"\1\1\1\x07",
        "length 0": b"\x07\0\4\0", "length 1": b"\x07\1\4\0", "too long": b"\x07\x09\4\0",
        "unknown": b"\x5e\4\1\2", "unknown, length 0": b"\x5e\0\1\2",
        "unknown, length 2": b"\x5e\2\1\1", "alert": b"\x94\4\0\0",
        "alert of 3": b"\x94\3\0\0", "alert of 2": b"\x94\2\1\1", "alert of 6": b"\x94\6\0\0\0\0",
        "alert with a value": b"\x94\4\0\1", "two alerts": b"\x94\4\0\0\x94\4\0\0",
        "security": b"\x82\x0b" + bytes(9), "stream": b"\x88\4\0\1",
        "cipso": b"\x86\6\0\0\0\1", "two cipso": b"\x86\6\0\0\0\1" * 2,
        "rr": b"\x07\x0b\4" + bytes(8), "rr used": b"\x07\x0b\x08" + bytes(8),
        "rr full": b"\x07\x0b\x0c" + bytes(8), "rr of 3": b"\x07\3\4",
        "rr of 2": b"\x07\2\1\1", "rr no pointer": b"\x07\2", "rr pointer 0": b"\x07\7\0\0\0\0\0",
        "rr pointer 3": b"\x07\7\3\0\0\0\0", "rr pointer 5": b"\x07\7\5\0\0\0\0",
        "rr pointer 6": b"\x07\x0b\6" + bytes(8),
        "rr pointer 7": b"\x07\7\7\0\0\0\0", "rr pointer 255": b"\x07\7\xff\0\0\0\0",
        "two rr": b"\x07\7\4\0\0\0\0" * 2, "rr of 39": b"\x07\x27\4" + bytes(36),
        "ts": b"\x44\x0c\5\0" + bytes(8), "ts full": b"\x44\x0c\x0d\0" + bytes(8),
        "ts overflows": b"\x44\x0c\x0d\xf0" + bytes(8),
        "ts overflow 14": b"\x44\x0c\x0d\xe0" + bytes(8),
        "ts room, overflow 15": b"\x44\x0c\5\xf0" + bytes(8),
        "ts of 3": b"\x44\3\5\0", "ts of 4": b"\x44\4\5\0",
        "ts pointer 4": b"\x44\x0c\4\0" + bytes(8),
        "ts pointer 0": b"\x44\x0c\0\0" + bytes(8),
        "ts pointer 8": b"\x44\x0c\x08\0" + bytes(8),
        "ts pointer 10": b"\x44\x0c\x0a\0" + bytes(8),
        "ts pointer 255": b"\x44\x0c\xff\0" + bytes(8),
        "ts and address": b"\x44\x14\5\1" + bytes(16),
        "ts and address, half": b"\x44\x08\5\1" + bytes(4),
        "ts and address, used": b"\x44\x14\x0d\1" + bytes(16),
        "ts and address, full": b"\x44\x0c\x0d\1" + bytes(8),
        "ts given, ours": b"\x44\x14\5\3\x0a\x09\1\1" + bytes(4) + b"\x0a\x09\2\1" + bytes(4),
        "ts given, ours second": (b"\x44\x14\5\3\x0a\x09\1\2" + bytes(4) + b"\x0a\x09\1\1"
                                  + bytes(4)),
        "ts given, a group": b"\x44\x0c\5\3\xe0\0\0\1" + bytes(4),
        "ts given, half": b"\x44\x08\5\3\x0a\x09\1\1",
        "ts kind 2": b"\x44\x0c\5\2" + bytes(8), "ts kind 15": b"\x44\x0c\5\x0f" + bytes(8),
        "ts kind 2, full": b"\x44\x0c\x0d\2" + bytes(8),
        "two ts": b"\x44\x0c\5\0" * 1 + bytes(8) + b"\x44\x0c\5\0" + bytes(8),
        "rr and ts": b"\x07\7\4\0\0\0\0\1\x44\x0c\5\0" + bytes(8),
        "ts and rr": b"\x44\x0c\5\0" + bytes(8) + b"\x07\7\4\0\0\0\0",
        "lsrr": b"\x83\7\4\x0a\x09\2\2", "ssrr": b"\x89\7\4\x0a\x09\2\2",
        "lsrr done": b"\x83\7\x08\x0a\x09\2\2", "ssrr done": b"\x89\7\x08\x0a\x09\2\2",
        "lsrr of 3": b"\x83\3\4", "lsrr of 2": b"\x83\2\1\1", "lsrr pointer 3": b"\x83\7\3\0\0\0\0",
        "lsrr pointer 6": b"\x83\7\6\0\0\0\0", "lsrr pointer 5": b"\x83\x0b\5" + bytes(8),
        "lsrr and ssrr": b"\x83\7\4\x0a\x09\2\2\x89\7\4\x0a\x09\2\2",
        "two lsrr": b"\x83\7\4\x0a\x09\2\2" * 2,
        "lsrr and rr": b"\x83\7\4\x0a\x09\2\2\x07\7\4\0\0\0\0",
    }

    def cases(self, build):
        return [(name, left(build(options))) for name, options in self.OPTIONS.items()]

    def test_echo(self):
        self.assert_same(self.cases(lambda options: ip(echo(b"data"), options=options)))

    def test_error_of_the_host(self):
        self.assert_same(self.cases(lambda options: ip(udp(9, b"data"), proto=17,
                                                       options=options)))

    def test_on_the_way(self):
        self.assert_same(self.cases(lambda options: ip(udp(9, b"data"), proto=17, dst="10.9.2.2",
                                                       options=options)))

    def test_life_over(self):
        self.assert_same(self.cases(lambda options: ip(udp(9, b"data"), proto=17, dst="10.9.2.2",
                                                       options=options, ttl=1)))

    def test_to_all(self):
        self.assert_same(self.cases(lambda options: ip(echo(b"data"), dst="10.9.1.255",
                                                       options=options)))

    def test_in_an_echo_reply_and_an_error(self):
        self.assert_same(self.cases(lambda options: ip(icmp(0, 0, 1, b"x"), options=options))
                         + self.cases(lambda options: ip(icmp(3, 3, 0, ip(
                             udp(9, b"data"), src="10.9.1.1", dst="10.9.1.2", proto=17,
                             options=options)))))

    def test_random(self):
        def options(seed):
            chance = random.Random(seed)
            out = b""
            for _ in range(chance.randrange(1, 5)):
                kind = chance.choice((0, 1, 7, 7, 68, 68, 148, 130, 134, 94))
                size = chance.choice((2, 3, 4, 7, 8, 11, 12, 20))
                third = chance.choice((0, 3, 4, 5, 8, 9, 12, 13, 200))
                out += bytes((kind,)) if kind < 2 else bytes(
                    (kind, size, third, chance.choice((0, 1, 2, 3, 0xF0))))
                out += b"" if kind < 2 else bytes(max(size - 4, 0))
            return out[:40]
        packets = [(f"seed {seed} {options(seed).hex()}",
                    left(ip(echo(b"data"), options=options(seed)),
                         ip(echo(b"data"), options=options(seed), dst="10.9.2.2")))
                   for seed in range(300)]
        self.assert_same(packets)

class ArpTest(Differential):
    """Who is answered (RFC 826, RFC 5227), and what is learned: seen by where echoes go then."""

    MESSAGES = {
        "a question": {}, "about the other side": {"tip": "10.9.2.1"},
        "about somebody else": {"tip": "10.9.1.77"}, "about all": {"tip": "10.9.1.255"},
        "about nobody": {"tip": "0.0.0.0"}, "about lo": {"tip": "127.0.0.1"},
        "about a group": {"tip": "224.0.0.1"}, "a probe": {"sip": "0.0.0.0"},
        "a probe for another": {"sip": "0.0.0.0", "tip": "10.9.1.77"},
        "a probe for the other side": {"sip": "0.0.0.0", "tip": "10.9.2.1"},
        "from elsewhere": {"sip": "10.8.0.2"}, "from the other side": {"sip": "10.9.2.2"},
        "from a group": {"sip": "224.0.0.1"}, "from all": {"sip": "255.255.255.255"},
        "from the subnet's all": {"sip": "10.9.1.255"}, "from lo": {"sip": "127.0.0.1"},
        "from itself": {"sip": "10.9.1.1"},
        "an announcement": {"sip": "10.9.1.2", "tip": "10.9.1.2"},
        "a reply": {"op": 2}, "a reply about another": {"op": 2, "tip": "10.9.1.77"},
        "reverse": {"op": 3}, "operation 0": {"op": 0}, "operation 9": {"op": 9},
        "a group's hardware": {"sha": bytes.fromhex("01005e000001")},
        "no hardware": {"sha": bytes(6)},
        "another kind of link": {"head": bytes.fromhex("0006080006040000")},
        "another protocol": {"head": bytes.fromhex("000186dd06040000")},
        "lengths that lie": {"head": bytes.fromhex("0001080008040000")},
        "lengths of none": {"head": bytes.fromhex("0001080000000000")},
    }

    def test_answers(self):
        for name, fields in self.MESSAGES.items():
            for mac in (None, "router", bytes.fromhex("020000000977")):
                with self.subTest(name, mac=mac):
                    asked = [("left", mac, wires.arp("left", **fields))]
                    linux = self.linux.ask_arp(asked)
                    self.assertEqual(self.ours.ask_arp(asked), linux)

    def test_short_messages(self):
        whole = wires.arp("left")
        for size in (0, 1, 8, 27):
            with self.subTest(size):
                asked = [("left", None, whole[:size])]
                linux = self.linux.ask_arp(asked)
                self.assertEqual(self.ours.ask_arp(asked), linux)


class LimitsTest(Differential):
    """How many errors are sent at once (icmp_ratelimit, icmp_ratemask). What is earned with time is
    tests/ipv4/icmp_test.cpp's matter: here nothing is within 20 seconds."""

    sysctls = {"ip_forward": 1, "icmp_ratelimit": 20000, "icmp_msgs_burst": 1000000,
               "icmp_msgs_per_sec": 1000000}

    def test_to_one_and_to_many(self):
        def many(count, build):
            return [("left", build(n)) for n in range(count)]

        self.meet("10.9.1.22", "10.9.1.32", "10.9.1.42", "10.9.1.52", "10.9.1.62")
        unreachable = udp(9, b"x")
        cases = [
            ("ports", many(20, lambda n: ip(unreachable, proto=17, ident=n))),
            ("life over", many(20, lambda n: ip(unreachable, proto=17, ident=n, dst="10.9.2.2",
                                                src="10.9.1.22", ttl=1))),
            # A limit of the machine's, which a namespace cannot set, lets one a second pass.
            ("no route", many(5, lambda n: ip(unreachable, proto=17, ident=n, dst="10.77.0.1",
                                               src="10.9.1.32"))),
            ("options", many(20, lambda n: ip(unreachable, proto=17, ident=n, src="10.9.1.42",
                                              options=b"\x07\3\3"))),
            ("protocols", many(20, lambda n: ip(unreachable, proto=99, ident=n,
                                                 src="10.9.1.52"))),
            ("echo", many(20, lambda n: ip(echo(b"x"), ident=n))),
        ]
        for name, packets in cases:
            with self.subTest(name):
                linux = self.answers(self.linux, packets)
                self.assertEqual(self.answers(self.ours, packets), linux)


if __name__ == "__main__":
    lib.main()
