"""One trial of the search: train briefly with one set of hyperparameters, on one device."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.logging import configure
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.learning.devices import device, processors
from recsim_tasks.learning.hyperparameters import Parameters
from recsim_tasks.learning.spec import Job, Round
from recsim_tasks.learning.tensorflow_runtime import tensorflow
from recsim_tasks.learning.training.distributed import Alone
from recsim_tasks.learning.training.loop import Shards, fit
from recsim_tasks.learning.tuning.stopping import hopeless

log = logging.getLogger(__name__)

METRIC = "map_at_r"
Trial = dict[str, Any]


def try_out(job: Job, shards: Shards, parameters: Parameters, finished: Sequence[Sequence[float]]) -> Trial:
    """Hyperopt's result of a trial, with what it tried and how it went; `finished` are the curves of trials that ended before it began.

    Whatever goes wrong is a failed trial with its reason, not a failed search.
    """
    from hyperopt import STATUS_FAIL, STATUS_OK

    configure()  # a Spark worker is a process of its own
    tried: Trial = {"params": parameters.as_json()}
    try:
        with device(job.machine.home, job.machine.gpus, job.machine.at_once):
            tensorflow(
                max(1, processors() // job.machine.at_once), job.machine.gpus, job.machine.deterministic
            )
            rounds = _rounds(replace(job, parameters=parameters), shards, finished)
    except RecsimError as error:
        return {"status": STATUS_FAIL, "reason": redacted(str(error)), **tried}
    except Exception as error:
        log.error("A trial failed", exc_info=error)
        return {
            "status": STATUS_FAIL,
            "reason": redacted(f"{type(error).__name__}: {str(error).splitlines()[:1]}"),
            **tried,
        }
    score = getattr(rounds[-1], METRIC)
    return {
        "status": STATUS_OK,
        "loss": -score,
        "rounds": [asdict(r) for r in rounds],
        "pruned": len(rounds) < job.rounds,
        **tried,
    }


def _rounds(job: Job, shards: Shards, finished: Sequence[Sequence[float]]) -> list[Round]:
    def heard(rounds: list[Round]) -> bool:
        stop = hopeless([getattr(r, METRIC) for r in rounds], finished)
        if stop:
            log.info(
                f"Trial ends after {len(rounds)} of {job.rounds} rounds: it is below the median of the others"
            )
        return not stop

    _, rounds = fit(
        job,
        Alone(),
        shards,
        f"Trial with {job.parameters.pair_loss}, learning rate {job.parameters.learning_rate:.2g}",
        heard=heard,
    )
    return rounds
