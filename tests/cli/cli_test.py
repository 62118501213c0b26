"""The `ph` program from outside: exit codes, messages, and what it says to a lab.

The lab is a stand-in that speaks the control protocol of src/daemon/control_client.h, so these
tests say what the verbs do whatever the daemon does. Usage: cli_test.py PATH-TO-PH [unittest args]
"""

import fcntl
import json
import os
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PH = sys.argv.pop(1) if __name__ == "__main__" else "ph"


class StandIn:
    """Answers one connection: takes requests, gives back what `replies` says, in order."""

    def __init__(self, path, replies):
        self.requests = []
        self.capture = None  # the daemon's end of a capture
        self.told_to_stop = threading.Event()
        self._replies = replies
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        connection, _ = self._socket.accept()
        with connection:
            for reply in self._replies:
                if callable(reply):
                    reply(self, connection)
                    continue
                self.requests.append(json.loads(connection.recv(65536)))
                connection.sendall(json.dumps(reply).encode() + b"\n")

    def begin_capture(self, connection):
        self.requests.append(json.loads(connection.recv(65536)))
        self.capture, reading = socket.socketpair()
        with reading:
            socket.send_fds(connection, [b'{"ok":true}\n'], [reading.fileno()])

    def close(self):
        self._socket.close()
        self._thread.join(10)


class PhTest(unittest.TestCase):
    """A folder, a socket path and a way to call `ph`."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.socket = os.path.join(self.folder, "lab.sock")
        self.environment = {k: v for k, v in os.environ.items()
                            if k not in ("PH_LAB", "LD_PRELOAD", "XDG_RUNTIME_DIR")}

    def ph(self, *words, expect=0, **more):
        environment = {**self.environment, **more.pop("env", {})}
        done = subprocess.run([PH, *words], capture_output=True, text=True, timeout=60,
                              env=environment, **more)
        self.assertEqual(done.returncode, expect, done.stderr)
        return done

    def lab(self, *replies):
        stand_in = StandIn(self.socket, replies)
        self.addCleanup(stand_in.close)
        return stand_in


class VerbsTest(PhTest):
    def test_usage_errors_exit_with_2_and_name_the_way_on(self):
        self.assertIn("ph: expected one of: ", self.ph(expect=2).stderr)
        self.assertIn("ph: `bogus` is no verb; expected one of: ",
                      self.ph("bogus", expect=2).stderr)
        for count in ("-1", "99999999999999999999", "x"):
            done = self.ph("capture", "--on", "any", "-w", "-", "-c", count, expect=2)
            self.assertIn(f"not {count}", done.stderr)
        self.assertEqual(self.ph("packetdrill", "nofile.pkt", expect=125).stderr,
                         "ph: cannot read nofile.pkt: No such file or directory\n")
        self.assertIn("`ph status --help`", self.ph("status", "--jsn", expect=2).stderr)
        self.assertIn("PROGRAM", self.ph("run", expect=2).stderr)
        self.assertIn("PROGRAM", self.ph("run", "--host", "a", "--", expect=2).stderr)
        self.assertIn("--on", self.ph("capture", "-w", "x.pcapng", expect=2).stderr)

    def test_every_verb_explains_itself(self):
        verbs = [line.split()[0] for line in
                 self.ph("--help").stdout.split("Subcommands:\n")[1].splitlines() if line]
        for_a_lab = {"up", "run", "status", "capture", "journey", "down"}
        self.assertLessEqual(for_a_lab, set(verbs))
        self.assertEqual(self.ph("help").stdout, self.ph("--help").stdout)
        for verb in verbs:
            help_text = self.ph(verb, "--help").stdout
            self.assertEqual(self.ph("help", verb).stdout, help_text)
            self.assertIn(f"Usage: ph {verb} ", help_text)
            if verb in for_a_lab:
                self.assertIn("--socket PATH", help_text)

    def test_seeds_of_the_swarm_repeat_and_say_what_they_are(self):
        words = ("sim", "swarm", "--seeds", "6", "--first", "40")
        one, two = self.ph(*words).stdout, self.ph(*words, "--jobs", "2").stdout
        self.assertRegex(one, r"(?m)^6 seeds, 0 failed; ")
        self.assertRegex(one, r"rare branches: \d+ of \d+ reached")
        self.assertEqual(one.splitlines()[-1], two.splitlines()[-1])  # the digest
        self.assertRegex(one.splitlines()[-1], r"^digest [0-9a-f]{16}$")
        self.assertTrue(self.ph(*words, "--plan").stdout.startswith("seed 40: "))

    def test_wrong_words_of_the_swarm_are_refused(self):
        self.assertIn("swarm", self.ph("sim", "--help").stdout)
        self.assertIn("--journey", self.ph("sim", "swarm", "--help").stdout)
        self.assertIn("--seeds", self.ph("sim", "swarm", "--seeds", "none", expect=2).stderr)
        self.assertIn("--seeds", self.ph("sim", "swarm", "--seeds", "0", expect=2).stderr)
        self.assertIn("--sedes", self.ph("sim", "swarm", "--sedes", "9", expect=2).stderr)
        self.assertIn("swarm", self.ph("sim", expect=2).stderr)

    def test_without_a_lab_the_remedy_is_named(self):
        for verb in (["status"], ["down"], ["capture", "--on", "a:eth0", "-w", "/dev/null"]):
            done = self.ph(*verb, "--socket", self.socket, expect=125)
            self.assertEqual(done.stderr, f"ph: no lab is running at {self.socket}: "
                                          "start one with `ph up -f lab.yaml`\n")

    def test_the_default_socket_is_in_the_runtime_folder_or_a_private_one(self):
        done = self.ph("status", expect=125, env={"XDG_RUNTIME_DIR": self.folder})
        self.assertIn(f" {self.folder}/posthaste/lab.sock: ", done.stderr)
        mode = os.stat(os.path.join(self.folder, "posthaste")).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o700)
        done = self.ph("status", expect=125, env={"PH_LAB": "/somewhere/else"})
        self.assertIn(" /somewhere/else: ", done.stderr)

    def test_up_says_what_is_wrong_with_a_lab_file(self):
        file = os.path.join(self.folder, "lab.yaml")
        with open(file, "w", encoding="utf-8") as out:
            out.write("hosts:\n  alice: { cpus: 0 }\n")
        for more in ([], ["--detach"]):
            done = self.ph("up", "-f", file, "--socket", self.socket, *more, expect=125)
            self.assertEqual(done.stderr, f"ph: {file}:2: `0`; expected a number from 1 to 64\n")
        done = self.ph("up", "-f", file + "x", "--socket", self.socket, expect=125)
        self.assertIn("cannot be read", done.stderr)
        self.assertIn("ph: FILE is required", self.ph("up", expect=2).stderr)

    def test_up_detached_reports_what_the_daemon_could_not_do(self):
        file = os.path.join(self.folder, "lab.yaml")
        with open(file, "w", encoding="utf-8") as out:
            out.write("hosts: { alice: {} }\n")
        for socket_path in ("/nonexistent/lab.sock", os.path.join(self.folder, "x" * 120)):
            done = self.ph("up", "-f", file, "--detach", "--socket", socket_path, expect=125)
            self.assertTrue(done.stderr.startswith("ph: "), done.stderr)
            self.assertEqual(done.stdout, "")

    def test_up_detached_and_in_front(self):
        file = os.path.join(self.folder, "lab.yaml")
        with open(file, "w", encoding="utf-8") as out:
            out.write("hosts: { alice: {} }\n")
        out = self.ph("up", "-f", file, "--detach", "--socket", self.socket).stdout
        self.assertTrue(out.startswith(f"1 host, 0 links: up at {self.socket}\n"), out)
        self.addCleanup(lambda: subprocess.run([PH, "down", "--socket", self.socket],
                                               capture_output=True, timeout=60))
        again = self.ph("up", "-f", file, "--detach", "--socket", self.socket, expect=125)
        self.assertIn("a lab is already running", again.stderr)
        status = json.loads(self.ph("status", "--json", "--socket", self.socket).stdout)
        self.assertEqual([host["name"] for host in status["hosts"]], ["alice"])
        self.ph("down", "--socket", self.socket)
        self.assertFalse(os.path.exists(self.socket))
        front = subprocess.Popen([PH, "up", "-f", file, "--socket", self.socket],
                                 stdout=subprocess.PIPE, text=True, env=self.environment)
        self.addCleanup(front.stdout.close)
        self.assertIn("1 host, 0 links: up at ", front.stdout.readline())
        front.send_signal(signal.SIGINT)
        self.assertEqual(front.wait(60), 0)
        self.assertFalse(os.path.exists(self.socket))

    def test_up_detached_and_interrupted_leaves_a_lab_only_with_a_word(self):
        file = os.path.join(self.folder, "lab.yaml")
        with open(file, "w", encoding="utf-8") as out:
            out.write("hosts: { alice: {} }\n")
        for milliseconds in range(0, 60, 3):
            start = subprocess.Popen([PH, "up", "-f", file, "--detach", "--socket", self.socket],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                     env=self.environment)
            time.sleep(milliseconds / 1000)
            start.send_signal(signal.SIGINT)
            said, _ = start.communicate(timeout=60)
            self.assertIn(start.returncode, (0, -signal.SIGINT))
            found = subprocess.run([PH, "down", "--socket", self.socket], capture_output=True,
                                   timeout=60, check=False).returncode
            self.assertEqual(found, 0 if "up at" in said else 125, (milliseconds, said))
            self.assertFalse(os.path.exists(self.socket))

    def test_up_detached_says_up_only_of_a_lab_that_is_there_when_it_goes_on(self):
        file = os.path.join(self.folder, "lab.yaml")
        with open(file, "w", encoding="utf-8") as out:
            out.write("hosts: {" + ", ".join(f"h{n}: {{}}" for n in range(100)) + "}\n")
        for _ in range(40):  # one that stands still before it has heard of its lab
            log = os.path.join(self.folder, "lab.sock.log")
            start = subprocess.Popen([PH, "up", "-f", file, "--detach", "--socket", self.socket],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                     env=self.environment)
            while start.poll() is None and not os.path.exists(log):
                pass
            start.send_signal(signal.SIGSTOP)
            verb = ["--socket", self.socket]
            while subprocess.run([PH, "status", *verb], capture_output=True, timeout=60,
                                 check=False).returncode != 0:
                time.sleep(0.01)
            self.ph("down", *verb)  # it is served meanwhile
            start.send_signal(signal.SIGCONT)
            said, errors = start.communicate(timeout=60)
            if "up at" not in said:
                self.assertEqual(start.returncode, 125)
                self.assertEqual(errors, "ph: the lab has ended again\n")
                return
        self.fail("it says that a lab is up which has ended")

    def test_status_for_people(self):
        self.lab({"ok": True, "lab": "two.yaml", "seed": 7, "pid": 42, "uptime_s": 3, "hosts": [
            {"name": "alice", "cpus": 1, "sockets": 2, "devices": [
                {"name": "eth0", "up": True, "addresses": ["10.0.1.2/24"], "rx_packets": 12,
                 "rx_bytes": 1234, "tx_packets": 3, "tx_bytes": 99, "rx_dropped": 1}]}]})
        out = self.ph("status", "--socket", self.socket).stdout.splitlines()
        self.assertEqual(out[0], "lab two.yaml: up 3 s, seed 7, pid 42")
        self.assertEqual(out[1], "alice: 1 cpu, 2 sockets")
        self.assertEqual(out[2].split(), "eth0 up 10.0.1.2/24 in 12 pkt 1.2 kB "
                                         "out 3 pkt 99 B 1 dropped".split())

    def test_status_for_programs_is_the_daemons_object(self):
        lab = self.lab({"ok": True, "hosts": [], "anything": [1, 2]})
        out = self.ph("status", "--json", "--socket", self.socket).stdout
        self.assertEqual(json.loads(out), {"hosts": [], "anything": [1, 2]})
        self.assertEqual(lab.requests, [{"verb": "status"}])

    def test_a_refusal_of_the_lab_is_shown(self):
        self.lab({"ok": False, "error": "no host carol; there are alice and bob"})
        done = self.ph("status", "--socket", self.socket, expect=125)
        self.assertEqual(done.stderr, "ph: no host carol; there are alice and bob\n")

    def test_down_asks_and_waits_for_the_end(self):
        lab = self.lab({"ok": True})
        self.assertEqual(self.ph("down", "--socket", self.socket).stdout, "the lab has ended\n")
        self.assertEqual(lab.requests, [{"verb": "down"}])

    def test_journey_prints_a_line_a_step(self):
        lab = self.lab({"ok": True, "text": ["alice tcp_sendmsg", "bob tcp_v4_rcv"], "bytes": 9})
        out = self.ph("journey", "--wait", "3", "--socket", self.socket).stdout
        self.assertEqual(out, "alice tcp_sendmsg\nbob tcp_v4_rcv\n")
        self.assertEqual(lab.requests, [{"verb": "journey", "wait_s": 3}])

    def test_capture_fills_its_file_and_ends_on_ctrl_c(self):
        capturing = threading.Event()

        def until_told(lab, connection):
            lab.capture.sendall(b"frames")
            capturing.set()
            self.assertEqual(connection.recv(1), b"")
            connection.sendall(b'{"ok":true,"packets":4}\n')
            lab.capture.close()

        lab = self.lab(StandIn.begin_capture, until_told)
        file = os.path.join(self.folder, "a.pcapng")
        process = subprocess.Popen([PH, "capture", "--on", "alice:eth0", "--on", "bob", "-w", file,
                                    "--socket", self.socket], stderr=subprocess.PIPE, text=True,
                                   env=self.environment)
        self.assertTrue(capturing.wait(60))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, errors)
        self.assertIn(f"4 packets in {file}\n", errors)
        self.assertEqual(lab.requests, [{"verb": "capture", "on": ["alice:eth0", "bob"],
                                         "snaplen": 0, "packets": 0}])
        with open(file, "rb") as written:
            self.assertEqual(written.read(), b"frames")


class RunTest(PhTest):
    """`ph run`, with a shim that does nothing beside a copy of `ph`."""

    def setUp(self):
        super().setUp()
        self.bin = os.path.join(self.folder, "bin")
        self.shim = os.path.join(self.folder, "lib", "posthaste", "libph_preload.so")
        os.chmod(self.folder, 0o755)  # else root's programs get a copy that everybody can reach
        os.makedirs(self.bin)
        os.makedirs(os.path.dirname(self.shim))
        subprocess.run(["cp", PH, os.path.join(self.bin, "ph")], check=True)
        subprocess.run(["cc", "-shared", "-o", self.shim, "-x", "c", "/dev/null"], check=True)

    def ph(self, *words, **more):
        global PH
        kept, PH = PH, os.path.join(self.bin, "ph")
        try:
            return super().ph(*words, **more)
        finally:
            PH = kept

    def run_program(self, *words, expect=0, options=(), **more):
        lab = self.lab({"ok": True, "env": {"PH_SOCKET": "/x/programs", "PH_HOST": "alice"}})
        done = self.ph("run", "--socket", self.socket, *options, "--", *words, expect=expect,
                       **more)
        return lab, done

    def test_the_program_gets_the_shim_and_its_host(self):
        lab, done = self.run_program("sh", "-c", 'echo "$LD_PRELOAD $PH_SOCKET $PH_HOST $PH_LAB"',
                                     options=["--host", "alice"])
        self.assertEqual(done.stdout, f"{self.shim} /x/programs alice {self.socket}\n")
        self.assertEqual(lab.requests, [{"verb": "attach", "host": "alice"}])

    def test_another_preload_stays_behind_the_shim(self):
        other = os.path.join(self.folder, "other.so")
        subprocess.run(["cp", self.shim, other], check=True)
        _, done = self.run_program("sh", "-c", "echo $LD_PRELOAD",
                                   env={"LD_PRELOAD": f"{self.shim}:{other}"})
        self.assertEqual(done.stdout, f"{self.shim}:{other}\n")

    def test_exit_codes_are_the_programs(self):
        self.run_program("sh", "-c", "exit 41", expect=41)

    def test_a_signal_ends_it_as_it_would_without_ph(self):
        self.run_program("sh", "-c", "kill -TERM $$", expect=-signal.SIGTERM)

    def test_arguments_after_the_program_are_not_ours(self):
        _, done = self.run_program("echo", "--host", "x", "--", "-n")
        self.assertEqual(done.stdout, "--host x -- -n\n")

    def test_the_dashes_may_be_left_out(self):
        self.lab({"ok": True, "env": {}})
        done = self.ph("run", "--socket", self.socket, "echo", "--host", "x")
        self.assertEqual(done.stdout, "--host x\n")

    def test_a_program_that_is_not_there_is_127(self):
        _, done = self.run_program("no-such-program", expect=127)
        self.assertEqual(done.stderr, "ph: no-such-program: no such program\n")

    def test_a_file_that_cannot_run_is_126(self):
        _, done = self.run_program("/etc/passwd", expect=126)
        self.assertEqual(done.stderr, "ph: /etc/passwd: Permission denied\n")

    def test_a_static_program_is_refused(self):
        static = os.path.join(self.folder, "static")
        subprocess.run(["cc", "-static", "-o", static, "-x", "c", "-"], check=True, text=True,
                       input="int main(void) { return 0; }")
        done = self.ph("run", "--socket", self.socket, "--", static, expect=126)
        self.assertIn("is statically linked", done.stderr)

    def test_a_missing_shim_is_named(self):
        os.remove(self.shim)
        done = self.ph("run", "--", "true", expect=125)
        self.assertIn("libph_preload.so is neither beside", done.stderr)


class SurroundingsTest(PhTest):
    """Where `ph` is started: what it inherits, and what others put in its way."""

    def setUp(self):
        super().setUp()
        self.file = os.path.join(self.folder, "lab.yaml")
        with open(self.file, "w", encoding="utf-8") as out:
            out.write("hosts: { alice: {} }\n")
        self.addCleanup(subprocess.run, [PH, "down", "--socket", self.socket], capture_output=True,
                        timeout=60)

    def up(self, **more):
        return self.ph("up", self.file, "--detach", "--socket", self.socket, **more)

    def test_closed_standard_descriptors(self):
        self.up()
        which = ("import os; print([fd for fd in range(3) "
                 "if not os.path.exists(f'/proc/self/fd/{fd}')])")
        for closed in ("<&-", ">&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"):
            for verb in (f"run --socket {self.socket} -- /bin/true", "run -- /bin/true",
                         f"status --socket {self.socket}"):
                with self.subTest(closed=closed, verb=verb):
                    done = subprocess.run(["sh", "-c", f"exec {PH} {verb} {closed}"], timeout=60,
                                          capture_output=True, env=self.environment)
                    self.assertEqual(done.returncode, 0, done.stderr)
        done = subprocess.run(["sh", "-c", f"exec {PH} run --socket {self.socket} -- "
                               f"/usr/bin/python3 -c \"{which}\" <&- 2>&-"], text=True,
                              stdout=subprocess.PIPE, timeout=60, env=self.environment)
        self.assertEqual(done.stdout, "[0, 2]\n")

    def test_a_full_disk_is_said(self):
        self.up()
        for verb in (["status"], ["status", "--json"]):
            with open("/dev/full", "w", encoding="utf-8") as full:
                done = subprocess.run([PH, *verb, "--socket", self.socket], stdout=full, text=True,
                                      stderr=subprocess.PIPE, timeout=60, env=self.environment)
            self.assertEqual(done.returncode, 125)
            self.assertRegex(done.stderr, "^ph: cannot write .*No space left on device\n$")
        with open("/dev/full", "w", encoding="utf-8") as full:
            other = self.socket + "2"
            done = subprocess.run([PH, "up", self.file, "--detach", "--socket", other], text=True,
                                  stdout=full, stderr=subprocess.PIPE, timeout=60,
                                  env=self.environment)
            self.assertEqual(done.returncode, 125)
            self.assertIn("the lab has ended", done.stderr)
            self.assertFalse(os.path.exists(other))
            done = subprocess.run([PH, "--help"], stdout=full, stderr=subprocess.PIPE, timeout=60,
                                  env=self.environment)
            self.assertEqual(done.returncode, 125)
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([PH, "status", "--socket", "/nowhere"], stderr=full, timeout=60,
                                  env=self.environment)
        self.assertEqual(done.returncode, 125)

    def test_too_low_limits_are_said_in_words(self):
        for limit, told in (("-n 12", "the number of open files (ulimit -n)"),
                            ("-f 0", "the size of files (ulimit -f)")):
            for words in (["up", self.file, "--detach"], ["run", "--", "true"]):
                with self.subTest(limit=limit, words=words):
                    socket_path = [] if words[0] == "run" else ["--socket", self.socket]
                    done = subprocess.run(
                        ["sh", "-c", f'ulimit {limit}; exec "$0" "$@"', PH, words[0], *socket_path,
                         *words[1:]], capture_output=True, text=True, timeout=60,
                        env={**self.environment, "XDG_RUNTIME_DIR": self.folder})
                    self.assertEqual(done.returncode, 125, done.stderr)
                    self.assertRegex(done.stderr, f"(?m)^ph: {re.escape(told)}.* is limited to ")

    def test_where_the_options_stand(self):
        self.up()
        said = self.ph("--socket", self.socket, "status").stdout
        self.assertIn("alice: 1 cpu", said)
        self.ph("--socket", self.socket, "run", "--host", "alice", "--", "true")
        self.ph(f"--socket={self.socket}", "run", "true", "--socket", "not ours")
        self.assertIn("FILE is required", self.ph("up", "--socket", self.socket, expect=2).stderr)

    def test_the_files_of_a_lab_go_with_it(self):
        self.up()
        self.assertTrue(os.path.exists(self.socket + ".log"))
        self.ph("down", "--socket", self.socket)
        self.assertEqual(os.listdir(self.folder), ["lab.yaml"])

    def test_a_log_that_was_there_stays(self):
        log = self.socket + ".log"
        with open(log, "w", encoding="utf-8") as out:
            out.write("precious\n")
        self.up()
        self.ph("down", "--socket", self.socket)
        with open(log, encoding="utf-8") as file:
            self.assertTrue(file.read().startswith("precious\n"))

    def test_what_is_no_socket(self):
        for make in (os.mkdir, lambda path: open(path, "w", encoding="utf-8").close()):
            make(self.socket)
            self.in_the_way("")
            self.assertEqual(sorted(os.listdir(self.folder)), ["lab.sock", "lab.yaml"])
            if os.path.isdir(self.socket):
                os.rmdir(self.socket)
        done = self.ph("status", "--socket", self.socket, expect=125)
        self.assertIn("that is no socket", done.stderr)

    def test_a_lab_is_found_again_when_its_folder_was_removed(self):
        environment = {"XDG_RUNTIME_DIR": self.folder}
        folder = os.path.join(self.folder, "posthaste")
        self.ph("up", self.file, "--detach", env=environment)
        self.addCleanup(subprocess.run, [PH, "down"], capture_output=True, timeout=60,
                        env={**self.environment, **environment})
        pid = json.loads(self.ph("status", "--json", env=environment).stdout)["pid"]
        for whole in (False, True):
            if whole:  # the daemon may be faster than what removes the rest
                os.rename(folder, folder + "-gone")
                shutil.rmtree(folder + "-gone")
            else:
                os.unlink(os.path.join(folder, "lab.sock"))
            deadline = time.monotonic() + 60
            while not os.path.exists(os.path.join(folder, "lab.sock")):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.02)
            again = json.loads(self.ph("status", "--json", env=environment).stdout)["pid"]
            self.assertEqual(again, pid)
        self.ph("down", env=environment)
        self.assertFalse(os.path.exists(os.path.join(folder, "lab.sock")))

    @unittest.skipUnless(os.geteuid() == 0, "needs root, whose programs become other users")
    def test_root_s_servers_reach_the_library_wherever_it_is(self):
        built = os.path.dirname(PH)
        if not os.path.exists(os.path.join(built, "libph_preload.so")):
            self.skipTest("the library is not built")
        home = os.path.join(self.folder, "a home: mine")  # as /root: nobody else enters
        os.mkdir(home, 0o700)
        for name in ("ph", "libph_preload.so"):
            shutil.copy(os.path.join(built, name), home)
        environment = {**self.environment, "XDG_RUNTIME_DIR": self.folder}
        for _ in range(2):
            done = subprocess.run(
                [os.path.join(home, "ph"), "run", "--", "setpriv", "--reuid=65534", "--regid=65534",
                 "--clear-groups", "sh", "-c", "hostname; echo $LD_PRELOAD"], text=True,
                capture_output=True, timeout=60, env=environment)
            self.assertEqual(done.returncode, 0, done.stderr)
            name, library = done.stdout.split()
            self.assertEqual(name, "localhost")
        self.addCleanup(shutil.rmtree, os.path.dirname(library))
        self.assertEqual(os.stat(os.path.dirname(library)).st_mode & 0o777, 0o711)

    def in_the_way(self, name):
        """Starting a lab must fail at once, with a sentence that names the file."""
        done = self.ph("up", self.file, "--detach", "--socket", self.socket, expect=125)
        self.assertRegex(done.stderr, f"^ph: .*{self.socket}{name}.*\n$")
        self.assertEqual(done.stdout, "")

    def test_nothing_in_a_shared_folder_is_followed_or_waited_for(self):
        victim = os.path.join(self.folder, "victim")
        for name in (".lock", ".log"):
            path = self.socket + name
            os.symlink(victim, path)
            self.in_the_way(name)
            self.assertFalse(os.path.lexists(victim))
            os.unlink(path)
            with open(victim, "w", encoding="utf-8") as out:
                out.write("mine")
            os.link(victim, path)
            self.in_the_way(name)
            with open(victim, encoding="utf-8") as file:
                self.assertEqual(file.read(), "mine")
            os.unlink(path)
            os.unlink(victim)
            os.mkfifo(path)
            self.in_the_way(name)
            os.unlink(path)
            os.mkdir(path)
            self.in_the_way(name)
            os.rmdir(path)
        os.symlink(victim, self.socket)
        self.in_the_way("")
        self.assertFalse(os.path.lexists(victim))
        os.unlink(self.socket)
        self.up()

    @unittest.skipUnless(os.geteuid() == 0, "needs root: another user")
    def test_what_another_user_put_there(self):
        os.chmod(self.folder, 0o1777)
        for name in (".lock", ".log"):
            path = self.socket + name
            with open(path, "w", encoding="utf-8"):
                pass
            os.chmod(path, 0o666)
            os.chown(path, 65534, 65534)
            with open(path, "rb") as held:
                fcntl.flock(held, fcntl.LOCK_EX)  # a stranger's lock is no lab's
                self.in_the_way(name)
            os.unlink(path)
        theirs = socket.socket(socket.AF_UNIX)
        self.addCleanup(theirs.close)
        theirs.bind(self.socket)
        os.chown(self.socket, 65534, 65534)
        self.in_the_way("")
        self.assertTrue(os.path.exists(self.socket))
        os.unlink(self.socket)
        self.up()

    def test_a_lock_that_a_dead_lab_left_is_taken_over(self):
        self.up()
        pid = json.loads(self.ph("status", "--json", "--socket", self.socket).stdout)["pid"]
        daemon = os.pidfd_open(pid)
        self.addCleanup(os.close, daemon)
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(select.select([daemon], [], [], 60)[0], [daemon])
        self.up()
        self.ph("down", "--socket", self.socket)

    def test_a_run_folder_that_is_not_ours_matters_only_to_labs(self):
        theirs = os.path.join(self.folder, "theirs")
        os.mkdir(theirs)
        os.mkdir(os.path.join(theirs, "posthaste"), 0o777)
        os.chmod(os.path.join(theirs, "posthaste"), 0o777)
        env = {"XDG_RUNTIME_DIR": theirs}
        done = self.ph("up", self.file, "--detach", expect=125, env=env)
        self.assertIn("is not a folder of this user alone", done.stderr)
        self.assertEqual(self.ph("run", "--", "echo", "alone", env=env).stdout, "alone\n")

    def test_the_reason_of_a_daemons_death_is_told(self):
        self.up()
        pid = json.loads(self.ph("status", "--json", "--socket", self.socket).stdout)["pid"]
        os.kill(pid, signal.SIGABRT)
        for words in (("status",), ("run",)):
            end = ("--", "/bin/true") if words == ("run",) else ()
            for _ in range(200):
                done = subprocess.run([PH, *words, "--socket", self.socket, *end],
                                      capture_output=True, text=True, timeout=60,
                                      env=self.environment)
                if "it died of a bug: SIGABRT" in done.stderr:
                    break
                time.sleep(0.05)
            self.assertIn(f"its log: {self.socket}.log", done.stderr)
        # That was the reason of one daemon only.
        self.up()
        pid = json.loads(self.ph("status", "--json", "--socket", self.socket).stdout)["pid"]
        os.kill(pid, signal.SIGKILL)
        while os.path.exists(f"/proc/{pid}"):
            time.sleep(0.01)
        done = self.ph("status", "--socket", self.socket, expect=125)
        self.assertIn("only its old socket is left; its log:", done.stderr)

    def test_without_proc(self):
        if os.geteuid() != 0:
            self.skipTest("needs root: a mount namespace")
        self.up()
        done = subprocess.run(["unshare", "-m", "sh", "-c", f"umount -l /proc; exec {PH} run "
                               f"--socket {self.socket} -- /bin/echo here"], capture_output=True,
                              text=True, timeout=60, env=self.environment)
        self.assertEqual((done.returncode, done.stdout), (0, "here\n"), done.stderr)
        done = subprocess.run(["unshare", "-m", "sh", "-c", f"umount -l /proc; exec {PH} run -- "
                               "/bin/echo here"], capture_output=True, text=True, timeout=60,
                              env=self.environment)
        self.assertEqual(done.returncode, 125)
        self.assertRegex(done.stderr, "^ph: no /proc is mounted here, .*\n$")


@unittest.skipUnless(os.path.exists(os.path.join(os.path.dirname(PH), "build.ninja")),
                     "needs the folder in which ph was built")
class InstallTest(PhTest):
    def test_an_installed_ph_finds_its_library(self):
        built = os.path.dirname(PH)
        if not os.path.exists(os.path.join(built, "libph_packetdrill.so")):
            self.skipTest("not all is built")
        os.chmod(self.folder, 0o755)
        subprocess.run(["cmake", "--install", built, "--prefix", self.folder], check=True,
                       capture_output=True)
        self.lab({"ok": True, "env": {"PH_HOST": "alice"}})
        words = ["run", "--socket", self.socket, "--", "sh", "-c", "echo $PH_HOST $LD_PRELOAD"]
        done = subprocess.run([os.path.join(self.folder, "bin", "ph"), *words], text=True,
                              capture_output=True, timeout=60, env=self.environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, rf"^alice {self.folder}/lib.*/posthaste/libph_preload.so$")

    def test_what_is_installed_is_what_the_demo_builds(self):
        built = os.path.dirname(PH)
        with open(os.path.join(built, "cmake_install.cmake"), encoding="utf-8") as file:
            installed = set(re.findall(r'FILES "[^"]*/([^"/]+)"\)', file.read()))
        asked = subprocess.run(["ninja", "-C", built, "-t", "query", "programs"], text=True,
                               capture_output=True, check=True).stdout
        self.assertIn("ph", installed)
        self.assertLessEqual(installed, set(asked.split()))


class WrapperTest(unittest.TestCase):
    """The script `ph` at the top of a checkout, with a program of its own choice."""

    SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for file in ("ph", "CMakePresets.json"):
            shutil.copy(os.path.join(self.SOURCE, file), self.folder)

    def wrapper(self, *words, limits=""):
        line = f'{limits} exec "$0" "$@"'
        return subprocess.run(["bash", "-c", line, os.path.join(self.folder, "ph"), *words],
                              capture_output=True, text=True, timeout=60, check=False)

    def test_a_lab_can_be_ended_where_nothing_can_be_written(self):
        built = os.path.join(self.folder, "build", "release")
        os.makedirs(built)
        with open(os.path.join(built, "build.ninja"), "w", encoding="utf-8"):
            pass
        program = os.path.join(built, "ph")
        with open(program, "w", encoding="utf-8") as out:
            out.write('#!/bin/sh\necho "ph: $*"\n')
        os.chmod(program, 0o755)
        for verb in ("down", "status"):
            done = self.wrapper(verb, "--socket", "x", limits="ulimit -f 1;")
            self.assertEqual((done.returncode, done.stdout), (0, f"ph: {verb} --socket x\n"),
                             done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertEqual(sorted(os.listdir(built)), ["build.ninja", "ph"])

    def test_a_preset_that_does_not_exist_is_a_wrong_command_line(self):
        done = self.wrapper("build", "nosuch")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("no preset is named 'nosuch'", done.stderr)


if __name__ == "__main__":
    unittest.main()
