from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from mlflow.exceptions import MlflowException

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import UnavailableError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.mlflow_runs import TrackedRun, Tracker
from recsim_tasks.learning.spec import ValidationResult
from recsim_tasks.learning.tuning import trial_record
from recsim_tasks.learning.tuning.trial import TrialResult
from recsim_tasks.learning.tuning.trial_record import TrialRecord

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.mlflow

CURSOR = Cursor("table", 3)
RESULT = TrialResult(Hyperparameters().as_json(), (ValidationResult(100, 1.0, 1.0, 0.5, 0.4, 0.9),))


@dataclass(frozen=True)
class Search:
    """A search that is recorded in a file and in MLflow."""

    path: Path
    tracker: Tracker
    run: TrackedRun

    def record(self) -> TrialRecord:
        """Open the record, as each try of the search does."""
        return TrialRecord(self.path, "a digest", self.tracker, self.run, CURSOR)

    def trials(self) -> list[tuple[str, str, int]]:
        """Name and state of each trial's run, and how many scores it has."""
        client = self.tracker.client
        runs = client.search_runs(
            [self.tracker.experiment_id], f"tags.mlflow.parentRunId = '{self.run.run_id}'"
        )
        return sorted(
            (
                str(run.info.run_name),
                str(run.info.status),
                len(client.get_metric_history(run.info.run_id, "map_at_r")),
            )
            for run in runs
        )


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    return Tracker(Settings.model_construct(home=tmp_path_factory.mktemp("home")))


@pytest.fixture
def search(tracker: Tracker, tmp_path: Path) -> Search:
    return Search(tmp_path / "trials.json", tracker, tracker.start("tune", CURSOR, {}))


def unavailable(*_: object) -> None:
    raise MlflowException("the server is restarting")


def test_a_trial_whose_logging_was_interrupted_has_one_run(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = search.record()
    with monkeypatch.context() as interrupted:
        interrupted.setattr(TrackedRun, "log_rounds", unavailable)
        record.add(RESULT)
    assert search.trials() == [("trial 1", "RUNNING", 0)]
    record.log_pending()
    assert search.trials() == [("trial 1", "FINISHED", 1)]


def test_a_resumed_search_logs_the_trials_that_mlflow_does_not_have(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = search.record()
    first.add(RESULT)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(Tracker, "start", unavailable)
        first.add(RESULT)
    resumed = search.record()
    assert [number for number, _ in resumed.pending] == [2]
    resumed.log_pending()
    assert search.trials() == [("trial 1", "FINISHED", 1), ("trial 2", "FINISHED", 1)]


def test_a_record_that_cannot_be_opened_for_now_is_not_begun_again(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    search.record().add(RESULT)

    def no_descriptor(path: Path) -> Any:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(trial_record, "read_json", no_descriptor)
    with pytest.raises(UnavailableError, match="No file descriptors are left"):
        search.record()


def test_a_damaged_record_begins_again_with_a_warning(
    search: Search, caplog: pytest.LogCaptureFixture
) -> None:
    search.record().add(RESULT)
    search.path.write_text("{")
    record = search.record()
    assert record.results == []
    assert "The search starts from the beginning" in caplog.text
    record.add(replace(RESULT, params=Hyperparameters(proxy_scale=13.0).as_json()))
    assert record.pending == []
    assert search.trials() == [("trial 1", "FINISHED", 1)] * 2
