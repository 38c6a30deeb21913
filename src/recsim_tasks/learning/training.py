"""The final training: Horovod ranks on Spark, one model folder out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.progress import say
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.examples import survey
from recsim_tasks.learning.export import Files, export, publish
from recsim_tasks.learning.fitting import fit, load_shard
from recsim_tasks.learning.job import Job, Round
from recsim_tasks.learning.parameters import Parameters
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.learning.ranks import Ranks, on_ranks
from recsim_tasks.learning.tracking import Tracker

BATCH_PER_RANK = 32
ROUNDS = 8
VALIDATION_IMAGES = 2_000
CHECK_IMAGES = 32
LEASE_SECONDS = 30


def train(settings: Settings, cursor: Cursor, params: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Train on the catalogue at `cursor` with the hyperparameters `params`; `out` becomes the model folder.

    Returns model_fingerprint, ranks, metrics (of the validation images) and mlflow_run_id. The process that calls this needs no
    TensorFlow: rank 0 hands back the files.
    """
    job = plan_job(settings, cursor, Parameters.of(params), settings.train_images, BATCH_PER_RANK, ROUNDS)
    tracker = Tracker(settings)
    described = {
        **job.parameters.as_json(),
        "ranks": settings.ranks,
        "images": job.images,
        "batch": job.batch * settings.ranks,
        "seed": job.seed,
    }
    with lease(settings.home, f"model folder {out.absolute()}", LEASE_SECONDS), tracker.run("train", cursor, described) as run_id:
        say(
            f"Training on {settings.ranks} ranks: {job.images:,} images of {len(job.categories)} categories, version {cursor.version} of the catalogue"
        )
        files, rounds = on_ranks(settings, train_rank, job)
        tracker.log_rounds(run_id, rounds)
        metrics = {name: getattr(rounds[-1], name) for name in ("loss", "precision_at_1", "map_at_r", "spread")}
        facts = {
            "catalogue": cursor.as_json(),
            "params": job.parameters.as_json(),
            "metrics": metrics,
            "ranks": settings.ranks,
            "mlflow_run_id": run_id,
        }
        fingerprint = publish(files, facts, out)
        tracker.client.set_tag(run_id, "model_fingerprint", fingerprint)
    return {"model_fingerprint": fingerprint, "ranks": settings.ranks, "metrics": metrics, "mlflow_run_id": run_id}


def plan_job(settings: Settings, cursor: Cursor, parameters: Parameters, images: int, batch: int, rounds: int) -> Job:
    """Describe a training as the settings have it; validation takes at most 2,000 images. `InputError` when there is too little to learn from."""
    found = survey(settings.products_uri, cursor)
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
        rounds=rounds,
        train_share=min(1.0, images / found.train),
        validation_share=min(1.0, VALIDATION_IMAGES / found.validation),
        gpus=settings.gpus,
    )


def train_rank(ranks: Ranks, job: Job) -> tuple[Files, list[Round]]:
    """Do what every rank does; rank 0 returns the model's files, the others none."""
    network, rounds = fit(job, ranks, "Training")
    if ranks.rank > 0:
        return {}, rounds
    images = load_shard(job, "validation", 0, ranks.size).images[:CHECK_IMAGES]
    return export(network, job.preprocessing, job.embedding_size, images), rounds
