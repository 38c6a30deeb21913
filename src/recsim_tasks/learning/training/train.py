"""The final training: Horovod ranks on Spark, one model folder out."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.embedder import DESCRIPTION_FILE
from recsim_tasks.learning.evaluation.report import report
from recsim_tasks.learning.hyperparameters import Parameters
from recsim_tasks.learning.mlflow_runs import MEASURES, RoundLog, Tracker
from recsim_tasks.learning.model.export import Files, export, publish
from recsim_tasks.learning.spec import Job, Round
from recsim_tasks.learning.training.checkpoints import Checkpoints
from recsim_tasks.learning.training.distributed import Ranks, on_ranks
from recsim_tasks.learning.training.loop import fit, load_shards
from recsim_tasks.learning.training.planning import BATCH_PER_RANK, plan_job

log = logging.getLogger(__name__)

ROUNDS = 8
CHECK_IMAGES = 32
LEASE_SECONDS = 30


@dataclass(frozen=True)
class _Work:
    """What travels to the ranks: rank 0 keeps its rounds in `checkpoints`, and logs them to MLflow, as they end."""

    checkpoints: Path
    log: RoundLog

    def __call__(self, ranks: Ranks, job: Job) -> tuple[Files, list[Round]]:
        """Do what every rank does; rank 0 returns the model's files, the others none."""
        checkpoints = Checkpoints(self.checkpoints, job.digest(ranks.size))
        shards = load_shards(job, ranks)
        trainer, rounds = fit(
            job, ranks, shards, "Training", checkpoints, self.log.heard if ranks.rank == 0 else None
        )
        if ranks.rank > 0:
            return {}, rounds
        count = min(CHECK_IMAGES, len(shards.train))
        seen = shards.train.read(np.arange(count))
        return export(trainer.network, job.preprocessing, job.embedding_size, job.backbone, seen), rounds


def train(
    settings: Settings, cursor: Cursor, params: Mapping[str, Any], out: Path, champion: Path | None = None
) -> dict[str, Any]:
    """Train on the catalogue at `cursor` with the hyperparameters `params`; `out` becomes the model folder.

    Starts from the weights of the model folder `champion` when one is given. A training that was killed goes on from its last checkpoint,
    beside `out`; one that is done is not done again. Returns model_fingerprint, ranks, metrics (of the validation images), quality (of the
    test images) and mlflow_run_id. The process that calls this needs no TensorFlow for the training: rank 0 hands back the files.
    """
    job = plan_job(
        settings, cursor, Parameters.of(params), settings.train_images, BATCH_PER_RANK, settings.ranks, ROUNDS
    )
    kept = out.with_name("checkpoints").absolute()
    job = replace(job, champion=str(champion) if champion else None)
    with lease(settings.home, f"model folder {out.absolute()}", LEASE_SECONDS):
        if done := _done(out, job.digest(settings.ranks)):
            log.info(f"{out} holds what this training makes: it is not trained again")
            return done
        result = _train(settings, job, kept, out)
    shutil.rmtree(kept, ignore_errors=True)
    return result


def _train(settings: Settings, job: Job, kept: Path, out: Path) -> dict[str, Any]:
    tracker, digest = Tracker(settings), job.digest(settings.ranks)
    with tracker.run(
        "train", job.cursor, _described(job, settings.ranks), kept / "run.json", digest
    ) as run_id:
        tracker.log_catalogue(run_id, job)
        log.info(
            f"Training on {settings.ranks} ranks: {job.images:,} images of {len(job.categories)} categories, version {job.cursor.version} of the catalogue"
        )
        files, rounds = on_ranks(settings, _Work(kept, RoundLog(settings.tracking_uri, run_id)), job)
        tracker.log_rounds(run_id, rounds)
        facts = {
            "training": digest,
            "catalogue": job.cursor.as_json(),
            "backbone": job.backbone,
            "categories": list(job.categories),
            "params": job.parameters.as_json(),
            "metrics": {name: getattr(rounds[-1], name) for name in MEASURES},
            "ranks": settings.ranks,
            "mlflow_run_id": run_id,
        }
        facts["quality"] = report(settings, job, files, rounds, tracker, run_id)
        fingerprint = publish(files, facts, out)
        tracker.client.set_tag(run_id, "model_fingerprint", fingerprint)
    return _told({**facts, "fingerprint": fingerprint})


def _done(out: Path, digest: str) -> dict[str, Any] | None:
    """The result of this very training, if `out` is what it made."""
    try:
        description = read_json(out / DESCRIPTION_FILE)
        return _told(description) if description["training"] == digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _told(description: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: description[name] for name in ("ranks", "metrics", "quality", "mlflow_run_id")}
    return {"model_fingerprint": description["fingerprint"], **told}


def _described(job: Job, ranks: int) -> dict[str, Any]:
    """What MLflow lists as the run's parameters."""
    names = ("backbone", "weights", "champion", "embedding_size", "images", "seed")
    return {
        **job.parameters.as_json(), **{name: getattr(job, name) for name in names}, **asdict(job.preprocessing),
        "ranks": ranks, "batch": job.batch * ranks, "categories": len(job.categories),
    }  # fmt: skip
