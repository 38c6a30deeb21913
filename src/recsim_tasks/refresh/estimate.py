"""Estimate the cost of a refresh: the images to embed, and the minutes that earlier refreshes took."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from recsim_tasks.contracts import (
    Decision,
    EmbedResult,
    Estimate,
    EvaluateResult,
    GateResult,
    IndexResult,
    JobResult,
    PlanResult,
    PromoteResult,
    RegisterResult,
    TrainResult,
    TuneResult,
    VerifyResult,
)
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.plan import NEW_IMAGES
from recsim_tasks.refresh.plan_inputs import PlanInputs
from recsim_tasks.refresh.workspace import last_written, read_result

STEPS: tuple[type[JobResult], ...] = (
    PlanResult,
    TuneResult,
    TrainResult,
    EmbedResult,
    IndexResult,
    EvaluateResult,
    RegisterResult,
    GateResult,
    PromoteResult,
    VerifyResult,
)
LAST_STEP = PromoteResult
RECENT = 5


def estimate(
    settings: Settings, decision: Decision, inputs: PlanInputs, model_fingerprint: str | None
) -> Estimate:
    """Count the images to embed, and take the median time of the last five such refreshes that finished.

    The images are counted: those of the change range (append) or of the catalogue (rebuild) that the
    champion's model has not embedded; for a retrain, whose model has embedded none yet, all distinct ones.
    """
    known = None if decision == "retrain" else model_fingerprint
    images = 0 if decision == "skip" else _images(settings, decision, inputs, known)
    return Estimate(images=images, minutes=past_minutes(settings, decision))


def past_minutes(settings: Settings, decision: Decision) -> float | None:
    """Median minutes that the last five finished refreshes with this decision took; None without any."""
    plans = settings.home.absolute().glob(f"refreshes/*/{PlanResult.job}.json")
    newest_first = sorted(plans, key=last_written, reverse=True)
    seconds = [taken for plan in newest_first if (taken := _seconds(plan.parent, decision)) is not None]
    return round(median(seconds[:RECENT]) / 60, 1) if seconds else None


def _images(settings: Settings, decision: Decision, inputs: PlanInputs, model_fingerprint: str | None) -> int:
    import pyarrow.compute as pc

    from recsim_tasks.catalogue.delta.reader import read_products
    from recsim_tasks.vectors.embeddings import without_embedding

    if decision == "append":
        hashes = inputs.changes.filter(pc.field("kind").isin(NEW_IMAGES))["image_hash"]
    else:
        hashes = read_products(settings.products_uri, inputs.facts.head, ["image_hash"])["image_hash"]
    return len(without_embedding(settings.embeddings_uri, model_fingerprint, hashes.unique()))


def _seconds(folder: Path, decision: Decision) -> float | None:
    """How long the steps of one refresh took; None if it decided otherwise or did not finish."""
    plan, last = read_result(folder, PlanResult), read_result(folder, LAST_STEP)
    if plan is None or plan.decision != decision or (decision != "skip" and last is None):
        return None
    results = (read_result(folder, step) for step in STEPS)
    return sum(result.elapsed_seconds or 0.0 for result in results if result)
