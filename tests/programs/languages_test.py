"""10 MiB through one connection by every call that programs send files and large buffers with, and
what the libraries of other languages do with sockets: Python, Ruby, Java, Rust. The sender is once
the side that connects and once the side that accepts, blocking and not; the receiver is a few lines
of Python that start to read late, so that every buffer on the way is full first."""

import glob
import hashlib
import os
import shutil
import subprocess
import unittest

import lib

BIG = 10 * 1024 * 1024
ADDRESS = "10.0.0.2"  # of bob

# RECEIVER PORT listen|connect: prints the SHA-256 of what comes until the end.
RECEIVER = """
import hashlib, socket, sys, time
port, role = int(sys.argv[1]), sys.argv[2]
if role == "listen":
    listener = socket.create_server(("", port))
    print("listening", flush=True)
    peer = listener.accept()[0]
else:
    while True:
        try:
            peer = socket.create_connection(("10.0.0.2", port), 30)
            break
        except ConnectionRefusedError:
            time.sleep(0.02)
time.sleep(0.3)
total = hashlib.sha256()
while True:
    data = peer.recv(1 << 16)
    if not data:
        break
    total.update(data)
print("got", total.hexdigest(), flush=True)
"""

# SENDER FILE PORT listen|connect MEANS [nonblocking]
SENDER = """
import os, select, shutil, socket, sys
file, port, role, means = open(sys.argv[1], "rb"), int(sys.argv[2]), sys.argv[3], sys.argv[4]
if role == "listen":
    peer = socket.create_server(("", port)).accept()[0]
else:
    peer = socket.create_connection(("10.0.0.2", port), 30)
peer.setblocking("nonblocking" not in sys.argv)
size = os.fstat(file.fileno()).st_size

def again(call):
    while True:
        try:
            return call()
        except BlockingIOError:
            select.select([], [peer], [])

if means == "sendfile":
    at = 0
    while at < size:
        at += again(lambda: os.sendfile(peer.fileno(), file.fileno(), at, size - at))
elif means == "splice":
    left = size
    r, w = os.pipe()
    while left:
        n = os.splice(file.fileno(), w, left)
        left -= n
        while n:
            n -= again(lambda: os.splice(r, peer.fileno(), n))
elif means == "writev":
    data = memoryview(file.read())
    while data:
        thirds = [data[:100_001], data[100_001:3_000_000], data[3_000_000:]]
        data = data[again(lambda: os.writev(peer.fileno(), thirds)):]
elif means == "write":
    data = memoryview(file.read())
    while data:
        data = data[again(lambda: os.write(peer.fileno(), data)):]
elif means == "sendall":
    peer.sendall(file.read())
elif means == "copy":
    shutil.copyfileobj(file, peer.makefile("wb", buffering=0))
elif means == "socket.sendfile":
    assert peer.sendfile(file) == size
peer.close()
"""

RUBY_SENDER = """
require "socket"
file, port, role, means = File.open(ARGV[0], "rb"), ARGV[1].to_i, ARGV[2], ARGV[3]
peer = role == "listen" ? TCPServer.new("0.0.0.0", port).accept : TCPSocket.new("10.0.0.2", port)
means == "copy_stream" ? IO.copy_stream(file, peer) : peer.write(file.read)
peer.close
"""

JAVA_SENDER = """
import java.io.*; import java.net.*; import java.nio.*; import java.nio.channels.*;
public class Sender {
  static void send(FileChannel file, SocketChannel peer) throws Exception {
    for (long at = 0; at < file.size(); ) at += file.transferTo(at, file.size() - at, peer);
    peer.close();
  }
  public static void main(String[] words) throws Exception {
    FileChannel file = new FileInputStream(words[0]).getChannel();
    int port = Integer.parseInt(words[1]);
    if (words[2].equals("listen")) {
      send(file, ServerSocketChannel.open().bind(new InetSocketAddress("0.0.0.0", port)).accept());
    } else {
      send(file, SocketChannel.open(new InetSocketAddress("10.0.0.2", port)));
    }
  }
}
"""

JAVA_WEB = """
import com.sun.net.httpserver.*; import java.net.*; import java.nio.file.*;
public class Web {
  public static void main(String[] words) throws Exception {
    byte[] body = Files.readAllBytes(Path.of(words[0]));
    HttpServer server = HttpServer.create(new InetSocketAddress("0.0.0.0", 80), 0);
    server.createContext("/", exchange -> {
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
    System.out.println("my name is " + InetAddress.getLocalHost().getHostName());
  }
}
"""

RUST_ECHO = """
use std::io::{copy, Read, Write};
use std::net::{TcpListener, TcpStream, Shutdown};
use std::{env, thread};
fn main() {
    let words: Vec<String> = env::args().collect();
    if words[1] == "serve" {
        let listener = TcpListener::bind("0.0.0.0:7").unwrap();
        println!("listening");
        for peer in listener.incoming() {
            let mut from = peer.unwrap();
            let mut to = from.try_clone().unwrap();
            thread::spawn(move || copy(&mut from, &mut to));
        }
    }
    let data: Vec<u8> = (0..10_000_000u32).map(|i| (i * 7 >> 3) as u8).collect();
    let mut threads = Vec::new();
    for _ in 0..8 {
        let data = data.clone();
        threads.push(thread::spawn(move || {
            let peer = TcpStream::connect("10.0.0.2:7").unwrap();
            let mut from = peer.try_clone().unwrap();
            let reader = thread::spawn(move || { let mut back = Vec::new();
                                                 from.read_to_end(&mut back).unwrap(); back });
            (&peer).write_all(&data).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            assert!(reader.join().unwrap() == data);
        }));
    }
    for one in threads { one.join().unwrap(); }
    println!("all came back");
}
"""

TOKIO_ECHO = """
use std::env;
use tokio::io::{copy, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
#[tokio::main]
async fn main() {
    if env::args().nth(1).unwrap() == "serve" {
        let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
        println!("listening");
        loop {
            let (mut peer, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = peer.split();
                copy(&mut from, &mut to).await.unwrap();
                to.shutdown().await.unwrap();
            });
        }
    }
    let data: Vec<u8> = (0..10_000_000u32).map(|i| (i * 7 >> 3) as u8).collect();
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let data = data.clone();
        tasks.push(tokio::spawn(async move {
            let (mut from, mut to) = TcpStream::connect("10.0.0.2:7").await.unwrap().into_split();
            let wanted = data.clone();
            let reader = tokio::spawn(async move {
                let mut back = Vec::new();
                from.read_to_end(&mut back).await.unwrap();
                back
            });
            to.write_all(&data).await.unwrap();
            to.shutdown().await.unwrap();
            assert!(reader.await.unwrap() == wanted);
        }));
    }
    for one in tasks { one.await.unwrap(); }
    println!("all came back");
}
"""

# Debian's packages of crates, where cargo finds them without a network.
CRATES = "/usr/share/cargo/registry"

TOKIO_PACKAGE = """
[package]
name = "echo"
version = "0.1.0"
edition = "2021"
[dependencies]
tokio = { version = "1", features = ["rt-multi-thread", "net", "io-util", "macros"] }
"""


def needs(program):
    return unittest.skipUnless(shutil.which(program), f"{program} is not installed")


class LanguagesTest(lib.LabTest):
    def setUp(self):
        self.lab = self.start_lab(lib.TWO_HOSTS)
        self.big = os.path.join(self.lab.folder, "big")
        with open(self.big, "wb") as file:
            data = os.urandom(BIG)
            file.write(data)
        self.wanted = hashlib.sha256(data).hexdigest()
        self.port = 5000

    def source(self, name, text):
        path = os.path.join(self.lab.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def send(self, *sender, more=()):
        """Each way round, the sender's file arrives whole, and the sender ends well."""
        for role in ("connect", "listen"):
            self.port += 1
            with self.subTest(means=more, role=role):
                ends = ("bob", "alice") if role == "connect" else ("alice", "bob")
                receiver = self.lab.spawn(ends[0], lib.PYTHON, "-c", RECEIVER, str(self.port),
                                          "listen" if role == "connect" else "connect")
                if role == "connect":
                    receiver.wait_for("listening")
                self.lab.run(ends[1], *sender, self.big, str(self.port), role, *more)
                self.assertEqual(receiver.wait_for(r"got (\w+)").group(1), self.wanted)

    def by(self, means):
        for blocking in ((), ("nonblocking",)):
            self.send(lib.PYTHON, "-c", SENDER, more=(means, *blocking))

    def test_python_sendfile(self):
        self.by("sendfile")

    @unittest.skipUnless(hasattr(os, "splice"), "this Python has no splice")
    def test_python_splice(self):
        self.by("splice")

    def test_python_writev(self):
        self.by("writev")

    def test_python_write(self):
        self.by("write")

    def test_python_library(self):
        for means in ("sendall", "copy", "socket.sendfile"):
            self.send(lib.PYTHON, "-c", SENDER, more=(means,))

    @needs("ruby")
    def test_ruby(self):
        for means in ("copy_stream", "write"):
            self.send("ruby", "-e", RUBY_SENDER, more=(means,))

    @needs("java")
    def test_java_transfer_to(self):
        self.send("java", self.source("Sender.java", JAVA_SENDER))

    @needs("java")
    def test_java_web_server_and_own_name(self):
        server = self.lab.spawn("bob", "java", self.source("Web.java", JAVA_WEB), self.big)
        name = server.wait_for(r"my name is (\S+)").group(1)
        if not os.environ.get("PH_ON_KERNEL"):
            self.assertEqual(name, "bob")
        got = os.path.join(self.lab.folder, "got")
        self.lab.run("alice", "curl", "-sS", "--fail", "-o", got, f"http://{ADDRESS}/")
        with open(got, "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), self.wanted)

    @needs("rustc")
    def test_rust_echo(self):
        program = os.path.join(self.lab.folder, "echo")
        built = self.lab.run("alice", "rustc", "-O", "-o", program,
                             self.source("echo.rs", RUST_ECHO), check=False, timeout=300)
        if built.returncode != 0:
            self.skipTest(f"rustc does not work here: {built.stderr[-500:]}")
        self.lab.spawn("bob", program, "serve").wait_for("listening")
        self.assertIn("all came back", self.lab.run("alice", program, "ask").stdout)

    @needs("cargo")
    @unittest.skipUnless(glob.glob(f"{CRATES}/tokio-1.*"), "librust-tokio-dev is not installed")
    def test_tokio_echo(self):
        for folder in ("src", ".cargo"):
            os.mkdir(os.path.join(self.lab.folder, folder))
        self.source("Cargo.toml", TOKIO_PACKAGE)
        self.source("src/main.rs", TOKIO_ECHO)
        self.source(".cargo/config.toml", '[source.crates-io]\nreplace-with = "debian"\n'
                    f'[source.debian]\ndirectory = "{CRATES}"\n')
        built = subprocess.run(["cargo", "build", "--offline", "--release"], cwd=self.lab.folder,
                               capture_output=True, text=True, timeout=600)
        if built.returncode != 0:
            self.skipTest(f"cargo does not work here: {built.stderr[-500:]}")
        program = os.path.join(self.lab.folder, "target", "release", "echo")
        self.lab.spawn("bob", program, "serve").wait_for("listening")
        self.assertIn("all came back", self.lab.run("alice", program, "ask").stdout)


if __name__ == "__main__":
    lib.main()
