from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from recsim_demo.feeds import png
from recsim_tasks.catalogue.rows import TEXT_COLUMNS, Taken, take
from recsim_tasks.foundation.errors import InputError

PNG = png(np.arange(64, dtype=np.uint8).reshape(8, 8))


def row(folder: Path, image: bytes | None = PNG, **text: str) -> Taken:
    return take(dict.fromkeys(TEXT_COLUMNS) | {"product_id": "p1"} | text, image, folder, max_pixels=1000)


def test_a_row_is_read_with_all_its_fields(tmp_path: Path) -> None:
    taken = row(tmp_path, title="Boot", category="Shoes", price="9.5", in_stock="True", updated_at="2026-11-24T03:00:00+01:00")
    assert (taken.title, taken.category, taken.price, taken.in_stock) == ("Boot", "Shoes", 9.5, True)
    assert taken.updated_at == datetime(2026, 11, 24, 2, tzinfo=UTC)
    assert taken.image == PNG
    assert len(taken.image_hash or "") == 64


def test_a_row_without_image_leaves_the_picture_open(tmp_path: Path) -> None:
    assert row(tmp_path, image=None).image_hash is None


def test_an_image_may_be_base64_or_a_file_of_the_feed(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(PNG)
    by_text = row(tmp_path, image=None, image_base64=base64.b64encode(PNG).decode())
    by_path = row(tmp_path, image=None, image_path="one.png")
    assert by_text.image_hash == by_path.image_hash == row(tmp_path).image_hash


def test_a_deletion_needs_no_image(tmp_path: Path) -> None:
    assert row(tmp_path, image=b"broken", op="delete").image is None


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "link.png", "a/../../secret.png", "missing.png", "\0"])
def test_an_image_path_that_leaves_the_feed_or_leads_nowhere_is_refused(tmp_path: Path, path: str) -> None:
    feed = tmp_path / "feed"
    feed.mkdir()
    (tmp_path / "secret.png").write_bytes(PNG)
    (feed / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(InputError, match="image_path"):
        row(feed, image=None, image_path=path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ({"product_id": ""}, "no product_id"),
        ({"op": "insert"}, "op is 'insert'"),
        ({"price": "cheap"}, "not a number"),
        ({"price": "nan"}, "not a price"),
        ({"price": "-1"}, "not a price"),
        ({"in_stock": "maybe"}, "neither true nor false"),
        ({"updated_at": "yesterday"}, "ISO 8601"),
        ({"image_base64": "@@"}, "not base64"),
    ],
)
def test_a_bad_cell_is_refused_with_its_reason(tmp_path: Path, text: dict[str, str], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        row(tmp_path, image=None, **text)
