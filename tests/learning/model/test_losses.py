from __future__ import annotations

import numpy as np
import pytest

from recsim_tasks.arrays import Float32Array, Float64Array
from recsim_tasks.learning.hyperparameters import CHOICES, Hyperparameters

pytestmark = pytest.mark.ml

RNG = np.random.default_rng(0)
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])


def unit(vectors: Float64Array) -> Float32Array:
    normalised: Float64Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalised.astype(np.float32)


def clusters(spread: float) -> Float32Array:
    """Embeddings of a category near one axis; `spread` is their distance from it."""
    return unit(np.eye(3)[LABELS] + spread * RNG.normal(size=(12, 3)))


def test_the_contrastive_loss_is_what_the_paper_writes() -> None:
    from recsim_tasks.learning.model.losses import TEMPERATURE, supervised_contrastive

    embeddings = clusters(0.8)
    scores = embeddings @ embeddings.T / TEMPERATURE
    expected = []
    for i, label in enumerate(LABELS):
        others = [j for j in range(12) if j != i]
        positives = [j for j in others if LABELS[j] == label]
        total = sum(np.exp(scores[i, j]) for j in others)
        expected.append(-np.mean([np.log(np.exp(scores[i, j]) / total) for j in positives]))
    assert float(supervised_contrastive(LABELS, embeddings)) == pytest.approx(np.mean(expected), rel=1e-5)


def test_an_image_without_a_positive_keeps_the_contrastive_loss_finite() -> None:
    from recsim_tasks.learning.model.losses import supervised_contrastive

    assert np.isfinite(float(supervised_contrastive(np.arange(12), clusters(0.5))))


@pytest.mark.parametrize("name", [name for name in CHOICES["pair_loss"] if name != "none"])
def test_every_pair_loss_falls_as_categories_separate_and_stays_small(
    name: str,
) -> None:
    from recsim_tasks.learning.model.losses import pair_loss

    loss = pair_loss(name)
    assert loss is not None
    near, far = float(loss(LABELS, clusters(0.1))), float(loss(LABELS, clusters(2.0)))
    assert 0 <= near < far < 20


def test_the_pair_loss_can_be_none() -> None:
    from recsim_tasks.learning.model.losses import build_loss, build_proxies, pair_loss, proxy_cross_entropy

    assert pair_loss("none") is None
    hyperparameters, proxies = Hyperparameters(pair_loss="none"), build_proxies(3, 3, 1)
    embeddings = clusters(0.5)
    alone = float(proxy_cross_entropy(LABELS, embeddings, proxies, hyperparameters))
    assert float(build_loss(hyperparameters, proxies, 1.0)(LABELS, embeddings)) == pytest.approx(alone)


def test_a_margin_raises_the_loss() -> None:
    from recsim_tasks.learning.model.losses import build_proxies, proxy_cross_entropy

    proxies, embeddings = build_proxies(3, 3, 1), clusters(0.3)
    losses = [
        float(proxy_cross_entropy(LABELS, embeddings, proxies, Hyperparameters(proxy_margin=margin)))
        for margin in (0.0, 0.2)
    ]
    assert losses[0] < losses[1]
