from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from recsim_tasks.foundation.errors import ConfigurationError
from recsim_tasks.learning.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.ml


def images(shape: tuple[int, ...]) -> np.ndarray:
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


def test_an_unknown_backbone_is_refused_with_those_that_there_are() -> None:
    from recsim_tasks.learning.model.network import build_network

    with pytest.raises(
        ConfigurationError,
        match=r"Unknown backbone 'vgg' \(RECSIM_BACKBONE\); there are cnn, resnet18, efficientnet-b0",
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
def test_weights_that_are_not_the_backbones_are_refused(tmp_path: Path, what: str) -> None:
    from recsim_tasks.learning.model.backbones import build_backbone

    path = tmp_path / "backbone.h5"
    if what == "another network's":
        build_backbone("resnet18", Preprocessing(32, 1), None).save_weights(path)
    if what == "no weights":
        path.write_bytes(b"no weights at all")
    with pytest.raises(ConfigurationError, match="RECSIM_BACKBONE_WEIGHTS"):
        build_backbone("cnn", Preprocessing(28, 1), str(path))


@pytest.mark.parametrize(("backbone", "channels"), [("cnn", 1), ("resnet18", 1), ("efficientnet-b0", 3)])
def test_batch_normalisation_is_fused_and_forgets_soon(backbone: str, channels: int) -> None:
    from recsim_tasks.learning.model.backbones import build_backbone

    layers = build_backbone(backbone, Preprocessing(32, channels), None)._flatten_layers()
    found = [(layer.fused, layer.momentum) for layer in layers if "BatchNorm" in type(layer).__name__]
    assert len(found) >= 8
    assert set(found) == {(True, 0.9)}


def test_the_resnet18_computes_what_tf_similaritys_does_and_takes_its_weights(tmp_path: Path) -> None:
    from tensorflow_similarity.architectures.resnet18 import build_resnet

    from recsim_tasks.learning.model.backbones import build_backbone
    from recsim_tasks.learning.tensorflow_runtime import tensorflow

    keras = tensorflow().keras
    theirs_within = build_resnet((32, 32, 1))
    pixels = keras.layers.Input((32, 32, 1))
    theirs = keras.Model(pixels, theirs_within(keras.layers.Rescaling(1 / 255)(pixels)), name="resnet18")
    theirs.save_weights(tmp_path / "weights.h5")
    ours = build_backbone("resnet18", Preprocessing(32, 1), str(tmp_path / "weights.h5"))
    seen = images((3, 32, 32, 1))
    assert np.allclose(ours(seen, training=False), theirs(seen, training=False), atol=1e-4)
    assert np.allclose(ours(seen, training=True), theirs(seen, training=True), atol=1e-3)


def test_a_network_that_was_trained_in_half_precision_is_exported_in_full(tmp_path: Path) -> None:
    from recsim_tasks.learning.embedder import Embedder
    from recsim_tasks.learning.model.export import export
    from recsim_tasks.learning.model.network import build_network
    from recsim_tasks.learning.tensorflow_runtime import tensorflow

    tf = tensorflow()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        trained = build_network(Preprocessing(28, 1), 16)
        assert trained.layers[1].compute_dtype == "bfloat16"
        assert trained.output.dtype == tf.float32
        pixels = images((6, 28, 28, 1)).astype(np.uint8)
        files = export(trained, Preprocessing(28, 1), 16, "cnn", pixels)
        assert tf.keras.mixed_precision.global_policy().name == "mixed_bfloat16"
        tf.keras.mixed_precision.set_global_policy("float32")
        assert set(export(trained, Preprocessing(28, 1), 16, "cnn", pixels)) == set(files), (
            "the same network, exported again"
        )
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    half = trained(pixels.astype(np.float32), training=False).numpy()
    assert np.abs(Embedder(tmp_path).embed(pixels) - half).max() < 0.05
