from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from recsim_tasks.catalogue.feeds.feed import open_feed
from recsim_tasks.catalogue.feeds.listing import closed_feeds
from recsim_tasks.foundation.errors import InputError


def feed(folder: Path, manifest: object = None, *files: str) -> Path:
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).touch()
    if manifest is not None:
        (folder / "manifest.json").write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    return folder


GOOD = {"feed_id": "monday", "rows": 3}


@pytest.mark.parametrize("name", ["products.parquet", "products.csv", "products.jsonl"])
def test_a_feed_is_known_by_the_file_of_its_rows(tmp_path: Path, name: str) -> None:
    assert open_feed(feed(tmp_path / "f", GOOD, name)).kind == name.rpartition(".")[2]


def test_idx_files_are_a_feed_as_well(tmp_path: Path) -> None:
    opened = open_feed(feed(tmp_path / "f", GOOD, "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"))
    assert (opened.kind, opened.labels().name) == ("idx", "train-labels-idx1-ubyte.gz")


@pytest.mark.parametrize(
    ("manifest", "files", "reason"),
    [
        (None, ["products.csv"], "not closed yet"),
        ("{", ["products.csv"], "not JSON"),
        ({"rows": 1}, ["products.csv"], "feed_id"),
        ({"feed_id": "../x", "rows": 1}, ["products.csv"], "feed_id"),
        ({"feed_id": "x", "rows": -1}, ["products.csv"], "rows"),
        ({"feed_id": "x", "rows": 1, "ful": True}, ["products.csv"], "ful"),
        ({"feed_id": "x", "rows": 0}, ["products.csv"], "is empty"),
        (GOOD, [], "holds neither"),
        (GOOD, ["products.csv", "products.jsonl"], "which of them counts"),
    ],
)
def test_a_feed_that_cannot_be_used_is_refused_with_the_reason(
    tmp_path: Path, manifest: object, files: list[str], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        open_feed(feed(tmp_path / "f", manifest, *files))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no feed directory"):
        open_feed(tmp_path / "nothing")


def test_closed_feeds_come_in_order_of_arrival_and_open_ones_not_at_all(tmp_path: Path) -> None:
    for name, arrived in (("b", 10), ("a", 20), ("c", 5)):
        os.utime(feed(tmp_path / name, GOOD) / "manifest.json", (arrived, arrived))
    feed(tmp_path / "open", None, "products.csv")
    feed(tmp_path / ".applied", GOOD)
    assert [folder.name for folder in closed_feeds(tmp_path)] == ["c", "b", "a"]
