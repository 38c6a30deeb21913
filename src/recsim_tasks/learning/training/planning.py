"""From settings and catalogue to the specification of a training."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.gpus import check_gpus
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.data.dataset import DatasetSummary, summarize
from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.learning.spec import Resources, TrainingSpec

log = logging.getLogger(__name__)

BATCH_PER_RANK = 64
VALIDATION_IMAGES = 2_000


@dataclass(frozen=True)
class Budget:
    """Length of a training: `images` in all, `batch_size` per step and rank, in at least `rounds` rounds."""

    images: int
    batch_size: int
    ranks: int
    rounds: int


def describe_catalogue_share(settings: Settings, cursor: Cursor) -> str | None:
    """A sentence on the share of the images that a training sees; None if it sees all, or cannot train."""
    try:
        summary = summarize(settings.products_uri, cursor)
    except InputError:
        return None
    if summary.train <= settings.train_images:
        return None
    return (
        f"The training sees {settings.train_images:,} of {summary.train:,} training images, "
        f"{settings.train_images / summary.train:.0%}, each once (RECSIM_TRAIN_IMAGES)."
    )


def plan_training(
    settings: Settings, cursor: Cursor, hyperparameters: Hyperparameters, budget: Budget
) -> TrainingSpec:
    """Specify a training by the settings; validation takes at most 2,000 images.

    Logs which categories are excluded. Raises `InputError` when there is too little to learn from, and
    `MissingError` when TensorFlow sees fewer GPUs than the settings ask for.
    """
    check_gpus(settings)
    summary = summarize(settings.products_uri, cursor)
    _check_size(summary, budget)
    return TrainingSpec(
        products_uri=settings.products_uri,
        cursor=cursor,
        preprocessing=Preprocessing(settings.image_size, settings.image_channels),
        embedding_size=settings.embedding_size,
        categories=summary.categories,
        hyperparameters=hyperparameters,
        images=budget.images,
        batch_size=budget.batch_size,
        seed=settings.seed,
        rounds=max(budget.rounds, -(-budget.images // summary.train)),
        train_share=min(1.0, budget.images / summary.train),
        validation_share=min(1.0, VALIDATION_IMAGES / summary.validation),
        backbone=settings.backbone,
        backbone_weights=str(settings.backbone_weights) if settings.backbone_weights else None,
        resources=Resources(settings.home.absolute(), settings.gpus, budget.ranks, settings.deterministic),
    )


def _check_size(summary: DatasetSummary, budget: Budget) -> None:
    if summary.excluded:
        log.warning(
            "These categories have too few training images and are not trained on: %s. "
            "Their products are embedded and can be searched all the same.",
            ", ".join(f"{name!r} ({count})" for name, count in summary.excluded.items()),
        )
    step = budget.batch_size * budget.ranks
    if summary.train < step:
        raise InputError(
            f"{summary.train} training images are fewer than the {step} of one step ({budget.batch_size} on "
            f"each of {budget.ranks} ranks, RECSIM_RANKS). Deliver more products with a category, or lower "
            "the number of ranks."
        )
