"""One end of TCP connections, told what to do: each line of standard input is a command in JSON,
each line of standard output its answer. Runs as it is on Linux and unchanged under `ph run`, so
both ends of a test are the same program.

A command is {"do": NAME, ...}; an answer is what the command says below, or {"error": "ECONNRESET"}
when a call fails. Bytes are never sent over the pipe: both ends make them from a seed.
"""

import errno
import hashlib
import json
import random
import socket
import struct
import subprocess
import sys
import threading
import time

PIECE = 1 << 16
TCP_INFO_FIELDS = (  # tcp(7) and linux/tcp.h: the name and how `struct` reads it
    ("B", "state ca_state retransmits probes backoff options wscale limited"),
    ("I", "rto ato snd_mss rcv_mss unacked sacked lost retrans fackets last_data_sent "
          "last_ack_sent last_data_recv last_ack_recv pmtu rcv_ssthresh rtt rttvar snd_ssthresh "
          "snd_cwnd advmss reordering rcv_rtt rcv_space total_retrans"),
    ("Q", "pacing_rate max_pacing_rate bytes_acked bytes_received"),
    ("I", "segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out"),
    ("Q", "delivery_rate busy_time rwnd_limited sndbuf_limited"),
    ("I", "delivered delivered_ce"),
    ("Q", "bytes_sent bytes_retrans"),
    ("I", "dsack_dups reord_seen rcv_ooopack snd_wnd"),
)
OPTIONS = {1: "ts", 2: "sack", 4: "wscale", 8: "ecn", 16: "ecnseen", 32: "fastopen"}


def made_bytes(seed, size):
    return random.Random(seed).randbytes(size)


def tcp_info(sock):
    """TCP_INFO as a map; `options` as a list of the words that `ss -i` has for them."""
    kinds = "<" + "".join(kind * len(names.split()) for kind, names in TCP_INFO_FIELDS)
    names = [name for _, names in TCP_INFO_FIELDS for name in names.split()]
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, struct.calcsize(kinds))
    info = dict(zip(names, struct.unpack(kinds, raw)))
    info["options"] = [word for bit, word in OPTIONS.items() if info["options"] & bit]
    wscale = info.pop("wscale")
    return {**info, "snd_wscale": wscale & 15, "rcv_wscale": wscale >> 4}


def is_idle(info):
    return info["unacked"] == 0 and info["notsent_bytes"] == 0


class Talker:
    def __init__(self):
        self.listener = self.sock = self.sender = None
        self.failure = None

    def apply(self, sock, options):
        for level, name, value in options:
            if isinstance(value, str):
                value = bytes.fromhex(value)
            sock.setsockopt(level, name, value)

    def do_listen(self, address, port, options=()):
        self.close_all()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.apply(self.listener, options)
        self.listener.bind((address, port))
        self.listener.listen(8)

    def do_connect(self, address, port, options=(), seed=None, size=0, limit=30):
        """With a size, by sendto(MSG_FASTOPEN) of so many bytes."""
        self.close_all()
        self.sock = socket.socket()
        self.apply(self.sock, options)
        if size:
            data = made_bytes(seed, size)
            sent = self.sock.sendto(data, socket.MSG_FASTOPEN, (address, port))
            self.sock.sendall(data[sent:])
            return
        self.sock.settimeout(limit)
        self.sock.connect((address, port))
        self.sock.settimeout(None)

    def do_accept(self):
        self.listener.settimeout(30)
        self.sock, peer = self.listener.accept()
        self.sock.settimeout(None)
        self.listener.close()
        self.listener = None
        return {"peer": peer[0]}

    def do_set(self, level, name, value):
        self.sock.setsockopt(level, name, value)

    def do_send(self, seed, size):
        """Begins to send; `sent` waits for its end."""
        def run():
            try:
                self.sock.sendall(made_bytes(seed, size))
            except OSError as error:
                self.failure = error
        self.failure = None
        self.sender = threading.Thread(target=run, daemon=True)
        self.sender.start()

    def do_sent(self):
        self.sender.join()
        if self.failure:
            raise self.failure

    def do_receive(self, size=None):
        """So many bytes, or all until the end."""
        digest = hashlib.sha256()
        got = 0
        while size is None or got < size:
            data = self.sock.recv(PIECE if size is None else min(PIECE, size - got))
            if not data:
                break
            got += len(data)
            digest.update(data)
        return {"bytes": got, "sha256": digest.hexdigest()}

    def do_exchange(self, seed, send, receive):
        """Both ways at once; then one byte each way, so that both know that all arrived."""
        self.do_send(seed, send)
        out = self.do_receive(receive)
        self.do_sent()
        self.sock.sendall(b".")
        out["last"] = self.sock.recv(1).decode()
        return {**out, "info": self.do_idle()}

    def do_info(self):
        return tcp_info(self.sock)

    def do_idle(self):
        """TCP_INFO when everything sent is acknowledged."""
        deadline = time.monotonic() + 30
        while not is_idle(info := tcp_info(self.sock)) and time.monotonic() < deadline:
            time.sleep(0.005)
        return info

    def do_until(self, field, least, limit=30):
        """TCP_INFO as soon as one of its fields reaches a value."""
        deadline = time.monotonic() + limit
        while (info := tcp_info(self.sock))[field] < least and time.monotonic() < deadline:
            time.sleep(0.01)
        return info

    def do_names(self):
        return {"own": self.sock.getsockname(), "peer": self.sock.getpeername()}

    def do_ss(self):
        """What `ss` says of the connection; on Linux's side only."""
        own, peer = self.sock.getsockname(), self.sock.getpeername()
        said = subprocess.run(["ss", "-tinoHO", f"sport = :{own[1]} and dport = :{peer[1]}"],
                              check=True, capture_output=True, text=True).stdout
        return {"said": said.strip()}

    def do_shutdown(self):
        self.sock.shutdown(socket.SHUT_WR)

    def do_close(self):
        self.close_all()

    def close_all(self):
        for sock in (self.sock, self.listener):
            if sock is not None:
                sock.close()
        self.sock = self.listener = None


def main():
    talker = Talker()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(talker, "do_" + command.pop("do"))(**command) or {}
        except TimeoutError as error:  # a limit of ours has no number
            answer = {"error": errno.errorcode.get(error.errno, "limit")}
        except OSError as error:
            answer = {"error": errno.errorcode[error.errno]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
