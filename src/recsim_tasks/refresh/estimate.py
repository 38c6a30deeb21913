"""What a refresh will cost: images to embed, counted; minutes, as the last refreshes of its kind took."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.plan import NEW_IMAGES, Decision
from recsim_tasks.refresh.plan_inputs import Found
from recsim_tasks.refresh.workspace import last_written, read_result

STEPS = ("plan", "tune", "train", "embed", "index", "evaluate", "register", "promote", "verify")
LAST_STEP = "promote"
PAST = 5


def estimate(
    settings: Settings, decision: Decision, found: Found, model_fingerprint: str | None, head: Cursor
) -> dict[str, Any]:
    """`images` that will be embedded, and `minutes`: the median of the last five finished refreshes of this decision, None without any.

    The images are counted, not guessed: those of the change range (append) or of the catalogue (rebuild) without an embedding by the
    champion's model; for a retrain, whose model has none yet, all different ones.
    """
    known = None if decision == "retrain" else model_fingerprint
    images = 0 if decision == "skip" else _images(settings, decision, found, known, head)
    return {"images": images, "minutes": past_minutes(settings, decision)}


def past_minutes(settings: Settings, decision: Decision) -> float | None:
    """Median minutes that the steps of the last five finished refreshes with this decision took together; None without any."""
    folders = settings.home.absolute().glob("refreshes/*/plan.json")
    newest_first = sorted(folders, key=last_written, reverse=True)
    seconds = [taken for plan in newest_first if (taken := _seconds(plan.parent, decision)) is not None]
    return round(median(seconds[:PAST]) / 60, 1) if seconds else None


def _images(
    settings: Settings, decision: Decision, found: Found, model_fingerprint: str | None, head: Cursor
) -> int:
    import pyarrow.compute as pc

    from recsim_tasks.catalogue.delta.reader import read_products
    from recsim_tasks.vectors.embeddings import without_embedding

    if decision == "append":
        hashes = found.changes.filter(pc.field("kind").isin(NEW_IMAGES))["image_hash"]
    else:
        hashes = read_products(settings.products_uri, head, ["image_hash"])["image_hash"]
    return len(without_embedding(settings.embeddings_uri, model_fingerprint, hashes.unique()))


def _seconds(folder: Path, decision: Decision) -> float | None:
    """What the steps of one refresh took; None when it decided otherwise, or did not reach its end."""
    results = {name: read_result(folder / f"{name}.json") for name in STEPS}
    if results["plan"].get("decision") != decision or (decision != "skip" and not results[LAST_STEP]):
        return None
    seconds = [result.get("seconds", 0) for result in results.values()]
    return sum(seconds) if all(isinstance(taken, int | float) for taken in seconds) else None
