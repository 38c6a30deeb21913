"""A release of real images by an untrained encoder, which is as fast as a trained one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.data import products_with_images
from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import png
from recsim_tasks.catalogue.schema import INDEXED
from recsim_tasks.contracts import REGISTERED_MODEL, Cursor, EvaluateResult, Metrics, RebuildComparison
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.learning.embedder import Embedder
from recsim_tasks.learning.model.export import description_of, export, publish
from recsim_tasks.learning.model.network import build_network
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.release.bundle import BundleContents, assemble
from recsim_tasks.release.manifest import Manifest, Training
from recsim_tasks.release.registry import registration
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.deduplication import local_folder
from recsim_tasks.release.registry.references import Origin
from recsim_tasks.release.registry.stages import CHAMPION
from recsim_tasks.vectors.index import Index, IndexOrigin

PREPROCESSING = Preprocessing(28, 1)
CURSOR = Cursor("00000000-0000-0000-0000-000000000000", 0)
TRAINING = Training(at=0.0, categories=["all"], unseen=0, backbone="cnn", params={})
METRICS = Metrics(
    precision_at_1=0.0,
    precision_at_10=0.0,
    map_at_r=0.0,
    r_precision=0.0,
    ann_recall_at_10=0.0,
    built_recall=0.0,
    imbalance_growth=1.0,
    query_cpu_p95_ms=0.0,
    coverage=None,
)
EVALUATION = EvaluateResult(
    verdict="passed",
    reasons=["A benchmark."],
    doubts=[],
    mended_by_rebuild=False,
    rules=[],
    metrics=METRICS,
    slices={},
    since_training={},
    since_champion={},
    rebuild=RebuildComparison(
        size=0, missing=0, unexpected=0, outdated=0, compared=0, differing=0, overlap=1.0, rebuilt_overlap=1.0
    ),
    champion=None,
    decision="rebuild",
    index_fingerprint="0" * 64,
)


def make(settings: Settings, data: FashionMnist, products: int, folder: Path) -> Path:
    """Make the bundle of a release of `products`; returns its folder."""
    files = export(
        build_network(PREPROCESSING, settings.embedding_size),
        PREPROCESSING,
        settings.embedding_size,
        "cnn",
        data.test_images[:32, ..., None],
    )
    publish(files, description_of(files), folder / "model")
    embedder = Embedder(folder / "model", threads=2)
    table = products_with_images(data, np.arange(products)).select(INDEXED)
    vectors = embedder.embed(data.train_images[:products, ..., None])
    origin = IndexOrigin(embedder.fingerprint, CURSOR)
    Index.build(table, vectors, origin, settings.index_exact_below).save(folder / "index")
    canaries = [png(image) for image in data.test_images[:8]]
    contents = BundleContents(folder / "model", folder / "index", canaries, METRICS, TRAINING, 0.0)
    assemble(contents, folder / "release")
    return folder / "release"


def register(settings: Settings, bundle: Path, refresh: str) -> int:
    """Register the bundle as a new version."""
    registry = Registry(settings)
    champion = registry.stages.aliases().get(CHAMPION)
    origin = Origin(refresh, champion)
    new = registration.Registration(bundle, Manifest.read(bundle), origin, EVALUATION, page="")
    return registration.register(registry, new)


def stored_mib(settings: Settings, version: int) -> float:
    """Return the MiB that the registry stores for a version, without files shared with earlier ones."""
    registry = Registry(settings)
    folder = local_folder(registry.client.get_model_version_download_uri(REGISTERED_MODEL, str(version)))
    assert folder is not None
    files = [file.stat() for file in folder.rglob("*") if file.is_file()]
    return sum(file.st_size for file in files if version == 1 or file.st_nlink == 1) / 2**20
