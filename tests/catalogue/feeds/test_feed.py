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
def test_the_file_of_the_rows_has_the_format_in_its_name(tmp_path: Path, name: str) -> None:
    assert open_feed(feed(tmp_path / "f", GOOD, name)).format == name.rpartition(".")[2]


@pytest.mark.parametrize(
    ("manifest", "files", "reason"),
    [
        (None, ["products.csv"], "is not closed yet"),
        ({"feed_id": "x", "rows": 0}, ["products.csv"], "is empty"),
        (GOOD, [], "contains none of products.parquet, products.csv"),
        (GOOD, ["products.csv", "products.jsonl"], "contains products.csv and products.jsonl"),
    ],
)
def test_a_bad_feed_is_refused_with_the_reason(
    tmp_path: Path, manifest: object, files: list[str], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        open_feed(feed(tmp_path / "f", manifest, *files))


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no feed directory"):
        open_feed(tmp_path / "nothing")


def test_only_closed_feeds_are_listed_in_order_of_arrival(tmp_path: Path) -> None:
    for name, arrived in (("b", 10), ("a", 20), ("c", 5)):
        os.utime(feed(tmp_path / name, GOOD) / "manifest.json", (arrived, arrived))
    feed(tmp_path / "open", None, "products.csv")
    feed(tmp_path / ".applied", GOOD)
    assert [folder.name for folder in closed_feeds(tmp_path)] == ["c", "b", "a"]
