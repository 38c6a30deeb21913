"""Train one network from the catalogue: what a trial of the search and a rank of the training have in common."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsim_tasks.arrays import Int64Array
from recsim_tasks.foundation.errors import InputError, RecsimError
from recsim_tasks.foundation.progress import progress
from recsim_tasks.learning.data.dataset import Examples, labelled, load, select
from recsim_tasks.learning.data.near_duplicates import near_any
from recsim_tasks.learning.data.sampler import shape_of
from recsim_tasks.learning.data.splits import Split
from recsim_tasks.learning.metrics import map_at_r, precision_at_k, relevant_counts
from recsim_tasks.learning.spec import Job, Round
from recsim_tasks.learning.training.checkpoints import Checkpoint, Checkpoints
from recsim_tasks.learning.training.distributed import Ranks
from recsim_tasks.learning.training.divergence import refuse_collapsed, refuse_nonsense, spread
from recsim_tasks.learning.training.input_pipeline import batches
from recsim_tasks.learning.training.schedule import WARM_SHARE, learning_rate, pair_share, round_ends
from recsim_tasks.learning.training.trainer import Trainer
from recsim_tasks.learning.training.warm_start import start_from

log = logging.getLogger(__name__)

# Images that are seen a few times only are learnt the better the more is seen of them.
HOLES_FROM = 8
Heard = Callable[[list[Round]], bool]


@dataclass(frozen=True)
class Shards:
    """What a rank trains on, and what it is examined on."""

    train: Examples
    validation: Examples
    total: int
    """Training images of all ranks."""


def load_shards(job: Job, ranks: Ranks) -> Shards:
    """Load what is this rank's alone, all ranks' together being the job's share of the catalogue; `InputError` when there is too little.

    Training images that are nearly the same as one of the validation or test images are left out.
    """
    known = labelled(job.products, job.cursor)

    def part(split: Split, share: float) -> Examples:
        chosen = select(known, job.categories, split, share, job.seed, ranks.rank, ranks.size)
        return load(job.products, job.cursor, job.preprocessing, *chosen)

    train, validation, test = (
        part("train", job.train_share),
        part("validation", job.validation_share),
        part("test", 1.0),
    )
    near = near_any(train.thumbnails, ranks.gather(np.concatenate([validation.thumbnails, test.thumbnails])))
    found = sum(ranks.collect(int(near.sum())))
    if ranks.rank == 0 and found:
        log.info(f"Left out of training, as nearly the same as a validation or test image: {found:,} images")
    return Shards(train.only(~near), validation, _count(int((~near).sum()), ranks))


def fit(
    job: Job,
    ranks: Ranks,
    shards: Shards,
    label: str,
    checkpoints: Checkpoints | None = None,
    heard: Heard | None = None,
) -> tuple[Trainer, list[Round]]:
    """Train on this rank's shard: the trainer, its network the same on all ranks, and the rounds, likewise.

    Goes on from the latest of `checkpoints`, and adds to them at every round. Rank 0 reports progress as `label`. After each round
    `heard` is told all so far, and says whether to go on. Raises `RecsimError`, on all ranks alike, when the embeddings collapse or the
    loss is no number.
    """
    trainer, each = Trainer(job, ranks), _images_a_step(shards.train.labels, job.batch, ranks)
    done, rounds = _start(trainer, job, shards, checkpoints)
    peak = trainer.peak_rate * (WARM_SHARE if job.champion else 1)
    ends = round_ends(max(job.rounds, round(job.images / each)), job.rounds)
    losses: list[float] = []
    listening = ranks.ending.listening() if checkpoints else nullcontext()
    with (
        listening,
        progress(label, ends[-1] * each, "images")
        if ranks.rank == 0
        else nullcontext(lambda _: None) as advance,
    ):
        advance(done * each)
        stream = batches(
            shards.train, job.batch, job.seed, ranks.rank, done, holes=job.images >= HOLES_FROM * shards.total
        )
        for step, (images, labels) in zip(range(done + 1, ends[-1] + 1), stream, strict=False):
            rate, share = learning_rate(step - 1, ends[-1], peak), pair_share(step, ends[-1])
            losses.append(trainer.step(images, labels, rate, share))
            refuse_nonsense(losses[-1], step * each)
            advance(each)
            _end_if_asked(trainer, checkpoints, step, rounds)
            if step == ends[len(rounds)]:
                rounds.append(_examine(trainer, shards.validation, (step, step * each), losses))
                losses = []
                _keep(trainer, checkpoints, step, rounds)
                _tell(ranks, label, rounds[-1])
                if heard and not heard(rounds):
                    break
    return trainer, rounds


def _images_a_step(labels: Int64Array, batch: int, ranks: Ranks) -> int:
    """What all ranks' batches hold together: with 10 categories a batch of 64 holds 60."""
    return sum(ranks.collect(math.prod(shape_of(labels, batch))))


def _start(
    trainer: Trainer, job: Job, shards: Shards, checkpoints: Checkpoints | None
) -> tuple[int, list[Round]]:
    """Steps done and rounds so far: the trainer is put where a checkpoint is, else where the champion is that the job may name."""
    done, rounds = _go_on(trainer, checkpoints)
    if job.champion and not done:
        start_from(trainer, Path(job.champion), shards.train)
    return done, rounds


def _go_on(trainer: Trainer, checkpoints: Checkpoints | None) -> tuple[int, list[Round]]:
    """Steps done and rounds so far, by the checkpoint that rank 0 has; the trainer is put there."""
    if checkpoints is None:
        return 0, []
    found = checkpoints.latest() if trainer.ranks.rank == 0 else None
    if found:
        log.info(f"Going on from the checkpoint after {found.step:,} steps, {len(found.rounds)} rounds")
    trainer.restore(found.arrays if found else None)
    step, rounds = trainer.ranks.collect((found.step, found.rounds) if found else (0, []))[0]
    return step, list(rounds)


def _keep(trainer: Trainer, checkpoints: Checkpoints | None, step: int, rounds: list[Round]) -> None:
    if checkpoints and trainer.ranks.rank == 0:
        checkpoints.keep(Checkpoint(step, trainer.state(), rounds))


def _end_if_asked(trainer: Trainer, checkpoints: Checkpoints | None, step: int, rounds: list[Round]) -> None:
    """Between two rounds the ranks differ in batch normalisation's statistics alone: rank 0's do for all."""
    if checkpoints and trainer.ranks.ending.asked:
        _keep(trainer, checkpoints, step, rounds)
        raise RecsimError(
            f"Training was told to end after {step:,} steps. Run it again: it goes on from there."
        )


def _tell(ranks: Ranks, label: str, last: Round) -> None:
    """After it was kept: whoever reads of a round may end the training without losing it."""
    if ranks.rank == 0:
        log.info(
            f"{label}: after {last.images:,} images loss {last.loss:.3f}, validation precision@1 {last.precision_at_1:.3f}, MAP@R {last.map_at_r:.3f}, spread {last.spread:.2f}"
        )


def _examine(trainer: Trainer, validation: Examples, done: tuple[int, int], losses: list[float]) -> Round:
    """Rank the validation images of all ranks among each other by cosine, each one's own category against the others. `done`: steps, images."""
    trainer.agree()
    ranks = trainer.ranks
    embeddings = ranks.gather(trainer.embed(validation.read(np.arange(len(validation)))))
    labels, loss = ranks.gather(validation.labels), float(np.mean(losses))
    refuse_collapsed(spread(embeddings), loss, *done)
    similarities = embeddings @ embeddings.T
    np.fill_diagonal(similarities, -np.inf)
    neighbours = labels[np.argsort(-similarities, axis=1, kind="stable")[:, :-1]]
    relevant = relevant_counts(labels, labels, leave_one_out=True)
    precision = precision_at_k(labels, neighbours, 1)
    return Round(
        done[1], time.time(), loss, precision, map_at_r(labels, neighbours, relevant), spread(embeddings)
    )


def _count(mine: int, ranks: Ranks) -> int:
    sizes: list[int] = ranks.collect(mine)
    if min(sizes) == 0:
        raise InputError(
            f"{sum(sizes)} training images do not go round {ranks.size} ranks (RECSIM_RANKS). Deliver more products, or lower the number of ranks."
        )
    return sum(sizes)
