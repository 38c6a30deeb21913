"""Two real Horovod ranks against one: what they compute together must be what one computes of the whole."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import pytest

from recsim_tasks.foundation.errors import ConfigurationError, MissingError, RecsimError
from recsim_tasks.learning.hyperparameters import CHOICES, Parameters
from recsim_tasks.learning.training.distributed import Alone, on_ranks
from recsim_tasks.learning.training.planning import plan_job

if TYPE_CHECKING:
    from pathlib import Path

    from learning.conftest import Catalogue
    from recsim_tasks.learning.spec import Job
    from recsim_tasks.learning.training.distributed import Ranks

pytestmark = [pytest.mark.ml, pytest.mark.usefixtures("shared_spark")]

BATCH = 48
# The ranks are processes of their own, which cannot import the tests.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def job(catalogue: Catalogue, tmp_path: Path) -> Job:
    return plan_job(catalogue.settings(tmp_path), catalogue.cursor, Parameters(), 6_000, BATCH, 2, 1)


def of_a_batch(
    ranks: Ranks, job: Job, names: tuple[str, ...], images: Any, labels: Any
) -> dict[str, tuple[float, list[Any]]]:
    """Loss and gradients by each pair loss, of this rank's part of a batch; normalisation by running statistics, which ranks share."""
    from dataclasses import replace

    from recsim_tasks.learning.hyperparameters import Parameters
    from recsim_tasks.learning.tensorflow_runtime import tensorflow
    from recsim_tasks.learning.training.trainer import Trainer

    tf = tensorflow()
    mine, found = slice(ranks.rank, None, ranks.size), {}
    for name in names:
        trainer = Trainer(replace(job, parameters=Parameters(pair_loss=name)), ranks)
        trainer._pair_share.assign(1.0)
        loss, gradients = trainer.gradients(
            tf.constant(images[mine]), tf.constant(labels[mine]), training=False
        )
        found[name] = float(loss), [np.asarray(tf.convert_to_tensor(gradient)) for gradient in gradients]
    return found


def test_two_ranks_with_half_the_batch_have_loss_and_gradients_of_one_with_the_whole(
    catalogue: Catalogue, job: Job, tmp_path: Path, fashion_mnist: Any
) -> None:
    """With the control that ranks which keep their negatives to themselves, and average, compute something else."""
    images, labels = (
        fashion_mnist.train_images[:BATCH, ..., None],
        fashion_mnist.train_labels[:BATCH].astype(np.int64),
    )
    names = CHOICES["pair_loss"]

    def work(ranks: Any, job: Job, compute: Any = of_a_batch) -> Any:
        together = compute(ranks, job, names, images, labels)
        ranks.pool = lambda labels, embeddings: (labels, embeddings)
        return together, compute(ranks, job, ("supcon",), images, labels)

    together, apart = on_ranks(catalogue.settings(tmp_path), work, job)
    alone = of_a_batch(Alone(), job, names, images, labels)
    for name in names:
        assert together[name][0] == pytest.approx(alone[name][0], abs=1e-5)
        largest = max(float(np.abs(gradient).max()) for gradient in alone[name][1])
        assert largest > 1e-3, "gradients of nothing would agree"
        assert difference(together[name], alone[name]) < 1e-5 * max(1.0, largest)
    assert abs(apart["supcon"][0] - alone["supcon"][0]) > 1e-3
    assert difference(apart["supcon"], alone["supcon"]) > 1e-3


def difference(one: tuple[float, list[Any]], other: tuple[float, list[Any]]) -> float:
    """The largest between two gradients."""
    return max(float(np.abs(mine - theirs).max()) for mine, theirs in zip(one[1], other[1], strict=True))


def test_a_rank_that_dies_at_its_start_ends_the_training_with_what_to_do(
    catalogue: Catalogue, job: Job, tmp_path: Path
) -> None:
    def work(ranks: Ranks, job: Job) -> None:
        import os

        if ranks.rank == 1:
            os._exit(3)
        ranks.collect("waiting for the other")

    with pytest.raises(
        RecsimError, match=r"a rank failed.*mostly for memory.*goes on from the last checkpoint"
    ):
        on_ranks(catalogue.settings(tmp_path), work, job)


def test_a_gpu_that_no_rank_finds_is_said(catalogue: Catalogue, job: Job, tmp_path: Path) -> None:
    settings = catalogue.settings(tmp_path, gpus=1)
    with pytest.raises(MissingError, match="RECSIM_GPUS asks for a GPU"):
        on_ranks(settings, lambda ranks, job: None, replace(job, machine=replace(job.machine, gpus=1)))


def test_more_ranks_than_slots_are_refused(catalogue: Catalogue, job: Job, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"3 ranks \(RECSIM_RANKS\) do not fit on the 2 slots"):
        on_ranks(catalogue.settings(tmp_path, ranks=3), lambda ranks, job: None, job)
