"""What Horovod has no setting for: replacements of its functions, all in one place.

`tests/learning/training/test_horovod_internals.py` notices when an update of Horovod moves one of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

log = logging.getLogger(__name__)

LOOPBACK_INTERFACE = "lo"
LOOPBACK_ADDRESS = "127.0.0.1"


def prepare(*, loopback: bool) -> None:
    """Prepare Horovod in the process that starts a job, and in the Spark tasks that will start its ranks.

    With `loopback`, for ranks on one machine, Horovod's servers listen on no other interface: they unpickle
    what any sender with their key sends, and read as many bytes as it announces.
    """
    _assume_gloo()
    _log_errors_of_threads()
    if loopback:
        _listen_on_loopback()
    _prepare_tasks(loopback)


def _assume_gloo() -> None:
    """Answer that Horovod is built with Gloo, which it is: see pyproject.toml.

    Horovod would import TensorFlow in a fork of this process to find out, which takes 5 s.
    """
    import horovod.runner.launch

    horovod.runner.launch.gloo_built = lambda **_: True


def _log_errors_of_threads() -> None:
    """Log what Horovod's threads raise, but for the Spark job that Horovod cancels when a rank fails.

    Python would print its traceback of 60 lines behind the message of the rank.
    """
    from horovod.spark import runner

    in_thread = getattr(runner.in_thread, "original", runner.in_thread)

    def logging_thread(target: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        def run(*values: Any) -> None:
            try:
                target(*values)
            except Exception as error:
                if "SPARK_JOB_CANCELLED" not in str(error):
                    log.exception("A thread of Horovod failed")

        return in_thread(run, *arguments, **options)

    logging_thread.original = in_thread  # type: ignore[attr-defined]
    runner.in_thread = logging_thread


def _listen_on_loopback() -> None:
    """Let Horovod's servers in this process listen on loopback only."""
    from horovod.runner.common.util import network
    from horovod.runner.http import http_server

    for module in (network, http_server):
        module.find_port = _start_on_loopback


def _start_on_loopback(start: Callable[[tuple[str, int]], Any]) -> tuple[Any, int]:
    """Start a server on a port that the kernel chooses; Horovod's `find_port` binds all addresses."""
    server = start((LOOPBACK_ADDRESS, 0))
    return server, int(server.server_address[1])


def _copy_output_unchanged() -> None:
    """Copy a rank's lines without Horovod's prefix `[0]<stderr>:`, so that they look like any job's lines."""
    from horovod.runner.common.util import safe_shell_exec

    copy = safe_shell_exec.prefix_connection
    if getattr(copy, "unchanged", False):
        return

    def copy_unchanged(source: Any, target: Any, *_: Any) -> None:
        copy(source, target, None, None, False)

    copy_unchanged.unchanged = True  # type: ignore[attr-defined]
    safe_shell_exec.prefix_connection = copy_unchanged


def _prepare_tasks(loopback: bool) -> None:
    """Run the preparations in Spark's tasks as well, before Horovod starts a rank there."""
    from horovod.spark import runner

    make_mapper = getattr(runner._make_mapper, "original", runner._make_mapper)

    def make_prepared_mapper(*arguments: Any) -> Callable[[int, Any], Iterator[Any]]:
        mapper = make_mapper(*arguments)

        def prepared_mapper(index: int, rows: Any) -> Iterator[Any]:
            _copy_output_unchanged()
            if loopback:
                _listen_on_loopback()
            yield from mapper(index, rows)

        return prepared_mapper

    make_prepared_mapper.original = make_mapper  # type: ignore[attr-defined]
    runner._make_mapper = make_prepared_mapper
