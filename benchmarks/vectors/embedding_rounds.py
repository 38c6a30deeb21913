"""The cost of embedding, in several runtimes, and of refreshes compared with embedding a whole catalogue."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable

from benchmarks.bench import Bench
from benchmarks.data import products_with_images, write_catalogue
from recsim_demo.fashion_mnist import FashionMnist
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.spark import spark_session
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.learning.training.train import train
from recsim_tasks.vectors.build import append, build
from recsim_tasks.vectors.embedding import embed_missing
from recsim_tasks.vectors.index import Index

IMAGES = 4_096
SINGLE = 200
PREPROCESSING, EMBEDDING_SIZE = Preprocessing(28, 1), 128
SHARES = (0.001, 0.01, 0.1)


def train_model(settings: Settings, data: FashionMnist, count: int, folder: Path) -> Cursor:
    """Write a catalogue of `count` products, and train an encoder on it for a minute; returns its head."""
    cursor = write_catalogue(settings.products_uri, data, count)
    train(settings, cursor, {}, folder)
    return cursor


def fresh_network() -> Any:
    """Make the encoder in Keras with random weights, which are as fast as trained ones."""
    from recsim_tasks.learning.model.network import build_network
    from recsim_tasks.learning.tensorflow_runtime import tensorflow

    tensorflow(threads=2)
    return build_network(PREPROCESSING, EMBEDDING_SIZE)


def embedded(model: Path, images: Any) -> Any:
    """Return the embeddings of images, float32 [n, d]."""
    return Embedder(model, threads=2).embed(images[:, :, :, None])


def runtimes(bench: Bench, network: Any, model: Path, images: Any, rounds: int) -> None:
    """Record the time of batches and of single images in Keras, ONNX Runtime and LiteRT, two threads each."""
    pixels = images[:IMAGES, :, :, None]
    ours = Embedder(model, threads=2)
    onnx = _onnx(model)

    def predict(batch: Any, size: int) -> Any:
        return network.predict(batch.astype(np.float32), batch_size=size, verbose=0)

    def run_onnx(batch: Any, size: int) -> Any:
        name = onnx.get_inputs()[0].name
        return [onnx.run(None, {name: batch[at : at + size]}) for at in range(0, len(batch), size)]

    batches = {"ours": lambda x, _: ours.embed(x), "ONNX Runtime": run_onnx, "Keras predict": predict}
    for _ in range(rounds):
        for name, run in batches.items():
            for size in (256, 1024):
                run(pixels[:size], size)
                bench.call(f"{name} batch {size}", run, pixels, size, each=IMAGES)
            run(pixels[:1], 1)
            bench.call(
                f"{name} single",
                lambda run=run: [run(pixels[at : at + 1], 1) for at in range(SINGLE)],
                each=SINGLE,
            )


@dataclass(frozen=True)
class Catalogue:
    """A catalogue of `count` products, made from the images of `data`."""

    settings: Settings
    data: FashionMnist
    count: int
    cursor: Cursor


def refreshes(bench: Bench, name: str, catalogue: Catalogue, model: Path) -> None:
    """Embed and index a catalogue, then what 0.1, 1 and 10% of change leave to do.

    The session's start is noted apart.
    """
    settings, cursor = catalogue.settings, catalogue.cursor
    starting = spark_session(settings, "benchmark of the vectors")
    bench.call("Spark session", starting.__enter__)
    try:
        folder = settings.home / "index"
        bench.call(f"{name} embed all", embed_missing, settings, cursor, model)
        bench.call(f"{name} index all", _build, settings, cursor, Embedder(model).fingerprint, folder)
        for share in SHARES:
            changed = int(catalogue.count * share)
            cursor = _change(catalogue, changed)
            result = bench.call(f"{name} embed {share}", embed_missing, settings, cursor, model)
            bench.call(f"{name} index {share}", _append, settings, cursor, folder)
            if result.embedded != changed:
                raise RuntimeError(f"{result.embedded:,} of {changed:,} new images were embedded.")
    finally:
        starting.__exit__(None, None, None)


def _build(settings: Settings, cursor: Cursor, fingerprint: str, folder: Path) -> None:
    build(settings, cursor, fingerprint)[0].save(folder)


def _append(settings: Settings, cursor: Cursor, folder: Path) -> None:
    index = Index.open(folder, writable=True)
    append(settings, index, cursor)
    index.save(folder)


def _change(catalogue: Catalogue, changed: int) -> Cursor:
    """Add products and replace images, half and half, with images that are not in the catalogue yet."""
    uri, data, count = catalogue.settings.products_uri, catalogue.data, catalogue.count
    table = DeltaTable(uri)
    fresh = products_with_images(data, 10 * count + table.version() * count + np.arange(changed))
    old = [
        f"product-{n:08d}" for n in np.random.default_rng(changed).choice(count, changed // 2, replace=False)
    ]
    new = fresh["product_id"].to_pylist()[len(old) :]
    rows = fresh.set_column(0, "product_id", pa.array([*old, *new]))
    merging = table.merge(rows, "s.product_id = t.product_id", source_alias="s", target_alias="t")
    merging.when_matched_update_all().when_not_matched_insert_all().execute()
    cursor = head(uri)
    assert cursor is not None
    return cursor


def _onnx(model: Path) -> Any:
    import onnxruntime

    file = model.parent / "model.onnx"
    command = [
        sys.executable,
        "-m",
        "tf2onnx.convert",
        "--saved-model",
        str(model / "saved_model"),
        "--output",
        str(file),
        "--opset",
        "17",
    ]
    subprocess.run(command, check=True, capture_output=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
