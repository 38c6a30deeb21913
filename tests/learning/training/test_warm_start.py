from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recsim_tasks.learning.training.communicator import SingleProcess

if TYPE_CHECKING:
    from pathlib import Path

    from recsim_tasks.learning.spec import TrainingSpec
    from recsim_tasks.learning.training.training_data import TrainingData

pytestmark = pytest.mark.ml


def test_a_warm_start_begins_where_the_champion_ended(
    spec: TrainingSpec, training_data: TrainingData, tmp_path: Path
) -> None:
    from recsim_tasks.learning.model.export import export, write_files
    from recsim_tasks.learning.training.loop import FitOptions, fit
    from recsim_tasks.learning.training.trainer import Trainer
    from recsim_tasks.learning.training.warm_start import warm_start

    trainer, rounds = fit(spec, SingleProcess(), training_data, FitOptions("Champion"))
    images = training_data.train.read(np.arange(8))
    files = export(trainer.network, spec.preprocessing, spec.embedding_size, spec.backbone, images)
    write_files(files, tmp_path)
    warm = Trainer(spec, SingleProcess())
    warm_start(warm, tmp_path, training_data.train)
    assert np.allclose(warm.embed(images), trainer.embed(images), atol=1e-5)
    short = replace(spec, images=640)
    from_champion = replace(short, initial_model=str(tmp_path))
    _, after = fit(from_champion, SingleProcess(), training_data, FitOptions("Warm"))
    _, cold = fit(short, SingleProcess(), training_data, FitOptions("Cold"))
    assert after[0].map_at_r > cold[0].map_at_r + 0.03
    assert after[-1].map_at_r > rounds[-1].map_at_r
