"""What tests of TCP against the kernel stand on: the two ends of a connection (talker.py) and what
a capture says about each connection, read by tshark in one pass."""

import collections
import json
import os
import queue
import shutil
import subprocess
import threading
import unittest

import lib

TALKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "talker.py")
TCP = 6
MD5SIG, FASTOPEN, FASTOPEN_CONNECT, FASTOPEN_KEY = 14, 23, 30, 33  # tcp(7), linux/tcp.h


def need_the_kernel():
    """Skips what cannot run here; call it in setUpClass."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("makes network namespaces: run it as root")
    if not os.path.exists("/dev/net/tun"):
        raise unittest.SkipTest("no /dev/net/tun: this machine has no TAP devices")
    for program in ("tshark", "ip", "ss", "nstat", "sysctl"):
        if shutil.which(program) is None:
            raise unittest.SkipTest(f"{program} is not installed (tools/packages.txt)")


class End:
    """A talker on one host. `words`: what runs a program there."""

    def __init__(self, words, address):
        self.address = address
        self._words = words
        self._process = subprocess.Popen([*words, lib.PYTHON, TALKER], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True,
                                         start_new_session=True)
        self._answers = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put(None)

    def tell(self, what, **arguments):
        """Gives a command; its answer() comes later."""
        print(json.dumps({"do": what, **arguments}), file=self._process.stdin, flush=True)

    def answer(self, fails=None):
        """The answer to the oldest command without one; `fails`: the error that it must be."""
        try:
            answer = self._answers.get(timeout=lib.PATIENCE_S)
        except queue.Empty:
            raise AssertionError(f"{self._words} does not answer") from None
        if answer is None:
            raise AssertionError(f"{self._words} ended")
        if answer.get("error") != fails:
            raise AssertionError(f"{self._words}: {answer}, not {fails or 'success'}")
        return answer

    def ask(self, what, fails=None, **arguments):
        self.tell(what, **arguments)
        return self.answer(fails)

    def end(self):
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, 9)
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()


def meet(client, server, port, address=None, listening=(), connecting=(), **more):
    """A connection from one end to the other."""
    server.ask("listen", address=address or server.address, port=port, options=listening)
    client.ask("connect", address=address or server.address, port=port, options=connecting, **more)
    server.ask("accept")


FIELDS = {  # the name here: tshark's
    "number": "frame.number", "src": "ip.src", "dst": "ip.dst", "ecn": "ip.dsfield.ecn",
    "sport": "tcp.srcport", "dport": "tcp.dstport", "flags": "tcp.flags", "len": "tcp.len",
    "seq": "tcp.seq", "ack": "tcp.ack", "window": "tcp.window_size_value",
    "wscale": "tcp.options.wscale.shift", "sack_perm": "tcp.options.sack_perm",
    "sack": "tcp.options.sack_le", "sack_end": "tcp.options.sack_re",
    "dsack": "tcp.options.sack.dsack_le",
    "tsval": "tcp.options.timestamp.tsval", "tsecr": "tcp.options.timestamp.tsecr",
    "mss": "tcp.options.mss_val", "md5": "tcp.options.md5.digest",
    "cookie": "tcp.options.tfo.cookie", "cookie_request": "tcp.options.tfo.request",
    "retransmission": "tcp.analysis.retransmission", "keep_alive": "tcp.analysis.keep_alive",
    "out_of_order": "tcp.analysis.out_of_order",
    "zero_window": "tcp.analysis.zero_window", "zero_probe": "tcp.analysis.zero_window_probe",
    "icmp": "icmp.type", "icmp_code": "icmp.code", "icmp_mtu": "icmp.mtu", "ip_len": "ip.len",
    "df": "ip.flags.df", "accecn": "tcp.options.acc_ecn", "window_size": "tcp.window_size",
    # What must never be.
    "malformed": "_ws.malformed", "severity": "_ws.expert.severity",
    "ip_sum": "ip.checksum.status", "tcp_sum": "tcp.checksum.status",
    "icmp_sum": "icmp.checksum.status",
    "ack_lost": "tcp.analysis.ack_lost_segment", "lost": "tcp.analysis.lost_segment",
}
ERROR_SEVERITY = str(0x800000)
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = (1 << bit for bit in range(9))


class Frame:
    """What tshark says of one frame: a string for each of FIELDS, "" for what it has not. Of an
    ICMP error the outer header is meant."""

    def __init__(self, values):
        self.__dict__.update(zip(FIELDS, values))
        self.quotes = bool(self.icmp) and "," in self.src
        for name in ("src", "dst", "ecn", "ip_len", "df"):
            setattr(self, name, getattr(self, name).split(",")[0])
        self.flag_bits = 0 if self.quotes or not self.flags else int(self.flags, 16)
        self.bytes = 0 if self.quotes or not self.len else int(self.len)

    def has(self, bits):
        return self.flag_bits & bits == bits

    def wrong(self, lossless):
        """Why tshark, or we, find a frame wrong; "" if it is right."""
        if self.malformed:
            return "malformed"
        sums = [self.ip_sum.split(",")[0], self.icmp_sum]
        if not self.quotes:  # a quoted segment is cut short, so its checksum cannot be right
            sums.append(self.tcp_sum)
            if ERROR_SEVERITY in self.severity.split(","):
                return "an error-level expert item"
        if "0" in sums:
            return "a bad checksum"
        if lossless and self.ack_lost:
            return "an acknowledgement of what was never seen"
        if lossless and self.lost:
            return "a gap in a stream"
        return ""


def overdone(frames):
    """The frames of a connection that acknowledge more than was seen without a hole so far."""
    seen = collections.defaultdict(int)       # sender: what follows the last byte without a hole
    beyond = collections.defaultdict(dict)    # sender: begin: end of what lies behind holes
    out = []
    for frame in frames:
        if frame.has(ACK) and not frame.has(RST) and int(frame.ack) > seen[frame.dst]:
            out.append(frame)
        begin = int(frame.seq)
        end = begin + frame.bytes + frame.has(SYN) + frame.has(FIN)
        waiting = beyond[frame.src]
        waiting[begin] = max(end, waiting.get(begin, 0))
        for begin in sorted(waiting):
            if begin > seen[frame.src]:
                break
            seen[frame.src] = max(seen[frame.src], waiting.pop(begin))
    return out


class Wire:
    """A capture, read once: `frames`, and `connection(port)`: those of one server's port."""

    def __init__(self, file):
        # The payload is random bytes, whatever protocol a port number may stand for.
        words = ["tshark", "-n", "-r", file, "-T", "fields", "-d", "tcp.port==1-65535,data",
                 "-o", "tcp.try_heuristic_first:FALSE"]
        for protocol in ("ip", "tcp", "udp"):
            words += ["-o", f"{protocol}.check_checksum:TRUE"]
        for field in FIELDS.values():
            words += ["-e", field]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"tshark cannot read {file}: {done.stderr}")
        self.frames = [Frame(line.split("\t")) for line in done.stdout.split("\n")[:-1]]
        self._by_port = collections.defaultdict(list)
        for frame in self.frames:
            if frame.sport and not frame.quotes:
                self._by_port[min(int(frame.sport), int(frame.dport))].append(frame)

    def connection(self, port):
        return self._by_port[port]

    def check(self, test, lossless=True):
        """No frame is wrong, and there are frames. On a wire that loses, what was acknowledged
        without having been seen is found here: tshark 4.0 suspects honest acknowledgements when
        retransmissions have other borders than what they repeat."""
        wrong = [f"frame {frame.number}: {why}" for frame in self.frames
                 if (why := frame.wrong(lossless))]
        for frames in self._by_port.values():
            wrong += [f"frame {frame.number}: an acknowledgement of what was never seen"
                      for frame in overdone(frames)]
        test.assertEqual(wrong, [], "tshark finds these frames wrong")
        test.assertGreater(len(self.frames), 0, "nothing was captured")


def sent_by(frames, address):
    return [frame for frame in frames if frame.src == address]
