"""Servers and clients that people use, unchanged, on hosts of a lab: files over HTTP with several
servers, redis with a background save, ssh, iperf3, nc. Wires are watched, and judged by tshark."""

import hashlib
import os
import shutil
import subprocess
import unittest

import lib

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


def needs(program):
    return unittest.skipUnless(shutil.which(program) or os.path.exists(program),
                               f"{program} is not installed")


class ServersTest(lib.LabTest):
    def setUp(self):
        self.lab = self.start_lab(lib.TWO_HOSTS)
        self.folder = self.lab.folder

    def file(self, name, text=""):
        """A file in the test's folder with that text; its path."""
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def random_file(self, name, size):
        """(path, SHA-256) of a new file."""
        path, data = os.path.join(self.folder, name), os.urandom(size)
        with open(path, "wb") as out:
            out.write(data)
        return path, hashlib.sha256(data).hexdigest()

    @staticmethod
    def sha256(path):
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def fetch(self, url, wanted, times=1):
        """Fetches a URL with curl; the content must have that SHA-256."""
        for number in range(times):
            out = os.path.join(self.folder, f"fetched-{number}")
            self.lab.run("alice", "curl", "-sS", "--fail", "-o", out, url)
            self.assertEqual(self.sha256(out), wanted)

    def test_python_http_server_with_curl_and_wget(self):
        _, wanted = self.random_file("file", 3_000_000)
        with self.lab.capture("alice:eth0") as capture:
            self.lab.spawn("bob", lib.PYTHON, "-m", "http.server", "80", cwd=self.folder)
            self.lab.wait_port("alice", "10.0.0.2", 80)
            self.fetch("http://10.0.0.2/file", wanted)
            out = os.path.join(self.folder, "wgot")
            self.lab.run("alice", "wget", "-q", "-O", out, "http://10.0.0.2/file")
            self.assertEqual(self.sha256(out), wanted)
            done = self.lab.run("alice", "curl", "-sS", "http://10.0.0.2:81/", check=False)
            self.assertEqual(done.returncode, 7, done.stderr)  # curl: could not connect
        self.assert_clean_capture(capture)

    @needs(NGINX)
    def test_nginx_with_one_worker_and_a_reload(self):
        self.nginx(1)

    @needs(NGINX)
    def test_nginx_with_two_workers_and_a_reload(self):
        self.nginx(2)

    def nginx(self, workers):
        _, wanted = self.random_file("file", 5_000_000)
        config = self.file("nginx.conf", f"""
daemon off;
worker_processes {workers};
pid {self.folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {self.folder}/body;
  proxy_temp_path {self.folder}/proxy;
  fastcgi_temp_path {self.folder}/fastcgi;
  uwsgi_temp_path {self.folder}/uwsgi;
  scgi_temp_path {self.folder}/scgi;
  server {{ listen 80; root {self.folder}; }}
}}
""")
        os.chmod(self.folder, 0o755)  # its workers are another user's when root starts it
        nginx = self.lab.spawn("bob", NGINX, "-c", config, "-p", self.folder)
        self.lab.wait_port("alice", "10.0.0.2", 80)
        self.fetch("http://10.0.0.2/file", wanted, times=3)
        before = self.workers(nginx.pid)
        nginx.signal(lib.signal.SIGHUP)
        lib.wait_until(lambda: self.workers(nginx.pid).isdisjoint(before) and
                       len(self.workers(nginx.pid)) == workers, "new workers")
        self.fetch("http://10.0.0.2/file", wanted, times=3)
        nginx.signal(lib.signal.SIGQUIT)
        self.assertEqual(nginx.wait(), 0, nginx.output)

    @staticmethod
    def workers(pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            return set(children.read().split())

    @needs("redis-server")
    def test_redis_with_a_background_save(self):
        self.lab.spawn("bob", "redis-server", "--port", "6379", "--bind", "10.0.0.2",
                       "--dir", self.folder, "--save", "", "--protected-mode", "no")
        self.lab.wait_port("alice", "10.0.0.2", 6379)

        def redis(*words):
            return self.lab.run("alice", "redis-cli", "-h", "10.0.0.2", *words).stdout.strip()

        self.assertEqual(redis("set", "key", "value"), "OK")
        self.assertEqual(redis("get", "key"), "value")
        self.assertEqual(redis("bgsave"), "Background saving started")
        lib.wait_until(lambda: "rdb_last_bgsave_status:ok" in redis("info", "persistence") and
                       os.path.exists(os.path.join(self.folder, "dump.rdb")), "the saved file")
        self.assertEqual(redis("get", "key"), "value")
        out = self.lab.run("alice", "redis-benchmark", "-h", "10.0.0.2", "-n", "2000", "-c", "20",
                           "-t", "set,get", "--csv").stdout
        self.assertEqual(len(out.strip().splitlines()), 3, out)

    @needs("iperf3")
    def test_iperf3_tcp_udp_and_reverse(self):
        server = self.lab.spawn("bob", "iperf3", "-s", "--forceflush")
        server.wait_for("Server listening")
        for words in ((), ("-R",), ("-P", "3"), ("-u", "-b", "5M")):
            with self.subTest(words=words):
                out = self.lab.run("alice", "iperf3", "-c", "10.0.0.2", "-t", "1", "-J",
                                   *words).stdout
                end = lib.json.loads(out)["end"]
                received = end["sum"] if "-u" in words else end["sum_received"]
                self.assertGreater(received["bytes"], 100_000)

    @needs(SSHD)
    def test_ssh_with_a_key(self):
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        key, host_key = os.path.join(self.folder, "key"), os.path.join(self.folder, "host_key")
        for path in (key, host_key):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        authorized = os.path.join(self.folder, "authorized")
        shutil.copy(key + ".pub", authorized)
        config = self.file("sshd_config", f"""
Port 22
HostKey {host_key}
AuthorizedKeysFile {authorized}
StrictModes no
UsePAM no
PidFile none
""")
        sshd = self.lab.spawn("bob", SSHD, "-D", "-e", "-f", config)
        sshd.wait_for("Server listening")
        ssh = ["ssh", "-F", "none", "-i", key, "-o", "StrictHostKeyChecking=no",
               "-o", f"UserKnownHostsFile={self.folder}/known", "-o", "BatchMode=yes", "10.0.0.2"]
        done = self.lab.run("alice", *ssh, "echo $SSH_CONNECTION; exit 3", check=False)
        self.assertEqual(done.returncode, 3, done.stderr + sshd.output)
        self.assertRegex(done.stdout, r"^10\.0\.0\.1 \d+ 10\.0\.0\.2 22$")
        done = self.lab.run("alice", *ssh, "head -c 2000000 /dev/zero | tr '\\0' x")
        self.assertEqual(done.stdout, "x" * 2_000_000)

    @needs("nc")
    def test_nc_sends_a_file_and_ends(self):
        path, wanted = self.random_file("sent", 500_000)
        got = os.path.join(self.folder, "got")
        server = self.lab.spawn("bob", "sh", "-c", f"exec nc -l -N 9000 >{got}")
        self.lab.run("alice", "sh", "-c",
                     f"for i in $(seq 100); do nc -N 10.0.0.2 9000 <{path} && exit; sleep 0.1;"
                     "done; exit 1")
        self.assertEqual(server.wait(), 0, server.output)
        self.assertEqual(self.sha256(got), wanted)

    def test_two_hundred_connections_at_once(self):
        self.lab.spawn("bob", lib.PYTHON, "-c", """
import asyncio
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(echo, "10.0.0.2", 7000, backlog=512)
    print("listening", flush=True)
    await server.serve_forever()
asyncio.run(main())
""").wait_for("listening")
        out = self.lab.python("alice", """
import asyncio
async def one(number):
    reader, writer = await asyncio.open_connection("10.0.0.2", 7000)
    sent = bytes([number % 256]) * 20000
    writer.write(sent)
    writer.write_eof()
    got = await reader.read()
    writer.close()
    return got == sent
async def main():
    print(sum(await asyncio.gather(*(one(n) for n in range(200)))))
asyncio.run(main())
""")
        self.assertEqual(out, "200\n")


if __name__ == "__main__":
    lib.main()
