"""The judge of captures (lib.LabTest.assert_clean_capture) itself: that it lets good frames pass
and finds each kind of fault. Frames are made here by hand; no lab is needed."""

import os
import struct
import tempfile

import lib

ETHERNET = bytes.fromhex("020000000001" "020000000002" "0800")
PSEUDO = bytes([10, 0, 0, 1, 10, 0, 0, 2])


def checksum(data):
    """RFC 1071 over an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


def ipv4(payload, protocol, wrong=0):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0,
                       PSEUDO[:4], PSEUDO[4:])
    return ETHERNET + head[:10] + struct.pack("!H", checksum(head) ^ wrong) + head[12:] + payload


def icmp(wrong=0):
    message = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + b"abcd"
    return message[:2] + struct.pack("!H", checksum(message) ^ wrong) + message[4:]


def udp(wrong=0):
    message = struct.pack("!HHHH", 1, 2, 12, 0) + b"abcd"
    sum_ = checksum(PSEUDO + struct.pack("!BBH", 0, 17, 12) + message) ^ wrong
    return message[:6] + struct.pack("!H", sum_) + message[8:]


def tcp(seq, ack, flags, payload=b"", wrong=0, ports=(1000, 2000)):
    pseudo = PSEUDO if ports[0] < ports[1] else PSEUDO[4:] + PSEUDO[:4]
    message = struct.pack("!HHIIBBHHH", *ports, seq, ack, 0x50, flags, 1000, 0, 0) + payload
    sum_ = checksum(pseudo + struct.pack("!BBH", 0, 6, len(message)) + message) ^ wrong
    return message[:16] + struct.pack("!H", sum_) + message[18:]


class JudgeTest(lib.LabTest):
    def judge(self, frames, **more):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "a.pcap")
            with open(file, "wb") as out:
                out.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
                for number, frame in enumerate(frames):
                    out.write(struct.pack("<IIII", 1, number, len(frame), len(frame)) + frame)
            capture = object.__new__(lib.Capture)
            capture.file = file
            self.assert_clean_capture(capture, **more)

    def test_good_frames_pass(self):
        self.judge([ipv4(icmp(), 1), ipv4(udp(), 17), ipv4(tcp(1, 0, 2), 6)])

    def test_each_fault_is_found(self):
        for name, frame in (("an ICMP checksum", ipv4(icmp(1), 1)),
                            ("a UDP checksum", ipv4(udp(1), 17)),
                            ("a TCP checksum", ipv4(tcp(1, 0, 2, wrong=1), 6)),
                            ("an IPv4 checksum", ipv4(udp(), 17, wrong=1)),
                            ("a datagram cut short", ipv4(udp()[:6], 17))):
            with self.subTest(name), self.assertRaises(AssertionError):
                self.judge([ipv4(icmp(), 1), frame])

    def test_a_gap_is_a_fault_only_where_nothing_may_be_lost(self):
        frames = [ipv4(tcp(1, 0, 2), 6), ipv4(tcp(2, 1, 16, b"ab"), 6),
                  ipv4(tcp(8, 1, 16, b"gh"), 6)]
        self.judge(frames, lossless=False)
        with self.assertRaises(AssertionError):
            self.judge(frames)

    def test_an_empty_capture_proves_nothing(self):
        with self.assertRaises(AssertionError):
            self.judge([])


if __name__ == "__main__":
    lib.main()
