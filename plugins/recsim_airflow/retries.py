"""How often a task is tried again: as long as its time limit lasts while something is away, else a small number of times.

Airflow counts tries alone. It has a policy decide after each, but lets none go beyond `retries`, which is therefore large here. The policy
is not asked when a task's process is killed, so that each try begins by looking at those before it.
"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from airflow.sdk import Context
from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowFailException

from recsim_airflow.commits import UnreadableTableError
from recsim_airflow.operators import JobUnavailableError
from recsim_airflow.status import give_reason

log = logging.getLogger(__name__)

OUTAGES = (JobUnavailableError, UnreadableTableError)
# Between tries, seconds: doubled from the first to the longest.
FIRST_DELAY, LONGEST_DELAY = 30.0, 600.0
# More tries than the longest task's time limit has room for.
MOST_TRIES = 60
TRIES_KEY = "tries"


class OutageRetryPolicy(RetryPolicy):
    """Retry until the task's `execution_timeout`, counted from its first try, while something is away; retry other failures `failures` times."""

    def __init__(self, failures: int = 2) -> None:
        self.failures = failures

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002 - Airflow's signature
        context: Context | None = None,
    ) -> RetryDecision:
        """Decide by what the failed try raised."""
        assert context is not None
        tries = Tries.of(context)
        if isinstance(exception, OUTAGES):
            return self._wait(tries, exception, context)
        failed = tries.failed(try_number)
        if failed >= self.failures:
            return _give_up(f"Given up after {failed + 1} tries that failed.")
        return _retry(_delay(failed), exception)

    def _wait(self, tries: Tries, exception: BaseException, context: Context) -> RetryDecision:
        limit: timedelta | None = context["task"].execution_timeout
        left = tries.began + limit.total_seconds() - time.time() if limit else LONGEST_DELAY
        if left <= 0:
            return _give_up(f"Given up: what the task needs was away for all of its time limit, {limit}.")
        replace(tries, outages=tries.outages + 1).keep(context)
        return _retry(min(_delay(tries.outages), left), exception)


def _delay(before: int) -> float:
    return min(FIRST_DELAY * 2.0**before, LONGEST_DELAY)


def _retry(delay: float, exception: BaseException) -> RetryDecision:
    sentence = f"Tried again in {delay:.0f} s: {exception}"
    log.info(sentence)  # Airflow's own line about it does not say the reason in words
    return RetryDecision.retry(timedelta(seconds=delay), sentence)


def _give_up(sentence: str) -> RetryDecision:
    log.info(sentence)
    return RetryDecision.fail(sentence)


@dataclass(frozen=True)
class Tries:
    """The tries of a task since it was scheduled or cleared, as its state store keeps them between tries."""

    max_tries: int
    """What Airflow allows; a clear raises it, and counting begins again."""
    first: int
    """Number of the first try."""
    began: float
    """When that was, in unix seconds."""
    outages: int = 0
    """How many have ended because something was away."""

    @classmethod
    def of(cls, context: Context) -> Tries:
        """What is kept, or a beginning with this try."""
        ti: Any = context["ti"]
        kept: Any = context["task_state_store"].get(TRIES_KEY)
        if kept and kept["max_tries"] == ti.max_tries:
            return cls(**kept)
        return cls(ti.max_tries, ti.try_number, time.time())

    def keep(self, context: Context) -> None:
        """Leave this for the next try."""
        context["task_state_store"].set(TRIES_KEY, asdict(self))

    def failed(self, try_number: int) -> int:
        """How many tries before `try_number` failed, or were killed, with nothing away."""
        return try_number - self.first - self.outages


def begin_try(context: Context) -> None:
    """Note the first try's time; refuse a try after too many that were killed, which no policy was asked about."""
    tries, policy = Tries.of(context), context["task"].retry_policy
    tries.keep(context)
    failed = tries.failed(context["ti"].try_number)
    if isinstance(policy, OutageRetryPolicy) and failed > policy.failures:
        reason = f"Given up: {failed} tries have failed or were killed. See their logs and the machine's memory, then clear this task."
        give_reason(context, reason)
        raise AirflowFailException(reason)


# For every DAG, as a part of its `default_args`. The delays count where no policy is asked, after a kill.
RETRIES: dict[str, Any] = {
    "retries": MOST_TRIES,
    "retry_policy": OutageRetryPolicy(),
    "retry_delay": timedelta(seconds=FIRST_DELAY),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(seconds=LONGEST_DELAY),
    "pre_execute": begin_try,
}
