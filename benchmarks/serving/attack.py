"""Attack a server as any stranger could, and print what it costs.

Slow connections, headers without an end, JSON of 770,000 keys.

`python -m benchmarks.serving.attack ADDRESS --connections 1500 --seconds 20 --process PID`
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

import psutil

HALF = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
KEYS = b"{%b}" % b",".join(b'"%d":0' % n for n in range(770_000))  # 8 MB
MANY, LONG = b"X-Many: 1\r\n" * 5_000, b"x" * 50_000
# Between two bytes of a slow connection.
TRICKLE_SECONDS = 2.0
ASK_SECONDS = 60.0


@dataclass
class Cost:
    """What an attack did to a server."""

    connections: int = 0
    """Most that were open at once."""
    header_mb: float = 0.0
    """Of headers that the server took, in megabytes."""
    bodies: int = 0
    """Answers to bodies of JSON, 8 MB each."""
    live_max_seconds: float = 0.0
    live_failed: int = 0
    live_asked: int = 0
    memory_before_mib: float = 0.0
    memory_max_mib: float = 0.0
    times: list[float] = field(default_factory=list, repr=False)


class Attack:
    """An attack on `host`:`port` that goes on in threads until it is stopped."""

    def __init__(self, host: str, port: int, connections: int, headers: int, bodies: int) -> None:
        self.cost = Cost()
        self._where, self._count = (host, port), connections
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._trickle, daemon=True)]
        self._threads += [
            threading.Thread(target=self._pour, args=(MANY if n % 2 else LONG,), daemon=True)
            for n in range(headers)
        ]
        self._threads += [threading.Thread(target=self._describe, daemon=True) for _ in range(bodies)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, and close every connection."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _trickle(self) -> None:
        """Hold the connections, a byte of a header now and then; one that is closed is opened again."""
        held: set[socket.socket] = set()
        while not self._stopping.is_set():
            began = time.monotonic()
            for each in list(held):
                if not _alive(each):
                    held.discard(each)
                    each.close()
            while len(held) < self._count and not self._stopping.is_set():
                with suppress(OSError):
                    held.add(_half_open(self._where))
                if time.monotonic() - began > TRICKLE_SECONDS:
                    break
            self.cost.connections = max(self.cost.connections, len(held))
            self._stopping.wait(max(0.05, TRICKLE_SECONDS - (time.monotonic() - began)))
        for each in held:
            each.close()

    def _pour(self, piece: bytes) -> None:
        """Send headers without an end, as fast as they are taken."""
        while not self._stopping.is_set():
            with suppress(OSError), socket.create_connection(self._where, timeout=5) as connection:
                connection.sendall(HALF + b"1\r\n" if piece is MANY else HALF)
                while not self._stopping.is_set():
                    connection.sendall(piece)
                    self.cost.header_mb += len(piece) / 1e6

    def _describe(self) -> None:
        """Ask with JSON of as many keys as fit into it, again and again."""
        while not self._stopping.is_set():
            connection = http.client.HTTPConnection(*self._where, timeout=ASK_SECONDS)
            with suppress(OSError, http.client.HTTPException):
                connection.request("POST", "/v1/similar", KEYS, {"Content-Type": "application/json"})
                connection.getresponse().read()
                self.cost.bodies += 1
            connection.close()


def _half_open(where: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(where, timeout=2)
    connection.sendall(HALF)
    connection.setblocking(False)
    return connection


def _alive(connection: socket.socket) -> bool:
    try:
        with suppress(BlockingIOError):
            if connection.recv(1000) == b"":
                return False
        connection.send(b"x")
    except OSError:
        return False
    return True


def measure(
    address: str, connections: int, headers: int, bodies: int, seconds: float, process: int | None
) -> Cost:
    """Attack `address` for so many seconds and ask for its health meanwhile."""
    parts = urlsplit(address)
    host, port = str(parts.hostname), int(parts.port or 80)
    attack = Attack(host, port, connections, headers, bodies)
    attack.cost.memory_before_mib = family_mib(process)
    attack.start()
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            _ask(attack.cost, host, port)
            attack.cost.memory_max_mib = max(attack.cost.memory_max_mib, family_mib(process))
            time.sleep(0.1)
    finally:
        attack.stop()
    return attack.cost


def _ask(cost: Cost, host: str, port: int) -> None:
    """Ask for the health as a stranger to the attack does: by a connection of one's own."""
    began, cost.live_asked = time.monotonic(), cost.live_asked + 1
    connection = http.client.HTTPConnection(host, port, timeout=ASK_SECONDS)
    try:
        connection.request("GET", "/health/live")
        good = connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        good = False
    finally:
        connection.close()
    cost.live_failed += not good
    cost.times.append(time.monotonic() - began)
    cost.live_max_seconds = max(cost.live_max_seconds, cost.times[-1])


def family_mib(process: int | None) -> float:
    """Memory of a server's processes; 0 when none is named."""
    if process is None:
        return 0.0
    family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    size = 0
    for each in family:
        with suppress(psutil.Error):
            size += each.memory_info().rss
    return size / 2**20


def main() -> None:
    """Attack, and print the cost as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="such as http://127.0.0.1:8000")
    parser.add_argument(
        "--connections",
        type=int,
        default=1500,
        help="that send a byte of a header now and then (default %(default)s)",
    )
    parser.add_argument("--headers", type=int, default=2, help="that do not end (default %(default)s)")
    parser.add_argument(
        "--bodies",
        type=int,
        default=0,
        help="clients that ask with JSON of 770,000 keys (default %(default)s)",
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of attack (default %(default)s)")
    parser.add_argument(
        "--process", type=int, help="id of the server's process, to watch the memory of it and its children"
    )
    asked = parser.parse_args(sys.argv[1:])
    cost = measure(
        asked.address, asked.connections, asked.headers, asked.bodies, asked.seconds, asked.process
    )
    shown = {name: round(value, 3) for name, value in asdict(cost).items() if name != "times"}
    print(json.dumps(shown))


if __name__ == "__main__":
    main()
