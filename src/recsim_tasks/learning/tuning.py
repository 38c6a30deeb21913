"""The search for hyperparameters: Hyperopt's TPE, the trials spread by Spark."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.progress import progress, say
from recsim_tasks.foundation.publishing import write_json
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.fitting import fit
from recsim_tasks.learning.job import Job, Round
from recsim_tasks.learning.parameters import RANGES, Parameters
from recsim_tasks.learning.ranks import Alone
from recsim_tasks.learning.tracking import Tracker
from recsim_tasks.learning.training import BATCH_PER_RANK, plan_job

METRIC = "map_at_r"
ROUNDS = 2  # the first for a collapse to be seen early
Trial = dict[str, Any]


def tune(settings: Settings, cursor: Cursor, out: Path, trials: int) -> dict[str, Any]:
    """Try `trials` points of the search space, `settings.tune_parallel` at a time; `out` becomes a JSON file with all of them.

    Returns best_params, trials, metric and best_score, which is MAP@R among validation images: no test image is looked at. Every trial
    is an MLflow run below the search's. A trial that collapses counts as failed; when all do, that is a `RecsimError`.
    """
    from recsim_tasks.catalogue.spark import spark_session

    job = plan_job(settings, cursor, Parameters(), settings.tune_images, BATCH_PER_RANK * settings.ranks, ROUNDS)
    tracker = Tracker(settings)
    with tracker.run(
        "tune", cursor, {"trials": trials, "parallel": settings.tune_parallel, "images": job.images, "metric": METRIC}
    ) as run_id:
        say(f"Searching: {trials} trials, {settings.tune_parallel} at a time, {job.images:,} images each")
        log = _Log(tracker, run_id, cursor)
        with spark_session(settings, "recsim tune") as spark, progress("Tuning", trials, "trials") as advance:
            found = _search(spark, settings, job, trials, lambda done: advance(log.add(done)))
        results = [trial["result"] for trial in found]
        result = _best(results, trials)
        tracker.client.log_metric(run_id, METRIC, result["best_score"])
        write_json(out, {**result, "tried": results})
    return result


def try_out(job: Job) -> Trial:
    """One trial, in a Spark worker: Hyperopt's result, with what it tried and how it went."""
    from hyperopt import STATUS_FAIL, STATUS_OK

    tried = {"params": job.parameters.as_json()}
    try:
        _, rounds = fit(job, Alone(), f"Trial with learning rate {job.parameters.learning_rate:.2g}")
    except RecsimError as error:
        return {"status": STATUS_FAIL, "reason": str(error), **tried}
    return {"status": STATUS_OK, "loss": -getattr(rounds[-1], METRIC), "rounds": [asdict(r) for r in rounds], **tried}


def _search(spark: Any, settings: Settings, job: Job, trials: int, finished: Callable[[Any], object]) -> list[Trial]:
    import numpy as np
    from hyperopt import SparkTrials, fmin, hp, tpe
    from hyperopt.exceptions import AllTrialsFailed

    space = {
        name: (hp.loguniform(name, np.log(low), np.log(high)) if name == "learning_rate" else hp.uniform(name, low, high))
        for name, (low, high) in RANGES.items()
    }
    found = SparkTrials(parallelism=min(settings.tune_parallel, trials), spark_session=spark)

    def objective(point: dict[str, float]) -> Trial:
        return try_out(replace(job, parameters=Parameters.of(point)))

    def heard(so_far: Any, *_: Any) -> tuple[bool, list[Any]]:
        """Hyperopt asks after each good trial whether to stop: never, but the news is welcome."""
        finished(so_far)
        return False, []

    with suppress(AllTrialsFailed):  # _best says so, with the reason
        fmin(
            objective, space, algo=tpe.suggest, max_evals=trials, trials=found, rstate=np.random.default_rng(settings.seed),
            early_stop_fn=heard, show_progressbar=False, verbose=False,
        )  # fmt: skip
    finished(found)
    return list(found.trials)


def _best(results: list[Trial], trials: int) -> dict[str, Any]:
    good = [result for result in results if result.get("status") == "ok"]
    if not good:
        reasons = [str(result["reason"]) for result in results if "reason" in result] or [
            "a Spark worker failed; its message stands further up in this log"
        ]
        raise RecsimError(f"None of the {trials} trials gave a model. The first: {reasons[0]}")
    best = min(good, key=lambda result: float(result["loss"]))
    return {"best_params": best["params"], "trials": len(results), "metric": METRIC, "best_score": -best["loss"]}


class _Log:
    """Writes each trial to MLflow once, as soon as it is over."""

    def __init__(self, tracker: Tracker, parent: str, cursor: Cursor) -> None:
        self._tracker, self._parent, self._cursor = tracker, parent, cursor
        self._seen: set[int] = set()

    def add(self, trials: Any) -> int:
        """Log those of `trials` that are over and were not; how many."""
        new = [trial for trial in trials.trials if trial["tid"] not in self._seen and trial["result"].get("status") in ("ok", "fail")]
        for trial in new:
            self._seen.add(trial["tid"])
            self._write(trial["tid"], trial["result"])
        return len(new)

    def _write(self, number: int, result: Trial) -> None:
        good = result["status"] == "ok"
        run_id = self._tracker.start(f"trial {number}", self._cursor, result["params"], self._parent)
        self._tracker.log_rounds(run_id, [Round(**r) for r in result.get("rounds", [])])
        self._tracker.client.set_terminated(run_id, "FINISHED" if good else "FAILED")
        told = f"{METRIC} {-result['loss']:.3f}" if good else result["reason"]
        say(f"Trial {number}: {told} with " + ", ".join(f"{name} {value:.4g}" for name, value in result["params"].items()))
