"""Notices when an update of Horovod moves what `horovod_internals` replaces."""

from __future__ import annotations

import inspect
import os
from io import StringIO
from typing import Any

import pytest

from recsim_tasks.learning.training import horovod_internals


@pytest.fixture
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restores what is replaced."""
    import horovod.runner.launch
    from horovod.runner.common.util import network, safe_shell_exec
    from horovod.runner.http import http_server
    from horovod.spark import runner

    for module, name in (
        (horovod.runner.launch, "gloo_built"),
        (network, "find_port"),
        (http_server, "find_port"),
        (safe_shell_exec, "prefix_connection"),
        (runner, "_make_mapper"),
        (runner, "in_thread"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_replaced_functions_are_where_horovod_looks_for_them() -> None:
    import horovod.runner.launch
    from horovod.runner.common.util import network, safe_shell_exec
    from horovod.runner.http import http_server
    from horovod.spark import runner

    assert "gloo_built(" in inspect.getsource(horovod.runner.launch.run_controller)
    assert "find_port(" in inspect.getsource(network.BasicService.__init__)
    assert "find_port(" in inspect.getsource(http_server.RendezvousServer.start)
    assert "find_port(" in inspect.getsource(http_server.KVStoreServer.start_server)
    assert "in_thread(target=run_spark" in inspect.getsource(runner._make_spark_thread)
    assert "_make_mapper(" in inspect.getsource(runner._make_spark_thread)
    assert "prefix_connection" in inspect.getsource(safe_shell_exec.execute)
    expected = ["src_connection", "dst_stream", "prefix", "index", "prefix_output_with_timestamp"]
    assert parameters(safe_shell_exec.prefix_connection) == expected


@pytest.mark.usefixtures("unchanged")
def test_the_output_of_a_rank_is_copied_without_a_prefix() -> None:
    from horovod.runner.common.util import safe_shell_exec

    def copied() -> str:
        read, write = os.pipe()
        os.write(write, b"INFO recsim_tasks.x: half")
        os.write(write, b" a line\nand one without an end")
        os.close(write)
        target = StringIO()
        with os.fdopen(read) as source:
            safe_shell_exec.prefix_connection(source, target, "stderr", 0, False)
        return target.getvalue()

    assert copied().startswith("[0]<stderr>:"), "the control"
    for _ in range(2):
        horovod_internals._copy_output_unchanged()
        assert copied() == "INFO recsim_tasks.x: half a line\nand one without an end"


@pytest.mark.usefixtures("unchanged")
def test_preparing_twice_prepares_each_task_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from horovod.spark import runner

    calls: list[str] = []
    monkeypatch.setattr(horovod_internals, "_copy_output_unchanged", lambda: calls.append("output"))
    monkeypatch.setattr(horovod_internals, "_listen_on_loopback", lambda: calls.append("loopback"))
    monkeypatch.setattr(runner, "_make_mapper", lambda *_: lambda index, rows: iter([index]))
    horovod_internals.prepare(loopback=True)
    horovod_internals.prepare(loopback=True)
    calls.clear()
    assert list(runner._make_mapper("driver", "settings")(7, [])) == [7]
    assert calls == ["output", "loopback"]
    horovod_internals.prepare(loopback=False)
    calls.clear()
    list(runner._make_mapper("driver", "settings")(7, []))
    assert calls == ["output"]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("message", "logged"), [("[SPARK_JOB_CANCELLED] Job 9 cancelled", False), ("No space left", True)]
)
def test_a_thread_that_fails_is_logged_unless_its_job_was_cancelled(
    caplog: pytest.LogCaptureFixture, message: str, logged: bool
) -> None:
    from horovod.spark import runner

    def fail() -> None:
        raise RuntimeError(message)

    for _ in range(2):
        horovod_internals._log_errors_of_threads()
    runner.in_thread(target=fail, daemon=False).join()
    assert caplog.text.count(message) == logged
