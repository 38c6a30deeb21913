"""A short training of one process, and its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.training.communicator import SingleProcess
from recsim_tasks.learning.training.planning import Budget, plan_training

if TYPE_CHECKING:
    from learning.conftest import Catalogue
    from recsim_tasks.learning.spec import TrainingSpec
    from recsim_tasks.learning.training.training_data import TrainingData


@pytest.fixture(scope="package")
def spec(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> TrainingSpec:
    settings = catalogue.settings(tmp_path_factory.mktemp("home"))
    return plan_training(settings, catalogue.cursor, Hyperparameters(), Budget(1_600, 64, 1, 4))


@pytest.fixture(scope="package")
def training_data(spec: TrainingSpec) -> TrainingData:
    from recsim_tasks.learning.training.training_data import load_training_data

    return load_training_data(spec, SingleProcess())
