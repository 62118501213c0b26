"""Bulk transfers over the kernel's TCP for bench_cc.py; prints JSON.

    bench_cc_traffic.py receive FLOWS SECONDS
    bench_cc_traffic.py send    FLOWS SECONDS ALGORITHM

The sender samples TCP_INFO's congestion window, the receiver what arrived; both each 20 ms. Times
are seconds since "begin", which is of the monotonic clock.
"""

import json
import selectors
import socket
import struct
import sys
import time

PORT = 5001
STEP_S = 0.02
SND_CWND, TOTAL_RETRANS = 80, 100  # offsets of fields in struct tcp_info


def field(connection, offset):
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return struct.unpack_from("I", info, offset)[0]


def samples(begin, seconds, turn):
    """Yields the time of each sample; between them, turn(limit in seconds) moves data."""
    due = begin + STEP_S
    while True:
        now = time.monotonic()
        if now >= due:
            yield now - begin
            due += STEP_S
            continue
        if now >= begin + seconds:
            return
        turn(due - now)


def receive(flows, seconds):
    listeners = []
    for number in range(flows):
        listeners.append(socket.create_server(("10.0.0.2", PORT + number)))
    print("ready", flush=True)
    connections = [listener.accept()[0] for listener in listeners]
    begin = time.monotonic()
    selector = selectors.DefaultSelector()
    counts = [0] * flows
    for number, connection in enumerate(connections):
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ, number)
    buffer = bytearray(1 << 20)

    def turn(limit):
        for key, _ in selector.select(limit):
            counts[key.data] += key.fileobj.recv_into(buffer)

    curves = [[] for _ in range(flows)]
    for when in samples(begin, seconds + 0.5, turn):
        for curve, count in zip(curves, counts):
            curve.append([round(when, 3), count])
    print(json.dumps({"begin": begin, "bytes": curves}))


def send(flows, seconds, algorithm):
    connections = []
    for number in range(flows):
        connection = socket.socket()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, algorithm.encode())
        connection.connect(("10.0.0.2", PORT + number))
        connection.setblocking(False)
        connections.append(connection)
    begin = time.monotonic()
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection, selectors.EVENT_WRITE)
    data = bytes(1 << 18)

    def turn(limit):
        for key, _ in selector.select(limit):
            try:
                key.fileobj.send(data)
            except BlockingIOError:
                continue

    curves = [[] for _ in range(flows)]
    for when in samples(begin, seconds, turn):
        for curve, connection in zip(curves, connections):
            curve.append([round(when, 3), field(connection, SND_CWND)])
    print(json.dumps({"begin": begin, "flows": [
        {"cwnd": curve, "retransmissions": field(connection, TOTAL_RETRANS)}
        for curve, connection in zip(curves, connections)]}))


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(int(sys.argv[2]), float(sys.argv[3]))
    else:
        send(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
