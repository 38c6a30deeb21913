from __future__ import annotations

import numpy as np
import pytest

from recsim_tasks.arrays import Float32Array
from recsim_tasks.learning.preprocessing import Preprocessing

pytestmark = pytest.mark.ml


def images(shape: tuple[int, ...]) -> Float32Array:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("backbone", "size", "channels"),
    [
        ("cnn", 28, 1),
        ("cnn", 64, 3),
        ("cnn", 200, 3),
        ("resnet18", 32, 1),
        ("efficientnet-b0", 32, 1),
        ("efficientnet-b0", 64, 3),
    ],
)
def test_every_backbone_gives_unit_vectors_that_differ(backbone: str, size: int, channels: int) -> None:
    from recsim_tasks.learning.model.network import build_network

    network = build_network(Preprocessing(size, channels), 24, backbone)
    vectors = network(images((4, size, size, channels)), training=False).numpy()
    assert vectors.shape == (4, 24)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-4


def test_the_small_cnn_is_pooled_at_two_depths() -> None:
    from recsim_tasks.learning.model.network import build_network

    network = build_network(Preprocessing(28, 1), 24)
    assert network.layers[1].output_shape == [(None, 7, 7, 64), (None, 4, 4, 128)]
    assert network.get_layer("embedding").input_shape == (None, 64 + 128)
