from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.mlflow_curves import CurvesRun
from recsim_tasks.learning.mlflow_runs import Tracker

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.mlflow


def test_a_curve_has_one_point_per_step(tmp_path: Path) -> None:
    tracker = Tracker(Settings.model_construct(home=tmp_path))
    releases, another = (
        CurvesRun(tracker.client, tracker.experiment_id, name) for name in ("releases", "another")
    )
    for step, size in ((2, 20), (1, 10), (2, 99)):
        releases.log({"size": float(size)}, step)
    assert [value for _, value in releases.points("size")] == [10, 20]
    assert another.points("size") == []
