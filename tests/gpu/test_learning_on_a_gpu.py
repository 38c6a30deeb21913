from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.devices import gpus_here
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.hyperparameters import Parameters
from recsim_tasks.learning.training.checkpoints import Checkpoints
from recsim_tasks.learning.training.distributed import Alone, on_ranks
from recsim_tasks.learning.training.planning import plan_job
from recsim_tasks.learning.training.train import train

if TYPE_CHECKING:
    from learning.conftest import Catalogue
    from recsim_demo.dataset import FashionMnist
    from recsim_tasks.learning.spec import Job
    from recsim_tasks.learning.training.distributed import Ranks

pytestmark = [pytest.mark.gpu, pytest.mark.ml]

PINNED = """
import json, pathlib, sys
from recsim_tasks.learning.tensorflow_runtime import tensorflow
from recsim_tasks.learning.devices import device
with device(pathlib.Path(sys.argv[1]), 1, 1) as name:
    tf = tensorflow(gpus=1)
    gpus = tf.config.list_physical_devices("GPU")
    where = tf.constant(1.0).device.rsplit("device:", 1)[-1]
    growth = [tf.config.experimental.get_memory_growth(gpu) for gpu in gpus]
    tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    print(json.dumps({"name": name, "gpus": len(gpus), "where": where, "growth": growth, "tf32": tf32}))
"""
AVERAGED = """
import json
from recsim_tasks.learning.training.shutdown import Ending
from recsim_tasks.learning.spec import Machine
from recsim_tasks.learning.training.distributed import HorovodRanks
ranks = HorovodRanks(Machine(gpus=1), Ending())
from recsim_tasks.learning.tensorflow_runtime import tensorflow
variable = tensorflow().Variable([1.0, 2.0])
ranks.share_first([variable])
mean = ranks.average([variable * 2])[0]
print(json.dumps({"where": variable.device.rsplit("device:", 1)[-1], "size": ranks.size, "mean": mean.numpy().tolist()}))
"""


@pytest.fixture(scope="module")
def settings(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One rank on one GPU, with the same bits each time."""
    return catalogue.settings(
        tmp_path_factory.mktemp("gpu"), gpus=1, ranks=1, tune_parallel=1, deterministic=True
    )


@pytest.fixture(scope="module")
def model(settings: Settings, catalogue: Catalogue) -> Path:
    """A model folder: training, export and its check against LiteRT all passed."""
    train(settings, catalogue.cursor, {}, settings.home / "model")
    return settings.home / "model"


@pytest.fixture(scope="module")
def job(settings: Settings, catalogue: Catalogue) -> Job:
    return plan_job(settings, catalogue.cursor, Parameters(), 1_600, 64, 1, 4)


def said_by(program: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(json.loads(output.splitlines()[-1]))


def test_a_rank_is_pinned_to_one_gpu_whose_memory_grows(tmp_path: Path) -> None:
    found = said_by(PINNED, tmp_path)
    assert found == {"name": gpus_here()[0], "gpus": 1, "where": "GPU:0", "growth": [True], "tf32": False}


def test_horovod_averages_variables_of_a_gpu() -> None:
    assert said_by(AVERAGED) == {"where": "GPU:0", "size": 1, "mean": [2.0, 4.0]}


def test_a_model_that_was_trained_on_a_gpu_embeds_there_as_its_litert_copy_does(
    model: Path, fashion_mnist: FashionMnist
) -> None:
    from recsim_tasks.learning.model.saved_model_embedder import GpuEmbedder

    images = fashion_mnist.test_images[..., None]
    litert, gpu = Embedder(model, threads=2).embed(images), GpuEmbedder(model, gpus_here()[0]).embed(images)
    assert np.abs(litert - gpu).max() < 1e-4
    assert np.allclose(np.linalg.norm(gpu, axis=1), 1, atol=1e-5)


def test_a_deterministic_training_gives_one_digest_from_a_checkpoint_as_well(
    settings: Settings, job: Job, tmp_path: Path
) -> None:
    def work(ranks: Ranks, job: Job) -> list[str]:
        from recsim_tasks.learning.training.loop import fit, load_shards

        shards, checkpoints = load_shards(job, ranks), Checkpoints(tmp_path, job.digest(1))
        whole = [fit(job, ranks, shards, "Whole")[0].agree() for _ in range(2)]
        fit(job, ranks, shards, "Interrupted", checkpoints, lambda rounds: len(rounds) < 2)
        return [*whole, fit(job, ranks, shards, "Resumed", checkpoints)[0].agree()]

    assert len(set(on_ranks(settings, work, job))) == 1


def test_a_trial_runs_on_a_gpu(job: Job) -> None:
    from recsim_tasks.learning.training.loop import load_shards
    from recsim_tasks.learning.tuning.trial import try_out

    tried = try_out(job, load_shards(job, Alone()), Parameters(), [])
    assert tried["status"] == "ok", tried
    assert -tried["loss"] > 0.2
