from __future__ import annotations

from pathlib import Path

import pytest

from recsim_tasks.foundation.settings import (
    environment,
    metrics_dir,
    parent_pid,
    set_metrics_dir,
    visible_gpus,
)


@pytest.mark.parametrize(
    ("value", "gpus"),
    [
        (None, None),
        ("", ()),
        ("-1", ()),
        ("0,1", ("0", "1")),
        ("2, -1, 3", ("2",)),
        ("GPU-8932f937, MIG-5/1/0", ("GPU-8932f937", "MIG-5/1/0")),
    ],
)
def test_the_list_of_gpus_ends_where_cuda_ends_it(
    monkeypatch: pytest.MonkeyPatch, value: str | None, gpus: tuple[str, ...] | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if value is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_gpus() == gpus


def test_a_job_has_a_parent_if_the_variable_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSIM_PARENT_PID", raising=False)
    assert parent_pid() is None
    monkeypatch.setenv("RECSIM_PARENT_PID", "17")
    assert parent_pid() == 17


def test_child_processes_get_the_environment_with_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP", "one")
    assert {"SHOP": "two", "NEW": "x"}.items() <= environment(SHOP="two", NEW="x").items()


def test_metrics_are_kept_where_prometheus_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "elsewhere")
    set_metrics_dir(tmp_path)
    assert metrics_dir() == tmp_path
