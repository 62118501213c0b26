"""What `./ph demo` runs: an unmodified web server and an unmodified curl on two hosts that exist
only in one process, joined by a wire with delay and loss; then a report of what happened.

Usage: demo.py PATH-TO-PH. Exit status 0 only if every byte arrived right.
"""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAB = os.path.join(ROOT, "docs", "labs", "demo.yaml")
PYTHON = "/usr/bin/python3"
CAPTURE = os.path.join(ROOT, "build", "demo.pcapng")
SIZE = 32 << 20
PATIENCE_S = 300
LIVE = sys.stdout.isatty()

PICTURE = """
    alice 10.0.0.1 ──────────────────────────── 10.0.0.2 bob
      curl            100 Mbit/s, 10 ms,          python3 -m http.server
                      0.5 % loss each way
"""


class DemoFailed(Exception):
    pass


class Demo:
    def __init__(self, ph, folder):
        self._ph, self._folder = ph, folder
        self._socket = os.path.join(folder, "lab.sock")
        self._started = []
        self._served = os.path.join(folder, "www")
        self._file = os.path.join(folder, "fetched")

    def command(self, verb, *words):
        return [self._ph, verb, "--socket", self._socket, *words]

    @staticmethod
    def say(text):
        print(f"$ ./ph {text}", flush=True)

    def start(self, verb, *words, **more):
        process = subprocess.Popen(self.command(verb, *words), **more)
        self._started.append(process)
        return process

    def status(self):
        shown = subprocess.run(self.command("status", "--json"), capture_output=True, text=True,
                               check=True, timeout=PATIENCE_S)
        return json.loads(shown.stdout)

    def ask(self, request, patience=20):
        """One request on the control socket (docs/control.md)."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(patience)
            control.connect(self._socket)
            control.sendall(json.dumps(request).encode() + b"\n")
            with control.makefile() as answers:
                return json.loads(answers.readline() or "{}")

    def prepare(self):
        os.mkdir(self._served)
        digest = hashlib.sha256()
        with open(os.path.join(self._served, "big.bin"), "wb") as out:
            for _ in range(SIZE >> 20):
                piece = os.urandom(1 << 20)
                digest.update(piece)
                out.write(piece)
        return digest.hexdigest()

    def bring_up(self):
        self.say("up -f docs/labs/demo.yaml --detach")
        subprocess.run(self.command("up", "-f", LAB, "--detach"), check=True, timeout=PATIENCE_S)
        self.say("capture --on alice:eth0 -w build/demo.pcapng &")
        capture = self.start("capture", "--on", "alice:eth0", "-w", CAPTURE,
                             stderr=subprocess.PIPE, text=True)
        capture.stderr.readline()  # it captures from here on
        self.say("run --host bob -- python3 -m http.server 80 &")
        server = self.start("run", "--host", "bob", "--", PYTHON, "-u", "-m", "http.server", "80",
                            "--directory", self._served, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True)
        server.stdout.readline()  # "Serving HTTP on ..."
        return capture

    def fetch(self):
        """curl on alice; returns its seconds."""
        self.say("run --host alice -- curl http://bob/big.bin")
        trace = None
        started = time.monotonic()
        curl = self.start("run", "--host", "alice", "--", "curl", "-sS", "--fail", "-o",
                          self._file, "-w", "%{time_total}", "http://bob/big.bin",
                          stdout=subprocess.PIPE, text=True)
        while curl.poll() is None:
            if time.monotonic() - started > PATIENCE_S:
                raise DemoFailed("the transfer took more than five minutes")
            if trace is None and self.fetched() > SIZE // 8:
                asked = self.ask({"verb": "journey", "wait_s": 5})
                trace = asked if asked.get("bytes", 0) > 1000 else None  # else it was an ACK
            if LIVE:
                print(f"\r  {self.fetched() >> 20} of {SIZE >> 20} MiB", end="", flush=True)
            time.sleep(0.1)
        if LIVE:
            print("\r\x1b[K", end="")
        if curl.returncode != 0:
            raise DemoFailed(f"curl ended with exit code {curl.returncode}")
        return float(curl.stdout.read()), trace

    def fetched(self):
        return os.path.getsize(self._file) if os.path.exists(self._file) else 0

    def round_trip(self):
        """Milliseconds by ping, on the idle wire; None when no answer came."""
        said = subprocess.run(self.command("run", "--host", "alice", "--", "ping", "-n", "-q", "-c",
                                           "5", "-i", "0.2", "bob"), capture_output=True, text=True,
                              timeout=PATIENCE_S).stdout
        found = re.search(r"= [\d.]+/([\d.]+)/", said)
        return float(found.group(1)) if found else None

    def digest(self):
        with open(self._file, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def end(self):
        for process in reversed(self._started):
            process.terminate()
        for process in self._started:
            process.wait(30)
        subprocess.run(self.command("down"), timeout=30, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)


def drop_lines(status):
    """One line for each kind of drop, wherever it happened."""
    for host in status["hosts"]:
        for reason, drop in host.get("drops", {}).items():
            yield f"{host['name']}: {drop['packets']} {reason}: {drop['text']}"
    words = {"fault_loss": "lost by the wire", "link_queue_full": "found the wire's queue full",
             "link_flight_full": "found too much under way",
             "fault_corrupt": "corrupted on the wire"}
    for link in status["links"]:
        for direction, (source, sink) in (("forth", link["ends"]), ("back", link["ends"][::-1])):
            for reason, text in words.items():
                if count := link[direction].get(reason, 0):
                    yield f"{source} → {sink}: {count} {reason}: {text}"


def report(demo, seconds, journey, round_trip):
    status = demo.status()
    counters = {host["name"]: host.get("counters", {}) for host in status["hosts"]}
    sent = counters["bob"]
    print(f"\n  throughput       {SIZE * 8 / seconds / 1e6:.1f} Mbit/s "
          f"({SIZE >> 20} MiB in {seconds:.1f} s)")
    print(f"  round trip       {'-' if round_trip is None else f'{round_trip:.1f} ms'}")
    print(f"  retransmissions  {sent.get('TcpRetransSegs', 0)} of {sent.get('TcpOutSegs', 0)} "
          "segments from bob")
    print("  packets dropped")
    for line in list(drop_lines(status)) or ["none"]:
        print(f"    {line}")
    print("\n  the journey of one data packet")
    for line in (journey or {}).get("text", ["(none was seen)"]):
        print(f"    {line}")
    print(f"\n  capture          {os.path.relpath(CAPTURE, os.getcwd())} (open it in Wireshark)")


def run(demo):
    print(PICTURE)
    wanted = demo.prepare()
    capture = demo.bring_up()
    seconds, journey = demo.fetch()
    round_trip = demo.round_trip()
    capture.terminate()
    capture.wait(30)
    report(demo, seconds, journey, round_trip)
    got = demo.digest()
    if got != wanted:
        raise DemoFailed(f"the bytes differ: SHA-256 {got}, expected {wanted}")
    print(f"  SHA-256          {got[:16]}… the same at both ends")


def main(ph):
    if not shutil.which("curl"):
        print("ph: the demo needs curl: apt-get install curl", file=sys.stderr)
        return 125
    with tempfile.TemporaryDirectory(prefix="ph-demo-") as folder:
        demo = Demo(ph, folder)
        try:
            run(demo)
        except (DemoFailed, subprocess.SubprocessError, OSError) as error:
            print(f"ph: the demo failed: {error}", file=sys.stderr)
            return 1
        finally:
            demo.end()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
