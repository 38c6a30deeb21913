"""The search: Hyperopt's TPE, with trials run by Spark. The only module that knows Hyperopt."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsim_tasks.foundation.errors import UnavailableError
from recsim_tasks.foundation.spark_executors import has_ended
from recsim_tasks.learning.hyperparameters import CHOICES, RANGES, Hyperparameters, Value
from recsim_tasks.learning.tuning.trial import FAILED, OK, TrialResult

POLL_SECONDS = 0.2
WORKER_DIED = "its process died, usually because memory ran out; its own message is further up in this log"
Objective = Callable[[Hyperparameters], TrialResult]


@dataclass(frozen=True)
class Search:
    """A search of `trials` trials at most, `parallelism` at a time, for at most `seconds`."""

    trials: int
    parallelism: int
    seconds: float
    seed: int
    earlier: Sequence[TrialResult] = ()
    """Results of an earlier run of the same search: they count, guide it, and are not tried again."""
    initial_points: Sequence[Hyperparameters] = ()
    """Tried before the points that Hyperopt suggests."""


def run_search(
    spark: Any,
    search: Search,
    objective: Objective,
    on_result: Callable[[TrialResult], None],
    should_stop: Callable[[], bool],
) -> None:
    """Run trials of `objective` until the search has all its results, its time is over, or `should_stop`.

    Calls `on_result` with each new result, once, as soon as it arrives. The search ends with the error of
    `on_result`, and with `UnavailableError` when an outage keeps a trial from running.
    """
    from hyperopt import SparkTrials, fmin, tpe
    from hyperopt.base import JOB_STATE_DONE, JOB_STATE_NEW
    from hyperopt.exceptions import AllTrialsFailed

    logging.getLogger("hyperopt-spark").setLevel(logging.WARNING)  # it sets its own level, INFO
    trials = SparkTrials(
        parallelism=search.parallelism, timeout=max(1.0, search.seconds), spark_session=spark
    )
    known = len(search.earlier)
    documents = [
        _document(number, result.params, JOB_STATE_DONE, result.as_json())
        for number, result in enumerate(search.earlier)
    ]
    documents += [
        _document(known + number, point.as_json(), JOB_STATE_NEW, {"status": "new"})
        for number, point in enumerate(search.initial_points)
    ]
    trials.insert_trial_docs(documents)
    trials.refresh()
    with (
        _without_session_warning(),
        _reporting(spark, trials, known, on_result) as has_failed,
        suppress(AllTrialsFailed),  # `on_result` has them
    ):
        fmin(
            lambda values: objective(Hyperparameters.parse(values)).as_json(),
            _space(),
            algo=tpe.suggest,
            max_evals=search.trials,
            trials=trials,
            rstate=np.random.default_rng([search.seed, known]),
            early_stop_fn=lambda *_: (has_failed() or should_stop(), []),
            return_argmin=False,
            show_progressbar=False,
            verbose=False,
        )


def _space() -> dict[str, object]:
    from hyperopt import hp

    space = {name: hp.choice(name, choices) for name, choices in CHOICES.items()}
    for name, (low, high) in RANGES.items():
        space[name] = (
            hp.loguniform(name, np.log(low), np.log(high))
            if name == "learning_rate"
            else hp.uniform(name, low, high)
        )
    return space


def _document(
    number: int, params: Mapping[str, Value], state: int, result: Mapping[str, object]
) -> dict[str, object]:
    """A trial in Hyperopt's form, which stores a choice by its position."""
    values = {
        name: [CHOICES[name].index(str(value)) if name in CHOICES else value]
        for name, value in params.items()
    }
    misc = {
        "tid": number,
        "cmd": ("domain_attachment", "FMinIter_Domain"),
        "workdir": None,
        "idxs": {name: [number] for name in values},
        "vals": values,
    }
    empty = dict.fromkeys(("spec", "exp_key", "owner", "book_time", "refresh_time"))
    return {"state": state, "tid": number, "result": result, "misc": misc, "version": 0, **empty}


@contextmanager
def _without_session_warning() -> Iterator[None]:
    """Hide PySpark's warning that Hyperopt starts threads without the session's tags; there are none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Spark session is not provided", UserWarning)
        yield


@contextmanager
def _reporting(
    spark: Any, trials: Any, known: int, on_result: Callable[[TrialResult], None]
) -> Iterator[Callable[[], bool]]:
    """Report new results from a thread; Hyperopt itself reports successes only, and a second later.

    Yields whether reporting has failed; the first error is raised at the end.
    """
    over, reported = threading.Event(), set(range(known))
    errors: list[Exception] = []

    def report() -> None:
        for trial in list(trials._dynamic_trials):
            result = None if trial["tid"] in reported else _result(trial)
            # A trial that failed because the session ended would count as the fault of its hyperparameters.
            if result is not None and not (result.failed and has_ended(spark)):
                reported.add(trial["tid"])
                if result.unavailable:
                    errors.append(UnavailableError(result.reason))
                else:
                    on_result(result)

    def watch() -> None:
        try:
            while not over.wait(POLL_SECONDS):
                report()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=watch, name="trials", daemon=True)
    thread.start()
    try:
        yield lambda: bool(errors)
    finally:
        over.set()
        thread.join()
        report()
    if errors:
        raise errors[0]


def _result(trial: Any) -> TrialResult | None:
    """The result of a trial; None while it runs, and when it was cancelled because the search ended."""
    from hyperopt.base import JOB_STATE_DONE, JOB_STATE_ERROR

    if trial["state"] == JOB_STATE_DONE and trial["result"].get("status") in (OK, FAILED):
        return TrialResult.from_json(trial["result"])
    if trial["state"] != JOB_STATE_ERROR or "error" not in trial["misc"]:
        return None
    values = {name: value[0] for name, value in trial["misc"]["vals"].items()}
    params = {name: CHOICES[name][value] if name in CHOICES else value for name, value in values.items()}
    return TrialResult(params, reason=WORKER_DIED)
