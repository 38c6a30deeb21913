from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.drift.__main__ import DeliveryResult, goals, measured
from benchmarks.drift.deliveries import USUAL_MIX, draws
from benchmarks.drift.distortions import distortions

from recsim_demo.fashion_mnist import CATEGORIES, FashionMnist
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.evaluation.drift import Drift

DRIFTS, CLEAN = Drift(0.9, 500, 0.01), Drift(0.5, 500, 0.01)


def test_every_distortion_changes_the_images_and_keeps_their_form(fashion_mnist: FashionMnist) -> None:
    images = fashion_mnist.test_images[:20]
    before = images.copy()
    for name, distort in distortions().items():
        changed = distort(images)
        assert (changed.shape, changed.dtype) == (images.shape, np.dtype(np.uint8)), name
        assert not np.array_equal(changed, images), name
    assert np.array_equal(images, before)


def test_deliveries_hold_no_image_twice_and_are_of_the_category_that_is_asked_for(
    fashion_mnist: FashionMnist,
) -> None:
    labels = fashion_mnist.test_labels.astype(np.int64)
    for category in (USUAL_MIX, "Sneaker"):
        rows = np.concatenate(list(draws(labels, category, 200, 0)))
        assert len(rows) == len(set(rows.tolist())) == 1_000
        assert category == USUAL_MIX or set(labels[rows].tolist()) == {CATEGORIES.index(category)}


def test_missed_goals_are_reported() -> None:
    clean, costly, harmless = (
        DeliveryResult("a", 200, 0.0, [CLEAN, None]),
        DeliveryResult("b", 200, 0.06, [CLEAN, DRIFTS]),
        DeliveryResult("c", 200, 0.01, [CLEAN]),
    )
    assert [measure.met for measure in goals([clean], [costly, harmless], 0.55)] == [True, True]
    unseen, alarm = DeliveryResult("d", 200, 0.06, [CLEAN]), DeliveryResult("e", 200, 0.0, [CLEAN, DRIFTS])
    missed = goals([clean, alarm], [costly, unseen], 0.55)
    assert [(measure.met, measure.value) for measure in missed] == [(False, 0.75), (False, 0.5)]


@pytest.mark.bench
@pytest.mark.ml
def test_a_small_run_tells_clean_deliveries_from_distorted_ones(
    settings: Settings, tmp_path: Path, fashion_mnist: FashionMnist
) -> None:
    data = FashionMnist(
        *(part[:6_000] for part in (fashion_mnist.train_images, fashion_mnist.train_labels)),
        *(part[:2_500] for part in (fashion_mnist.test_images, fashion_mnist.test_labels)),
    )
    small = settings.model_copy(update={"image_size": 28, "image_channels": 1, "ranks": 1})
    clean, distorted = measured(small, data, 12_000, tmp_path / "model", rounds=1)
    assert [measure.met for measure in goals(clean, distorted, settings.retrain_drift)] == [True, True]
