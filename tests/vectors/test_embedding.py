"""Embedding on Spark: real images, and a small real encoder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from delta import DeltaTable as DeltaTableOfSpark
from deltalake import DeltaTable
from PIL import Image
from pyspark.sql import SparkSession

from recsim_demo.fashion_mnist import FashionMnist
from recsim_demo.feeds import FeedRow, deliver, upsert
from recsim_tasks.arrays import UInt8Array
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.feeds.ingest import ingest_feed
from recsim_tasks.catalogue.feeds.quarantine import quarantined
from recsim_tasks.contracts import Cursor, EmbedResult, IndexCounts
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.vectors.build import append, build
from recsim_tasks.vectors.consistency import verify
from recsim_tasks.vectors.embedding import embed_missing
from recsim_tasks.vectors.embeddings import read_embeddings
from recsim_tasks.vectors.thumbnails import thumbnail
from release.bundles import make_model
from vectors.spark_catalogue import change

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("shared_spark")]
# An encoder that is blind for the first rows gives this image no unit vector.
DARK = np.zeros((28, 28), np.uint8)
DARK[0, :14] = 255


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model")


@pytest.fixture
def images(fashion_mnist: FashionMnist) -> UInt8Array:
    return fashion_mnist.train_images


def counts(embedded: int, reused: int, of: int, unembeddable: int = 0) -> EmbedResult:
    return EmbedResult(embedded=embedded, reused=reused, of=of, unembeddable=unembeddable)


def rows(settings: Settings) -> list[dict[str, Any]]:
    """The whole embeddings table, in the order of its keys."""
    table = pa.RecordBatchReader.from_stream(DeltaTable(settings.embeddings_uri).scan()).read_all()
    return sorted(table.to_pylist(), key=lambda row: (row["model_fingerprint"], row["image_hash"]))


def test_only_images_that_the_table_lacks_are_embedded(
    settings: Settings, model: Path, images: UInt8Array
) -> None:
    first = {f"p{n}": images[n // 2] for n in range(40)}  # twenty images, each of two products
    cursor = change(settings, first)
    assert embed_missing(settings, cursor, model) == counts(20, 0, 20, 0)
    before = rows(settings)

    change(settings, {}, deleted=["p0", "p1", "p2"])
    cursor = change(
        settings, {**first, "p2": images[7]}, price=9.0
    )  # listed again, at another price, and one with another product's image
    assert embed_missing(settings, cursor, model) == counts(0, 20, 20, 0)
    assert embed_missing(settings, change(settings, first), model).embedded == 0
    assert rows(settings) == before

    cursor = change(settings, {"p5": images[103], **{f"p{n}": images[n] for n in range(100, 103)}})
    assert embed_missing(settings, cursor, model) == counts(4, 20, 24, 0)
    other = make_model(model.parent / "other", seed=1)
    assert embed_missing(settings, cursor, other) == counts(24, 0, 24, 0)
    assert embed_missing(settings, cursor, model).embedded == 0
    assert len(rows(settings)) == 48


def test_each_image_has_its_thumbnail_in_the_table_and_in_the_index(
    settings: Settings, model: Path, images: UInt8Array
) -> None:
    cursor = change(settings, {f"p{n}": images[n] for n in range(6)})
    embed_missing(settings, cursor, model)
    index, _ = build(settings, cursor, _fingerprint(model))
    looks = dict(
        zip(index.products["product_id"].to_pylist(), index.products["thumbnail"].to_pylist(), strict=True)
    )
    assert looks == {f"p{n}": thumbnail(Image.fromarray(images[n])) for n in range(6)}
    assert {row["thumbnail"] for row in rows(settings)} == set(looks.values())


def test_deleted_rows_that_are_still_in_a_file_are_not_embedded(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path, model: Path, images: UInt8Array
) -> None:
    """A deletion vector leaves them in the file; the path has characters that a URL encodes."""
    monkeypatch.setenv("RECSIM_HOME", str(tmp_path / "a home, with spaces"))
    settings = load_settings()
    change(settings, {f"p{n}": images[n] for n in range(12)})
    cursor = change(settings, {"p4": images[50]}, deleted=["p3"])
    assert embed_missing(settings, cursor, model) == counts(11, 0, 11, 0)


def test_products_whose_image_has_no_vector_are_quarantined_and_not_indexed(
    settings: Settings, tmp_path: Path, images: UInt8Array
) -> None:
    blind, seeing = make_model(tmp_path / "blind", blind=4), make_model(tmp_path / "seeing", seed=1)
    first = change(settings, {f"p{n}": images[n] for n in range(12)})
    assert embed_missing(settings, first, blind).unembeddable == 0
    index, _ = build(settings, first, _fingerprint(blind))

    second = change(settings, {"p1": DARK, "p20": DARK, "p21": images[21]})
    for embedded in (2, 0):  # an image without a vector is neither tried nor reported again
        assert embed_missing(settings, second, blind) == counts(embedded, 13 - embedded, 13, 1)
        quarantine = quarantined(settings)
        assert sorted(str(row.product_id) for row in quarantine.newest) == ["p1", "p20"]
        assert "no unit vector" in str(quarantine.newest[0].reason)
    expected = IndexCounts(size=12, added=1, replaced=0, removed=1)
    assert append(settings, index, second) == expected
    assert verify(settings, index, second).same_contents
    third = change(settings, {"p1": DARK}, price=2.0)
    append(settings, index, third)
    assert verify(settings, index, third).same_contents

    assert embed_missing(settings, third, seeing).unembeddable == 0
    assert quarantined(settings).rows == 0
    embed_missing(settings, third, blind)
    row: FeedRow = {**upsert(1, "c", images[1]), "product_id": "p1"}
    ingest_feed(settings, deliver(tmp_path, "mended", [row], "mended"))
    assert [row.product_id for row in quarantined(settings).newest] == ["p20"]


def test_only_the_product_whose_image_does_not_decode_is_quarantined(
    settings: Settings, model: Path, images: UInt8Array
) -> None:
    change(settings, {f"p{n}": images[n] for n in range(4)})
    spark = SparkSession.getActiveSession()
    assert spark is not None
    table = DeltaTableOfSpark.forPath(spark, settings.products_uri)
    table.update("product_id = 'p1'", {"image": "CAST('<html>' AS binary)", "image_hash": "'h1'"})
    table.update("product_id = 'p2'", {"image": "CAST(NULL AS binary)", "image_hash": "'h2'"})
    cursor = head(settings.products_uri)
    assert cursor is not None
    for embedded in (4, 0):
        assert embed_missing(settings, cursor, model) == counts(embedded, 4 - embedded, 4, 2)
    quarantine = quarantined(settings)
    assert sorted(str(row.product_id) for row in quarantine.newest) == ["p1", "p2"]
    assert "does not decode" in str(quarantine.newest[0].reason)
    assert len(build(settings, cursor, _fingerprint(model))[0]) == 2


@pytest.mark.drill
def test_a_killed_run_resumes_after_its_last_commit(
    settings: Settings, tmp_path: Path, model: Path, images: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 of the whole session, twice; then two processes at once, of which one waits for the other.

    The table is bit for bit what a single run writes: batching does not matter.
    """
    cursor = change(settings, {f"p{n}": images[n] for n in range(300)})
    embed_missing(settings, cursor, model)
    expected = rows(settings)
    by_hash = {row["image_hash"]: row["embedding"] for row in expected}
    hashes = [*sorted(by_hash, reverse=True), *list(by_hash)[:5]]
    found = read_embeddings(settings.embeddings_uri, _fingerprint(model), pa.chunked_array([hashes]))
    assert found.vectors.tolist() == [by_hash[name] for name in hashes]
    assert found.valid.all()

    monkeypatch.setenv("RECSIM_EMBED_COMMIT_IMAGES", "40")
    monkeypatch.setenv("RECSIM_EMBEDDINGS", str(tmp_path / "killed"))
    killed = load_settings()
    committed = [0]
    for _ in range(2):
        process = _start(cursor, model)
        _wait(lambda: _committed(killed) > committed[-1], process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        committed.append(_committed(killed))
    assert 0 < committed[1] < committed[2] < 300
    both = [_start(cursor, model), _start(cursor, model)]
    results = sorted(
        EmbedResult.model_validate_json(process.communicate(timeout=300)[0]).embedded for process in both
    )
    assert results == [0, 300 - committed[2]]
    assert rows(killed) == expected
    assert DeltaTable(killed.embeddings_uri).version() >= 300 // 40


def _fingerprint(model: Path) -> str:
    from recsim_tasks.learning.embedder import Embedder

    return Embedder(model).fingerprint


EMBED = """
import sys
from pathlib import Path
from recsim_tasks.contracts import Cursor, EmbedResult, IndexCounts
from recsim_tasks.foundation.settings import load_settings
from recsim_tasks.vectors.embedding import embed_missing
cursor = Cursor(sys.argv[1], int(sys.argv[2]))
print(embed_missing(load_settings(), cursor, Path(sys.argv[3])).model_dump_json())
"""


def _start(cursor: Cursor, model: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", EMBED, cursor.table_id, str(cursor.version), str(model)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def _committed(settings: Settings) -> int:
    return len(rows(settings)) if DeltaTable.is_deltatable(settings.embeddings_uri) else 0


def _wait(is_time: Any, process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + 300
    while not is_time():
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.05)
