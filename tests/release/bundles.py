"""Bundles for tests, in milliseconds.

A LiteRT model put together by hand (no TensorFlow) and small images as products.
"""

from __future__ import annotations

import hashlib
import io
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pyarrow as pa
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from recsim_tasks.catalogue.images.decode import image_hash
from recsim_tasks.catalogue.schema import PRODUCT_TYPES, arrow_schema
from recsim_tasks.contracts import Cursor, Metrics
from recsim_tasks.foundation.publishing import digests
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.model.export import describe
from recsim_tasks.learning.preprocessing import Preprocessing, decode_all
from recsim_tasks.release.bundle import BundleContents, assemble
from recsim_tasks.release.manifest import Manifest, Training
from recsim_tasks.vectors.index import Index, IndexOrigin
from recsim_tasks.vectors.product_table import with_thumbnails
from recsim_tasks.vectors.thumbnails import thumbnail

SIZE, DIMENSIONS = 16, 8
PREPROCESSING = Preprocessing(SIZE, 1)
CURSOR = Cursor("11111111-2222-3333-4444-555555555555", 3)
CATEGORIES = ("stripes", "rings")
TRAINING = Training(
    at=time.time(),
    categories=list(CATEGORIES),
    unseen=5,
    backbone="cnn",
    params={"learning_rate": 0.003, "pair_loss": "supcon"},
)
AT = 1_790_000_000.0
METRICS = Metrics(
    precision_at_1=0.9,
    precision_at_10=0.8,
    map_at_r=0.7,
    r_precision=0.75,
    ann_recall_at_10=1.0,
    built_recall=1.0,
    imbalance_growth=1.0,
    query_cpu_p95_ms=0.2,
    coverage=1.0,
)


def litert_model(seed: int, blind: int = 0) -> bytes:
    """uint8 [n, 16, 16, 1] to unit vectors [n, 8]: cast, one random matrix, L2 normalisation.

    The first `blind` rows of pixels do not count.
    """
    weights = np.random.default_rng(seed).normal(size=(DIMENSIONS, SIZE * SIZE)).astype(np.float32)
    weights[:, : blind * SIZE] = 0
    uint8, float32 = schema.TensorType.UINT8, schema.TensorType.FLOAT32
    tensors = [
        _tensor("images", [1, SIZE, SIZE, 1], [-1, SIZE, SIZE, 1], uint8, 0),
        _tensor("floats", [1, SIZE, SIZE, 1], [-1, SIZE, SIZE, 1], float32, 0),
        _tensor("weights", [DIMENSIONS, SIZE * SIZE], None, float32, 1),
        _tensor("projected", [1, DIMENSIONS], [-1, DIMENSIONS], float32, 0),
        _tensor("embeddings", [1, DIMENSIONS], [-1, DIMENSIONS], float32, 0),
    ]
    cast, dense, unit = schema.CastOptionsT(), schema.FullyConnectedOptionsT(), schema.L2NormOptionsT()
    cast.inDataType, cast.outDataType = uint8, float32
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs = tensors, [0], [4]
    graph.operators = [
        _operator(0, [0], [1], schema.BuiltinOptions.CastOptions, cast),
        _operator(1, [1, 2, -1], [3], schema.BuiltinOptions.FullyConnectedOptions, dense),
        _operator(2, [3], [4], schema.BuiltinOptions.L2NormOptions, unit),
    ]
    model = schema.ModelT()
    model.version, model.subgraphs = 3, [graph]
    codes = (
        schema.BuiltinOperator.CAST,
        schema.BuiltinOperator.FULLY_CONNECTED,
        schema.BuiltinOperator.L2_NORMALIZATION,
    )
    model.operatorCodes = [_code(code) for code in codes]
    model.buffers = [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = np.frombuffer(weights.tobytes(), np.uint8)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def png_image(number: int) -> bytes:
    """A PNG: stripes when `number` is even, rings when it is odd, with noise of its own."""
    y, x = np.mgrid[:SIZE, :SIZE]
    shape = (x // 2) % 2 if number % 2 == 0 else (np.hypot(x - 7.5, y - 7.5) // 2) % 2
    noise = np.random.default_rng(number).integers(0, 90, (SIZE, SIZE))
    buffer = io.BytesIO()
    Image.fromarray((shape * 160 + noise).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def products(count: int, suffix: str = "") -> pa.Table:
    """A catalogue: even products are stripes at 10, 12, ..., odd ones rings; every third is out of stock.

    Fields that are not named here are null.
    """
    images = [png_image(number) for number in range(count)]
    named = pa.table(
        {
            "product_id": [f"p{number:03d}{suffix}" for number in range(count)],
            "title": [f"Product {number}" for number in range(count)],
            "category": [CATEGORIES[number % 2] for number in range(count)],
            "price": [10.0 + number for number in range(count)],
            "in_stock": [number % 3 != 0 for number in range(count)],
            "updated_at": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * count, pa.timestamp("us", "UTC")),
            "image": pa.array(images, pa.binary()),
            "image_hash": [image_hash(Image.open(io.BytesIO(image))) for image in images],
        }
    )
    for field in arrow_schema(PRODUCT_TYPES):
        if field.name not in named.column_names:
            named = named.append_column(field, pa.nulls(count, field.type))
    return named


def make_model(folder: Path, seed: int = 0, blind: int = 0) -> Path:
    """A model folder."""
    litert = litert_model(seed, blind)
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(litert)
    run_id = hashlib.sha256(litert).hexdigest()[:32]
    description = describe(litert, PREPROCESSING, DIMENSIONS).model_copy(update={"mlflow_run_id": run_id})
    (folder / "model.json").write_text(description.model_dump_json(exclude_none=True))
    return folder


def make_index(folder: Path, model: Path, table: pa.Table, cursor: Cursor = CURSOR) -> Path:
    """An index folder of `table`'s products by the model in `model`."""
    embedder = Embedder(model)
    images = table.column("image").to_pylist()
    vectors = embedder.embed(decode_all(images, embedder.preprocessing))
    looks = np.frombuffer(b"".join(thumbnail(Image.open(io.BytesIO(image))) for image in images), np.uint8)
    table = with_thumbnails(table, looks.reshape(len(images), -1))
    Index.build(
        table,
        vectors,
        IndexOrigin(embedder.fingerprint, cursor),
        exact_below=1000,
    ).save(folder)
    return folder


def make_bundle(
    folder: Path, seed: int = 0, count: int = 40, suffix: str = "", cursor: Cursor = CURSOR
) -> Manifest:
    """A bundle in `folder/release`, its parts beside it.

    `suffix` is at the end of every product id, so that an answer tells its release.
    """
    table = products(count, suffix)
    model = make_model(folder / "model", seed)
    index = make_index(folder / "index", model, table, cursor)
    canaries = [png_image(number) for number in range(4)]
    contents = BundleContents(model, index, canaries, METRICS, TRAINING, AT)
    return assemble(contents, folder / "release")


def reseal(bundle: Path, **changes: object) -> None:
    """A manifest that fits its bundle again, whatever was changed."""
    values = Manifest.read(bundle).model_dump()
    Manifest(**{**values, "digests": digests(bundle, "manifest.json"), **changes}).sealed().write(bundle)


def _tensor(name: str, shape: list[int], signature: list[int] | None, kind: int, buffer: int) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.shapeSignature, tensor.type, tensor.buffer = (
        name,
        shape,
        signature,
        kind,
        buffer,
    )
    return tensor


def _operator(code: int, inputs: list[int], outputs: list[int], kind: int, options: Any) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    return operator


def _code(operator: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = operator
    return code
