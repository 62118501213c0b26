"""Network namespaces of the machine, for tests that let the stack speak with the kernel."""

import collections
import os
import subprocess

import lib


class Namespace:
    """A network namespace, for one test (or for a class of tests: pass the class)."""

    def __init__(self, test, name):
        cleanup = test.addClassCleanup if isinstance(test, type) else test.addCleanup
        self.name = f"ph-{name}-{os.getpid()}"
        self.words = ["ip", "netns", "exec", self.name]
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        cleanup(subprocess.run, ["ip", "netns", "del", self.name])
        self.ip("link", "set", "lo", "up")

    def ip(self, *words):
        subprocess.run(["ip", "-n", self.name, *words], check=True)

    def run(self, *words, **more):
        done = subprocess.run([*self.words, *words], capture_output=True, text=True,
                              errors="replace", timeout=lib.PATIENCE_S, **more)
        if done.returncode != 0:
            raise AssertionError(f"{words} ended with {done.returncode}:\n"
                                 f"{done.stdout}{done.stderr}")
        return done.stdout

    def spawn(self, test, *words):
        program = lib.Program([*self.words, *words])
        test.addCleanup(program.end)
        return program

    def tap(self, name, *addresses):
        """A TAP device, up, with addresses."""
        self.ip("tuntap", "add", name, "mode", "tap")
        for address in addresses:
            self.ip("addr", "add", address, "dev", name)
        self.ip("link", "set", name, "up")

    def sysctl(self, **values):
        """sysctl(tcp_sack=0): settings below net.ipv4."""
        self.run("sysctl", "-q", "-w",
                 *[f"net.ipv4.{name}={value}" for name, value in values.items()])

    def counters(self):
        """The counters that `nstat` knows, since the namespace was made."""
        lines = self.run("nstat", "-asz").splitlines()
        return collections.Counter({words[0]: int(words[1]) for words in map(str.split, lines)
                                    if len(words) > 1 and words[1].isdigit()})
