"""From a trained network to the files of a model folder, and from the files to the folder, published at once."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from recsim_tasks.arrays import UInt8Array
from recsim_tasks.foundation.errors import InputError, RecsimError
from recsim_tasks.foundation.publishing import check_digests, digests, publishing, write_json
from recsim_tasks.learning.embedder import DESCRIPTION_FILE, LITERT_FILE, Embedder
from recsim_tasks.learning.model.network import build_network
from recsim_tasks.learning.preprocessing import BACKGROUND, Preprocessing
from recsim_tasks.learning.tensorflow_runtime import tensorflow

SAVED_MODEL = "saved_model"
TOLERANCE = 1e-4
Files = dict[str, bytes]


def export(
    trained: Any, preprocessing: Preprocessing, embedding_size: int, backbone: str, images: UInt8Array
) -> Files:
    """Return the network as SavedModel and LiteRT, by relative path; both take uint8 [n, h, w, c] and compute in float32. Needs TensorFlow.

    Raises `RecsimError` unless both give vectors within 1e-4 of the network's own on `images`.
    """
    tf = tensorflow()
    network = _in_float32(trained, preprocessing, embedding_size, backbone)

    @tf.function(input_signature=[tf.TensorSpec([None, *preprocessing.shape], tf.uint8, name="images")])  # type: ignore[untyped-decorator]
    def embed(images: Any) -> Any:
        return {"embeddings": network(tf.cast(images, tf.float32), training=False)}

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tf.saved_model.save(network, str(folder / SAVED_MODEL), signatures=embed)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / SAVED_MODEL))
        (folder / LITERT_FILE).write_bytes(converter.convert())
        description = describe((folder / LITERT_FILE).read_bytes(), preprocessing, embedding_size)
        (folder / DESCRIPTION_FILE).write_text(json.dumps(description))
        _check_equal(folder, network, images)
        return {
            p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
        }


def describe(litert: bytes, preprocessing: Preprocessing, embedding_size: int) -> dict[str, Any]:
    """Give the fingerprint of a model, SHA-256 over all that its vectors depend on, and those things."""
    facts = {
        "image_size": preprocessing.size,
        "image_channels": preprocessing.channels,
        "background": BACKGROUND,
        "embedding_size": embedding_size,
    }
    return {
        "fingerprint": hashlib.sha256(json.dumps(facts, sort_keys=True).encode() + litert).hexdigest(),
        **facts,
    }


def publish(files: Files, facts: dict[str, Any], out: Path) -> str:
    """Write the model folder `out` in one step, `facts` added to its model.json, which is written last; the fingerprint."""
    description = json.loads(files[DESCRIPTION_FILE])
    with publishing(out) as folder:
        for name, data in files.items():
            if name != DESCRIPTION_FILE:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)
        write_json(folder / DESCRIPTION_FILE, {**description, **facts, "digests": digests(folder)})
    return str(description["fingerprint"])


def check_published(folder: Path) -> None:
    """Refuse a model folder whose files are not as `publish` wrote them (`InputError`)."""
    try:
        listed = dict(json.loads((folder / DESCRIPTION_FILE).read_text())["digests"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no model: {DESCRIPTION_FILE} cannot be read ({error}).") from error
    check_digests(folder, listed, leave_out=DESCRIPTION_FILE)


def _in_float32(trained: Any, preprocessing: Preprocessing, embedding_size: int, backbone: str) -> Any:
    """The same network in full precision: what was trained with less would not convert."""
    if all(layer.compute_dtype == "float32" for layer in trained._flatten_layers()):
        return trained
    precision = tensorflow().keras.mixed_precision
    policy = precision.global_policy()
    precision.set_global_policy("float32")
    try:
        network = build_network(preprocessing, embedding_size, backbone)
    finally:
        precision.set_global_policy(policy)
    network.set_weights(trained.get_weights())
    return network


def _check_equal(folder: Path, network: Any, images: UInt8Array) -> None:
    tf = tensorflow()
    expected = network(tf.cast(images, tf.float32), training=False).numpy()
    saved = (
        tf.saved_model.load(str(folder / SAVED_MODEL))
        .signatures["serving_default"](tf.constant(images))["embeddings"]
        .numpy()
    )
    for name, vectors in (("SavedModel", saved), ("LiteRT copy", Embedder(folder).embed(images))):
        difference = float(np.abs(vectors - expected).max())
        if not difference <= TOLERANCE:
            raise RecsimError(
                f"The {name} of the model gives other vectors than the model itself, by up to {difference:.1e}; at most {TOLERANCE} is accepted. Nothing was written."
            )
