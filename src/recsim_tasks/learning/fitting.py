"""Train one network from the catalogue: what a trial of the search and a rank of the training have in common."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.progress import progress, say
from recsim_tasks.learning.augmentation import augment
from recsim_tasks.learning.backend import tensorflow
from recsim_tasks.learning.batches import balanced_batches
from recsim_tasks.learning.collapse import refuse_collapsed, spread
from recsim_tasks.learning.examples import Examples, load
from recsim_tasks.learning.job import Job, Round
from recsim_tasks.learning.metrics import map_at_r, precision_at_k, relevant_counts
from recsim_tasks.learning.preprocessing import Pixels
from recsim_tasks.learning.ranks import Ranks
from recsim_tasks.learning.schedule import learning_rate, pair_share
from recsim_tasks.learning.shards import lot, rank_of
from recsim_tasks.learning.split import Split
from recsim_tasks.learning.trainer import Trainer


def fit(job: Job, ranks: Ranks, label: str) -> tuple[Any, list[Round]]:
    """Train on this rank's shard: the network, the same on all ranks, and its rounds, likewise. Rank 0 reports progress as `label`.

    Raises `RecsimError`, on all ranks alike, when the embeddings collapse, and `InputError` when a rank is left without images.
    """
    tensorflow(gpus=job.gpus)
    train, validation = (load_shard(job, split, ranks.rank, ranks.size) for split in ("train", "validation"))
    _refuse_empty(train, ranks)
    trainer = Trainer(job, ranks)
    each = job.batch * ranks.size
    steps = max(job.rounds, round(job.images / each))
    rounds: list[Round] = []
    losses: list[float] = []
    with progress(label, steps * each, "images") if ranks.rank == 0 else nullcontext(lambda _: None) as advance:
        for step, (images, labels) in zip(range(1, steps + 1), _batches(train, job, ranks.rank), strict=False):
            losses.append(trainer.step(images, labels, learning_rate(step - 1, steps, trainer.peak_rate), pair_share(step, steps)))
            advance(each)
            if step * job.rounds // steps > len(rounds):
                rounds.append(_examine(trainer, validation, (step, step * each), losses, label))
                losses = []
    return trainer.network, rounds


def load_shard(job: Job, split: Split, rank: int, ranks: int) -> Examples:
    """Load the examples of `split` that are this rank's alone; all ranks' together are the job's share of the split."""
    share = job.train_share if split == "train" else job.validation_share

    def wanted(product_id: str) -> bool:
        return lot(product_id, "share", job.seed) < share and rank_of(product_id, job.seed, ranks) == rank

    return load(job.products, job.cursor, job.preprocessing, job.categories, split, wanted)


def _batches(train: Examples, job: Job, rank: int) -> Iterator[tuple[Pixels, npt.NDArray[np.int64]]]:
    rng = np.random.default_rng([job.seed, rank])
    for rows in balanced_batches(train.labels, job.batch, rng):
        yield augment(train.images[rows], rng), train.labels[rows]


def _examine(trainer: Trainer, validation: Examples, done: tuple[int, int], losses: list[float], label: str) -> Round:
    """Rank the validation images of all ranks among each other by cosine, each one's own category against the others. `done`: steps, images."""
    trainer.agree()
    ranks = trainer.ranks
    embeddings, labels = ranks.gather(trainer.embed(validation.images)), ranks.gather(validation.labels)
    loss = float(np.mean(ranks.collect(float(np.mean(losses)))))
    refuse_collapsed(spread(embeddings), loss, *done)
    similarities = embeddings @ embeddings.T
    np.fill_diagonal(similarities, -np.inf)
    neighbours = labels[np.argsort(-similarities, axis=1, kind="stable")[:, :-1]]
    relevant = relevant_counts(labels, labels, leave_one_out=True)
    result = Round(
        done[1], time.time(), loss, precision_at_k(labels, neighbours, 1), map_at_r(labels, neighbours, relevant), spread(embeddings)
    )
    if ranks.rank == 0:
        say(
            f"{label}: after {done[1]:,} images loss {loss:.3f}, validation precision@1 {result.precision_at_1:.3f}, MAP@R {result.map_at_r:.3f}, spread {result.spread:.2f}"
        )
    return result


def _refuse_empty(train: Examples, ranks: Ranks) -> None:
    sizes = ranks.collect(len(train))
    if min(sizes) == 0:
        raise InputError(
            f"{sum(sizes)} training images do not go round {ranks.size} ranks (RECSIM_RANKS). Deliver more products, or lower the number of ranks."
        )
