"""The search itself: Hyperopt's TPE over the space, its trials spread by Spark. The only module that knows Hyperopt's trials."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from recsim_tasks.foundation.spark_executors import has_ended
from recsim_tasks.learning.hyperparameters import CHOICES, RANGES, Parameters
from recsim_tasks.learning.tuning.trial import Trial

POLL_SECONDS = 0.2
OUTCOMES = ("ok", "fail")
Objective = Callable[[Parameters], Trial]


def search(
    spark: Any, objective: Objective, parallel: int, trials: int, seconds: float, seed: int,
    known: Sequence[Trial], first: Sequence[Parameters], finished: Callable[[Trial], None], enough: Callable[[], bool],
) -> None:  # fmt: skip
    """Have `objective` tried out until there are `trials` results with the `known` ones, the time is over, or there are `enough`.

    `known` results, of an earlier run of the same search, guide it and are not tried again. The points `first` come before those that
    Hyperopt suggests. `finished` hears each new result, once, as soon as it is there.
    """
    from hyperopt import SparkTrials, fmin, tpe
    from hyperopt.base import JOB_STATE_DONE, JOB_STATE_NEW
    from hyperopt.exceptions import AllTrialsFailed

    found = SparkTrials(parallelism=parallel, timeout=max(1.0, seconds), spark_session=spark)
    docs = [
        _document(number, result["params"], JOB_STATE_DONE, result) for number, result in enumerate(known)
    ]
    docs += [
        _document(len(known) + n, point.as_json(), JOB_STATE_NEW, {"status": "new"})
        for n, point in enumerate(first)
    ]
    found.insert_trial_docs(docs)
    found.refresh()
    with _hearing(spark, found, len(known), finished), suppress(AllTrialsFailed):  # the listener sees that
        fmin(
            lambda point: objective(Parameters.of(point)), _space(), algo=tpe.suggest, max_evals=trials, trials=found,
            rstate=np.random.default_rng([seed, len(known)]), early_stop_fn=lambda *_: (enough(), []), return_argmin=False,
            show_progressbar=False, verbose=False,
        )  # fmt: skip


def _space() -> dict[str, Any]:
    from hyperopt import hp

    space: dict[str, Any] = {name: hp.choice(name, choices) for name, choices in CHOICES.items()}
    for name, (low, high) in RANGES.items():
        space[name] = (
            hp.loguniform(name, np.log(low), np.log(high))
            if name == "learning_rate"
            else hp.uniform(name, low, high)
        )
    return space


def _document(number: int, params: Mapping[str, Any], state: int, result: Trial) -> dict[str, Any]:
    """A trial as Hyperopt keeps it; of a choice it keeps the position."""
    values = {
        name: [CHOICES[name].index(value) if name in CHOICES else value] for name, value in params.items()
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
def _hearing(spark: Any, found: Any, known: int, finished: Callable[[Trial], None]) -> Iterator[None]:
    """Look for new results, in a thread, and once more at the end. Hyperopt itself tells of the good ones alone, and a second later."""
    over, heard = threading.Event(), set(range(known))

    def look() -> None:
        for trial in list(found._dynamic_trials):
            result = None if trial["tid"] in heard else _result(trial)
            if result is not None and not (
                result["status"] == "fail" and has_ended(spark)
            ):  # else the outage would count against it
                heard.add(trial["tid"])
                finished(result)

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            look()

    thread = threading.Thread(target=watch, name="trials", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()


def _result(trial: Any) -> Trial | None:
    """What came of a trial; None while it runs, and of one that was cancelled because the search ended."""
    from hyperopt.base import JOB_STATE_DONE, JOB_STATE_ERROR

    if trial["state"] == JOB_STATE_DONE and trial["result"].get("status") in OUTCOMES:
        return dict(trial["result"])
    if trial["state"] != JOB_STATE_ERROR or "error" not in trial["misc"]:
        return None
    vals = {name: value[0] for name, value in trial["misc"]["vals"].items()}
    params = {name: CHOICES[name][value] if name in CHOICES else value for name, value in vals.items()}
    return {
        "status": "fail",
        "reason": "its process ended, mostly for want of memory; its own message stands further up in this log",
        "params": params,
    }
