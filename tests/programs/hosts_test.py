"""Hosts look like hosts: their own name, and every name of the lab as /etc/hosts would have it."""

import os
import socket

import lib

LAB = """
hosts: { alice: {}, Web-1: {}, lonely: {} }
links:
  - ends: [ "alice:eth0 10.0.0.1/24", "Web-1:eth0 10.0.0.2/24" ]
  - ends: [ "alice:eth1 10.0.1.1/24", "Web-1:eth1 10.0.1.2/24" ]
"""

# Each line is an expression; what it gives is printed, an error by its name and number.
ASK = """
import os, platform, socket, sys
from socket import *
def addresses(name, *more):
    return sorted({a[4][0] for a in getaddrinfo(name, *more)})
for line in sys.argv[1:]:
    try:
        print(eval(line))
    except OSError as error:
        print(type(error).__name__, error.args[0])
"""


class HostsTest(lib.LabTest):
    def setUp(self):
        self.lab = self.start_lab(LAB)

    def ask(self, *expressions, host="alice"):
        return self.lab.python(host, ASK, *expressions).splitlines()

    def assert_answers(self, pairs, host="alice"):
        got = self.ask(*pairs, host=host)
        self.assertEqual(dict(zip(pairs, got)), {k: str(v) for k, v in pairs.items()})

    def test_the_machine_is_the_host(self):
        for host in ("alice", "Web-1", "lonely"):
            self.assertEqual(self.lab.run(host, "hostname").stdout, f"{host}\n")
            self.assertEqual(self.lab.run(host, "uname", "-n").stdout, f"{host}\n")
            self.assertEqual(self.lab.run(host, "bash", "-c", "echo $HOSTNAME").stdout, f"{host}\n")
            out = self.lab.run(host, "bash", "-c", "echo $HOSTNAME",
                               env={**os.environ, "HOSTNAME": "a-container"}).stdout
            self.assertEqual(out, f"{host}\n")
            prompt = self.lab.run(host, "bash", "-c", r"x='\h'; echo ${x@P}").stdout
            self.assertEqual(prompt, f"{host}\n")
        self.assert_answers({"gethostname()": "alice", "platform.node()": "alice",
                             "os.uname().nodename": "alice"})

    def test_nobody_renames_it(self):
        self.assert_answers({"sethostname('x')": "PermissionError 1", "gethostname()": "alice"})
        self.assertNotEqual(self.lab.run("alice", "hostname", "x", check=False).returncode, 0)
        self.assertNotEqual(socket.gethostname(), "x")

    def test_a_name_that_does_not_fit(self):
        code = ("import ctypes, errno; libc = ctypes.CDLL(None, use_errno=True)\n"
                "b = ctypes.create_string_buffer(8)\n"
                "for n in (6, 5, 0): print(libc.gethostname(b, n), ctypes.get_errno(), b.value)")
        self.assertEqual(self.lab.python("alice", code).splitlines()[:2],
                         ["0 0 b'alice'", "-1 36 b'alice'"])

    def test_its_own_name_resolves(self):
        self.assert_answers({"gethostbyname(gethostname())": "10.0.0.1",
                             "gethostbyname_ex(gethostname())[0]": "alice", "getfqdn()": "alice"})
        self.assert_answers({"gethostbyname(gethostname())": "127.0.0.1"}, "lonely")
        self.assertEqual(self.lab.run("alice", "hostname", "-f").stdout, "alice\n")
        self.assertEqual(self.lab.run("alice", "hostname", "-i").stdout.split(),
                         ["10.0.0.1", "10.0.1.1"])

    def test_case_and_a_final_dot_do_not_matter(self):
        both = ["10.0.0.2", "10.0.1.2"]
        self.assert_answers({
            "addresses('Web-1', 80)": both, "addresses('web-1', 80)": both,
            "addresses('WEB-1.', 80)": both, "gethostbyname('wEB-1')": "10.0.0.2",
            "gethostbyname_ex('WEB-1.')": ("Web-1", [], both),
            "getaddrinfo('web-1.', 80, 0, SOCK_STREAM, 0, AI_CANONNAME)[0][3]": "Web-1",
            "gethostbyaddr('10.0.1.2')": ("Web-1", [], ["10.0.1.2"]),
            "gethostbyname('web')": "gaierror -2"})

    def test_a_name_with_dots_has_a_short_one(self):
        lab = self.start_lab("hosts: { alice: {}, db.lab.example: {}, www.a: {}, www.b: {} }\n"
                             "links:\n"
                             '- ends: [ "alice:e0 10.0.0.1/24", "db.lab.example:e0 10.0.0.2/24" ]\n'
                             '- ends: [ "www.a:e0 10.0.1.1/24", "www.b:e0 10.0.1.2/24" ]\n')
        for name in ("db.lab.example", "db", "DB."):
            self.assertEqual(lab.run("alice", "getent", "hosts", name).stdout.split(),
                             ["10.0.0.2", "db.lab.example"])
        self.assertNotEqual(lab.run("alice", "getent", "hosts", "www", check=False).returncode, 0)
        lines = lab.run("alice", "cat", "/etc/hosts").stdout.splitlines()
        self.assertIn("10.0.0.2\tdb.lab.example db", lines)
        self.assertIn("10.0.1.1\twww.a", lines)

    def test_run_finds_a_host_in_any_case(self):
        for host in ("web-1", "WEB-1"):
            self.assertEqual(self.lab.run(host, "hostname").stdout, "Web-1\n")

    def test_localhost(self):
        self.assert_answers({
            "addresses('LocalHost', 80)": ["127.0.0.1"],
            "addresses('localhost.', 80)": ["127.0.0.1"],
            "gethostbyname('LOCALHOST.')": "127.0.0.1",
            "getaddrinfo('LOCALHOST.', 1, 0, 0, 0, AI_CANONNAME)[0][3]": "localhost",
            "gethostbyaddr('127.0.0.1')[0]": "localhost",
            "gethostbyaddr('127.0.0.2')": "herror 1",
            "getnameinfo(('127.0.0.2', 22), 0)": ("127.0.0.2", "ssh"),
            "getnameinfo(('127.0.0.1', 22), 0)": ("localhost", "ssh")})

    def test_flags_services_and_families(self):
        self.assert_answers({
            "addresses('web-1', 80, 0, 0, 0, AI_NUMERICHOST)": "gaierror -2",
            "addresses('web-1', 80, 0, 0, 0, AI_ADDRCONFIG)": ["10.0.0.2", "10.0.1.2"],
            "getaddrinfo('web-1', 'https', AF_INET, SOCK_STREAM)[0][4]": ("10.0.0.2", 443),
            "getaddrinfo('web-1', 'domain', 0, SOCK_DGRAM)[1][4]": ("10.0.1.2", 53),
            "getaddrinfo('web-1', 'nosuchservice')": "gaierror -8",
            "addresses('web-1', 80, AF_INET6)": "gaierror -2",
            "addresses('web-1', 80, AF_INET6, 0, 0, AI_V4MAPPED)": ["::ffff:10.0.0.2",
                                                                    "::ffff:10.0.1.2"],
            "getaddrinfo('web-1', 80, 99)": "gaierror -6",
            "getaddrinfo('web-1', 80, 0, 0, 0, 1 << 28)": "gaierror -1",
            "getaddrinfo('unknown', 'nosuchservice')": "gaierror -8",
            "getnameinfo(('10.0.0.2', 80), 0)": ("Web-1", "http"),
            "getnameinfo(('10.0.0.2', 80), NI_NUMERICHOST)": ("10.0.0.2", "http"),
            "getnameinfo(('10.0.0.2', 80), NI_NUMERICSERV)": ("Web-1", "80"),
            "getnameinfo(('10.0.0.99', 80), 0)": ("10.0.0.99", "http"),
            "getnameinfo(('10.0.0.99', 80), NI_NAMEREQD)": "gaierror -2"})
        self.assertEqual(self.lab.run("alice", "getent", "hosts", "WEB-1").stdout.split(),
                         ["10.0.0.2", "Web-1", "10.0.1.2", "Web-1"])

    def test_the_error_of_an_unknown_host_is_told(self):
        code = ("import socket\ntry: socket.gethostbyaddr('10.0.0.99')\n"
                "except socket.herror as e: print(e)")
        self.assertEqual(self.lab.python("alice", code), "[Errno 1] Unknown host\n")

    def test_names_of_the_machine_are_unknown(self):
        own = socket.gethostname()
        self.assert_answers({f"gethostbyname({own!r})": "gaierror -2",
                             "gethostbyname('example.org')": "gaierror -2"})


if __name__ == "__main__":
    lib.main()
