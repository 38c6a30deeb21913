from __future__ import annotations

from dataclasses import replace

import pytest

from recsim_tasks.contracts import Cursor
from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.learning.spec import Resources, TrainingSpec

SPEC = TrainingSpec(
    products_uri="products",
    cursor=Cursor("table", 3),
    preprocessing=Preprocessing(28, 1),
    embedding_size=64,
    categories=("bag", "shoe"),
    hyperparameters=Hyperparameters(),
    images=1_000,
    batch_size=64,
    seed=20,
    rounds=8,
)


def test_where_a_training_runs_does_not_change_its_digest() -> None:
    elsewhere = replace(SPEC, resources=Resources(gpus=1, concurrency=2))
    assert elsewhere.digest(2) == SPEC.digest(2)
    assert SPEC.digest(1) != SPEC.digest(2), "ranks see other batches"


@pytest.mark.parametrize(
    "changes",
    [{"seed": 21}, {"cursor": Cursor("table", 4)}, {"hyperparameters": Hyperparameters(proxy_scale=13.0)}],
    ids=["seed", "cursor", "hyperparameters"],
)
def test_what_a_training_learns_from_changes_its_digest(changes: dict[str, object]) -> None:
    assert replace(SPEC, **changes).digest(2) != SPEC.digest(2)  # type: ignore[arg-type]
