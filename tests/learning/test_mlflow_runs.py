from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.mlflow_runs import RoundLogger, Tracker
from recsim_tasks.learning.spec import ValidationResult
from recsim_tasks.learning.training.communicator import SILENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.mlflow

CURSOR = Cursor("table", 3)
ROUNDS = [ValidationResult(n * 100, n * 1_000.0, 1.0 / n, 0.5, 0.4, 0.9) for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    return Tracker(Settings.model_construct(home=tmp_path_factory.mktemp("home")))


def status(tracker: Tracker, run_id: str) -> str:
    return str(tracker.client.get_run(run_id).info.status)


def test_work_that_is_retried_continues_its_run_and_other_work_starts_another(
    tracker: Tracker, tmp_path: Path
) -> None:
    note = tmp_path / "run.json"
    with (
        pytest.raises(KeyError),
        tracker.run("train", CURSOR, {"seed": 20}, note=note, digest="a") as first,
    ):
        raise KeyError("the work fails")
    assert status(tracker, first.run_id) == "FAILED"
    with tracker.run("train", CURSOR, {}, note=note, digest="a") as retried:
        assert status(tracker, first.run_id) == "RUNNING"
    assert retried.run_id == first.run_id
    assert status(tracker, first.run_id) == "FINISHED"
    with tracker.run("train", CURSOR, {}, note=note, digest="b") as other:
        assert other.run_id != first.run_id


def test_work_whose_run_was_deleted_starts_another(tracker: Tracker, tmp_path: Path) -> None:
    note = tmp_path / "run.json"
    with tracker.run("train", CURSOR, {}, note=note, digest="a") as first:
        pass
    tracker.client.delete_run(first.run_id)
    with tracker.run("train", CURSOR, {}, note=note, digest="a") as second:
        assert second.run_id != first.run_id


def test_each_round_is_logged_once(tracker: Tracker) -> None:
    run = tracker.start("train", CURSOR, {})
    run.log_rounds(ROUNDS[:2])
    run.log_rounds(ROUNDS)
    points = tracker.client.get_metric_history(run.run_id, "loss")
    assert [(p.step, p.timestamp) for p in points] == [(100, 1_000_000), (200, 2_000_000), (300, 3_000_000)]


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "postgresql+psycopg://127.0.0.1:9/mlflow"])
def test_a_round_that_cannot_be_logged_is_a_warning_within_seconds(
    uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The other ranks wait for this one, and end the training after `SILENCE_SECONDS`."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    began = time.monotonic()
    assert RoundLogger(uri, "run").on_round(ROUNDS), "training continues"
    assert time.monotonic() - began < SILENCE_SECONDS
    assert "it will be logged at the end of training" in caplog.text
