"""The search for hyperparameters: what is tried, what is kept, what is best."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError, RecsimError
from recsim_tasks.foundation.progress import Advance, progress
from recsim_tasks.foundation.publishing import write_json
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.hyperparameters import Parameters
from recsim_tasks.learning.mlflow_runs import Tracker
from recsim_tasks.learning.spec import Job, Round
from recsim_tasks.learning.training.distributed import Alone
from recsim_tasks.learning.training.loop import load_shards
from recsim_tasks.learning.training.planning import BATCH_PER_RANK, plan_job
from recsim_tasks.learning.tuning.hyperopt_search import search
from recsim_tasks.learning.tuning.stopping import stale
from recsim_tasks.learning.tuning.trial import METRIC, Trial, try_out

log = logging.getLogger(__name__)

ROUNDS = 4


def tune(
    settings: Settings, cursor: Cursor, out: Path, trials: int, champion: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Try `trials` points of the search space, `settings.tune_parallel` at a time, for at most `settings.tune_minutes`.

    `out` becomes a JSON file with all trials, and has each as soon as it is over: a search that was killed goes on with the rest. The
    values of the `champion`, when given, are the first to be tried, then the known good ones. Returns best_params, trials, metric,
    best_score, which is MAP@R among validation images (no test image is looked at), champion_score and reasons. Every trial is an MLflow
    run below the search's. A trial that fails is counted; when all do, that is a `RecsimError`.
    """
    job = plan_job(
        settings, cursor, Parameters(), settings.tune_images, BATCH_PER_RANK * settings.ranks, 1, ROUNDS
    )
    at_once = min(settings.tune_parallel, trials)
    job = replace(job, machine=replace(job.machine, at_once=at_once))
    tracker, digest = Tracker(settings), job.digest(1)
    described = {
        "trials": trials,
        "parallel": at_once,
        "minutes": settings.tune_minutes,
        "images": job.images,
        "metric": METRIC,
    }
    with tracker.run("tune", cursor, described, out.with_name("tune-run.json"), digest) as run_id:
        tracker.log_catalogue(run_id, job)
        record = _Record.opened(out, digest, tracker, run_id, cursor)
        if record.tried:
            log.info(f"{len(record.tried)} trials of this search are recorded, they are not run again")
        own = _point(champion)
        if len(record.tried) < trials:
            _search(settings, job, record, trials, at_once, [own, Parameters()] if own else [Parameters()])
        record.log()
        result = _best(record.tried, own)
        for reason in result["reasons"]:
            log.info(reason)
        tracker.client.log_metric(run_id, METRIC, result["best_score"])
        write_json(out, {**result, "search": digest, "tried": record.tried})
    return result


def _search(
    settings: Settings, job: Job, record: _Record, trials: int, at_once: int, first: Sequence[Parameters]
) -> None:
    from recsim_tasks.foundation.spark import spark_session

    open_points = [
        point
        for point in dict.fromkeys(first)
        if point.as_json() not in [result["params"] for result in record.tried]
    ]
    # A GPU's memory goes back when the process that used it ends.
    own_process = {"spark.python.worker.reuse": "false"} if settings.gpus else {}
    log.info(
        f"Searching: {trials} trials, {at_once} at a time, {job.images:,} images each, {settings.tune_minutes:g} minutes at most"
    )
    shards = load_shards(job, Alone())
    with (
        spark_session(settings, "recsim tune", own_process) as spark,
        progress("Tuning", trials, "trials") as advance,
    ):
        record.advance = advance
        advance(len(record.tried))
        data = spark.sparkContext.broadcast(
            replace(shards, train=shards.train.in_memory(), validation=shards.validation.in_memory())
        )
        curves = record.curves
        search(
            spark, lambda point: try_out(job, data.value, point, curves), at_once, trials, settings.tune_minutes * 60, settings.seed,
            list(record.tried), open_points[: trials - len(record.tried)], record.add, record.stale,
        )  # fmt: skip


def _point(values: Mapping[str, Any] | None) -> Parameters | None:
    """The champion's values, if this build knows them all."""
    try:
        return Parameters.of(values) if values is not None else None
    except InputError as error:
        log.info(f"The champion's values are not tried: {error}")
        return None


def _best(results: Sequence[Trial], champion: Parameters | None) -> dict[str, Any]:
    good = [result for result in results if result["status"] == "ok"]
    if not good:
        reason = (
            results[0]["reason"] if results else "no trial ended within the time, raise RECSIM_TUNE_MINUTES"
        )
        raise RecsimError(f"None of the {len(results)} trials gave a model. The first: {reason}")
    own = [result for result in good if champion and result["params"] == champion.as_json()]
    # Among equals the champion's own values stay.
    best = min(good, key=lambda result: (float(result["loss"]), result not in own))
    told = {
        "best_params": best["params"],
        "trials": len(results),
        "metric": METRIC,
        "best_score": -best["loss"],
        "champion_score": -own[0]["loss"] if own else None,
    }
    counts = {
        "failed": len(results) - len(good),
        "pruned": sum(bool(result.get("pruned")) for result in good),
    }
    return {**told, **counts, "reasons": [_sentence(told, best in own)]}


def _sentence(told: Mapping[str, Any], kept: bool) -> str:
    score, own = told["best_score"], told["champion_score"]
    if kept:
        return f"Nothing better than the champion's own values was found in {told['trials']} trials: they are kept, {METRIC} {score:.4f}."
    against = "" if own is None else f", the champion's own values {own:.4f}"
    return f"The best of {told['trials']} trials has {METRIC} {score:.4f}{against}."


@dataclass
class _Record:
    """The trials that are over: in a file, in MLflow, and as the curves that later trials are held against."""

    path: Path
    digest: str
    tracker: Tracker
    run_id: str
    cursor: Cursor
    tried: list[Trial]
    curves: list[list[float]]
    advance: Advance = lambda _: None
    unlogged: list[tuple[int, Trial]] = field(default_factory=list)

    @classmethod
    def opened(cls, path: Path, digest: str, tracker: Tracker, run_id: str, cursor: Cursor) -> _Record:
        """With what the file says of this very search."""
        tried, curves = _tried(path, digest)
        return cls(path, digest, tracker, run_id, cursor, tried, curves)

    def add(self, result: Trial) -> None:
        """Keep a result, then tell of it; an MLflow that is away costs no trial."""
        from mlflow.exceptions import MlflowException

        self.tried.append(result)
        write_json(self.path, {"search": self.digest, "tried": self.tried})
        if result["status"] == "ok":
            self.curves.append(_curve(result))
        self.unlogged.append((len(self.tried), result))
        try:
            self.log()
        except MlflowException as error:
            log.info(
                f"MLflow does not take this trial, it is logged later: {redacted(str(error)).splitlines()[0][:200]}"
            )
        self.advance(1)

    def log(self) -> None:
        """Tell MLflow of the trials that it has not taken yet."""
        while self.unlogged:
            self._log(*self.unlogged[0])
            self.unlogged.pop(0)

    def stale(self) -> bool:
        """Whether the search has found nothing better for long."""
        return stale([curve[-1] for curve in self.curves])

    def _log(self, number: int, result: Trial) -> None:
        good = result["status"] == "ok"
        run_id = self.tracker.start(f"trial {number}", self.cursor, result["params"], self.run_id)
        self.tracker.log_rounds(run_id, [Round(**r) for r in result.get("rounds", [])])
        self.tracker.client.set_tag(run_id, "pruned", str(bool(result.get("pruned"))).lower())
        if not good:
            self.tracker.client.set_tag(run_id, "reason", result["reason"])
        self.tracker.client.set_terminated(run_id, "FINISHED" if good else "FAILED")
        told = f"{METRIC} {-result['loss']:.4f}" if good else result["reason"]
        values = ", ".join(
            f"{name} {value if isinstance(value, str) else format(value, '.4g')}"
            for name, value in result["params"].items()
        )
        log.info(f"Trial {number}: {told} with {values}")


def _tried(path: Path, digest: str) -> tuple[list[Trial], list[list[float]]]:
    """The trials of this very search that the file has, and their curves; none when the file cannot be read as such."""
    try:
        stored = read_json(path)
        tried = list(stored["tried"]) if stored["search"] == digest else []
        return tried, [_curve(result) for result in tried if result["status"] == "ok"]
    except FileNotFoundError:
        return [], []
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.info(f"{path} is not used: {error!r}. The search begins with its first trial.")
        return [], []


def _curve(result: Trial) -> list[float]:
    return [float(r[METRIC]) for r in result["rounds"]]
