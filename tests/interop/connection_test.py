"""How connections with the Linux kernel stop, wait, probe and end: closed windows, keepalive,
closes at the same time, resets on unread data, and smaller MTUs on the way. Both ways each; tshark
reads what crossed the wire."""

import hashlib
import itertools

import dialogue
import lib
import talker
from dialogue import FIN, RST, SYN, TCP, End, meet, sent_by
from namespaces import Namespace

KIB, MIB = 1 << 10, 1 << 20
SOL_SOCKET, SO_RCVBUF, SO_KEEPALIVE = 1, 8, 9           # socket(7)
TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT = 4, 5, 6      # tcp(7)

# "near" is on the TAP itself; "far" is behind a router and a wire that takes its time.
NEAR_AND_FAR = """
hosts:
  near: {}
  far: {}
  router: { sysctl: { net.ipv4.ip_forward: 1 } }
links:
  - { ends: [ "far:eth0 10.7.0.2/24", "router:eth0 10.7.0.1/24" ], delay: 250ms }
routes:
  far: [ "default via 10.7.0.1" ]
devices:
  - { host: near, name: eth0, tap: ph0, address: 10.9.0.2/24 }
  - { host: router, name: up, tap: ph1, address: 10.8.0.254/24 }
"""

# Ours is one network away from the narrow place, Linux one on the other side.
BEHIND_ROUTERS = """
hosts: { ours: {} }
routes: { ours: [ "default via 10.9.0.1" ] }
devices:
  - { host: ours, name: eth0, tap: ph0, address: 10.9.0.2/24 }
"""


def digest(seed, size):
    return hashlib.sha256(talker.made_bytes(seed, size)).hexdigest()


class KernelTest(lib.LabTest):
    @classmethod
    def setUpClass(cls):
        dialogue.need_the_kernel()

    def setUp(self):
        self.ports = itertools.count(5001)

    def end_on(self, words, address):
        end = End(words, address)
        self.addCleanup(end.end)
        return end


class ConnectionTest(KernelTest):
    def setUp(self):
        super().setUp()
        self.linux = Namespace(self, "peer")
        self.linux.tap("ph0", "10.9.0.1/24")
        self.linux.tap("ph1", "10.8.0.1/24")
        self.linux.ip("route", "add", "10.7.0.0/16", "via", "10.8.0.254")
        self.lab = self.start_lab(NEAR_AND_FAR, self.linux.words)

    def pair(self, host, our_address, linux_address):
        """(us, Linux), and the same the other way round: the first is who acts in a test."""
        us = self.end_on(self.lab.words_on(host), our_address)
        linux = self.end_on(self.linux.words, linux_address)
        return ((us, linux), (linux, us))

    def test_a_reader_that_does_not_read(self):
        with self.lab.capture("near:eth0") as capture:
            seen = []
            for sender, reader in self.pair("near", "10.9.0.2", "10.9.0.1"):
                port = next(self.ports)
                small = [[SOL_SOCKET, SO_RCVBUF, 16 * KIB]]
                meet(sender, reader, port, listening=small)
                sender.ask("send", seed=port, size=MIB)
                stuck = sender.ask("until", field="backoff", least=2)
                self.assertGreaterEqual(stuck["backoff"], 2, "the closed window is probed")
                self.assertGreater(stuck["notsent_bytes"], 0)
                self.assertEqual(stuck["state"], 1)
                got = reader.ask("receive", size=MIB)
                self.assertEqual(got["sha256"], digest(port, MIB))
                sender.ask("sent")
                seen.append((port, sender.address, reader.address, sender.ask("idle")))
                sender.ask("close")
                reader.ask("close")
        wire = dialogue.Wire(capture.file)
        wire.check(self)
        for port, sender, reader, info in seen:
            with self.subTest(sender=sender):
                self.assertEqual(info["backoff"], 0, "the window opened")
                self.check_probes(wire.connection(port), sender, reader)

    def check_probes(self, frames, sender, reader):
        """After the window closed the sender says nothing but probes until it opens."""
        closed = next(i for i, frame in enumerate(frames)
                      if frame.src == reader and frame.zero_window)
        opened = next(i for i, frame in enumerate(frames)
                      if i > closed and frame.src == reader and int(frame.window) > 0)
        between = sent_by(frames[closed:opened], sender)
        probes = [frame for frame in between if frame.bytes <= 1 and
                  (frame.keep_alive or frame.zero_probe)]
        self.assertGreaterEqual(len(probes), 2)
        self.assertEqual(len(between), len(probes))
        answers = [frame for frame in sent_by(frames[closed:opened], reader) if frame.zero_window]
        self.assertGreaterEqual(len(answers), len(probes), "each probe is answered")

    def test_both_close_at_the_same_time(self):
        (us, linux), _ = self.pair("far", "10.7.0.2", "10.8.0.1")
        with self.lab.capture("far:eth0") as capture:
            for client, server in ((us, linux), (linux, us)):
                port = next(self.ports)
                meet(client, server, port)
                for end in (client, server):  # both know that the handshake is over
                    end.tell("exchange", seed=port, send=KIB, receive=KIB)
                for end in (client, server):
                    end.answer()
                for end in (client, server):
                    end.tell("shutdown")
                for end in (client, server):
                    end.answer()
                for end in (client, server):
                    self.assertEqual(end.ask("receive")["bytes"], 0)
                for end in (client, server):
                    end.ask("close")
                lib.wait_until(lambda: self.linux.run("ss", "-tanH", f"sport = :{port} or "
                                                      f"dport = :{port}").startswith("TIME-WAIT"),
                               "Linux's end reaches TIME-WAIT")
        wire = dialogue.Wire(capture.file)
        wire.check(self)
        for port in (5001, 5002):
            frames = wire.connection(port)
            fins = {frame.src: frame for frame in reversed(frames) if frame.has(FIN)}
            ours, theirs = fins["10.7.0.2"], fins["10.8.0.1"]
            self.assertLess(int(ours.ack), int(theirs.seq) + 1, "our FIN crossed theirs")
            self.assertLess(int(theirs.ack), int(ours.seq) + 1, "their FIN crossed ours")
            self.assertFalse([frame.number for frame in frames if frame.has(RST)])
            for fin, other in ((ours, theirs), (theirs, ours)):
                acked = [frame for frame in sent_by(frames, other.src)
                         if int(frame.ack) == int(fin.seq) + 1]
                self.assertTrue(acked, f"the FIN of {fin.src} is acknowledged")

    def test_closing_on_unread_data_resets(self):
        with self.lab.capture("near:eth0") as capture:
            seen = []
            for writer, closer in self.pair("near", "10.9.0.2", "10.9.0.1"):
                port = next(self.ports)
                meet(writer, closer, port)
                writer.ask("send", seed=port, size=100 * KIB)
                writer.ask("sent")
                closer.ask("receive", size=10)
                writer.ask("idle")
                closer.ask("close")
                writer.ask("receive", fails="ECONNRESET")
                writer.ask("close")
                seen.append((port, writer.address, closer.address))
        self.assertEqual(self.linux.counters()["TcpExtTCPAbortOnClose"], 1)
        wire = dialogue.Wire(capture.file)
        wire.check(self)
        for port, writer, closer in seen:
            frames = wire.connection(port)
            with self.subTest(closer=closer):
                resets = [frame for frame in frames if frame.has(RST)]
                self.assertEqual([frame.src for frame in resets], [closer])
                self.assertFalse([frame.number for frame in frames if frame.has(FIN)])

    KEEPALIVE = [[SOL_SOCKET, SO_KEEPALIVE, 1], [TCP, TCP_KEEPIDLE, 1], [TCP, TCP_KEEPINTVL, 1],
                 [TCP, TCP_KEEPCNT, 2]]

    def test_keepalive(self):
        with self.lab.capture("near:eth0") as capture:
            (us, linux), _ = self.pair("near", "10.9.0.2", "10.9.0.1")
            probed = []
            for prober, other in ((us, linux), (linux, us)):
                port = next(self.ports)
                meet(prober, other, port, connecting=self.KEEPALIVE)
                segments = other.ask("info")["segs_in"]
                info = other.ask("until", field="segs_in", least=segments + 2)
                self.assertGreaterEqual(info["segs_in"], segments + 2, "nobody asks")
                probed.append((port, prober.address, other.address))
                prober.ask("close")
                other.ask("close")
            # And a peer that is gone: what Linux sends goes to another hardware address.
            gone = next(self.ports)
            meet(us, linux, gone, connecting=self.KEEPALIVE)
            self.linux.ip("neigh", "replace", "10.9.0.2", "lladdr", "02:00:00:00:00:99", "dev",
                          "ph0", "nud", "permanent")
            for end in (us, linux):
                end.tell("receive")
            us.answer(fails="ETIMEDOUT")
            linux.answer(fails="ECONNRESET")
        wire = dialogue.Wire(capture.file)
        wire.check(self, lossless=False)
        for port, prober, other in probed:
            with self.subTest(prober=prober):
                frames = wire.connection(port)
                probes = [i for i, frame in enumerate(frames)
                          if frame.src == prober and frame.keep_alive]
                self.assertGreaterEqual(len(probes), 2)
                for i in probes:
                    self.assertLessEqual(frames[i].bytes, 1)
                    self.assertEqual(frames[i + 1].src, other, "each is answered")
        ours = sent_by(wire.connection(gone), "10.9.0.2")
        self.assertEqual(len([frame for frame in ours if frame.keep_alive]), 2)
        self.assertTrue(ours[-1].has(RST), "the end is told to whoever may hear it")


class NarrowPathTest(KernelTest):
    """Ours - router - 1400 - router - Linux: both hosts' own links take 1500."""

    def setUp(self):
        super().setUp()
        near, far, self.linux = (Namespace(self, name) for name in ("near", "far", "end"))
        self.near = near
        near.tap("ph0", "10.9.0.1/24")
        near.ip("link", "add", "middle", "mtu", "1400", "type", "veth", "peer", "name", "middle",
                "netns", far.name, "mtu", "1400")
        far.ip("link", "add", "out", "type", "veth", "peer", "name", "eth0", "netns",
               self.linux.name)
        for space, device, address in ((near, "middle", "10.9.1.1/24"),
                                       (far, "middle", "10.9.1.2/24"), (far, "out", "10.9.2.1/24"),
                                       (self.linux, "eth0", "10.9.2.2/24")):
            space.ip("addr", "add", address, "dev", device)
            space.ip("link", "set", device, "up")
        near.ip("route", "add", "10.9.2.0/24", "via", "10.9.1.2")
        far.ip("route", "add", "10.9.0.0/24", "via", "10.9.1.1")
        self.linux.ip("route", "add", "default", "via", "10.9.2.1")
        for router in (near, far):
            router.sysctl(ip_forward=1)
        self.lab = self.start_lab(BEHIND_ROUTERS, near.words)

    def test_both_learn_the_smaller_mtu(self):
        us = self.end_on(self.lab.words_on("ours"), "10.9.0.2")
        linux = self.end_on(self.linux.words, "10.9.2.2")
        with self.lab.capture("ours:eth0") as capture:
            for client, server in ((us, linux), (linux, us)):
                port = next(self.ports)
                meet(client, server, port)
                for end in (us, linux):
                    end.tell("exchange", seed=port, send=MIB, receive=MIB)
                for end in (us, linux):
                    said = end.answer()
                    self.assertEqual(said["sha256"], digest(port, MIB))
                    self.assertEqual((said["info"]["pmtu"], said["info"]["snd_mss"]), (1400, 1348))
                for end in (us, linux):
                    end.ask("close")
        wire = dialogue.Wire(capture.file)
        wire.check(self, lossless=False)
        told = [frame for frame in wire.frames if frame.icmp]
        self.assertTrue(told)
        for frame in told:
            self.assertEqual((frame.icmp, frame.icmp_code, frame.icmp_mtu, frame.src),
                             ("3", "4", "1400", "10.9.0.1"))
        first = wire.connection(5001)
        self.assertEqual({frame.mss for frame in first if frame.has(SYN)}, {"1460"})
        second = [frame for frame in wire.frames if int(frame.number) > int(first[-1].number)]
        self.assertFalse([frame.number for frame in second if frame.icmp],
                         "what was learnt holds for the next connection")
        self.assertFalse([frame.number for frame in wire.connection(5001) +
                          wire.connection(5002) if frame.src == "10.9.0.2" and frame.df != "1"],
                         "our segments may not be fragmented")


if __name__ == "__main__":
    lib.main()
