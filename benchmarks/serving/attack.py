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
CLIENT_SECONDS = 60.0


@dataclass
class Cost:
    """The effect of an attack on a server."""

    connections: int = 0
    """Maximum number open at once."""
    header_mb: float = 0.0
    """Megabytes of headers that the server read."""
    bodies: int = 0
    """Responses to JSON bodies of 8 MB each."""
    live_max_seconds: float = 0.0
    live_failed: int = 0
    live_requests: int = 0
    memory_before_mib: float = 0.0
    memory_max_mib: float = 0.0
    times: list[float] = field(default_factory=list, repr=False)


class Attack:
    """An attack on the server at `url` by threads, until it is stopped.

    :param connections: connections that send a byte of a header now and then
    :param headers: connections that send endless headers
    :param bodies: clients that send JSON with 770,000 keys
    """

    def __init__(self, url: str, *, connections: int, headers: int, bodies: int) -> None:
        parts = urlsplit(url)
        self.cost = Cost()
        self.address = str(parts.hostname), int(parts.port or 80)
        self._count = connections
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._trickle, daemon=True)]
        self._threads += [
            threading.Thread(target=self._send_headers, args=(MANY if n % 2 else LONG,), daemon=True)
            for n in range(headers)
        ]
        self._threads += [threading.Thread(target=self._send_json, daemon=True) for _ in range(bodies)]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop, and close every connection."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _trickle(self) -> None:
        """Keep connections open with a byte of a header now and then; reopen closed ones."""
        connections: set[socket.socket] = set()
        while not self._stopping.is_set():
            began = time.monotonic()
            for each in list(connections):
                if not _alive(each):
                    connections.discard(each)
                    each.close()
            while len(connections) < self._count and not self._stopping.is_set():
                with suppress(OSError):
                    connections.add(_half_open(self.address))
                if time.monotonic() - began > TRICKLE_SECONDS:
                    break
            self.cost.connections = max(self.cost.connections, len(connections))
            self._stopping.wait(max(0.05, TRICKLE_SECONDS - (time.monotonic() - began)))
        for each in connections:
            each.close()

    def _send_headers(self, piece: bytes) -> None:
        """Send endless headers, as fast as the server reads them."""
        while not self._stopping.is_set():
            with suppress(OSError), socket.create_connection(self.address, timeout=5) as connection:
                connection.sendall(HALF + b"1\r\n" if piece is MANY else HALF)
                while not self._stopping.is_set():
                    connection.sendall(piece)
                    self.cost.header_mb += len(piece) / 1e6

    def _send_json(self) -> None:
        """Send JSON with as many keys as fit into a body, repeatedly."""
        while not self._stopping.is_set():
            connection = http.client.HTTPConnection(*self.address, timeout=CLIENT_SECONDS)
            with suppress(OSError, http.client.HTTPException):
                connection.request("POST", "/v1/similar", KEYS, {"Content-Type": "application/json"})
                connection.getresponse().read()
                self.cost.bodies += 1
            connection.close()


def _half_open(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address, timeout=2)
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


def measure(attack: Attack, seconds: float, process: int | None) -> Cost:
    """Run the attack for `seconds`; meanwhile check the server's health and the memory of `process`."""
    attack.cost.memory_before_mib = family_mib(process)
    attack.start()
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            _check_health(attack.cost, *attack.address)
            attack.cost.memory_max_mib = max(attack.cost.memory_max_mib, family_mib(process))
            time.sleep(0.1)
    finally:
        attack.stop()
    return attack.cost


def _check_health(cost: Cost, host: str, port: int) -> None:
    """Check the health as another client does: on a new connection."""
    began, cost.live_requests = time.monotonic(), cost.live_requests + 1
    connection = http.client.HTTPConnection(host, port, timeout=CLIENT_SECONDS)
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
    """Return the memory of a server's processes; 0 without a process."""
    if process is None:
        return 0.0
    family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    size = 0
    for each in family:
        with suppress(psutil.Error):
            size += each.memory_info().rss
    return size / 2**20


def main() -> None:
    """Attack, and print the effect as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="for example http://127.0.0.1:8000")
    parser.add_argument(
        "--connections",
        type=int,
        default=1500,
        help="connections that send a byte of a header now and then (default %(default)s)",
    )
    parser.add_argument(
        "--headers", type=int, default=2, help="connections that send endless headers (default %(default)s)"
    )
    parser.add_argument(
        "--bodies",
        type=int,
        default=0,
        help="clients that send JSON with 770,000 keys (default %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="duration of the attack (default %(default)s)"
    )
    parser.add_argument("--process", type=int, help="process id of the server, to watch its memory")
    arguments = parser.parse_args(sys.argv[1:])
    attack = Attack(
        arguments.address,
        connections=arguments.connections,
        headers=arguments.headers,
        bodies=arguments.bodies,
    )
    cost = measure(attack, arguments.seconds, arguments.process)
    shown = {name: round(value, 3) for name, value in asdict(cost).items() if name != "times"}
    print(json.dumps(shown))


if __name__ == "__main__":
    main()
