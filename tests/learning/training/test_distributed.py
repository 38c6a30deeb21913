"""Two real Horovod ranks against one: what they compute together must be what one computes of the whole."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import pytest

from recsim_tasks.foundation.errors import ConfigurationError, MissingError, RecsimError
from recsim_tasks.learning.hyperparameters import CHOICES, Hyperparameters
from recsim_tasks.learning.training.communicator import SingleProcess
from recsim_tasks.learning.training.distributed import run_on_ranks
from recsim_tasks.learning.training.planning import Budget, plan_training

if TYPE_CHECKING:
    from learning.conftest import Catalogue
    from recsim_tasks.learning.spec import TrainingSpec
    from recsim_tasks.learning.training.communicator import Communicator

pytestmark = [pytest.mark.ml, pytest.mark.usefixtures("shared_spark")]

BATCH = 48
# The ranks are processes of their own, which cannot import the tests.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def spec(catalogue: Catalogue, tmp_path: Path) -> TrainingSpec:
    return plan_training(
        catalogue.settings(tmp_path), catalogue.cursor, Hyperparameters(), Budget(6_000, BATCH, 2, 1)
    )


def gradients_of_batch(
    communicator: Communicator, spec: TrainingSpec, names: tuple[str, ...], images: Any, labels: Any
) -> dict[str, tuple[float, list[Any]]]:
    """Loss and gradients by each pair loss, for this rank's part of a batch.

    Batch normalisation uses its running statistics, which are equal on all ranks.
    """
    from dataclasses import replace

    from recsim_tasks.learning.hyperparameters import Hyperparameters
    from recsim_tasks.learning.tensorflow_runtime import tensorflow
    from recsim_tasks.learning.training.trainer import Trainer

    tf = tensorflow()
    part, results = slice(communicator.rank, None, communicator.size), {}
    for name in names:
        trainer = Trainer(replace(spec, hyperparameters=Hyperparameters(pair_loss=name)), communicator)
        trainer._pair_ramp.assign(1.0)
        loss, gradients = trainer.gradients(
            tf.constant(images[part]), tf.constant(labels[part]), training=False
        )
        results[name] = float(loss), [np.asarray(tf.convert_to_tensor(gradient)) for gradient in gradients]
    return results


def test_two_ranks_compute_loss_and_gradients_of_one_process_with_the_whole_batch(
    catalogue: Catalogue, spec: TrainingSpec, tmp_path: Path, fashion_mnist: Any
) -> None:
    """The control: ranks that do not share their negatives, and average, compute something else."""
    images, labels = (
        fashion_mnist.train_images[:BATCH, ..., None],
        fashion_mnist.train_labels[:BATCH].astype(np.int64),
    )
    names = CHOICES["pair_loss"]

    def compute(communicator: Any, spec: TrainingSpec, gradients: Any = gradients_of_batch) -> Any:
        together = gradients(communicator, spec, names, images, labels)
        communicator.all_gather_with_grad = lambda labels, embeddings: (labels, embeddings)
        return together, gradients(communicator, spec, ("supcon",), images, labels)

    together, apart = run_on_ranks(catalogue.settings(tmp_path), compute, spec)
    alone = gradients_of_batch(SingleProcess(), spec, names, images, labels)
    for name in names:
        assert together[name][0] == pytest.approx(alone[name][0], abs=1e-5)
        largest = max(float(np.abs(gradient).max()) for gradient in alone[name][1])
        assert largest > 1e-3, "zero gradients would be equal"
        assert difference(together[name], alone[name]) < 1e-5 * max(1.0, largest)
    assert abs(apart["supcon"][0] - alone["supcon"][0]) > 1e-3
    assert difference(apart["supcon"], alone["supcon"]) > 1e-3


def difference(one: tuple[float, list[Any]], other: tuple[float, list[Any]]) -> float:
    """The largest difference between two gradients."""
    return max(float(np.abs(a - b).max()) for a, b in zip(one[1], other[1], strict=True))


NOISE = ("<stderr>", "<stdout>", "NMSLIB", "absl::InitializeLog", "cuDNN", "oneDNN", "XNNPACK")


def test_a_rank_logs_like_any_job_and_its_errors_show(
    catalogue: Catalogue, spec: TrainingSpec, tmp_path: Path
) -> None:
    """In a process of its own, whose stderr is Spark's as well."""
    program = Path(__file__).with_name("ranks_that_log.py")
    done = subprocess.run(
        [sys.executable, program, catalogue.uri, tmp_path], capture_output=True, text=True, check=False
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 0, done.stderr[-3_000:]
    assert [line for line in lines if any(noise in line for noise in NOISE)] == []
    assert "INFO recsim_tasks.test: rank 0 has built its network" in lines
    assert "WARNING recsim_tasks.test: rank 1 has built its network" in lines
    assert "E0000 native error of rank 1" in lines


def test_a_rank_that_dies_ends_the_training_with_what_to_do(
    catalogue: Catalogue, spec: TrainingSpec, tmp_path: Path
) -> None:
    def die(communicator: Communicator, spec: TrainingSpec) -> None:
        import os

        if communicator.rank == 1:
            os._exit(3)
        communicator.all_gather_object("waiting for the other")

    with pytest.raises(
        RecsimError, match=r"a rank failed.*usually because memory ran out.*resumes from the last checkpoint"
    ):
        run_on_ranks(catalogue.settings(tmp_path), die, spec)


def test_a_missing_gpu_is_named(catalogue: Catalogue, spec: TrainingSpec, tmp_path: Path) -> None:
    settings = catalogue.settings(tmp_path, gpus=1)
    on_gpu = replace(spec, resources=replace(spec.resources, gpus=1))
    with pytest.raises(MissingError, match="RECSIM_GPUS asks for a GPU"):
        run_on_ranks(settings, lambda communicator, spec: None, on_gpu)


def test_more_ranks_than_slots_are_refused(catalogue: Catalogue, spec: TrainingSpec, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"3 ranks \(RECSIM_RANKS\) do not fit on the 2 slots"):
        run_on_ranks(catalogue.settings(tmp_path, ranks=3), lambda communicator, spec: None, spec)
