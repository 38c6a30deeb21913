from __future__ import annotations

import numpy as np
import pytest

from recsim_tasks.learning.hyperparameters import CHOICES, Parameters

pytestmark = pytest.mark.ml

RNG = np.random.default_rng(0)
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def together(spread: float) -> np.ndarray:
    """Embeddings of a category near one axis, the nearer the smaller `spread`."""
    return unit(np.eye(3)[LABELS] + spread * RNG.normal(size=(12, 3)))


def test_the_contrastive_loss_is_what_the_paper_writes() -> None:
    from recsim_tasks.learning.model.losses import TEMPERATURE, supervised_contrastive

    embeddings = together(0.8)
    scores = embeddings @ embeddings.T / TEMPERATURE
    expected = []
    for i, label in enumerate(LABELS):
        others = [j for j in range(12) if j != i]
        partners = [j for j in others if LABELS[j] == label]
        total = sum(np.exp(scores[i, j]) for j in others)
        expected.append(-np.mean([np.log(np.exp(scores[i, j]) / total) for j in partners]))
    assert float(supervised_contrastive(LABELS, embeddings)) == pytest.approx(np.mean(expected), rel=1e-5)


def test_an_image_without_a_partner_does_not_spoil_the_contrastive_loss() -> None:
    from recsim_tasks.learning.model.losses import supervised_contrastive

    assert np.isfinite(float(supervised_contrastive(np.arange(12), together(0.5))))


@pytest.mark.parametrize("name", [name for name in CHOICES["pair_loss"] if name != "none"])
def test_every_pair_loss_is_smaller_the_closer_categories_lie_and_weighs_no_more_than_the_proxies(
    name: str,
) -> None:
    from recsim_tasks.learning.model.losses import pair_loss

    loss = pair_loss(name)
    assert loss is not None
    near, far = float(loss(LABELS, together(0.1))), float(loss(LABELS, together(2.0)))
    assert 0 <= near < far < 20


def test_proxies_alone_are_a_choice() -> None:
    from recsim_tasks.learning.model.losses import build_loss, build_proxies, pair_loss, proxy_cross_entropy

    assert pair_loss("none") is None
    parameters, proxies = Parameters(pair_loss="none"), build_proxies(3, 3, 1)
    embeddings = together(0.5)
    alone = float(proxy_cross_entropy(LABELS, embeddings, proxies, parameters))
    assert float(build_loss(parameters, proxies, 1.0)(LABELS, embeddings)) == pytest.approx(alone)


def test_the_margin_asks_for_more() -> None:
    from recsim_tasks.learning.model.losses import build_proxies, proxy_cross_entropy

    proxies, embeddings = build_proxies(3, 3, 1), together(0.3)
    losses = [
        float(proxy_cross_entropy(LABELS, embeddings, proxies, Parameters(proxy_margin=margin)))
        for margin in (0.0, 0.2)
    ]
    assert losses[0] < losses[1]
