"""What tests with real programs stand on: labs, programs in them, captures and their judge.

    class PingTest(lib.LabTest):
        def test_it(self):
            lab = self.start_lab(lib.TWO_HOSTS)
            with lab.capture("alice:eth0") as capture:
                lab.run("alice", "ping", "-c", "3", "10.0.0.2")
            self.assert_clean_capture(capture)

Each lab has a control socket and a folder of its own, so tests may run side by side. Whatever a
test started is ended after it, by process id. Nothing here waits for a fixed time: it waits for a
thing to happen, with a limit after which the test fails.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PH = os.environ.get("PH", os.path.join(ROOT, "build", "release", "ph"))
PYTHON = "/usr/bin/python3"
PATIENCE_S = 60  # generous: a limit for a broken test, never part of a passing one

TWO_HOSTS = """
hosts: { alice: {}, bob: {} }
links:
  - ends: [ "alice:eth0 10.0.0.1/24", "bob:eth0 10.0.0.2/24" ]
"""

ROUTED = """
hosts:
  alice: {}
  bob: {}
  r1: { sysctl: { net.ipv4.ip_forward: 1 } }
links:
  - ends: [ "alice:eth0 10.0.1.2/24", "r1:eth0 10.0.1.1/24" ]
  - ends: [ "bob:eth0 10.0.2.2/24", "r1:eth1 10.0.2.1/24" ]
routes:
  alice: [ "default via 10.0.1.1" ]
  bob: [ "default via 10.0.2.1" ]
"""


def wait_until(condition, what, patience_s=PATIENCE_S):
    """The first true value of condition(); fails with `what` when none comes."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s} s in vain: {what}")
        time.sleep(0.02)


class Program:
    """A program that runs on a host while the test goes on. Its output is kept."""

    def __init__(self, words, **more):
        self.words = words
        self._lines = []
        self._process = subprocess.Popen(words, stdin=more.pop("stdin", subprocess.DEVNULL),
                                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                         text=True, errors="replace", start_new_session=True,
                                         **more)
        self.pid = self._process.pid
        self.stdin = self._process.stdin
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self._lines.append(line)

    @property
    def output(self):
        return "".join(self._lines)

    @property
    def returncode(self):
        return self._process.poll()

    def wait_for(self, pattern):
        """Waits for output that matches; returns the match. Fails if the program ends without."""
        def found():
            match = re.search(pattern, self.output)
            if not match and self.returncode is not None and not self._reader.is_alive():
                match = re.search(pattern, self.output)
                if not match:
                    raise AssertionError(f"{self.words} ended with {self.returncode} and without "
                                         f"{pattern!r}:\n{self.output}")
            return match
        return wait_until(found, f"{pattern!r} from {self.words}; so far:\n{self.output}")

    def wait(self, patience_s=PATIENCE_S):
        """Waits for the end; returns the exit code (negative: minus the signal)."""
        try:
            code = self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.words} does not end:\n{self.output}") from None
        self._reader.join(patience_s)
        return code

    def signal(self, number):
        self._process.send_signal(number)

    def end(self):
        """Ends it and all it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(PATIENCE_S)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class Capture:
    """A capture that runs; after stop() (or the `with` block) `file` holds it."""

    def __init__(self, lab, where, file):
        self.file = file
        self._program = lab.ph_program("capture", *[word for place in where
                                                    for word in ("--on", place)], "-w", file)
        self._program.wait_for("capturing on ")

    def stop(self):
        if self._program.returncode is None:
            self._program.signal(signal.SIGINT)
        code = self._program.wait()
        if code != 0:
            raise AssertionError(f"ph capture ended with {code}:\n{self._program.output}")
        if "left out" in self._program.output:
            raise AssertionError(f"the capture is not whole: {self._program.output}")
        return self.file

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()

    def packets(self, display_filter="", fields=("frame.number",)):
        """The fields of each packet that matches a tshark display filter, as tuples of strings."""
        words = ["tshark", "-n", "-r", self.file, "-T", "fields"]
        for field in fields:
            words += ["-e", field]
        if display_filter:
            words += ["-Y", display_filter]
        out = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        return [tuple(line.split("\t")) for line in out.splitlines()]


class Lab:
    """A lab that runs until close(). `prefix`: words before every `ph` (ip netns exec NAME)."""

    def __init__(self, text, folder, prefix=()):
        self.folder = folder
        self._ph = [*prefix, PH]
        self.socket = os.path.join(folder, "lab.sock")
        self._programs = []
        file = os.path.join(folder, "lab.yaml")
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)
        self.ph("up", "-f", file, "--detach")
        self.pid = self.status()["pid"]

    def ph(self, verb, *words, check=True, **more):
        """Runs `ph VERB` on this lab to its end."""
        return self._run([*self._ph, verb, "--socket", self.socket, *words], check, **more)

    def _run(self, words, check=True, **more):
        done = subprocess.run(words, capture_output=True, text=True, errors="replace",
                              timeout=more.pop("timeout", PATIENCE_S), **more)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)} ended with {done.returncode}:\n"
                                 f"{done.stdout}{done.stderr}{self.log()}")
        return done

    def ph_program(self, verb, *words, **more):
        """Starts `ph VERB` on this lab."""
        return self._start([*self._ph, verb, "--socket", self.socket, *words], **more)

    def _start(self, words, **more):
        program = Program(words, **more)
        self._programs.append(program)
        return program

    def run(self, host, *words, **more):
        """Runs a program on a host to its end; fails unless it ends well (check=False: returns)."""
        return self._run([*self.words_on(host), *words], **more)

    def python(self, host, code, *words, **more):
        """Runs Python code on a host; returns its output."""
        return self.run(host, PYTHON, "-c", code, *words, **more).stdout

    def words_on(self, host):
        """The words that run a program on a host when it follows them."""
        return [*self._ph, "run", "--socket", self.socket, "--host", host, "--"]

    def spawn(self, host, *words, **more):
        """Starts a program on a host; it is ended with the lab at the latest."""
        return self._start([*self.words_on(host), *words], **more)

    def forget_ended(self):
        """Lets go of programs that were ended: a test that starts thousands keeps none."""
        self._programs = [program for program in self._programs if program.returncode is None]

    def wait_port(self, host, address, port):
        """Waits until a TCP connection from a host to an address succeeds."""
        self.python(host, "\n".join((
            "import socket, sys, time",
            f"deadline = time.monotonic() + {PATIENCE_S / 2}",
            "while True:",
            "    try:",
            f"        socket.create_connection(({address!r}, {port}), 5).close()",
            "        break",
            "    except OSError as error:",
            "        if time.monotonic() > deadline: sys.exit(f'nobody listens: {error}')",
            "        time.sleep(0.05)")))

    def capture(self, *where):
        """Begins to capture on "host:device"s; a context manager."""
        name = re.sub(r"\W", "-", "_".join(where))
        return Capture(self, where, os.path.join(self.folder, f"{name}.pcapng"))

    def status(self):
        return json.loads(self.ph("status", "--json").stdout)

    def log(self):
        """What the daemon said so far, for messages of failures."""
        with contextlib.suppress(OSError):
            with open(self.socket + ".log", encoding="utf-8", errors="replace") as file:
                return f"\nthe daemon's log:\n{file.read()[-4000:]}"
        return ""

    def alive(self):
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def close(self):
        for program in reversed(self._programs):
            program.end()
        if getattr(self, "pid", 0) and self.alive():
            self.ph("down", check=False)
        with contextlib.suppress(ProcessLookupError):
            if getattr(self, "pid", 0):
                os.kill(self.pid, signal.SIGKILL)


class KernelLab(Lab):
    """TWO_HOSTS on the real kernel: two network namespaces and a veth pair (root). Tests run on it
    with PH_ON_KERNEL in the environment, which shows that they ask for what Linux does."""

    def __init__(self, folder):
        self.folder, self.pid = folder, os.getpid()
        self._programs = []
        self._names = {host: f"ph-{self.pid}-{host}" for host in ("alice", "bob")}
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def _make(self):
        for name in self._names.values():
            self._ip("netns", "add", name)
            self._ip("-n", name, "link", "set", "lo", "up")
        self._ip("-n", self._names["alice"], "link", "add", "eth0", "type", "veth", "peer", "name",
                 "eth0", "netns", self._names["bob"])
        for number, name in enumerate(self._names.values(), 1):
            self._ip("-n", name, "address", "add", f"10.0.0.{number}/24", "dev", "eth0")
            self._ip("-n", name, "link", "set", "eth0", "up")

    @staticmethod
    def _ip(*words):
        subprocess.run(["ip", *words], check=True)

    def words_on(self, host):
        return ["ip", "netns", "exec", self._names[host]]

    def log(self):
        return ""

    def close(self):
        try:
            for program in reversed(self._programs):
                program.end()
        finally:
            for name in self._names.values():
                subprocess.run(["ip", "netns", "delete", name], check=False)


class LabTest(unittest.TestCase):
    """A test with labs. A daemon that is gone at the test's end fails the test."""

    maxDiff = None

    def start_lab(self, text=TWO_HOSTS, prefix=()):
        folder = tempfile.TemporaryDirectory(prefix="ph-test-")
        self.addCleanup(folder.cleanup)
        if os.environ.get("PH_ON_KERNEL"):
            lab = KernelLab(folder.name)
        else:
            lab = Lab(text, folder.name, prefix)
        self.addCleanup(lab.close)
        self.addCleanup(self._assert_alive, lab)
        return lab

    def _assert_alive(self, lab):
        self.assertTrue(lab.alive(), f"the daemon died{lab.log()}")

    def assert_clean_capture(self, capture, lossless=True, random_udp=()):
        """tshark, with every checksum validated, finds nothing wrong in a capture: no malformed
        frame, no bad checksum, no error-level expert item. On a lossless wire also no
        acknowledgement of what was not seen and no gap. `random_udp`: ports where datagrams carry
        random bytes, in which no other protocol is to be looked for."""
        words = ["tshark", "-n", "-r", capture.file]
        for port in random_udp:
            words += ["-d", f"udp.port=={port},data"]
        for protocol in ("ip", "tcp", "udp", "sctp"):
            option = "sctp.checksum" if protocol == "sctp" else f"{protocol}.check_checksum"
            words += ["-o", f"{option}:TRUE"]
        wrong = ["_ws.malformed", '_ws.expert.severity == "Error"']
        wrong += [f'{protocol}.checksum.status == "Bad"'
                  for protocol in ("ip", "tcp", "udp", "icmp")]
        if lossless:
            wrong += ["tcp.analysis.ack_lost_segment", "tcp.analysis.lost_segment"]
        out = subprocess.run([*words, "-Y", " || ".join(wrong)], capture_output=True, text=True)
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertEqual(out.stdout, "", "tshark finds these frames wrong")
        self.assertGreater(len(capture.packets()), 0, "nothing was captured")


def main():
    """Runs the tests of the calling file."""
    if not os.path.exists(PH):
        sys.exit(f"{PH} is not there: build it with ./ph build")
    unittest.main(verbosity=2)
