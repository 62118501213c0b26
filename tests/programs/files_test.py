"""A host's own files: its settings below /proc/sys/net, and /etc/hosts. However a program opens
them, it gets the host's; nothing that it writes reaches the machine's settings."""

import os
import socket
import subprocess
import tempfile
import unittest

import lib

# A setting that can be changed to and fro without harm, should a test fail: it is the machine's.
NAME = "net.ipv4.tcp_fin_timeout"
FILE = "/proc/sys/" + NAME.replace(".", "/")

HERE = os.path.dirname(os.path.abspath(__file__))


def of_the_machine():
    with open(FILE, encoding="ascii") as file:
        return file.read()


class SettingsTest(lib.LabTest):
    def setUp(self):
        self.lab = self.start_lab(lib.TWO_HOSTS)
        self.before = of_the_machine()
        self.value = 100

    def tearDown(self):
        self.assertEqual(of_the_machine(), self.before, "the machine's own setting was changed")

    def value_on(self, host):
        return self.lab.run(host, "cat", FILE).stdout

    def assert_sets(self, *words):
        """The words, with @ for a value, set it on alice and nowhere else."""
        self.value += 1
        bob = self.value_on("bob")
        self.lab.run("alice", *[word.replace("@", str(self.value)) for word in words])
        self.assertEqual(self.value_on("alice"), f"{self.value}\n", words)
        self.assertEqual(self.value_on("bob"), bob)
        self.assertEqual(of_the_machine(), self.before, words)

    def test_the_usual_ways(self):
        self.assert_sets("sysctl", "-w", f"{NAME}=@")
        self.assert_sets("bash", "-c", f"echo @ > {FILE}")
        self.assert_sets("sh", "-c", f"echo @ > {FILE}")
        self.assert_sets("sh", "-c", f"/bin/echo @ >> {FILE}")
        self.assert_sets("sh", "-c", f"echo @ | tee {FILE}")
        self.assert_sets("sh", "-c", f"echo @ | dd of={FILE} status=none")
        self.assert_sets("sh", "-c", f"echo @ | cat > {FILE}")
        self.assert_sets("perl", "-e", f"open(F, '>', '{FILE}') and print F '@'")
        self.assert_sets(lib.PYTHON, "-c", f"open('{FILE}', 'w').write('@')")
        self.assert_sets(lib.PYTHON, "-c",
                         f"import os; f = os.open('{FILE}', os.O_RDWR); os.read(f, 9);"
                         "os.write(f, b'@')")
        done = self.lab.run("alice", "sysctl", "-n", NAME)
        self.assertEqual(done.stdout, f"{self.value}\n")

    def test_every_name_of_it(self):
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(FILE, f"{folder}/link")
            os.symlink("/proc/sys", f"{folder}/folder")
            self.assert_sets("sh", "-c", f"echo @ > {folder}/link")
            self.assert_sets("sh", "-c", f"echo @ > {folder}/folder/net/ipv4/tcp_fin_timeout")
        self.assert_sets("sh", "-c", "cd /proc/sys/net/ipv4; echo @ > tcp_fin_timeout")
        self.assert_sets("sh", "-c", "cd /proc; echo @ > ./sys//net/core/../ipv4/tcp_fin_timeout")
        self.assert_sets("sh", "-c", f"echo @ > /proc/self/root{FILE}")
        self.assert_sets(lib.PYTHON, "-c", (
            "import os; d = os.open('/proc/sys/net/ipv4', os.O_RDONLY | os.O_DIRECTORY)\n"
            "os.write(os.open('tcp_fin_timeout', os.O_WRONLY, dir_fd=d), b'@')"))

    def test_what_a_host_refuses_is_told(self):
        for words in (["sysctl", "-w", f"{NAME}=x"], ["sh", "-c", f"echo x > {FILE}"],
                      ["bash", "-c", f"echo x > {FILE}"],
                      ["sh", "-c", f"/bin/echo x > {FILE}"],
                      ["sh", "-c", f"printf x | cat > {FILE}"]):
            done = self.lab.run("alice", *words, check=False)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertRegex(done.stderr, "Invalid argument|I/O error")  # dash says the latter
        done = self.lab.run("alice", "cat", "/proc/sys/net/ipv4/no_such", check=False)
        self.assertIn("No such file", done.stderr)

    def test_who_asks_first_hears_the_same(self):
        for ask in (f"test -w {FILE}", f"test -r {FILE} -a -w {FILE}", f"! test -x {FILE}",
                    "test -f /proc/sys/net/ipv4/tcp_fin_timeout", "! test -e /proc/sys/net/no_such",
                    "! test -w /proc/sys/kernel/hostname"):
            for shell in ("dash", "bash"):
                done = self.lab.run("alice", shell, "-c", ask, check=False)
                self.assertEqual(done.returncode, 0, (shell, ask))
        self.assertEqual(self.lab.python("alice", f"""
import ctypes, os
call = ctypes.CDLL(None, use_errno=True).syscall
path = b"{FILE}"
faccessat, faccessat2 = (269 if os.uname().machine == "x86_64" else 48), 439
print([os.access(path, how) for how in (os.F_OK, os.R_OK, os.W_OK, os.R_OK | os.W_OK, os.X_OK)],
      os.access(path, os.W_OK, effective_ids=True),
      call(faccessat, -100, path, os.W_OK), call(faccessat2, -100, path, os.W_OK, 0x200))
"""), "[True, True, True, True, False] True 0 0\n")

    def test_a_setting_holds_for_what_comes_after_it(self):
        done = self.lab.run("alice", "bash", "-c", (
            "for v in 1 0 1 0 1; do echo $v > /proc/sys/net/ipv4/ip_forward; "
            "cat /proc/sys/net/ipv4/ip_forward; done"))
        self.assertEqual(done.stdout.split(), list("10101"))

    @unittest.skipIf(os.geteuid() != 0, "only root may become somebody else")
    def test_only_the_daemons_user_and_root_write(self):
        other = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        before = self.value_on("alice")
        writes = (("sh", "-c", f"echo 99 > {FILE}"), ("sysctl", "-w", f"{NAME}=99"),
                  (lib.PYTHON, "-c", f"open('{FILE}', 'r+b', 0).write(b'99')"))
        for words in writes:
            done = self.lab.run("alice", *other, *words, check=False)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertIn("ermission denied", done.stderr)
        self.assertEqual(self.value_on("alice"), before)
        self.assertEqual(self.lab.run("alice", *other, "cat", FILE).stdout, before)

    @unittest.skipIf(os.geteuid() != 0, "others make no mount namespace")
    def test_where_root_may_not_mount_it_is_said(self):
        words = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin",
                 *self.lab.words_on("alice"), "sh", "-c", f"echo 99 > {FILE}; cat {FILE}"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=lib.PATIENCE_S,
                              check=False)
        self.assertEqual((done.returncode, done.stdout), (0, "99\n"), done.stderr)
        self.assertIn("this machine lets nobody mount here", done.stderr)

    def test_settings_that_the_machine_may_not_have(self):
        file = "/proc/sys/net/ipv4/tcp_congestion_control"
        self.lab.run("alice", "sh", "-c", f"echo vegas > {file}")
        self.assertEqual(self.lab.run("alice", "cat", file).stdout, "vegas\n")

    def test_settings_that_only_the_machine_has(self):
        file = "/proc/sys/net/ipv4/tcp_adv_win_scale"
        with open(file, encoding="ascii") as machine:
            self.assertEqual(self.lab.run("alice", "cat", file).stdout, machine.read())
        done = self.lab.run("alice", "sh", "-c", f"echo 1 > {file}", check=False)
        self.assertNotEqual(done.returncode, 0)

    @unittest.skipIf(os.geteuid() != 0, "only root may write there at all")
    def test_system_calls_of_its_own(self):
        with tempfile.TemporaryDirectory() as folder:
            program = f"{folder}/escape"
            subprocess.run(["gcc", "-O1", "-o", program, f"{HERE}/escape.c"], check=True)
            for file in (FILE, "/sys/class/net/lo/mtu", "/sys/devices/virtual/net/lo/mtu",
                         "/proc/sys/kernel/hostname"):
                done = self.lab.run("alice", program, "write", file)
                self.assertEqual(done.stdout, "error 30\n", file)  # EROFS

    def test_other_sockets_are_no_files(self):
        self.assertEqual(self.lab.python("alice", f'''
import os, socket, tempfile
with open("{FILE}", "w") as file: file.write("61")
with tempfile.TemporaryDirectory() as folder:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(folder + "/s")
    listener.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(folder + "/s")
    server = listener.accept()[0]
    print(os.write(server.fileno(), b"hello"), client.recv(10))
'''), "5 b'hello'\n")

    def test_many_open_ones_cost_others_nothing(self):
        self.lab.python("alice", f'''
import os, socket
kept = [os.open("{FILE}", os.O_WRONLY) for _ in range(300)]
for i, file in enumerate(kept): os.write(file, str(60 + i % 2).encode())
for file in kept[1:]: os.close(file)
os.write(kept[0], b"77")
''')
        self.assertEqual(self.value_on("alice"), "77\n")

    @unittest.skipIf(os.geteuid() != 0, "only root may write there at all")
    def test_devices_of_the_machine(self):
        for file in ("/sys/class/net/lo/mtu", "/sys/devices/virtual/net/lo/tx_queue_len"):
            # What is there already, so that nothing changes should it be written after all.
            done = self.lab.run("alice", "sh", "-c", f"v=$(cat {file}); echo $v > {file}",
                                check=False)
            self.assertNotEqual(done.returncode, 0, file)

    def test_other_files_are_as_before(self):
        with tempfile.TemporaryDirectory() as folder:
            self.lab.run("alice", "sh", "-c", f"cd {folder}; echo a > b; echo c >> b; cat b > d")
            with open(f"{folder}/d", encoding="ascii") as file:
                self.assertEqual(file.read(), "a\nc\n")
        self.lab.run("alice", "sh", "-c", "echo name > /proc/self/comm; echo 0 > /dev/null")


class NamesTest(lib.LabTest):
    NAMES = ["127.0.0.1 localhost", "10.0.0.1 alice", "10.0.0.2 bob"]

    def test_hosts_file(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        for words in (["cat", "/etc/hosts"], ["sh", "-c", "cat < /etc//hosts"],
                      ["sed", "", "/etc/hosts"],
                      [lib.PYTHON, "-c", "print(open('/etc/hosts').read(), end='')"],
                      [lib.PYTHON, "-c",
                       "import ctypes as c; l = c.CDLL(None); l.fopen.restype = c.c_void_p\n"
                       "f = c.c_void_p(l.fopen(b'/etc/hosts', b'r'))\n"
                       "b = c.create_string_buffer(99)\n"
                       "while l.fgets(b, 99, f): print(b.value.decode(), end='')"]):
            out = lab.run("alice", *words).stdout
            self.assertEqual([" ".join(line.split()) for line in out.splitlines()], self.NAMES)

    def test_hosts_file_of_a_program_alone(self):
        out = subprocess.run([lib.PH, "run", "--", "cat", "/etc/hosts"], capture_output=True,
                             text=True, timeout=lib.PATIENCE_S).stdout
        self.assertEqual(out.split(), self.NAMES[0].split())

    def test_the_hosts_own_name(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        for file in ("/etc/hostname", "/proc/sys/kernel/hostname"):
            self.assertEqual(lab.run("bob", "cat", file).stdout, "bob\n")
        self.assertEqual(lab.run("bob", "sysctl", "-n", "kernel.hostname").stdout, "bob\n")
        own = socket.gethostname()  # to which it is set, should this test fail
        done = lab.run("bob", "sh", "-c", f"echo {own} > /proc/sys/kernel/hostname", check=False)
        self.assertNotEqual(done.returncode, 0)

    def test_it_is_not_written(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        done = lab.run("alice", lib.PYTHON, "-c",
                       "import os; os.write(os.open('/etc/hosts', os.O_RDONLY), b'x')", check=False)
        self.assertIn("Error", done.stderr)

    def test_a_long_one(self):
        one, two = "x" * 63, "y" * 63
        links = [f'  - ends: [ "{one}:e{i} 10.{i // 256}.{i % 256}.1/24", '
                 f'"{two}:e{i} 10.{i // 256}.{i % 256}.2/24" ]\n' for i in range(1, 700)]
        lab = self.start_lab(f"hosts: {{ {one}: {{}}, {two}: {{}} }}\nlinks:\n" + "".join(links))
        lines = lab.run(one, "cat", "/etc/hosts").stdout.splitlines()
        self.assertEqual(len(lines), 1 + 2 * len(links))
        self.assertEqual(lines[-1].split(), ["10.2.187.2", two])


if __name__ == "__main__":
    lib.main()
