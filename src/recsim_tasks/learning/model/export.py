"""Exports a trained network to the files of a model folder, and publishes the folder in one step."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from recsim_tasks.arrays import UInt8Array
from recsim_tasks.foundation.errors import InputError, RecsimError
from recsim_tasks.foundation.native_output import without_native_noise
from recsim_tasks.foundation.publishing import check_digests, digests, publishing, write_json
from recsim_tasks.learning.embedder import DESCRIPTION_FILE, LITERT_FILE, Embedder, EncoderDescription
from recsim_tasks.learning.model.network import build_network
from recsim_tasks.learning.preprocessing import BACKGROUND, Preprocessing
from recsim_tasks.learning.tensorflow_runtime import tensorflow

SAVED_MODEL = "saved_model"
TOLERANCE = 1e-4
ModelFiles = dict[str, bytes]
"""Contents by relative path."""


def export(
    trained: Any, preprocessing: Preprocessing, embedding_size: int, backbone: str, images: UInt8Array
) -> ModelFiles:
    """Export the network as SavedModel and LiteRT; both take uint8 [n, h, w, c] and compute in float32.

    Needs TensorFlow. Raises `RecsimError` unless both embed `images` within 1e-4 of the network's own result.
    """
    tf = tensorflow()
    network = _in_float32(trained, preprocessing, embedding_size, backbone)

    @tf.function(input_signature=[tf.TensorSpec([None, *preprocessing.shape], tf.uint8, name="images")])  # type: ignore[untyped-decorator]
    def embed(images: Any) -> Any:
        return {"embeddings": network(tf.cast(images, tf.float32), training=False)}

    with tempfile.TemporaryDirectory() as scratch, without_native_noise():
        folder = Path(scratch)
        tf.saved_model.save(network, str(folder / SAVED_MODEL), signatures=embed)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / SAVED_MODEL))
        (folder / LITERT_FILE).write_bytes(converter.convert())
        description = describe((folder / LITERT_FILE).read_bytes(), preprocessing, embedding_size)
        (folder / DESCRIPTION_FILE).write_text(description.model_dump_json(exclude_none=True))
        _check_equal(folder, network, images)
        return {
            p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
        }


def describe(litert: bytes, preprocessing: Preprocessing, embedding_size: int) -> EncoderDescription:
    """Describe a model; its fingerprint is the SHA-256 of everything that its embeddings depend on."""
    facts = {
        "image_size": preprocessing.size,
        "image_channels": preprocessing.channels,
        "background": BACKGROUND,
        "embedding_size": embedding_size,
    }
    fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode() + litert).hexdigest()
    return EncoderDescription(fingerprint=fingerprint, **facts)


def write_files(files: ModelFiles, folder: Path) -> None:
    """Write the files into `folder`."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def publish(files: ModelFiles, description: EncoderDescription, out: Path) -> None:
    """Write the model folder `out` in one step; model.json has `description` and the digests of all files."""
    with publishing(out) as folder:
        write_files({name: data for name, data in files.items() if name != DESCRIPTION_FILE}, folder)
        fields = description.model_dump(mode="json", exclude_none=True)
        write_json(folder / DESCRIPTION_FILE, {**fields, "digests": digests(folder)})


def description_of(files: ModelFiles) -> EncoderDescription:
    """The description that `export` put among the files."""
    return EncoderDescription.model_validate_json(files[DESCRIPTION_FILE])


def check_published(folder: Path) -> None:
    """Raise `InputError` for a model folder whose files are not as `publish` wrote them."""
    try:
        listed = dict(json.loads((folder / DESCRIPTION_FILE).read_text())["digests"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} contains no model: {DESCRIPTION_FILE} cannot be read ({error})."
        ) from error
    check_digests(folder, listed, leave_out=DESCRIPTION_FILE)


def _in_float32(trained: Any, preprocessing: Preprocessing, embedding_size: int, backbone: str) -> Any:
    """The same network in full precision: a network with lower precision does not convert."""
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
    embed = tf.saved_model.load(str(folder / SAVED_MODEL)).signatures["serving_default"]
    by_saved_model = embed(tf.constant(images))["embeddings"].numpy()
    by_litert = Embedder(folder).embed(images)
    for name, vectors in (("SavedModel", by_saved_model), ("LiteRT copy", by_litert)):
        difference = float(np.abs(vectors - expected).max())
        if not difference <= TOLERANCE:
            raise RecsimError(
                f"The {name} does not give the network's embeddings: they differ by up to {difference:.1e}, "
                f"and at most {TOLERANCE} is accepted. No model was written."
            )
