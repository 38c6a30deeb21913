"""The final training: Horovod ranks on Spark, one model folder as its output."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recsim_tasks.contracts import Cursor, TrainResult
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.outages import outage_behind
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.embedder import TrainedEncoderDescription
from recsim_tasks.learning.evaluation.report import report
from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.mlflow_runs import ROUND_METRICS, RoundLogger, Tracker
from recsim_tasks.learning.model.export import ModelFiles, description_of, export, publish
from recsim_tasks.learning.spec import TrainingSpec, ValidationResult
from recsim_tasks.learning.training.checkpoints import Checkpoints
from recsim_tasks.learning.training.communicator import Communicator
from recsim_tasks.learning.training.distributed import run_on_ranks
from recsim_tasks.learning.training.loop import FitOptions, fit
from recsim_tasks.learning.training.planning import BATCH_PER_RANK, Budget, plan_training
from recsim_tasks.learning.training.training_data import load_training_data

log = logging.getLogger(__name__)

ROUNDS = 8
EXPORT_CHECK_IMAGES = 32
LEASE_SECONDS = 30


@dataclass(frozen=True)
class _TrainAndExport:
    """The function that runs on the ranks; rank 0 saves `checkpoints` and logs rounds to MLflow."""

    checkpoints: Path
    logger: RoundLogger

    def __call__(
        self, communicator: Communicator, spec: TrainingSpec
    ) -> tuple[ModelFiles, list[ValidationResult]]:
        """Train on every rank; rank 0 returns the model's files, the others none."""
        data = load_training_data(spec, communicator)
        options = FitOptions(
            "Training",
            Checkpoints(self.checkpoints, spec.digest(communicator.size)),
            self.logger.on_round if communicator.rank == 0 else None,
        )
        trainer, rounds = fit(spec, communicator, data, options)
        if communicator.rank > 0:
            return {}, rounds
        images = data.train.read(np.arange(min(EXPORT_CHECK_IMAGES, len(data.train))))
        files = export(trainer.network, spec.preprocessing, spec.embedding_size, spec.backbone, images)
        return files, rounds


def train(
    settings: Settings,
    cursor: Cursor,
    hyperparameters: Mapping[str, object],
    out: Path,
    champion: Path | None = None,
) -> TrainResult:
    """Train on the catalogue at `cursor`; `out` becomes the model folder.

    Starts from the weights of the model folder `champion`, if given. A killed training resumes from its last
    checkpoint, which is beside `out`; a finished one is not repeated, and returns the same result. The
    process that calls this trains nothing itself unless there is one rank: rank 0 returns the files.
    """
    budget = Budget(settings.train_images, BATCH_PER_RANK, settings.ranks, ROUNDS)
    spec = plan_training(settings, cursor, Hyperparameters.parse(hyperparameters), budget)
    spec = replace(spec, initial_model=str(champion) if champion else None)
    checkpoints = out.with_name("checkpoints").absolute()
    with lease(settings.home, f"model folder {out.absolute()}", LEASE_SECONDS):
        description = _finished(out, spec.digest(settings.ranks))
        if description:
            log.info("%s already has the model of this training", out)
        else:
            description = _train(settings, spec, checkpoints, out)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return _result(description)


def _train(settings: Settings, spec: TrainingSpec, checkpoints: Path, out: Path) -> TrainedEncoderDescription:
    tracker, digest = Tracker(settings), spec.digest(settings.ranks)
    params, note = _mlflow_params(spec, settings.ranks), checkpoints / "run.json"
    with tracker.run("train", spec.cursor, params, note=note, digest=digest) as run:
        run.log_dataset(spec)
        log.info(
            "Training on %d ranks: %s images of %d categories, version %d of the catalogue",
            settings.ranks,
            f"{spec.images:,}",
            len(spec.categories),
            spec.cursor.version,
        )
        function = _TrainAndExport(checkpoints, RoundLogger(settings.tracking_uri, run.run_id))
        files, rounds = run_on_ranks(settings, function, spec)
        run.log_rounds(rounds)
        quality = report(spec, files, rounds, run, threads=settings.ranks)
        trained = _Trained(files, rounds[-1], quality, run.run_id)
        description = _describe(spec, settings.ranks, trained)
        run.set_tag("model_fingerprint", description.fingerprint)
        publish(files, description, out)
    return description


class _Trained(NamedTuple):
    """An exported encoder, its last validation, its quality on the test images, and its run in MLflow."""

    files: ModelFiles
    last: ValidationResult
    quality: dict[str, float]
    run_id: str


def _describe(spec: TrainingSpec, ranks: int, trained: _Trained) -> TrainedEncoderDescription:
    return TrainedEncoderDescription(
        **description_of(trained.files).model_dump(exclude_none=True),
        training=spec.digest(ranks),
        catalogue=spec.cursor,
        backbone=spec.backbone,
        categories=list(spec.categories),
        params=spec.hyperparameters.as_json(),
        metrics={name: getattr(trained.last, name) for name in ROUND_METRICS},
        quality=trained.quality,
        ranks=ranks,
        mlflow_run_id=trained.run_id,
        trained_at=time.time(),
    )


def _finished(out: Path, digest: str) -> TrainedEncoderDescription | None:
    """The description in `out`, if this very training made it."""
    try:
        description = TrainedEncoderDescription.read(out)
    except InputError as error:
        if outage := outage_behind(error, str(out)):
            raise outage from error
        return None
    return description if description.training == digest else None


def _result(description: TrainedEncoderDescription) -> TrainResult:
    return TrainResult(
        model_fingerprint=description.fingerprint,
        ranks=description.ranks,
        metrics=description.metrics,
        quality=description.quality,
        mlflow_run_id=description.mlflow_run_id,
        trained_at=description.trained_at,
    )


def _mlflow_params(spec: TrainingSpec, ranks: int) -> dict[str, object]:
    """What MLflow lists as the run's parameters."""
    return {
        **spec.hyperparameters.as_json(),
        "backbone": spec.backbone,
        "weights": spec.backbone_weights,
        "champion": spec.initial_model,
        "embedding_size": spec.embedding_size,
        "images": spec.images,
        "seed": spec.seed,
        **asdict(spec.preprocessing),
        "ranks": ranks,
        "batch": spec.batch_size * ranks,
        "categories": len(spec.categories),
    }
