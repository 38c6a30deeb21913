"""A server in a thread, and clients that write to its socket byte by byte."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


@contextmanager
def listening(app: Any, protocol: type[Any]) -> Iterator[int]:
    """Serve `app` by `protocol`; the port."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="critical", http=protocol, loop="uvloop", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


def opened(port: int, sent: bytes = b"") -> socket.socket:
    """A connection on which `sent` was sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(sent)
    return connection


def answer_to(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection; nothing when it breaks it off."""
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
    except ConnectionError:
        pass
    return found


def alive(connection: socket.socket) -> bool:
    """Whether the server has left the connection open."""
    connection.settimeout(0.2)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False
