from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from recsim_tasks.foundation.errors import MissingError
from recsim_tasks.learning.training.planning import describe_catalogue_share
from recsim_tasks.learning.training.train import train
from recsim_tasks.learning.tuning.tune import tune

if TYPE_CHECKING:
    from pathlib import Path

    from learning.conftest import Catalogue


@pytest.mark.ml
@pytest.mark.parametrize("name", ["tune", "train"])
def test_a_job_without_its_gpus_ends_before_it_begins(
    name: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    settings, out = catalogue.settings(tmp_path / "home", gpus=2), tmp_path / "out"
    job = (
        partial(tune, settings, catalogue.cursor, out, 2)
        if name == "tune"
        else partial(train, settings, catalogue.cursor, {}, out)
    )
    with pytest.raises(
        MissingError,
        match=r"2 GPUs are requested .* but TensorFlow sees none on .*: .*built for CPUs only",
    ):
        job()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("images", "message"), [(300, "The training sees 300 of 1,"), (6_000, None)])
def test_the_share_of_the_catalogue_that_a_training_sees_is_described(
    images: int, message: str | None, catalogue: Catalogue, tmp_path: Path
) -> None:
    sentence = describe_catalogue_share(catalogue.settings(tmp_path, train_images=images), catalogue.cursor)
    assert (sentence or "").startswith(message or "")
    assert bool(sentence) == bool(message)


def test_a_catalogue_that_cannot_be_trained_on_has_no_share(catalogue: Catalogue, tmp_path: Path) -> None:
    from deltalake import write_deltalake

    from recsim_tasks.catalogue.delta.reader import head

    write_deltalake(tmp_path / "products", catalogue.table.slice(0, 50))
    cursor = head(str(tmp_path / "products"))
    assert cursor is not None
    few = catalogue.settings(tmp_path, products=str(tmp_path / "products"), train_images=1)
    assert describe_catalogue_share(few, cursor) is None, "none of its products has a category"
