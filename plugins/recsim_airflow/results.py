"""What a job's end means to an operator: the reason in one line, and whether another try can help. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

Result = dict[str, Any]
Outcome = Literal["done", "retry", "away", "refused", "held"]

OUTCOMES: dict[int, Outcome] = {0: "done", 1: "retry", 2: "refused", 3: "held"}
# The `error_type` of a result whose job found something away.
UNAVAILABLE = "unavailable"


def outcome(exit_code: int, result: Result | None = None) -> Outcome:
    """Read the exit code by the CLI's contract, and whether the job failed because something is `away`.

    Whatever the contract does not name (a signal, a crash) may be tried again.
    """
    if exit_code == 1 and result and result.get("error_type") == UNAVAILABLE:
        return "away"
    return OUTCOMES.get(exit_code, "retry")


def parse_result(line: str) -> Result | None:
    """Read a job's last line of output as its result; `None` if it is no JSON object."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def summary(job: str, result: Result) -> str:
    """Say in one line what `job` did, and why."""
    describe = SUMMARIES.get(job, _listing)
    try:
        return describe(result)
    except (KeyError, TypeError, ValueError):  # a field is absent: show what there is
        return _listing(result)


def failure(job: str, exit_code: int, result: Result | None, last_line: str) -> str:
    """Say in one line why `job` did not succeed; in the job's own words where it left any."""
    if result and (sentence := result.get("error") or _reasons(result)):
        return str(sentence)
    if exit_code < 0:
        return f"recsim {job} was ended by signal {-exit_code}" + (
            " (was the machine out of memory?)." if exit_code == -9 else "."
        )
    return last_line or f"recsim {job} ended with exit code {exit_code} and said nothing."


def _reasons(result: Result) -> str:
    reasons = result.get("reasons") or []
    return reasons if isinstance(reasons, str) else " ".join(map(str, reasons))


def _listing(result: Result) -> str:
    plain = (f"{key} {value}" for key, value in result.items() if isinstance(value, str | int | float))
    return ", ".join(plain) or "done"


def _ingest(result: Result) -> str:
    strays = ", ".join(f"{stray['name']} {stray['reason']}" for stray in result.get("ignored") or [])
    aside = f"; no feed, and passed over: {strays}" if strays else ""
    return _taken(result) + aside


def _taken(result: Result) -> str:
    if not result.get("feed_id"):
        return "no feed in the inbox"
    if result.get("applied") is False:
        return f"{result['feed_id']} was applied before, nothing has changed"
    counts = ", ".join(
        f"{result[key]:,} {key}"
        for key in ("inserted", "updated", "deleted", "unchanged", "outdated", "quarantined")
    )
    rows = sum(
        result[key] for key in ("inserted", "updated", "deleted", "unchanged", "outdated", "quarantined")
    )
    share = f" ({result['quarantined'] / rows:.1%})" if result["quarantined"] else ""
    return f"{result['feed_id']}: {counts}{share}; catalogue at version {result['table_version']}"


def _plan(result: Result) -> str:
    why = _reasons(result)
    return (f"{result['decision']}: {why}" if why else str(result["decision"])) + _estimate(
        result.get("estimate") or {}
    )


def _estimate(estimate: Result) -> str:
    """What the refresh will take: images to embed, and minutes where past refreshes tell."""
    images, minutes = estimate.get("images"), estimate.get("minutes")
    if not images:
        return ""
    return (
        f" (about {minutes:g} min, {images:,} images to embed)"
        if minutes is not None
        else f" ({images:,} images to embed)"
    )


def _tune(result: Result) -> str:
    return (
        _reasons(result) or f"best {result['metric']} {result['best_score']:.3f} of {result['trials']} trials"
    )


def _train(result: Result) -> str:
    made = f"model {result['model_fingerprint'][:12]} by {result['ranks']} ranks"
    told = {"test images": result.get("quality"), "validation images": result["metrics"]}
    return made + "".join(f"; {which}: {_measures(measures)}" for which, measures in told.items() if measures)


def _measures(measures: Result) -> str:
    return ", ".join(
        f"{name} {value:.3f}" for name, value in measures.items() if isinstance(value, int | float)
    )


def _embed(result: Result) -> str:
    return f"embedded {result['embedded']:,} of {result['of']:,}, reused {result['reused']:,}"


def _index(result: Result) -> str:
    return f"{result['size']:,} products: {result['added']:,} added, {result['replaced']:,} replaced, {result['removed']:,} removed"


def _evaluate(result: Result) -> str:
    metrics = result["metrics"]
    figures = f"precision@1 {metrics['precision_at_1']:.3f}, @10 {metrics['precision_at_10']:.3f}"
    return " ".join(
        [f"{result['verdict']}: {figures}; {len(result['rules'])} rules kept.", *result.get("doubts", [])]
    )


def _register(result: Result) -> str:
    return f"release {result['version']} registered"


def _promote(result: Result) -> str:
    previous = result.get("previous")
    return f"release {result['version']} is in {result['stage']}" + (
        f", instead of {previous}" if previous else ""
    )


def _rollback(result: Result) -> str:
    return _reasons(result)


def _verify(result: Result) -> str:
    return _reasons(result) or f"release {result['version']} is live"


SUMMARIES: dict[str, Callable[[Result], str]] = {
    "ingest": _ingest,
    "plan": _plan,
    "tune": _tune,
    "train": _train,
    "embed": _embed,
    "index": _index,
    "evaluate": _evaluate,
    "register": _register,
    "promote": _promote,
    "rollback": _rollback,
    "verify": _verify,
}
