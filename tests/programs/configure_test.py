"""Addresses, routes and neighbours of a host are changed as on a machine, by the requests that
ifconfig, route and arp make."""

import lib

# do(name, bytes) makes a request; an error is given by its number.
PRELUDE = """
import ctypes, errno, fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def inet(address):
    return struct.pack("=H2x4s8x", socket.AF_INET, socket.inet_aton(address))
def do(number, data):
    try:
        return fcntl.ioctl(s, number, data)
    except OSError as error:
        return errno.errorcode[error.errno]
def interface(number, address="0.0.0.0", name="eth0"):
    got = do(number, struct.pack("16s", name.encode()) + inet(address) + bytes(8))
    return got if isinstance(got, str) else socket.inet_ntoa(got[20:24])
def route(number, to, mask, via=None, name=None, flags=1):
    device = ctypes.create_string_buffer(name.encode()) if name else None
    where = ctypes.addressof(device) if device else 0
    gateway = inet(via) if via else bytes(16)
    got = do(number, struct.pack("=8x16s16s16sH22xh6xQ24x", inet(to), gateway, inet(mask),
                                 flags | (2 if via else 0), 0, where))
    return got if isinstance(got, str) else "done"
def arp(number, address, hardware=bytes(6), flags=4):
    got = do(number, inet(address) + struct.pack("=H6s8xi", 1, hardware, flags) + bytes(16) +
             struct.pack("16s", b"eth0"))
    return got if isinstance(got, str) else got[18:24].hex()
def reach(address):
    try:
        s.sendto(b"x", (address, 9))
        return "sent"
    except OSError as error:
        return errno.errorcode[error.errno]
GET, SET, GETMASK, SETMASK, GETBRD, SETBRD = 0x8915, 0x8916, 0x891b, 0x891c, 0x8919, 0x891a
ADD, DELETE, DARP, GARP, SARP = 0x890b, 0x890c, 0x8953, 0x8954, 0x8955
"""


class ConfigureTest(lib.LabTest):
    def ask(self, lab, *expressions):
        """What the expressions give, in order."""
        code = PRELUDE + "".join(f"print({expression})\n" for expression in expressions)
        return lab.python("alice", code).split()

    def test_addresses(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        got = self.ask(
            lab, "interface(SET, '10.0.0.7')", "interface(GETMASK)", "interface(GETBRD)",
            "interface(SETMASK, '255.255.255.0')", "interface(GET)", "interface(GETMASK)",
            "interface(GETBRD)", "interface(SETBRD, '10.0.0.254')", "interface(GETBRD)",
            "interface(SETMASK, '255.0.255.0')", "interface(SET, '224.0.0.1')",
            "interface(SET, '10.0.0.1', 'nosuch')", "interface(SETMASK, '255.0.0.0', 'eth0:5')",
            "interface(SET, '10.0.0.8', 'eth0:1')", "interface(GET, name='eth0:1')")
        self.assertEqual(got, [
            "10.0.0.7", "255.0.0.0", "10.255.255.255", "255.255.255.0", "10.0.0.7",
            "255.255.255.0", "10.0.0.255", "10.0.0.254", "10.0.0.254", "EINVAL", "EINVAL", "ENODEV",
            "EADDRNOTAVAIL", "10.0.0.8", "10.0.0.8"])
        lab.run("bob", "ping", "-c1", "-w20", "10.0.0.7")
        self.assertEqual(self.ask(lab, "interface(SET, '0.0.0.0')", "reach('10.0.0.2')"),
                         ["0.0.0.0", "sent"])  # by what the other label brought

    def test_routes(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        self.assertEqual(self.ask(
            lab, "reach('192.0.2.1')", "route(ADD, '0.0.0.0', '0.0.0.0', '10.0.0.2')",
            "reach('192.0.2.1')", "route(ADD, '0.0.0.0', '0.0.0.0', '10.0.0.2')",
            "route(DELETE, '0.0.0.0', '0.0.0.0', '10.0.0.2')", "reach('192.0.2.1')",
            "route(DELETE, '0.0.0.0', '0.0.0.0', '10.0.0.2')",
            "route(ADD, '192.0.2.0', '255.255.255.0', None, 'eth0')", "reach('192.0.2.1')",
            "route(ADD, '192.0.2.1', '255.255.255.0', None, 'eth0')",
            "route(ADD, '198.51.100.1', '0.0.0.0', None, 'eth0', 5)", "reach('198.51.100.1')",
            "route(ADD, '203.0.113.0', '255.255.255.0', '8.8.8.8')",
            "route(ADD, '203.0.113.0', '255.255.255.0', None, 'nosuch')",
            "route(ADD, '203.0.113.0', '255.255.255.0', None, None, 0x200)",
            "reach('203.0.113.1')"),
            ["ENETUNREACH", "done", "sent", "EEXIST", "done", "ENETUNREACH", "ESRCH", "done",
             "sent", "EINVAL", "done", "sent", "ENETUNREACH", "ENODEV", "done", "EHOSTUNREACH"])

    def test_neighbours(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        hardware = "bytes.fromhex('020000000009')"
        self.assertEqual(self.ask(
            lab, "arp(GARP, '10.0.0.9')", f"arp(SARP, '10.0.0.9', {hardware})",
            "arp(GARP, '10.0.0.9')", "arp(DARP, '10.0.0.9')", "arp(GARP, '10.0.0.9')",
            "arp(DARP, '10.0.0.9')"),
            ["ENXIO", "020000000009", "020000000009", "000000000000", "ENXIO", "ENXIO"])


    def test_an_alias_is_an_address_with_a_label(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        lab.run("alice", "ifconfig", "eth0:1", "10.7.0.1/24")
        self.assertIn("inet 10.7.0.1 ", lab.run("alice", "ifconfig", "eth0:1").stdout)
        flags = ("def flags(name, set=None):\n"
                 "    got = do(0x8913 if set is None else 0x8914, "
                 "struct.pack('16sH22x', name.encode(), set or 0))\n"
                 "    return got if isinstance(got, str) else struct.unpack('H', got[16:18])[0]\n")
        code = PRELUDE + flags + "".join(f"print({expression})\n" for expression in (
            "flags('eth0:1')", "flags('eth0:7')", "flags('no:1')", "flags('eth0:7', 1)",
            "flags('eth0:7', 0)", "flags('eth0:1', 0x1043)", "interface(GET, name='eth0:1')",
            "flags('eth0:1', 0x1042)", "interface(GET, name='eth0:1')", "flags('eth0')"))
        self.assertEqual(lab.python("alice", code).split(), [
            "4163", "4163", "ENODEV", "EADDRNOTAVAIL", "EADDRNOTAVAIL", "4163", "10.7.0.1", "4162",
            "EADDRNOTAVAIL", "4163"])

    def test_an_end_that_is_down_takes_the_carrier_from_the_other(self):
        lab = self.start_lab(lib.TWO_HOSTS)
        lab.run("alice", "ping", "-c1", "-w20", "10.0.0.2")
        lab.run("bob", "ifconfig", "eth0", "down")
        self.assertNotIn("RUNNING", lab.run("alice", "ifconfig", "eth0").stdout)
        connect = ("import socket, errno\ns = socket.socket()\n"
                   "print(errno.errorcode[s.connect_ex(('10.0.0.2', 80))])")
        self.assertEqual(lab.python("alice", connect), "EHOSTUNREACH\n")
        lab.run("bob", "ifconfig", "eth0", "up")
        self.assertIn("RUNNING", lab.run("alice", "ifconfig", "eth0").stdout)
        lab.run("alice", "ping", "-c1", "-w20", "10.0.0.2")


if __name__ == "__main__":
    lib.main()
