from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.devices import local_gpus
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.training.checkpoints import Checkpoints
from recsim_tasks.learning.training.communicator import SingleProcess
from recsim_tasks.learning.training.distributed import run_on_ranks
from recsim_tasks.learning.training.planning import Budget, plan_training
from recsim_tasks.learning.training.train import train

if TYPE_CHECKING:
    from learning.conftest import Catalogue
    from recsim_demo.fashion_mnist import FashionMnist
    from recsim_tasks.learning.spec import TrainingSpec
    from recsim_tasks.learning.training.communicator import Communicator

pytestmark = [pytest.mark.gpu, pytest.mark.ml]

PINNED = """
import json, pathlib, sys
from recsim_tasks.learning.tensorflow_runtime import tensorflow
from recsim_tasks.learning.devices import acquire_device
with acquire_device(pathlib.Path(sys.argv[1]), gpus=1, shares=1) as name:
    tf = tensorflow(gpus=1)
    gpus = tf.config.list_physical_devices("GPU")
    where = tf.constant(1.0).device.rsplit("device:", 1)[-1]
    growth = [tf.config.experimental.get_memory_growth(gpu) for gpu in gpus]
    tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    print(json.dumps({"name": name, "gpus": len(gpus), "where": where, "growth": growth, "tf32": tf32}))
"""
AVERAGED = """
import json
from recsim_tasks.learning.training.shutdown import GracefulShutdown
from recsim_tasks.learning.spec import Resources
from recsim_tasks.learning.training.communicator import HorovodCommunicator
communicator = HorovodCommunicator(Resources(gpus=1), GracefulShutdown())
from recsim_tasks.learning.tensorflow_runtime import tensorflow
variable = tensorflow().Variable([1.0, 2.0])
communicator.broadcast([variable])
mean = communicator.all_reduce_mean([variable * 2])[0]
where = variable.device.rsplit("device:", 1)[-1]
print(json.dumps({"where": where, "size": communicator.size, "mean": mean.numpy().tolist()}))
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
def spec(settings: Settings, catalogue: Catalogue) -> TrainingSpec:
    return plan_training(settings, catalogue.cursor, Hyperparameters(), Budget(1_600, 64, 1, 4))


def result_of(program: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(json.loads(output.splitlines()[-1]))


def test_a_rank_is_pinned_to_one_gpu_whose_memory_grows(tmp_path: Path) -> None:
    result = result_of(PINNED, tmp_path)
    assert result == {"name": local_gpus()[0], "gpus": 1, "where": "GPU:0", "growth": [True], "tf32": False}


def test_horovod_averages_variables_of_a_gpu() -> None:
    assert result_of(AVERAGED) == {"where": "GPU:0", "size": 1, "mean": [2.0, 4.0]}


def test_a_model_trained_on_a_gpu_embeds_there_like_its_litert_copy(
    model: Path, fashion_mnist: FashionMnist
) -> None:
    from recsim_tasks.learning.model.saved_model_embedder import GpuEmbedder

    images = fashion_mnist.test_images[..., None]
    litert, gpu = Embedder(model, threads=2).embed(images), GpuEmbedder(model, local_gpus()[0]).embed(images)
    assert np.abs(litert - gpu).max() < 1e-4
    assert np.allclose(np.linalg.norm(gpu, axis=1), 1, atol=1e-5)


def test_a_deterministic_training_has_one_digest_resumed_or_not(
    settings: Settings, spec: TrainingSpec, tmp_path: Path
) -> None:
    def digests(communicator: Communicator, spec: TrainingSpec) -> list[str]:
        from recsim_tasks.learning.training.loop import FitOptions, fit
        from recsim_tasks.learning.training.training_data import load_training_data

        data = load_training_data(spec, communicator)
        checkpoints = Checkpoints(tmp_path, spec.digest(1))

        def train(options: FitOptions) -> str:
            return fit(spec, communicator, data, options)[0].sync_and_check_weights()

        whole = [train(FitOptions("Whole")) for _ in range(2)]
        train(FitOptions("Interrupted", checkpoints, lambda rounds: len(rounds) < 2))
        return [*whole, train(FitOptions("Resumed", checkpoints))]

    assert len(set(run_on_ranks(settings, digests, spec))) == 1


def test_a_trial_runs_on_a_gpu(spec: TrainingSpec) -> None:
    from recsim_tasks.learning.training.training_data import load_training_data
    from recsim_tasks.learning.tuning.trial import run_trial

    result = run_trial(spec, load_training_data(spec, SingleProcess()), Hyperparameters(), [])
    assert not result.failed, result.reason
    assert result.score > 0.2
