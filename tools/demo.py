"""What `./ph demo` shows: a lab of three hosts, a web server and a client in it, and the packets.

Usage: demo.py PATH-TO-PH. The programs are Debian's own, unchanged. Nothing is left behind.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAB = os.path.join(ROOT, "docs", "labs", "demo.yaml")
PYTHON = "/usr/bin/python3"
PAGE = "Hello from bob, a host that exists only in this process.\n"
PATIENCE_S = 30

PICTURE = """
    alice ──────────── r1 ──────────── bob
  10.0.1.2   100 Mbit/s    20 Mbit/s   10.0.2.2
                2 ms      10 ms ± 1, 0.5 % loss
"""

SERVER = """
import http.server, sys
class page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = sys.argv[1].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.HTTPServer(("10.0.2.2", 80), page).serve_forever()
"""

CLIENT = """
import time, urllib.error, urllib.request
for attempt in range(200):
    try:
        start = time.monotonic()
        page = urllib.request.urlopen("http://10.0.2.2/", timeout=20).read().decode()
        print(f"{page.strip()}  ({1000 * (time.monotonic() - start):.0f} ms)")
        break
    except urllib.error.URLError as error:  # the server is still starting
        if attempt == 199 or not isinstance(error.reason, ConnectionRefusedError):
            raise
        time.sleep(0.05)
"""


class Demo:
    def __init__(self, ph, folder):
        self._ph, self._folder = ph, folder
        self._socket = os.path.join(folder, "lab.sock")
        self._started = []

    def command(self, verb, *words):
        return [self._ph, verb, "--socket", self._socket, *words]

    def show(self, verb, *words, said=None):
        """Says the command as a user would type it, then runs it to its end."""
        print(f"\n$ ./ph {verb} {said or ' '.join(words)}", flush=True)
        return subprocess.run(self.command(verb, *words), timeout=PATIENCE_S, check=True)

    def start(self, verb, *words, said, **more):
        print(f"\n$ ./ph {verb} {said} &", flush=True)
        process = subprocess.Popen(self.command(verb, *words), **more)
        self._started.append(process)
        return process

    def run(self):
        print(PICTURE)
        file = os.path.join(self._folder, "alice.pcapng")
        self.show("up", "-f", LAB, "--detach", said="-f docs/labs/demo.yaml --detach")
        capture = self.start("capture", "--on", "alice:eth0", "-w", file,
                             said="--on alice:eth0 -w alice.pcapng",
                             stderr=subprocess.PIPE, text=True)
        capture.stderr.readline()  # it captures from here on
        self.start("run", "--host", "bob", "--", PYTHON, "-c", SERVER, PAGE,
                   said="--host bob -- python3 (a web server)")
        self.show("run", "--host", "alice", "--", PYTHON, "-c", CLIENT,
                  said="--host alice -- python3 (asks for http://10.0.2.2/)")
        capture.terminate()
        print("\n" + capture.stderr.read().strip().rsplit(" in ", 1)[0] +
              " on alice's wire" + self.packets(file))
        self.show("status")

    @staticmethod
    def packets(file):
        """The end of the capture as text, where tshark is installed."""
        if not shutil.which("tshark"):
            return "; with tshark installed you would see them here"
        shown = subprocess.run(["tshark", "-n", "-r", file, "-c", "16"], capture_output=True,
                               text=True).stdout
        return ":\n" + shown.rstrip()

    def end(self):
        for process in reversed(self._started):
            process.terminate()
        for process in self._started:
            process.wait(PATIENCE_S)
        subprocess.run(self.command("down"), timeout=PATIENCE_S, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)


def main(ph):
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ph-demo-") as folder:
        demo = Demo(ph, folder)
        try:
            demo.run()
        except (subprocess.SubprocessError, OSError) as error:
            print(f"ph: the demo failed: {error}", file=sys.stderr)
            return 1
        finally:
            demo.end()
    print(f"\nThat was {time.monotonic() - start:.1f} s. Now a lab of your own: README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
