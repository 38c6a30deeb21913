"""Horovod's services on loopback, where all ranks are on this machine.

They unpickle what a sender sends who has their key, and read the length that any sender announces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

INTERFACE = "lo"
ADDRESS = "127.0.0.1"


def bind_here() -> None:
    """Let Horovod's servers in this process listen on loopback alone, for which it has no setting."""
    from horovod.runner.common.util import network
    from horovod.runner.http import http_server

    for module in (network, http_server):
        module.find_port = _find_port


def bind_in_tasks() -> None:
    """Let the servers that Horovod starts in Spark's tasks do the same; call it where the job is started."""
    from horovod.spark import runner

    make_mapper = runner._make_mapper
    if getattr(make_mapper, "on_loopback", False):
        return

    def on_loopback(*given: Any) -> Callable[[int, Any], Iterator[Any]]:
        mapper = make_mapper(*given)

        def mapped(index: int, rows: Any) -> Iterator[Any]:
            bind_here()
            yield from mapper(index, rows)

        return mapped

    on_loopback.on_loopback = True  # type: ignore[attr-defined]
    runner._make_mapper = on_loopback


def _find_port(start: Callable[[tuple[str, int]], Any]) -> tuple[Any, int]:
    """Replace Horovod's own, which binds all addresses: a server on a port that the kernel chooses."""
    server = start((ADDRESS, 0))
    return server, int(server.server_address[1])
