"""Servers as Debian ships them: each test copies the package's own configuration and changes only
paths, addresses and what it says. Files of 10 MiB are larger than any buffer on the way, so that a
server that is not woken, or wakes too often, is seen."""

import os
import re
import shutil
import unittest

import lib

BIG = 10 * 1024 * 1024
ADDRESS = "10.0.0.2"  # of bob, who serves


def needs(*programs):
    """Skips where a program is missing; those of root alone are in /usr/sbin."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [name for name in programs if not shutil.which(name, path=path)]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


needs_root = unittest.skipUnless(os.geteuid() == 0, "the package starts this server as root")


class DefaultsTest(lib.LabTest):
    def setUp(self):
        self.lab = self.start_lab(lib.TWO_HOSTS)
        self.folder = self.lab.folder
        os.chmod(self.folder, 0o755)  # workers run as another user
        self.site = os.path.join(self.folder, "site")
        os.mkdir(self.site)
        self.big = os.path.join(self.site, "big")
        with open(self.big, "wb") as file:
            file.write(os.urandom(BIG))
        with open(os.path.join(self.site, "index.html"), "w", encoding="utf-8") as file:
            file.write("<p>hello</p>\n" * 50)
        for name in ("log", "run"):
            os.mkdir(os.path.join(self.folder, name))
            shutil.chown(os.path.join(self.folder, name), *self.server_user())

    @staticmethod
    def server_user():
        return ("www-data", "www-data") if os.geteuid() == 0 else (os.geteuid(), os.getegid())

    def configuration(self, package, main, *changes):
        """Copies /etc/PACKAGE; applies (pattern, replacement) to its main file; the file's path.
        The usual folders are replaced in all files."""
        copy = os.path.join(self.folder, package)
        shutil.copytree(f"/etc/{package}", copy, symlinks=True)
        moves = [(f"/etc/{package}", copy), ("/var/www/html", self.site),
                 (f"/var/log/{package}", os.path.join(self.folder, "log")),
                 (r"(?<=[ \"])/(var/)?run(?=/)", os.path.join(self.folder, "run"))]
        for folder, _, files in os.walk(copy):
            for name in files:
                path = os.path.join(folder, name)
                self.edit(path, *moves, *(changes if name == main else ()))
        return os.path.join(copy, main)

    @staticmethod
    def edit(path, *changes):
        if os.path.islink(path):
            return
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        for pattern, replacement in changes:
            text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)

    def fetch(self, url, *options, times=3):
        """alice fetches the big file with curl, whole each time."""
        for number in range(times):
            got = os.path.join(self.folder, f"got-{number}")
            self.lab.run("alice", "curl", "-sS", "--fail", *options, "-o", got, url)
            with open(self.big, "rb") as wanted, open(got, "rb") as file:
                self.assertTrue(wanted.read() == file.read(), "what came is not what was sent")

    def fetch_and_hammer(self, port=80):
        """The big file; thousands of small answers to ApacheBench, with and without keep-alive."""
        self.lab.wait_port("alice", ADDRESS, port)
        self.fetch(f"http://{ADDRESS}:{port}/big")
        if shutil.which("ab"):
            for options in ([], ["-k"]):
                done = self.lab.run("alice", "ab", "-q", "-n", "1000", "-c", "20", *options,
                                    f"http://{ADDRESS}:{port}/index.html")
                self.assertRegex(done.stdout, r"Complete requests: +1000\n")
                self.assertRegex(done.stdout, r"Failed requests: +0\n")
            done = self.lab.run("alice", "ab", "-q", "-n", "12", "-c", "4",
                                f"http://{ADDRESS}:{port}/big")
            self.assertRegex(done.stdout, rf"HTML transferred: +{12 * BIG} bytes\n")

    def start_nginx(self):
        main = self.configuration("nginx", "nginx.conf", (r"^include .*modules-enabled.*$", ""))
        self.edit(os.path.join(self.folder, "nginx", "sites-available", "default"),
                  (r"^\s*listen \[::\].*$", ""))  # IPv6 is not there
        enabled = os.path.join(self.folder, "nginx", "sites-enabled", "default")
        if os.path.islink(enabled):
            os.remove(enabled)
            os.symlink("../sites-available/default", enabled)
        return self.lab.spawn("bob", "/usr/sbin/nginx", "-c", main, "-e", "stderr",
                              "-g", "daemon off;")

    @needs("nginx")
    def test_nginx(self):
        self.start_nginx()
        self.fetch_and_hammer()

    @needs("lighttpd")
    def test_lighttpd(self):
        main = self.configuration("lighttpd", "lighttpd.conf")
        self.lab.spawn("bob", "/usr/sbin/lighttpd", "-D", "-f", main)
        self.fetch_and_hammer()

    @needs_root
    @needs("apache2")
    def test_apache(self):
        main = self.configuration("apache2", "apache2.conf",
                                  ("<Directory /var/www/>", f"<Directory {self.site}/>"))
        folder = os.path.dirname(main)
        environment = {**os.environ, "APACHE_RUN_USER": "www-data", "APACHE_RUN_GROUP": "www-data",
                       "APACHE_CONFDIR": folder, "APACHE_LOG_DIR": os.path.join(self.folder, "log"),
                       "APACHE_RUN_DIR": os.path.join(self.folder, "run"),
                       "APACHE_LOCK_DIR": os.path.join(self.folder, "run"),
                       "APACHE_PID_FILE": os.path.join(self.folder, "run", "apache2.pid")}
        self.lab.spawn("bob", "/usr/sbin/apache2", "-d", folder, "-DFOREGROUND", env=environment)
        self.fetch_and_hammer()

    @needs_root
    @needs("haproxy", "nginx")
    def test_haproxy_before_nginx(self):
        main = self.configuration("haproxy", "haproxy.cfg", (r"^\tdaemon$", ""),
                                  (r"^\tstats socket .*$", ""))
        with open(main, "a", encoding="utf-8") as file:
            file.write("\nfrontend web\n\tbind :8080\n\tdefault_backend nginx\n"
                       "backend nginx\n\tserver one 127.0.0.1:80\n")
        self.start_nginx()
        self.lab.spawn("bob", "/usr/sbin/haproxy", "-f", main)
        self.lab.wait_port("alice", ADDRESS, 80)
        self.fetch_and_hammer(8080)

    @needs_root
    @needs("vsftpd")
    def test_vsftpd(self):
        """Passive and active transfers, as curl and the ftp client ask for them."""
        main = os.path.join(self.folder, "vsftpd.conf")
        shutil.copy("/etc/vsftpd.conf", main)
        self.edit(main, ("^listen=NO", "listen=YES"), ("^listen_ipv6=YES", "listen_ipv6=NO"),
                  ("^anonymous_enable=NO", f"anonymous_enable=YES\nanon_root={self.site}"))
        os.makedirs("/var/run/vsftpd/empty", exist_ok=True)  # as its service does
        self.lab.spawn("bob", "/usr/sbin/vsftpd", main)
        self.lab.wait_port("alice", ADDRESS, 21)
        self.fetch(f"ftp://{ADDRESS}/big")
        self.fetch(f"ftp://{ADDRESS}/big", "--disable-epsv")
        self.fetch(f"ftp://{ADDRESS}/big", "--ftp-port", "-")
        self.fetch(f"ftp://{ADDRESS}/big", "--ftp-port", "-", "--disable-eprt")

    @needs("iperf3")
    def test_iperf3_sends_with_sendfile(self):
        server = self.lab.spawn("bob", "iperf3", "-s", "--forceflush")
        server.wait_for("listening")
        for direction in ([], ["-R"]):
            done = self.lab.run("alice", "iperf3", "-c", ADDRESS, "-Z", "-n", "50M", *direction)
            self.assertRegex(done.stdout, r"50\.\d MBytes.*sender\n.*MBytes.*receiver\n")


if __name__ == "__main__":
    lib.main()
