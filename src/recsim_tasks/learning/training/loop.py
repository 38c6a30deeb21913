"""The training loop, shared by the trials of a search and the ranks of a training."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsim_tasks.arrays import Int64Array
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.progress import Advance, progress
from recsim_tasks.learning.data.dataset import ImageDataset
from recsim_tasks.learning.data.sampler import batch_shape
from recsim_tasks.learning.metrics import mean_average_precision_at_r, precision_at_k, relevant_counts
from recsim_tasks.learning.spec import TrainingSpec, ValidationResult
from recsim_tasks.learning.training.checkpoints import Checkpoint, Checkpoints
from recsim_tasks.learning.training.communicator import Communicator
from recsim_tasks.learning.training.divergence import check_loss_is_finite, check_not_collapsed, spread
from recsim_tasks.learning.training.input_pipeline import BatchPlan, training_batches
from recsim_tasks.learning.training.schedule import (
    WARM_START_RATE_SHARE,
    learning_rate,
    pair_loss_ramp,
    round_boundaries,
)
from recsim_tasks.learning.training.trainer import Trainer
from recsim_tasks.learning.training.training_data import TrainingData
from recsim_tasks.learning.training.warm_start import warm_start

log = logging.getLogger(__name__)

# Networks that see an image fewer times than this learn better when they see all of it.
CUTOUT_FROM_PASSES = 8
OnRound = Callable[[list[ValidationResult]], bool]


@dataclass(frozen=True)
class FitOptions:
    """What accompanies the steps of a training."""

    label: str
    """Name of the training in progress and log lines, which rank 0 writes."""
    checkpoints: Checkpoints | None = None
    """Where to resume from, and to save after each round and when the training must end early."""
    on_round: OnRound | None = None
    """Called after each round with all rounds so far; returns whether to continue."""


def fit(
    spec: TrainingSpec, communicator: Communicator, data: TrainingData, options: FitOptions
) -> tuple[Trainer, list[ValidationResult]]:
    """Train on this rank's data; returns the trainer and the rounds, which are equal on all ranks.

    Raises `RecsimError`, on all ranks alike, when the embeddings collapse or the loss is not finite.
    """
    trainer = Trainer(spec, communicator)
    images_per_step = _images_per_step(data.train.labels, spec.batch_size, communicator)
    done, rounds = _start(trainer, spec, data, options.checkpoints)
    peak = trainer.peak_rate * (WARM_START_RATE_SHARE if spec.initial_model else 1)
    ends = round_boundaries(max(spec.rounds, round(spec.images / images_per_step)), spec.rounds)
    batches = training_batches(data.train, _batch_plan(spec, communicator.rank, data.total, skip=done))
    losses: list[float] = []
    with _monitored(communicator, options, ends[-1] * images_per_step) as advance:
        advance(done * images_per_step)
        for step, (images, labels) in zip(range(done + 1, ends[-1] + 1), batches, strict=False):
            rate, ramp = learning_rate(step - 1, ends[-1], peak), pair_loss_ramp(step, ends[-1])
            losses.append(trainer.step(images, labels, rate, ramp))
            check_loss_is_finite(losses[-1], step * images_per_step)
            advance(images_per_step)
            if step < ends[len(rounds)]:
                _end_if_requested(trainer, options.checkpoints, step, rounds)
                continue
            # A round's last step is saved with the round: a resumed training would not validate it again.
            rounds.append(
                _validate(trainer, data.validation, losses, steps=step, images=step * images_per_step)
            )
            losses = []
            if not _finish_round(trainer, options, step, rounds):
                break
    return trainer, rounds


def _batch_plan(spec: TrainingSpec, rank: int, total: int, *, skip: int) -> BatchPlan:
    cutout = spec.images >= CUTOUT_FROM_PASSES * total
    return BatchPlan(spec.batch_size, spec.seed, rank, skip=skip, cutout=cutout)


@contextmanager
def _monitored(communicator: Communicator, options: FitOptions, images: int) -> Iterator[Advance]:
    """Show progress on rank 0 and, where a checkpoint can be saved, end gracefully on SIGTERM."""
    handling = communicator.shutdown.handling_sigterm() if options.checkpoints else nullcontext()
    shown = (
        progress(options.label, images, "images") if communicator.rank == 0 else nullcontext(lambda _: None)
    )
    with handling, shown as advance:
        yield advance


def _images_per_step(labels: Int64Array, batch_size: int, communicator: Communicator) -> int:
    """The size of all ranks' batches together: with 10 categories a batch of 64 has 60."""
    return sum(communicator.all_gather_object(math.prod(batch_shape(labels, batch_size))))


def _start(
    trainer: Trainer, spec: TrainingSpec, data: TrainingData, checkpoints: Checkpoints | None
) -> tuple[int, list[ValidationResult]]:
    """Resume from a checkpoint, else start warm if `spec` says so; returns steps done and rounds so far."""
    done, rounds = _resume(trainer, checkpoints)
    if spec.initial_model and not done:
        warm_start(trainer, Path(spec.initial_model), data.train)
    return done, rounds


def _resume(trainer: Trainer, checkpoints: Checkpoints | None) -> tuple[int, list[ValidationResult]]:
    """Restore the checkpoint that rank 0 has, if any; returns steps done and rounds so far."""
    if checkpoints is None:
        return 0, []
    communicator = trainer.communicator
    latest = checkpoints.latest() if communicator.rank == 0 else None
    if latest:
        log.info(
            "Resuming from the checkpoint after %s steps, %d rounds", f"{latest.step:,}", len(latest.rounds)
        )
    trainer.restore(latest.arrays if latest else None)
    step, rounds = communicator.all_gather_object((latest.step, latest.rounds) if latest else (0, []))[0]
    return step, list(rounds)


def _save(
    trainer: Trainer, checkpoints: Checkpoints | None, step: int, rounds: list[ValidationResult]
) -> None:
    if checkpoints and trainer.communicator.rank == 0:
        checkpoints.save(Checkpoint(step, trainer.state(), rounds))


def _end_if_requested(
    trainer: Trainer, checkpoints: Checkpoints | None, step: int, rounds: list[ValidationResult]
) -> None:
    """Save rank 0's state and end; between rounds, ranks differ in batch normalisation's statistics only."""
    if checkpoints and trainer.communicator.shutdown.requested:
        _save(trainer, checkpoints, step, rounds)
        raise RecsimError(
            f"The training was stopped after {step:,} steps. Run it again: it resumes from there."
        )


def _finish_round(trainer: Trainer, options: FitOptions, step: int, rounds: list[ValidationResult]) -> bool:
    """Save the last of `rounds`, then log and report it; returns whether to continue.

    An operator who reads of a round may end the training without losing it.
    """
    _save(trainer, options.checkpoints, step, rounds)
    last = rounds[-1]
    if trainer.communicator.rank == 0:
        log.info(
            "%s: after %s images loss %.3f, validation precision@1 %.3f, MAP@R %.3f, spread %.2f",
            options.label, f"{last.images:,}", last.loss, last.precision_at_1, last.map_at_r, last.spread,
        )  # fmt: skip
    return options.on_round is None or options.on_round(rounds)


def _validate(
    trainer: Trainer, validation: ImageDataset, losses: list[float], *, steps: int, images: int
) -> ValidationResult:
    """Search each validation image of all ranks among the others by cosine.

    `losses` are those of the round; `steps` and `images` count from the start of the training.
    """
    trainer.sync_and_check_weights()
    communicator = trainer.communicator
    embeddings = communicator.all_gather(trainer.embed(validation.read(np.arange(len(validation)))))
    labels, loss = communicator.all_gather(validation.labels), float(np.mean(losses))
    check_not_collapsed(spread(embeddings), loss, steps=steps, images=images)
    similarities = embeddings @ embeddings.T
    np.fill_diagonal(similarities, -np.inf)
    neighbours = labels[np.argsort(-similarities, axis=1, kind="stable")[:, :-1]]
    relevant = relevant_counts(labels, labels, leave_one_out=True)
    return ValidationResult(
        images=images,
        at=time.time(),
        loss=loss,
        precision_at_1=precision_at_k(labels, neighbours, 1),
        map_at_r=mean_average_precision_at_r(labels, neighbours, relevant),
        spread=spread(embeddings),
    )
