"""The search for hyperparameters: which points it tries, how it records them, which is best."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from recsim_tasks.contracts import Cursor, TuneResult
from recsim_tasks.foundation.errors import InputError, RecsimError
from recsim_tasks.foundation.progress import progress
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.mlflow_runs import Tracker
from recsim_tasks.learning.spec import TrainingSpec
from recsim_tasks.learning.training.communicator import SingleProcess
from recsim_tasks.learning.training.planning import BATCH_PER_RANK, Budget, plan_training
from recsim_tasks.learning.training.training_data import load_training_data
from recsim_tasks.learning.tuning.hyperopt_search import Search, run_search
from recsim_tasks.learning.tuning.trial import METRIC, TrialResult, run_trial
from recsim_tasks.learning.tuning.trial_record import TrialRecord

log = logging.getLogger(__name__)

ROUNDS = 4


def tune(
    settings: Settings, cursor: Cursor, out: Path, trials: int, champion: Mapping[str, object] | None = None
) -> TuneResult:
    """Try `trials` points, `settings.tune_parallel` at a time, for at most `settings.tune_minutes`.

    `out` is a JSON file that gets each trial as soon as it ends: a killed search resumes with the rest. The
    first points are the `champion`'s hyperparameters, if given, and the defaults. Scores are MAP@R among
    validation images; no test image is used. Each trial is an MLflow run below the search's. A failed trial
    is counted; if all fail, that is a `RecsimError`.
    """
    concurrency = min(settings.tune_parallel, trials)
    budget = Budget(settings.tune_images, BATCH_PER_RANK * settings.ranks, 1, ROUNDS)
    spec = plan_training(settings, cursor, Hyperparameters(), budget)
    spec = replace(spec, resources=replace(spec.resources, concurrency=concurrency))
    tracker, digest = Tracker(settings), spec.digest(1)
    params = {
        "trials": trials,
        "parallel": concurrency,
        "minutes": settings.tune_minutes,
        "images": spec.images,
        "metric": METRIC,
    }
    note = out.with_name("tune-run.json")
    with tracker.run("tune", cursor, params, note=note, digest=digest) as run:
        run.log_dataset(spec)
        record = TrialRecord(out, digest, tracker, run, cursor)
        if record.results:
            log.info("%d trials of this search are recorded and are not run again", len(record.results))
        champion_point = _parse_champion(champion)
        if len(record.results) < trials:
            known = [point for point in (champion_point, Hyperparameters()) if point]
            _search(settings, spec, record, trials, known)
        record.log_pending()
        result = select_best(record.results, champion_point)
        for reason in result.reasons:
            log.info("%s", reason)
        run.log_metrics({METRIC: result.best_score})
        record.write(result)
    return result


def select_best(results: Sequence[TrialResult], champion: Hyperparameters | None) -> TuneResult:
    """Choose the best trial; among equals, the champion's hyperparameters. `RecsimError` if all failed."""
    scored = [result for result in results if not result.failed]
    if not scored:
        reason = results[0].reason if results else "no trial ended in time, raise RECSIM_TUNE_MINUTES"
        raise RecsimError(f"None of the {len(results)} trials gave a model. The first: {reason}")
    champion_trials = [result for result in scored if champion and dict(result.params) == champion.as_json()]
    best = min(scored, key=lambda result: (-result.score, result not in champion_trials))
    champion_score = champion_trials[0].score if champion_trials else None
    if best in champion_trials:
        reason = (
            f"None of {len(results)} trials was better than the champion's own hyperparameters: they are "
            f"kept, {METRIC} {best.score:.4f}."
        )
    else:
        reason = f"The best of {len(results)} trials has {METRIC} {best.score:.4f}"
        if champion_score is not None:
            reason += f", the champion's own hyperparameters {champion_score:.4f}"
        reason += "."
    return TuneResult(
        best_params=dict(best.params),
        trials=len(results),
        failed=len(results) - len(scored),
        pruned=sum(result.pruned for result in scored),
        metric=METRIC,
        best_score=best.score,
        champion_score=champion_score,
        reasons=[reason],
    )


def _search(
    settings: Settings,
    spec: TrainingSpec,
    record: TrialRecord,
    trials: int,
    initial_points: Sequence[Hyperparameters],
) -> None:
    from recsim_tasks.foundation.spark import spark_session

    tried = [dict(result.params) for result in record.results]
    untried = [point for point in dict.fromkeys(initial_points) if point.as_json() not in tried]
    search = Search(
        trials=trials,
        parallelism=spec.resources.concurrency,
        seconds=settings.tune_minutes * 60,
        seed=settings.seed,
        earlier=tuple(record.results),
        initial_points=untried[: trials - len(record.results)],
    )
    # A GPU's memory is freed when the process that used it ends.
    worker_per_task = {"spark.python.worker.reuse": "false"} if settings.gpus else {}
    log.info(
        "Searching: %d trials, %d at a time, %s images each, %g minutes at most",
        trials,
        search.parallelism,
        f"{spec.images:,}",
        settings.tune_minutes,
    )
    data = load_training_data(spec, SingleProcess())
    data = replace(data, train=data.train.in_memory(), validation=data.validation.in_memory())
    with (
        spark_session(settings, "recsim tune", worker_per_task) as spark,
        progress("Tuning", trials, "trials") as advance,
    ):
        record.advance = advance
        advance(len(record.results))
        on_workers = spark.sparkContext.broadcast(data)
        curves = record.curves

        def objective(point: Hyperparameters) -> TrialResult:
            return run_trial(spec, on_workers.value, point, curves)

        run_search(spark, search, objective, record.add, record.should_stop)


def _parse_champion(values: Mapping[str, object] | None) -> Hyperparameters | None:
    """The champion's hyperparameters, if this build knows them all."""
    try:
        return Hyperparameters.parse(values) if values is not None else None
    except InputError as error:
        log.warning("The champion's hyperparameters are not tried: %s", error)
        return None
