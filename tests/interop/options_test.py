"""TCP options between the stack and the Linux kernel: each on and off at either end, who connects
and who listens, over a clean wire and one that loses, repeats and reorders. What was negotiated
and used is read from captures by tshark, from both ends' TCP_INFO, and from Linux's own ss and
nstat."""

import collections
import errno
import hashlib
import itertools
import re
import shutil
import socket
import struct

import dialogue
import lib
import talker
from dialogue import (ACK, AE, CWR, ECE, FASTOPEN, FASTOPEN_CONNECT, FASTOPEN_KEY, MD5SIG, RST, SYN,
                      TCP, End, meet, sent_by)
from namespaces import Namespace

KIB, MIB = 1 << 10, 1 << 20

# Each host's settings below net.ipv4; Linux takes the same names.
SETTINGS = {
    "plain": {},
    "no-window-scaling": {"tcp_window_scaling": 0},
    "no-sack": {"tcp_sack": 0},
    "no-timestamps": {"tcp_timestamps": 0},
    "bare": {"tcp_window_scaling": 0, "tcp_sack": 0, "tcp_timestamps": 0},
}
DEFAULTS = {"tcp_window_scaling": 1, "tcp_sack": 1, "tcp_timestamps": 1}
PAIRS = [("plain", theirs) for theirs in SETTINGS]
PAIRS += [(ours, "plain") for ours in SETTINGS if ours != "plain"]
PAIRS += [("bare", "bare"), ("no-sack", "no-timestamps")]

# More hosts of ours, for tests of one option.
HOSTS = {
    **SETTINGS,
    "fast-open": {"tcp_fastopen": 3},
    "no-fast-open": {"tcp_fastopen": 0},
    **{f"ecn-{value}": {"tcp_ecn": value} for value in range(4)},
}
# Marks one in seven of the (super-)packets that may be marked, in both directions.
CONGESTION = """
table ip congestion {
  chain in { type filter hook prerouting priority 0;
    ip ecn { ect0, ect1 } numgen inc mod 7 == 0 ip ecn set ce; }
  chain out { type filter hook postrouting priority 0;
    ip ecn { ect0, ect1 } numgen inc mod 7 == 0 ip ecn set ce; }
}
"""

CLEAN, LOSSY = "clean", "lossy"
ports = itertools.count(10000)


def lab_text(hosts):
    """A host for each setting: a clean wire that is a TAP, and a lossy one to a router with a TAP.
    Linux is 10.9.N.1 on the clean wires and 10.8.0.1 behind the router."""
    lines = ["hosts:", "  router: { sysctl: { net.ipv4.ip_forward: 1 } }"]
    for name, settings in hosts.items():
        inside = ", ".join(f"net.ipv4.{key}: {value}" for key, value in settings.items())
        lines.append(f"  {name}: {{ sysctl: {{ {inside} }} }}")
    lines.append("links:")
    for i, name in enumerate(hosts):
        lines.append(f'  - ends: [ "{name}:lossy 10.7.{i}.2/24", "router:wire{i} 10.7.{i}.1/24" ]')
        lines.append("    delay: 1ms\n    loss: 1%\n    reorder: 1%\n    duplicate: 1%")
    lines.append("routes:")
    for i, name in enumerate(hosts):
        lines.append(f'  {name}: [ "10.8.0.0/24 via 10.7.{i}.1" ]')
    lines += ["devices:",
              "  - { host: router, name: up, tap: phr, address: 10.8.0.254/24 }"]
    for i, name in enumerate(hosts):
        lines.append(f"  - {{ host: {name}, name: clean, tap: ph{i}, address: 10.9.{i}.2/24 }}")
    return "\n".join(lines) + "\n"


MD5_FAULTS = ("TcpExtTCPMD5NotFound", "TcpExtTCPMD5Unexpected", "TcpExtTCPMD5Failure")


def md5sig(address, key):
    """A struct tcp_md5sig (linux/tcp.h) in hexadecimal: the key for what comes from an address."""
    peer = struct.pack("<H2x4s120x", socket.AF_INET, socket.inet_aton(address))
    return (peer + struct.pack("<BBHi80s", 0, 0, len(key), 0, key)).hex()


class Transfer:
    """One connection, both ways full of data, and what its ends said of it."""

    def __init__(self, ours, theirs, wire, linux_listens, size=None):
        self.ours, self.theirs, self.wire = ours, theirs, wire
        self.linux_listens = linux_listens
        self.port = next(ports)
        self.size = size or {CLEAN: 2 * MIB, LOSSY: MIB}[wire]
        i = list(HOSTS).index(ours)
        self.our_address = {CLEAN: f"10.9.{i}.2", LOSSY: f"10.7.{i}.2"}[wire]
        self.linux_address = {CLEAN: f"10.9.{i}.1", LOSSY: "10.8.0.1"}[wire]

    def __str__(self):
        ways = (self.ours, self.theirs) if self.linux_listens else (self.theirs, self.ours)
        first, second = ("us", "Linux") if self.linux_listens else ("Linux", "us")
        return (f"{first} ({ways[0]}) to {second} ({ways[1]}) on the {self.wire} wire, port "
                f"{self.port}")

    def both(self, setting):
        """Is it on at both ends?"""
        return all(HOSTS[end].get(setting, DEFAULTS[setting])
                   for end in (self.ours, self.theirs))

    def client_has(self, setting):
        client = self.ours if self.linux_listens else self.theirs
        return HOSTS[client].get(setting, DEFAULTS[setting])

    def run(self, test, us, linux, listening=(), connecting=()):
        server, client = (linux, us) if self.linux_listens else (us, linux)
        address = self.linux_address if self.linux_listens else self.our_address
        before, ours_before = test.linux.counters(), test.our_counters(self.ours)
        meet(client, server, self.port, address, listening, connecting)
        seeds = {us: self.port, linux: self.port + 50000}
        for end in (us, linux):
            end.tell("exchange", seed=seeds[end], send=self.size, receive=self.size)
        said = {end: end.answer() for end in (us, linux)}
        for end, other in ((us, linux), (linux, us)):
            sent = hashlib.sha256(talker.made_bytes(seeds[other], self.size)).hexdigest()
            test.assertEqual(said[end]["sha256"], sent, self)
            test.assertEqual(said[end]["last"], ".", self)
        self.info, self.linux_info = said[us]["info"], said[linux]["info"]
        self.ss = linux.ask("ss")["said"]
        client.ask("close")
        server.ask("close")
        self.counters = test.linux.counters()
        self.counters.subtract(before)
        self.our_counters = test.our_counters(self.ours)
        self.our_counters.subtract(ours_before)


class OptionsTest(lib.LabTest):
    @classmethod
    def setUpClass(cls):
        dialogue.need_the_kernel()

    def setUp(self):
        self.linux = Namespace(self, "peer")
        self.linux.tap("phr", "10.8.0.1/24")
        for i in range(len(HOSTS)):
            self.linux.tap(f"ph{i}", f"10.9.{i}.1/24")
        self.linux.ip("route", "add", "10.7.0.0/16", "via", "10.8.0.254")
        self.lab = self.start_lab(lab_text(HOSTS), self.linux.words)

    def end_of(self, host):
        end = End(self.lab.words_on(host), None)
        self.addCleanup(end.end)
        return end

    def end_on_linux(self):
        end = End(self.linux.words, None)
        self.addCleanup(end.end)
        return end

    def our_counters(self, name):
        """The counters of a host of ours, by the kernel's names."""
        host = next(host for host in self.lab.status()["hosts"] if host["name"] == name)
        return collections.Counter(host["counters"])

    def transfers(self, wire):
        """Runs all of them over one kind of wire; returns them and the capture at our hosts."""
        linux = self.end_on_linux()
        done = []
        with self.lab.capture(*(f"{host}:{wire}" for host in SETTINGS)) as capture:
            for host, pairs in itertools.groupby(sorted(PAIRS), key=lambda pair: pair[0]):
                us = self.end_of(host)
                for _, theirs in pairs:
                    self.linux.sysctl(**{**DEFAULTS, **SETTINGS[theirs]})
                    for linux_listens in (True, False):
                        done.append(Transfer(host, theirs, wire, linux_listens))
                        done[-1].run(self, us, linux)
        return done, dialogue.Wire(capture.file)

    def check_options(self, transfer, frames):
        """The options that both ends have, and no others, were negotiated and used."""
        syns = [frame for frame in frames if frame.has(SYN)]
        asked = next(frame for frame in syns if not frame.has(ACK))
        answered = next(frame for frame in syns if frame.has(ACK))
        for setting, field in (("tcp_window_scaling", "wscale"), ("tcp_sack", "sack_perm"),
                               ("tcp_timestamps", "tsval")):
            self.assertEqual(getattr(asked, field) != "", transfer.client_has(setting), field)
            self.assertEqual(getattr(answered, field) != "", transfer.both(setting), field)
        self.assertEqual((asked.mss, answered.mss), ("1460", "1460"))
        data = [frame for frame in frames if not frame.has(SYN) and not frame.has(RST)]
        if not transfer.both("tcp_sack"):
            self.assertEqual([frame.number for frame in data if frame.sack], [])
        stamped = [frame for frame in data if frame.tsval]
        self.assertEqual(len(stamped), len(data) if transfer.both("tcp_timestamps") else 0)
        stamps = [int(frame.tsval) for frame in sent_by(stamped, transfer.our_address)]
        self.assertEqual(stamps, sorted(stamps), "our TSval never goes back")
        known = {frame.tsval for frame in frames if frame.src == transfer.linux_address}
        self.assertEqual([frame.number for frame in sent_by(stamped, transfer.our_address)
                          if frame.tsecr not in known], [], "our TSecr is a TSval of Linux's")

    def check_ends(self, transfer, frames):
        """Both ends' TCP_INFO and Linux's ss say what the capture says."""
        options = {word for word, setting in (("ts", "tcp_timestamps"), ("sack", "tcp_sack"),
                                              ("wscale", "tcp_window_scaling"))
                   if transfer.both(setting)}
        mss = 1448 if transfer.both("tcp_timestamps") else 1460
        for info in (transfer.info, transfer.linux_info):
            self.assertEqual({"ts", "sack", "wscale"} & set(info["options"]), options)
            self.assertEqual(info["bytes_received"], transfer.size + 1)
            self.assertEqual(info["bytes_sent"] - info["bytes_retrans"], transfer.size + 1)
            self.assertEqual(info["snd_mss"], mss)
        words = set(re.findall(r"\b(ts|sack|wscale)\b", transfer.ss))
        self.assertEqual(words, options, transfer.ss)
        sent = sent_by(frames, transfer.our_address)
        self.assertEqual(sum(frame.bytes for frame in sent), transfer.info["bytes_sent"])
        self.check_windows(transfer, frames)
        self.check_edges(frames, transfer.our_address)

    def check_edges(self, frames, address):
        """RFC 9293 §3.8.6: who sends stays within the window, whoever offers never takes back."""
        edge = 0
        for frame in frames:
            offered = int(frame.ack or 0) + int(frame.window_size)
            if frame.src == address:
                self.assertLessEqual(int(frame.seq) + frame.bytes, max(edge, 1),
                                     f"frame {frame.number} is beyond the window")
            elif frame.has(ACK):
                edge = max(edge, offered)
        edge = 0
        for frame in sent_by(frames, address):
            offered = int(frame.ack or 0) + int(frame.window_size)
            if frame.has(ACK) and not frame.has(SYN):
                self.assertGreaterEqual(offered, edge, f"frame {frame.number} shrinks the window")
                edge = offered

    def check_windows(self, transfer, frames):
        info, linux_info = transfer.info, transfer.linux_info
        sent = sent_by(frames, transfer.our_address)
        if not transfer.both("tcp_window_scaling"):
            self.assertLessEqual(max(info["snd_wnd"], linux_info["snd_wnd"]), 65535)
            self.assertEqual(info["snd_wscale"] + info["rcv_wscale"], 0)
            return
        ours, theirs = (int(next(frame.wscale for frame in frames
                                 if frame.has(SYN) and frame.src == address))
                        for address in (transfer.our_address, transfer.linux_address))
        self.assertEqual((info["rcv_wscale"], info["snd_wscale"]), (ours, theirs))
        self.assertEqual((linux_info["rcv_wscale"], linux_info["snd_wscale"]), (theirs, ours))
        self.assertIn(f"wscale:{ours},{theirs}", transfer.ss)
        self.assertGreater(max(int(frame.window) for frame in sent if not frame.has(SYN)) << ours,
                           65535, "our window grew beyond what it can be without scaling")

    def check_counters(self, transfer):
        """Linux finds nothing wrong with what we send."""
        wrong = ["TcpInCsumErrors", "TcpOutRsts", "IpInHdrErrors", "IpInAddrErrors",
                 "TcpExtTCPSACKReneging", "TcpExtTCPAbortOnData", "TcpExtTCPAbortOnMemory"]
        if transfer.wire == CLEAN:  # elsewhere the wire repeats SYN+ACKs, and overtakes
            wrong += ["TcpInErrs", "TcpExtTCPSYNChallenge", "TcpExtPAWSEstab",
                      "TcpExtTCPSACKDiscard", "TcpExtTCPDSACKIgnoredOld"]
        for name in wrong:
            self.assertEqual(transfer.counters[name], 0, name)
        self.assertEqual(transfer.counters["TcpActiveOpens"], 0 if transfer.linux_listens else 1)
        self.assertEqual(transfer.counters["TcpPassiveOpens"], 1 if transfer.linux_listens else 0)
        self.assertGreaterEqual(transfer.counters["TcpRetransSegs"],
                                transfer.linux_info["total_retrans"])

    def check_recovery(self, transfer, frames):
        """On the lossy wire: how both sides tell of gaps and mend them."""
        ours = sent_by(frames, transfer.our_address)
        theirs = sent_by(frames, transfer.linux_address)
        mss = 1448 if transfer.both("tcp_timestamps") else 1460
        data = [frame for frame in ours if frame.bytes]
        self.assertEqual(max(frame.bytes for frame in frames), mss)
        self.assertEqual(len(data), transfer.info["data_segs_out"])
        self.assertGreater(transfer.info["rcv_ooopack"], 0)
        self.assertGreater(transfer.info["total_retrans"], 0)
        self.assertGreater(transfer.counters["TcpExtTCPOFOQueue"], 0)
        if not transfer.both("tcp_sack"):
            return
        for frames_of_one in (ours, theirs):
            self.assertTrue(any(frame.sack for frame in frames_of_one), "no SACK block")
        for frame in ours:
            self.check_blocks(frame)
        if transfer.linux_info["dsack_dups"]:
            self.assertTrue(any(frame.dsack for frame in ours), "no D-SACK of ours")
        if transfer.info["dsack_dups"]:
            self.assertTrue(any(frame.dsack for frame in theirs), "no D-SACK of Linux's")

    def check_blocks(self, frame):
        """RFC 2018 §4 and RFC 2883 §4: what a segment of ours reports is above what it
        acknowledges, but for the first block, which may be a duplicate's."""
        blocks = [(int(left), int(right)) for left, right in
                  zip(frame.sack.split(","), frame.sack_end.split(","))] if frame.sack else []
        for number, (left, right) in enumerate(blocks):
            self.assertLess(left, right, f"frame {frame.number}: an empty block")
            if number > 0:
                self.assertGreater(left, int(frame.ack), f"frame {frame.number}: a stale block")

    def check_all(self, wire_kind, *checks):
        done, wire = self.transfers(wire_kind)
        wire.check(self, lossless=wire_kind == CLEAN)
        for transfer in done:
            frames = wire.connection(transfer.port)
            with self.subTest(str(transfer)):
                self.check_options(transfer, frames)
                self.check_ends(transfer, frames)
                self.check_counters(transfer)
                for check in checks:
                    check(transfer, frames)

    def check_no_loss(self, transfer, frames):
        """On a clean wire nothing of ours is sent twice, but when a busy machine is silent for so
        long that a probe (RFC 8985 §7) or a time-out is due."""
        counters = transfer.our_counters
        self.assertLessEqual(transfer.info["total_retrans"],
                             counters["TcpExtTCPLossProbes"] + counters["TcpExtTCPTimeouts"])
        for name in ("TcpExtTCPFastRetrans", "TcpExtTCPSackRecovery",
                     "TcpExtTCPRenoRecovery", "TcpExtTCPOFODrop", "TcpExtTCPRcvQDrop"):
            self.assertEqual(transfer.our_counters[name], 0, name)

    def test_over_a_clean_wire(self):
        self.check_all(CLEAN, self.check_no_loss)

    def test_over_a_lossy_wire(self):
        self.check_all(LOSSY, self.check_recovery)

    # --- Fast Open (RFC 7413) -------------------------------------------------------------------

    def open_fast(self, client, server, address, size=1000, key=None, deferred=False):
        """A connection whose client wants its first bytes in the SYN, by sendto(MSG_FASTOPEN) or
        because connect() waits for them (`deferred`): its port and what both ends say of it."""
        port = next(ports)
        options = [[TCP, FASTOPEN, 5]] + ([[TCP, FASTOPEN_KEY, key]] if key else [])
        server.ask("listen", address=address, port=port, options=options)
        if deferred:
            client.ask("connect", address=address, port=port,
                       options=[[TCP, FASTOPEN_CONNECT, 1]])
            client.ask("send", seed=port, size=size)
            client.ask("sent")
        else:
            client.ask("connect", address=address, port=port, seed=port, size=size)
        server.ask("accept")
        got = server.ask("receive", size=size)
        self.assertEqual(got["sha256"],
                         hashlib.sha256(talker.made_bytes(port, size)).hexdigest())
        said = client.ask("idle"), server.ask("info")
        for end in (client, server):
            end.ask("close")
        return port, said

    def check_fast(self, wire, opened, cookie_asked, cookie_given, data_taken):
        """What the handshake of such a connection carried."""
        port, infos = opened
        frames = wire.connection(port)
        syn = next(frame for frame in frames if frame.has(SYN) and not frame.has(ACK))
        answer = next(frame for frame in frames if frame.has(SYN) and frame.has(ACK))
        self.assertEqual(bool(syn.cookie_request), cookie_asked)
        self.assertEqual(bool(syn.cookie), syn.bytes > 0)
        self.assertEqual(bool(answer.cookie), cookie_given)
        self.assertEqual(int(answer.ack), 1 + (syn.bytes if data_taken else 0))
        for info in infos:
            self.assertEqual("fastopen" in info["options"], data_taken)
        return syn, answer

    def check_fast_open(self, linux_listens):
        us, linux = self.end_of("fast-open"), self.end_on_linux()
        client, server = (us, linux) if linux_listens else (linux, us)
        i = list(HOSTS).index("fast-open")
        address = f"10.9.{i}.1" if linux_listens else f"10.9.{i}.2"
        self.linux.sysctl(tcp_fastopen=3)
        before = self.linux.counters()
        with self.lab.capture("fast-open:clean") as capture:
            key, other = "11" * 16, "22" * 16
            first, second = (self.open_fast(client, server, address, key=key) for _ in range(2))
            stale, fresh = (self.open_fast(client, server, address, key=other) for _ in range(2))
            later = self.open_fast(client, server, address, key=other, deferred=True)
        wire = dialogue.Wire(capture.file)
        wire.check(self)
        _, given = self.check_fast(wire, first, True, True, False)
        syn, _ = self.check_fast(wire, second, False, False, True)
        self.assertEqual((syn.cookie, syn.bytes), (given.cookie, 1000))
        _, given = self.check_fast(wire, stale, False, True, False)
        for each in (fresh, later):
            syn, _ = self.check_fast(wire, each, False, False, True)
            self.assertEqual((syn.cookie, syn.bytes), (given.cookie, 1000))
        counters = self.linux.counters()
        counters.subtract(before)
        names = ("TcpExtTCPFastOpenPassive", "TcpExtTCPFastOpenPassiveFail",
                 "TcpExtTCPFastOpenCookieReqd") if linux_listens else ("TcpExtTCPFastOpenActive",)
        ours = self.our_counters("fast-open")
        theirs = [counters[name] for name in names]
        self.assertEqual(theirs, [3, 1, 1] if linux_listens else [3])
        name = "TcpExtTCPFastOpenActive" if linux_listens else "TcpExtTCPFastOpenPassive"
        self.assertEqual(ours[name], 3)

    def test_fast_open_by_us(self):
        self.check_fast_open(linux_listens=True)

    def test_fast_open_by_linux(self):
        self.check_fast_open(linux_listens=False)

    def test_fast_open_where_one_end_does_not_have_it(self):
        linux = self.end_on_linux()
        plain, without = (self.end_of(host) for host in ("plain", "no-fast-open"))
        first, last = (list(HOSTS).index(host) for host in ("plain", "no-fast-open"))
        self.linux.sysctl(tcp_fastopen=1)
        with self.lab.capture("plain:clean") as capture:
            opened = [self.open_fast(plain, linux, f"10.9.{first}.1"),
                      self.open_fast(linux, plain, f"10.9.{first}.2")]
        wire = dialogue.Wire(capture.file)
        wire.check(self)
        for each in opened:
            self.check_fast(wire, each, True, False, False)
        # Who does not have it says so.
        self.linux.sysctl(tcp_fastopen=0)
        for end, address in ((without, f"10.9.{last}.1"), (linux, f"10.9.{last}.2")):
            end.ask("connect", address=address, port=9, seed=1, size=10,
                    fails=errno.errorcode[errno.EOPNOTSUPP])

    # --- Explicit Congestion Notification (RFC 3168, RFC 9768) ----------------------------------

    def ecn_transfers(self, pairs, size):
        """Transfers between our hosts and Linux with such values of tcp_ecn; both ways each."""
        linux = self.end_on_linux()
        self.linux.sysctl(tcp_congestion_control="reno")
        done = []
        names = sorted({ours for ours, _ in pairs})
        with self.lab.capture(*(f"ecn-{name}:clean" for name in names)) as capture:
            for name in names:
                us = self.end_of(f"ecn-{name}")
                for theirs in (theirs for ours, theirs in pairs if ours == name):
                    self.linux.sysctl(tcp_ecn=theirs)
                    for linux_listens in (True, False):
                        done.append(Transfer(f"ecn-{name}", f"ecn-{theirs}", CLEAN, linux_listens,
                                             size))
                        done[-1].run(self, us, linux)
        wire = dialogue.Wire(capture.file)
        wire.check(self)
        return done, wire

    def check_ecn(self, transfer, frames):
        """Classic ECN: only who has 1 asks, who has 1 or 2 agrees."""
        first, second = ((transfer.ours, transfer.theirs) if transfer.linux_listens else
                         (transfer.theirs, transfer.ours))
        asked = first == "ecn-1"
        agreed = asked and second in ("ecn-1", "ecn-2")
        syn = next(frame for frame in frames if frame.has(SYN) and not frame.has(ACK))
        answer = next(frame for frame in frames if frame.has(SYN) and frame.has(ACK))
        self.assertEqual(syn.flag_bits & (ECE | CWR), ECE | CWR if asked else 0)
        self.assertEqual(answer.flag_bits & (ECE | CWR), ECE if agreed else 0)
        self.assertEqual({syn.ecn, answer.ecn}, {"0"}, "the handshake is not marked")
        data = [frame for frame in frames if frame.bytes]
        self.assertEqual({frame.ecn for frame in data if not frame.retransmission},
                         {"2"} if agreed else {"0"})
        pure = [frame for frame in sent_by(frames, transfer.our_address) if not frame.bytes]
        self.assertEqual({frame.ecn for frame in pure}, {"0"}, "bare ACKs are not ECN-capable")
        for info in (transfer.info, transfer.linux_info):
            self.assertEqual("ecn" in info["options"], agreed)
            self.assertEqual("ecnseen" in info["options"], agreed)
        self.assertEqual(" ecn " in transfer.ss, agreed, transfer.ss)

    def test_ecn_as_both_ends_allow_it(self):
        values = range(3)
        done, wire = self.ecn_transfers(list(itertools.product(values, values)), 64 * KIB)
        for transfer in done:
            with self.subTest(str(transfer)):
                self.check_ecn(transfer, wire.connection(transfer.port))

    def congest(self):
        if shutil.which("nft") is None:
            self.skipTest("nft, which marks packets here, is not installed (tools/packages.txt)")
        self.linux.run("nft", "-f", "-", input=CONGESTION)

    def test_marks_of_congestion_are_told_and_heeded(self):
        self.congest()
        done, wire = self.ecn_transfers([(1, 1)], MIB)
        for transfer in done:
            with self.subTest(str(transfer)):
                frames = wire.connection(transfer.port)
                ours = sent_by(frames, transfer.our_address)
                theirs = sent_by(frames, transfer.linux_address)
                marked = [frame for frame in theirs if frame.ecn == "3"]
                self.assertTrue(marked)
                self.check_echoes(frames, transfer, marked[0])
                self.assertTrue([frame for frame in theirs if frame.has(ECE)], "Linux echoes")
                self.assertTrue([frame for frame in ours if frame.has(CWR) and frame.bytes
                                 and not frame.has(SYN)], "we tell that the window is smaller")
                self.assertLess(transfer.info["snd_ssthresh"], 0x7fffffff)
                self.assertGreater(transfer.info["delivered_ce"], 0)

    def check_echoes(self, frames, transfer, marked):
        """RFC 3168 §6.1.3: from the first mark on, every ACK says so, until a CWR."""
        after = frames[frames.index(marked) + 1:]
        ours = sent_by(after, transfer.our_address)
        covering = [frame for frame in ours if int(frame.ack) > int(marked.seq)]
        self.assertTrue(covering and covering[0].has(ECE), "our ACK of a marked segment")

    def test_accurate_ecn_falls_back_to_classic(self):
        """With these settings Linux has classic ECN only: who offers more must agree on that."""
        done, wire = self.ecn_transfers([(3, 0), (3, 1), (3, 2)], 64 * KIB)
        for transfer in done:
            with self.subTest(str(transfer)):
                frames = wire.connection(transfer.port)
                agreed = transfer.theirs in (("ecn-1", "ecn-2") if transfer.linux_listens else
                                             ("ecn-1",))
                syn, answer = (frame for frame in frames if frame.has(SYN))
                asks = AE | ECE | CWR
                if transfer.linux_listens:
                    self.assertEqual(syn.flag_bits & asks, asks)
                self.assertEqual(answer.flag_bits & asks, ECE if agreed else 0)
                for info in (transfer.info, transfer.linux_info):
                    self.assertEqual("ecn" in info["options"], agreed)
                sent = [frame for frame in sent_by(frames, transfer.our_address)
                        if frame.bytes and not frame.retransmission]
                self.assertEqual({frame.ecn for frame in sent}, {"2"} if agreed else {"0"})
                self.assertFalse([frame.number for frame in frames if frame.accecn])

    # --- Signed segments (RFC 2385) -------------------------------------------------------------

    def signed(self, key):
        """How the end of such a host and Linux's sign what they send each other."""
        i = list(HOSTS).index("plain")
        return {address: [[TCP, MD5SIG, md5sig(address, key)]]
                for address in (f"10.7.{i}.2", "10.8.0.1", f"10.9.{i}.2", f"10.9.{i}.1")}

    def test_signed_segments(self):
        us, linux = self.end_of("plain"), self.end_on_linux()
        keys = self.signed(b"a key")
        done = []
        with self.lab.capture("plain:lossy") as capture:
            for linux_listens in (True, False):
                transfer = Transfer("plain", "plain", LOSSY, linux_listens, 256 * KIB)
                with_us, with_linux = keys[transfer.our_address], keys[transfer.linux_address]
                transfer.run(self, us, linux, *((with_us, with_linux) if linux_listens else
                                                (with_linux, with_us)))
                done.append(transfer)
        wire = dialogue.Wire(capture.file)
        wire.check(self, lossless=False)
        for transfer in done:
            with self.subTest(str(transfer)):
                frames = wire.connection(transfer.port)
                self.assertFalse([frame.number for frame in frames if not frame.md5])
                for name in MD5_FAULTS:
                    self.assertEqual(transfer.counters[name], 0, name)
                    self.assertEqual(transfer.our_counters[name], 0, name)

    def test_wrong_signatures_are_not_heard(self):
        us, linux = self.end_of("plain"), self.end_on_linux()
        good, bad = self.signed(b"a key"), self.signed(b"another")
        i = list(HOSTS).index("plain")
        ours, theirs = f"10.9.{i}.2", f"10.9.{i}.1"
        for client, server, at, peer in ((us, linux, theirs, ours), (linux, us, ours, theirs)):
            for listening, connecting, fault in (
                    (good[peer], bad[at], "TcpExtTCPMD5Failure"),
                    (good[peer], (), "TcpExtTCPMD5NotFound"),
                    ((), good[at], "TcpExtTCPMD5Unexpected")):
                before = self.counters_of(server is linux)[fault]
                port = next(ports)
                server.ask("listen", address=at, port=port, options=listening)
                client.ask("connect", address=at, port=port, options=connecting, limit=0.3,
                           fails="limit")
                self.assertGreater(self.counters_of(server is linux)[fault], before, fault)

    def counters_of(self, linux):
        return self.linux.counters() if linux else self.our_counters("plain")


if __name__ == "__main__":
    lib.main()
