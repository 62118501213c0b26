"""What people use to look at a network, unchanged, on hosts of a lab: ping with its options,
traceroute in all its ways, tracepath, mtr; and named with dig."""

import os
import re
import shutil
import unittest

import lib


def needs(program):
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    return unittest.skipUnless(path, f"{program} is not installed")


class DiagnosisTest(lib.LabTest):
    """alice 10.0.1.2 - 10.0.1.1 r1 10.0.2.1 - 10.0.2.2 bob."""

    def setUp(self):
        self.lab = self.start_lab(lib.ROUTED)

    def on_alice(self, *words, **more):
        return self.lab.run("alice", *words, **more)

    @needs("ping")
    def test_ping_shows_the_recorded_route(self):
        done = self.on_alice("ping", "-n", "-R", "-c", "2", "-i", "0.2", "10.0.2.2")
        self.assertNotIn("WARNING", done.stderr)
        route = re.search(r"RR:((?:\s+[\d.]+\n)+)", done.stdout)
        self.assertIsNotNone(route, done.stdout)
        self.assertEqual(route[1].split(), ["10.0.1.2", "10.0.2.1", "10.0.2.2", "10.0.2.2",
                                            "10.0.1.1", "10.0.1.2"])
        self.assertIn("(same route)", done.stdout)

    @needs("ping")
    def test_ping_shows_who_could_not_deliver(self):
        gone = self.on_alice("ping", "-n", "-c", "1", "10.0.2.77", check=False)
        self.assertIn("From 10.0.1.1 icmp_seq=1 Destination Host Unreachable", gone.stdout)
        near = self.on_alice("ping", "-n", "-c", "1", "-t", "1", "10.0.2.2", check=False)
        self.assertIn("From 10.0.1.1 icmp_seq=1 Time to live exceeded", near.stdout)

    def trace(self, *words):
        out = self.on_alice("traceroute", "-n", "-q", "1", *words, "10.0.2.2").stdout
        hops = re.findall(r"^ *(\d+) +(\S+)", out, re.M)
        self.assertEqual(hops[-2:], [("1", "10.0.1.1"), ("2", "10.0.2.2")], out)

    @needs("traceroute")
    def test_traceroute_by_udp(self):
        self.trace()

    @needs("traceroute")
    def test_traceroute_by_icmp(self):
        self.trace("-I")

    @needs("traceroute")
    def test_traceroute_by_tcp(self):
        self.trace("-T")

    @needs("tracepath")
    def test_tracepath_finds_a_smaller_mtu(self):
        self.lab.python("r1", """
import fcntl, socket, struct
s = socket.socket(type=socket.SOCK_DGRAM)
fcntl.ioctl(s, 0x8922, struct.pack("16si12x", b"eth1", 1400))  # SIOCSIFMTU
""")
        out = self.on_alice("tracepath", "-n", "10.0.2.2").stdout
        self.assertRegex(out, r"1: +10\.0\.1\.1 +[\d.]+ms")
        self.assertRegex(out, r"pmtu 1400")
        self.assertRegex(out, r"2: +10\.0\.2\.2 +[\d.]+ms reached")
        self.assertRegex(out, r"Resume: pmtu 1400 hops 2 back 2")

    @needs("mtr")
    def test_mtr_reports_every_hop(self):
        for way in ([], ["--udp"]):
            with self.subTest(way=way):
                out = self.on_alice("mtr", "-n", "--report", "-c", "2", *way, "10.0.2.2").stdout
                hops = re.findall(r"^ *(\d+)\.\|-- +(\S+) +([\d.]+)%", out, re.M)
                self.assertEqual(hops, [("1", "10.0.1.1", "0.0"), ("2", "10.0.2.2", "0.0")], out)


class NamesTest(lib.LabTest):
    @needs("named")
    @needs("dig")
    def test_named_answers_dig(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        zone = os.path.join(lab.folder, "zone")
        config = os.path.join(lab.folder, "named.conf")
        with open(zone, "w", encoding="utf-8") as out:
            out.write("$TTL 60\n@ IN SOA ns root 1 60 60 60 60\n  IN NS ns\nns IN A 10.0.0.2\n"
                      "www IN A 192.0.2.80\n" +
                      "".join(f"big IN TXT \"{'x' * 200}{i}\"\n" for i in range(12)))
        with open(config, "w", encoding="utf-8") as out:
            out.write(f'''
options {{ directory "{lab.folder}"; pid-file none; session-keyfile none; recursion no;
           listen-on {{ any; }}; listen-on-v6 {{ none; }};
           managed-keys-directory "{lab.folder}"; }};
controls {{ }};
zone "example.test" {{ type primary; file "{zone}"; }};
''')
        server = lab.spawn("bob", shutil.which("named", path="/usr/sbin:/usr/bin"), "-g", "-n", "1",
                           "-c", config)
        server.wait_for("all zones loaded")
        dig = ("dig", "@10.0.0.2", "+tries=1", "+time=20", "+short")
        for _ in range(5):
            out = lab.run("alice", *dig, "www.example.test").stdout
            self.assertEqual(out, "192.0.2.80\n")
        for way in ("+notcp", "+tcp"):  # a long answer by fragments, or over TCP
            out = lab.run("alice", *dig, way, "+bufsize=4096", "TXT", "big.example.test").stdout
            self.assertEqual(len(out.splitlines()), 12, out)

    @needs("named")
    @needs("dig")
    @unittest.skipUnless(os.geteuid() == 0 and os.path.exists("/etc/bind/named.conf"),
                         "needs root and Debian's /etc/bind")
    def test_named_as_debian_configures_it(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        os.makedirs("/run/named", exist_ok=True)  # as its unit does
        server = lab.spawn("bob", shutil.which("named", path="/usr/sbin:/usr/bin"), "-g")
        server.wait_for("all zones loaded")
        for way in ("+notcp", "+tcp"):
            dig = ("dig", "@10.0.0.2", "+tries=1", "+time=20", "+short", way)
            self.assertEqual(lab.run("alice", *dig, "localhost").stdout, "127.0.0.1\n")
            self.assertEqual(lab.run("alice", *dig, "-x", "127.0.0.1").stdout, "localhost.\n")


if __name__ == "__main__":
    lib.main()
