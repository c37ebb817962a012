"""Forward clients of the tests: messages as Docker's driver frames them, over a unix socket."""

import select
import socket
import struct
import threading
import time

from harness import Failed, check

# What one `send` of a `Sender` carries.
BURST = 32


def pack(value):
    """MessagePack of texts, whole numbers, lists and maps."""
    if isinstance(value, str):
        data = value.encode()
        return struct.pack(">BI", 0xDB, len(data)) + data
    if isinstance(value, int):
        return struct.pack(">BQ", 0xCF, value)
    if isinstance(value, dict):
        return struct.pack(">BI", 0xDF, len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())
    return struct.pack(">BI", 0xDD, len(value)) + b"".join(map(pack, value))


def frame(tag, record):
    """One message: tag, time, record."""
    return pack([tag, int(time.time()), record])


class Client:
    """A connection. Leaving it says the end, and waits until the router has read all."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120)
        self.socket.connect(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.socket.shutdown(socket.SHUT_WR)
            while self.socket.recv(4096):
                pass
        finally:
            self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def is_open(self):
        """Whether the router has neither closed the connection nor said anything."""
        return not select.select([self.socket], [], [], 0)[0]


class Sender(threading.Thread):
    """Offers `rate` bytes a second for `seconds`: numbered records of a kilobyte. Where the router does not read, it
    waits, and sends the rest as fast as it is read."""

    def __init__(self, path, number, rate, seconds):
        super().__init__(daemon=True)
        self.client, self.number, self.error, self.sent = Client(path), number, None, 0
        text = "c%d-%s %s" % (number, "%08d" % 0, "a line of an application " * 30)
        data = frame("app-%d" % number, {"container_name": "/app-%d" % number, "source": "stdout", "log": text,
                                         "container_id": "0123456789abcdef" * 4})
        self.head, self.tail = data.split(b"-%08d " % 0)
        self.burst_seconds = BURST * len(data) / rate
        self.count = int(seconds / self.burst_seconds) * BURST
        self.start()

    def run(self):
        start = time.monotonic()
        try:
            with self.client as client:
                for first in range(0, self.count, BURST):
                    due = start + first / BURST * self.burst_seconds
                    time.sleep(max(0, due - time.monotonic()))
                    check(client.is_open(), "client %d was disconnected after %d records" % (self.number, first))
                    client.send(b"".join(b"%s-%08d %s" % (self.head, first + n, self.tail) for n in range(BURST)))
                    self.sent = first + BURST
        except (OSError, Failed) as error:
            self.error = error

    def finish(self, limit):
        """Waits for the end; the number of records sent."""
        self.join(limit)
        check(not self.is_alive(), "client %d still waits after %d s" % (self.number, limit))
        check(self.error is None, "client %d: %s" % (self.number, self.error))
        return self.sent
