"""From settings and catalogue to a training: how much of what is seen how often."""

from __future__ import annotations

import logging

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.gpus import check_gpus
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.data.dataset import survey
from recsim_tasks.learning.hyperparameters import Parameters
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.learning.spec import Job, Machine

log = logging.getLogger(__name__)

BATCH_PER_RANK = 64
VALIDATION_IMAGES = 2_000


def share_of_catalogue(settings: Settings, cursor: Cursor) -> str | None:
    """Say what share of the catalogue's images a training sees; None when it sees all, or they are too few."""
    try:
        found = survey(settings.products_uri, cursor)
    except InputError:
        return None
    if found.train <= settings.train_images:
        return None
    return (
        f"The training sees {settings.train_images:,} of {found.train:,} training images, "
        f"{settings.train_images / found.train:.0%}, each once (RECSIM_TRAIN_IMAGES)."
    )


def plan_job(
    settings: Settings,
    cursor: Cursor,
    parameters: Parameters,
    images: int,
    batch: int,
    ranks: int,
    rounds: int,
) -> Job:
    """Describe a training on `ranks` ranks as the settings have it; validation takes at most 2,000 images.

    Says which categories are left out. Raises `InputError` when there is too little to learn from, and
    `MissingError` when TensorFlow sees fewer GPUs than it is to use.
    """
    check_gpus(settings)
    found = survey(settings.products_uri, cursor)
    if found.left_out:
        few = ", ".join(f"{name!r} ({count})" for name, count in found.left_out.items())
        log.info(
            f"Left out of training, for too few training images: {few}. Their products are embedded and found all the same."
        )
    if found.train < batch * ranks:
        raise InputError(
            f"{found.train} training images are fewer than the {batch * ranks} of one step ({batch} on each of {ranks} ranks, RECSIM_RANKS). Deliver more products with a category, or lower the number of ranks."
        )
    return Job(
        products=settings.products_uri,
        cursor=cursor,
        preprocessing=Preprocessing(settings.image_size, settings.image_channels),
        embedding_size=settings.embedding_size,
        categories=found.categories,
        parameters=parameters,
        images=images,
        batch=batch,
        seed=settings.seed,
        rounds=max(rounds, -(-images // found.train)),
        train_share=min(1.0, images / found.train),
        validation_share=min(1.0, VALIDATION_IMAGES / found.validation),
        backbone=settings.backbone,
        weights=str(settings.backbone_weights) if settings.backbone_weights else None,
        machine=Machine(settings.home.absolute(), settings.gpus, ranks, settings.deterministic),
    )
