from __future__ import annotations

import pytest

from recsim_tasks.foundation.settings import Settings


@pytest.mark.parametrize(
    ("master", "local"),
    [
        ("local", True),
        ("local[2]", True),
        ("local[*]", True),
        ("local-cluster[2,1,1024]", False),
        ("spark://m:7077", False),
        ("yarn", False),
    ],
)
def test_only_a_local_master_runs_tasks_in_the_driver(settings: Settings, master: str, local: bool) -> None:
    assert settings.model_copy(update={"spark_master": master}).is_local == local


@pytest.mark.parametrize(
    ("master", "gpus", "slots", "for_embedding"),
    [("local[6]", 0, 6, 0), ("local[6]", 2, 2, 0), ("spark://m:7077", 0, 3, 0), ("spark://m:7077", 4, 4, 4)],
)
def test_the_pool_has_a_slot_for_each_device(
    settings: Settings, master: str, gpus: int, slots: int, for_embedding: int
) -> None:
    update = {"spark_master": master, "gpus": gpus, "ranks": 3, "tune_parallel": 2}
    found = settings.model_copy(update=update)
    assert (found.device_slots, found.embedding_slots) == (slots, for_embedding)
