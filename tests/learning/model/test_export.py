from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from recsim_tasks.arrays import Float32Array
from recsim_tasks.learning.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.ml


def images(shape: tuple[int, ...]) -> Float32Array:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


def test_a_network_trained_in_half_precision_is_exported_in_full(tmp_path: Path) -> None:
    from recsim_tasks.learning.embedder import Embedder
    from recsim_tasks.learning.model.export import export, write_files
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
    write_files(files, tmp_path)
    half = trained(pixels.astype(np.float32), training=False).numpy()
    assert np.abs(Embedder(tmp_path).embed(pixels) - half).max() < 0.05
