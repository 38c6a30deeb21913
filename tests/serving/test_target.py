from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from recsim_tasks.foundation.publishing import write_json
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.serving.target import (
    JUST_STARTED,
    STATES,
    TARGET_FILE,
    Problem,
    ServingTarget,
    releases_dir,
)


@pytest.mark.parametrize(
    "target",
    [
        ServingTarget(7, None),
        ServingTarget(7, Problem("registry_unavailable", "MLflow does not answer."), registry_up=False),
        ServingTarget(None, Problem("no_release", "Run a refresh.")),
    ],
)
def test_workers_read_the_target_that_the_follower_wrote(tmp_path: Path, target: ServingTarget) -> None:
    settings = Settings.model_construct(home=tmp_path)
    write_json(releases_dir(settings) / TARGET_FILE, asdict(target))
    assert ServingTarget.read(settings) == target


@pytest.mark.parametrize("stored", [None, "", "[]", '{"version": 1}', '{"unknown": 1}'])
def test_without_a_readable_target_the_server_has_just_started(tmp_path: Path, stored: str | None) -> None:
    settings = Settings.model_construct(home=tmp_path)
    if stored is not None:
        releases_dir(settings).mkdir()
        (releases_dir(settings) / TARGET_FILE).write_text(stored)
    assert ServingTarget.read(settings) == ServingTarget()
    assert ServingTarget().problem == JUST_STARTED
    assert JUST_STARTED.state in STATES
