from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.learning.hyperparameters import CHOICES, RANGES, Hyperparameters
from recsim_tasks.learning.spec import ValidationResult
from recsim_tasks.learning.tuning.trial import TrialResult
from recsim_tasks.learning.tuning.tune import select_best, tune

if TYPE_CHECKING:
    from learning.conftest import Catalogue
    from recsim_tasks.contracts import TuneResult
    from recsim_tasks.foundation.settings import Settings

pytestmark = [pytest.mark.ml, pytest.mark.usefixtures("shared_spark")]

CHEAP = Path(__file__).with_name("cheap_search.py")
OWN = {**Hyperparameters().as_json(), "proxy_scale": 13.0}


def runs(settings: Any) -> tuple[Any, list[Any]]:
    """The runs of the search and of its trials in MLflow."""
    from mlflow import MlflowClient

    client = MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name("recsim")
    assert experiment is not None
    all_runs = list(client.search_runs([experiment.experiment_id], order_by=["start_time"]))
    search = next(run for run in all_runs if run.info.run_name == "tune")
    return search, [run for run in all_runs if run.data.tags.get("mlflow.parentRunId") == search.info.run_id]


@dataclass(frozen=True)
class Searched:
    """A search of three trials, the champion's values among them."""

    settings: Settings
    out: Path
    result: TuneResult


@pytest.fixture(scope="module")
def searched(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    home = tmp_path_factory.mktemp("searched")
    settings, out = catalogue.settings(home), home / "trials.json"
    return Searched(settings, out, tune(settings, catalogue.cursor, out, 3, OWN))


def test_a_search_starts_from_the_champion_and_logs_every_trial(
    searched: Searched,
) -> None:
    result, tried = searched.result, json.loads(searched.out.read_text())["tried"]
    assert (result.trials, len(tried), result.metric, result.failed) == (3, 3, "map_at_r", 0)
    assert [OWN, Hyperparameters().as_json()] == sorted(
        (trial["params"] for trial in tried[:2]), key=lambda params: params["proxy_scale"]
    )
    for trial in tried:
        assert all(low <= trial["params"][name] <= high for name, (low, high) in RANGES.items())
        assert all(trial["params"][name] in choices for name, choices in CHOICES.items())
    assert result.best_score == max(trial["rounds"][-1]["map_at_r"] for trial in tried)
    assert result.champion_score == next(t["rounds"][-1]["map_at_r"] for t in tried if t["params"] == OWN)
    search, trials = runs(searched.settings)
    assert (search.info.status, len(trials)) == ("FINISHED", 3)
    assert search.inputs.dataset_inputs[0].dataset.name == "products"
    assert all(run.data.metrics["map_at_r"] > 0 for run in trials)


def test_recorded_trials_are_not_run_again(
    searched: Searched, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "recsim_tasks.learning.tuning.tune._search", lambda *_: pytest.fail("the search ran again")
    )
    assert tune(searched.settings, catalogue.cursor, searched.out, 3, OWN) == searched.result
    assert len(runs(searched.settings)[1]) == 3, "and it is one run in MLflow"


def test_failed_trials_are_counted_and_a_search_of_failures_gives_the_reason(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Learning rates at which nothing learns, an error of the program, and a process that dies."""
    settings = catalogue.settings(tmp_path, tune_parallel=1)

    def fail(spec: Any, data: Any, hyperparameters: Hyperparameters, finished: Any) -> TrialResult:
        import os
        from dataclasses import replace

        from recsim_tasks.learning.tuning.trial import run_trial

        if hyperparameters.proxy_scale == 13.0:
            os._exit(9)
        result = run_trial(spec, data, Hyperparameters(learning_rate=1e30), finished)
        return replace(result, params=hyperparameters.as_json())

    monkeypatch.setattr("recsim_tasks.learning.tuning.tune.run_trial", fail)
    with pytest.raises(
        RecsimError,
        match=r"None of the 2 trials gave a model\. The first: its process died, usually because memory ran",
    ):
        tune(settings, catalogue.cursor, tmp_path / "trials.json", 2, OWN)
    tried = json.loads((tmp_path / "trials.json").read_text())["tried"]
    assert [trial["status"] for trial in tried] == ["fail", "fail"]
    assert re.match(r"The training diverged: the loss is (nan|inf)", tried[1]["reason"])
    search, trials = runs(settings)
    assert search.info.status == "FAILED"
    assert [run.info.status for run in trials] == ["FAILED", "FAILED"]
    assert trials[1].data.tags["reason"] == tried[1]["reason"]


def test_a_search_ends_on_time_with_the_results_it_has(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = catalogue.settings(tmp_path, tune_minutes=0.1, tune_parallel=1)

    def slow_after_the_first(
        spec: Any, data: Any, hyperparameters: Hyperparameters, finished: Any
    ) -> TrialResult:
        import time

        from recsim_tasks.learning.spec import ValidationResult
        from recsim_tasks.learning.tuning.trial import TrialResult

        if hyperparameters != Hyperparameters():
            time.sleep(300)
        return TrialResult(hyperparameters.as_json(), (ValidationResult(9, 0.0, 1.0, 0.5, 0.5, 1.0),))

    monkeypatch.setattr("recsim_tasks.learning.tuning.tune.run_trial", slow_after_the_first)
    started = time.monotonic()
    result = tune(settings, catalogue.cursor, tmp_path / "trials.json", 50)
    assert result.trials == 1
    assert time.monotonic() - started < 60


def test_the_champions_hyperparameters_are_kept_when_nothing_is_better() -> None:
    def trial(score: float, proxy_scale: float) -> TrialResult:
        rounds = (ValidationResult(100, 0.0, 1.0, score, score, 1.0),)
        return TrialResult(Hyperparameters(proxy_scale=proxy_scale).as_json(), rounds)

    own = Hyperparameters(proxy_scale=13.0)
    kept = select_best([trial(0.5, 20.0), trial(0.5, 13.0)], own)
    assert kept.best_params == own.as_json()
    assert kept.reasons == [
        "None of 2 trials was better than the champion's own hyperparameters: they are kept, map_at_r 0.5000."
    ]
    better = select_best([trial(0.6, 20.0), trial(0.5, 13.0)], own)
    assert better.best_params["proxy_scale"] == 20.0
    assert better.reasons == [
        "The best of 2 trials has map_at_r 0.6000, the champion's own hyperparameters 0.5000."
    ]


@pytest.mark.drill
def test_no_trial_is_lost_or_run_twice_however_often_a_search_is_killed(
    catalogue: Catalogue, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rng, trials, acknowledged = np.random.default_rng(3), 12, 0
    for _ in range(2 + request.config.getoption("--kills")):
        log = killed(catalogue.uri, tmp_path, trials, acknowledged + int(rng.integers(1, 3)))
        recorded = tried(tmp_path)
        acknowledged = max(acknowledged, *(int(number) for number in re.findall(r"Trial (\d+):", log)), 0)
        assert len(recorded) >= acknowledged, "a trial that was logged is lost"
    done = subprocess.run(
        [sys.executable, CHEAP, catalogue.uri, tmp_path, str(trials)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    assert f"{len(recorded)} trials of this search are recorded and are not run again" in done.stderr
    final = tried(tmp_path)
    assert len(final) == trials
    assert final[: len(recorded)] == recorded
    points = [json.dumps(trial["params"], sort_keys=True) for trial in final]
    assert len(set(points)) == trials
    assert json.dumps(OWN, sort_keys=True) in points[:2]
    assert json.loads((tmp_path / "trials.json").read_text())["best_score"] == max(
        -trial["loss"] for trial in final
    )


def killed(uri: str, home: Path, trials: int, after: int) -> str:
    """Search until that many trials are logged, then kill -9; returns the log."""
    with (home / "log").open("w+") as log:
        search = subprocess.Popen(
            [sys.executable, CHEAP, uri, home, str(trials)],
            stderr=log,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while f" Trial {after}:" not in (home / "log").read_text() and search.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        search.send_signal(signal.SIGKILL)
        search.wait()
    return (home / "log").read_text()


def tried(home: Path) -> list[dict[str, Any]]:
    return list(json.loads((home / "trials.json").read_text())["tried"])
