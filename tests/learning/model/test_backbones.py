from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from recsim_tasks.arrays import Float32Array
from recsim_tasks.foundation.errors import ConfigurationError
from recsim_tasks.learning.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.ml


def images(shape: tuple[int, ...]) -> Float32Array:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


def test_an_unknown_backbone_is_refused_with_the_known_ones() -> None:
    from recsim_tasks.learning.model.network import build_network

    with pytest.raises(
        ConfigurationError,
        match=r"Unknown backbone 'vgg' \(RECSIM_BACKBONE\)\. Set it to one of cnn, resnet18, efficientnet-b0",
    ):
        build_network(Preprocessing(28, 1), 24, "vgg")


def test_a_backbone_starts_from_weights_in_a_file(tmp_path: Path) -> None:
    from recsim_tasks.learning.model.backbones import build_backbone

    first = build_backbone("cnn", Preprocessing(28, 1), None)
    path = tmp_path / "backbone.h5"
    first.save_weights(path)
    second = build_backbone("cnn", Preprocessing(28, 1), str(path))
    assert all(
        np.array_equal(one, other)
        for one, other in zip(first.get_weights(), second.get_weights(), strict=True)
    )
    third = build_backbone("cnn", Preprocessing(28, 1), None)
    assert not all(
        np.array_equal(one, other)
        for one, other in zip(first.get_weights(), third.get_weights(), strict=True)
    )


@pytest.mark.parametrize("what", ["missing", "another network's", "no weights"])
def test_weights_of_another_network_are_refused(tmp_path: Path, what: str) -> None:
    from recsim_tasks.learning.model.backbones import build_backbone

    path = tmp_path / "backbone.h5"
    if what == "another network's":
        build_backbone("resnet18", Preprocessing(32, 1), None).save_weights(path)
    if what == "no weights":
        path.write_bytes(b"no weights at all")
    with pytest.raises(ConfigurationError, match="RECSIM_BACKBONE_WEIGHTS"):
        build_backbone("cnn", Preprocessing(28, 1), str(path))


@pytest.mark.parametrize(("backbone", "channels"), [("cnn", 1), ("resnet18", 1), ("efficientnet-b0", 3)])
def test_batch_normalisation_is_fused_and_has_a_short_memory(backbone: str, channels: int) -> None:
    from recsim_tasks.learning.model.backbones import build_backbone

    layers = build_backbone(backbone, Preprocessing(32, channels), None)._flatten_layers()
    normalisations = [
        (layer.fused, layer.momentum) for layer in layers if "BatchNorm" in type(layer).__name__
    ]
    assert len(normalisations) >= 8
    assert set(normalisations) == {(True, 0.9)}


def test_the_resnet18_equals_tf_similaritys_and_takes_its_weights(tmp_path: Path) -> None:
    from tensorflow_similarity.architectures.resnet18 import build_resnet

    from recsim_tasks.learning.model.backbones import build_backbone
    from recsim_tasks.learning.tensorflow_runtime import tensorflow

    keras = tensorflow().keras
    architecture = build_resnet((32, 32, 1))
    pixels = keras.layers.Input((32, 32, 1))
    reference = keras.Model(pixels, architecture(keras.layers.Rescaling(1 / 255)(pixels)), name="resnet18")
    reference.save_weights(tmp_path / "weights.h5")
    ours = build_backbone("resnet18", Preprocessing(32, 1), str(tmp_path / "weights.h5"))
    inputs = images((3, 32, 32, 1))
    assert np.allclose(ours(inputs, training=False), reference(inputs, training=False), atol=1e-4)
    assert np.allclose(ours(inputs, training=True), reference(inputs, training=True), atol=1e-3)
