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
from recsim_tasks.learning.hyperparameters import CHOICES, RANGES, Parameters
from recsim_tasks.learning.tuning.tune import _best, tune

if TYPE_CHECKING:
    from learning.conftest import Catalogue
    from recsim_tasks.foundation.settings import Settings

pytestmark = [pytest.mark.ml, pytest.mark.usefixtures("shared_spark")]

CHEAP = Path(__file__).with_name("cheap_search.py")
OWN = {**Parameters().as_json(), "proxy_scale": 13.0}


def runs(settings: Any) -> tuple[Any, list[Any]]:
    """The search's run in MLflow, and its trials'."""
    from mlflow import MlflowClient

    client = MlflowClient(settings.tracking_uri)
    found = list(
        client.search_runs([client.get_experiment_by_name("recsim").experiment_id], order_by=["start_time"])
    )
    search = next(run for run in found if run.info.run_name == "tune")
    return search, [run for run in found if run.data.tags.get("mlflow.parentRunId") == search.info.run_id]


@dataclass(frozen=True)
class Searched:
    """A search of three trials, the champion's values among them."""

    settings: Settings
    out: Path
    result: dict[str, Any]


@pytest.fixture(scope="module")
def searched(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    home = tmp_path_factory.mktemp("searched")
    settings, out = catalogue.settings(home), home / "trials.json"
    return Searched(settings, out, tune(settings, catalogue.cursor, out, 3, OWN))


def test_a_search_stays_inside_its_space_begins_with_the_champions_values_and_logs_every_trial(
    searched: Searched,
) -> None:
    result, tried = searched.result, json.loads(searched.out.read_text())["tried"]
    assert (result["trials"], len(tried), result["metric"], result["failed"]) == (3, 3, "map_at_r", 0)
    assert [OWN, Parameters().as_json()] == sorted(
        (trial["params"] for trial in tried[:2]), key=lambda params: params["proxy_scale"]
    )
    for trial in tried:
        assert all(low <= trial["params"][name] <= high for name, (low, high) in RANGES.items())
        assert all(trial["params"][name] in choices for name, choices in CHOICES.items())
    assert result["best_score"] == max(trial["rounds"][-1]["map_at_r"] for trial in tried)
    assert result["champion_score"] == next(t["rounds"][-1]["map_at_r"] for t in tried if t["params"] == OWN)
    search, trials = runs(searched.settings)
    assert (search.info.status, len(trials)) == ("FINISHED", 3)
    assert search.inputs.dataset_inputs[0].dataset.name == "products"
    assert all(run.data.metrics["map_at_r"] > 0 for run in trials)


def test_what_was_tried_is_not_tried_again(
    searched: Searched, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "recsim_tasks.learning.tuning.tune._search", lambda *_: pytest.fail("it was searched again")
    )
    assert tune(searched.settings, catalogue.cursor, searched.out, 3, OWN) == searched.result
    assert len(runs(searched.settings)[1]) == 3, "and it is one run in MLflow"


def test_a_trial_that_fails_is_counted_and_a_search_of_failures_says_why(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Learning rates at which nothing learns, an error of the program, and a process that dies."""
    settings = catalogue.settings(tmp_path, tune_parallel=1)

    def some_fail(job: Any, shards: Any, parameters: Parameters, finished: Any) -> dict[str, Any]:
        import os

        from recsim_tasks.learning.tuning.trial import try_out

        if parameters.proxy_scale == 13.0:
            os._exit(9)
        return try_out(job, shards, Parameters(learning_rate=1e30), finished) | {
            "params": parameters.as_json()
        }

    monkeypatch.setattr("recsim_tasks.learning.tuning.tune.try_out", some_fail)
    with pytest.raises(
        RecsimError,
        match=r"None of the 2 trials gave a model\. The first: its process ended, mostly for want of memory",
    ):
        tune(settings, catalogue.cursor, tmp_path / "trials.json", 2, OWN)
    tried = json.loads((tmp_path / "trials.json").read_text())["tried"]
    assert [trial["status"] for trial in tried] == ["fail", "fail"]
    assert re.match(r"The loss is (nan|inf)", tried[1]["reason"])
    search, trials = runs(settings)
    assert search.info.status == "FAILED"
    assert [run.info.status for run in trials] == ["FAILED", "FAILED"]
    assert trials[1].data.tags["reason"] == tried[1]["reason"]


def test_when_the_time_is_over_the_search_ends_with_what_it_has(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = catalogue.settings(tmp_path, tune_minutes=0.1, tune_parallel=1)

    def slow_after_the_first(job: Any, shards: Any, parameters: Parameters, finished: Any) -> dict[str, Any]:
        import time

        if parameters != Parameters():
            time.sleep(300)
        rounds = [
            {"images": 9, "at": 0.0, "loss": 1.0, "precision_at_1": 0.5, "map_at_r": 0.5, "spread": 1.0}
        ]
        return {
            "status": "ok",
            "loss": -0.5,
            "rounds": rounds,
            "pruned": False,
            "params": parameters.as_json(),
        }

    monkeypatch.setattr("recsim_tasks.learning.tuning.tune.try_out", slow_after_the_first)
    started = time.monotonic()
    result = tune(settings, catalogue.cursor, tmp_path / "trials.json", 50)
    assert result["trials"] == 1
    assert time.monotonic() - started < 60


def test_when_nothing_is_better_than_the_champions_values_they_are_kept_and_that_is_said() -> None:
    def trial(score: float, **params: Any) -> dict[str, Any]:
        return {
            "status": "ok",
            "loss": -score,
            "rounds": [],
            "pruned": False,
            "params": {**Parameters().as_json(), **params},
        }

    own = Parameters(proxy_scale=13.0)
    kept = _best([trial(0.5, proxy_scale=20.0), trial(0.5, proxy_scale=13.0)], own)
    assert kept["best_params"] == own.as_json()
    assert kept["reasons"] == [
        "Nothing better than the champion's own values was found in 2 trials: they are kept, map_at_r 0.5000."
    ]
    better = _best([trial(0.6, proxy_scale=20.0), trial(0.5, proxy_scale=13.0)], own)
    assert better["best_params"]["proxy_scale"] == 20.0
    assert better["reasons"] == [
        "The best of 2 trials has map_at_r 0.6000, the champion's own values 0.5000."
    ]


@pytest.mark.drill
def test_no_trial_is_lost_or_run_twice_however_often_a_search_is_killed(
    catalogue: Catalogue, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rng, trials, acknowledged = np.random.default_rng(3), 12, 0
    for _ in range(2 + request.config.getoption("--kills")):
        said = killed(catalogue.uri, tmp_path, trials, acknowledged + int(rng.integers(1, 3)))
        recorded = tried(tmp_path)
        acknowledged = max(
            acknowledged, *(int(number) for number in re.findall(r"^Trial (\d+):", said, re.M)), 0
        )
        assert len(recorded) >= acknowledged, "a trial that was told of is lost"
    done = subprocess.run(
        [sys.executable, CHEAP, catalogue.uri, tmp_path, str(trials)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    assert f"{len(recorded)} trials of this search are recorded, they are not run again" in done.stderr
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
    """Search until that many trials were told of, then kill -9; what was said."""
    with (home / "log").open("w+") as log:
        search = subprocess.Popen(
            [sys.executable, CHEAP, uri, home, str(trials)],
            stderr=log,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while f"\nTrial {after}:" not in (home / "log").read_text() and search.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        search.send_signal(signal.SIGKILL)
        search.wait()
    return (home / "log").read_text()


def tried(home: Path) -> list[dict[str, Any]]:
    return list(json.loads((home / "trials.json").read_text())["tried"])
