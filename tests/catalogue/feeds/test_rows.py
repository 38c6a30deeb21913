from __future__ import annotations

import base64
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsim_demo.feeds import png
from recsim_tasks.catalogue.feeds.rows import TEXT_COLUMNS, ProductRow, image_bytes, parse_row
from recsim_tasks.foundation.errors import InputError

PNG = png(np.arange(64, dtype=np.uint8).reshape(8, 8))


def row(folder: Path, image: bytes | None = PNG, **text: str) -> ProductRow:
    cells = dict.fromkeys(TEXT_COLUMNS) | {"product_id": "p1"} | text
    return parse_row(cells, image_bytes(cells, image, folder), max_pixels=1000)


def test_a_row_is_read_with_all_its_fields(tmp_path: Path) -> None:
    parsed = row(
        tmp_path,
        title="Boot",
        category="Shoes",
        price="9.5",
        in_stock="True",
        updated_at="2026-11-24T03:00:00+01:00",
    )
    assert parsed.stated == {"title": "Boot", "category": "Shoes", "price": 9.5, "in_stock": True}
    assert parsed.updated_at == datetime(2026, 11, 24, 2, tzinfo=UTC)
    assert parsed.image == PNG
    assert len(parsed.image_hash or "") == 64


def test_a_row_without_image_keeps_the_products_image(tmp_path: Path) -> None:
    assert row(tmp_path, image=None).image_hash is None


def test_an_image_may_be_base64_or_a_file_of_the_feed(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(PNG)
    by_text = row(tmp_path, image=None, image_base64=base64.b64encode(PNG).decode())
    by_path = row(tmp_path, image=None, image_path="one.png")
    assert by_text.image_hash == by_path.image_hash == row(tmp_path).image_hash


def test_a_deletion_needs_no_image(tmp_path: Path) -> None:
    assert row(tmp_path, image=b"broken", op="delete").image is None


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "/etc/hostname",
        "link.png",
        "a/../../secret.png",
        "missing.png",
        "\0",
        "pipe",
        ".",
        "x" * 5000,
    ],
)
def test_an_image_path_outside_the_feed_or_to_nothing_is_refused(tmp_path: Path, path: str) -> None:
    feed = tmp_path / "feed"
    feed.mkdir()
    (tmp_path / "secret.png").write_bytes(PNG)
    (feed / "link.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(feed / "pipe")
    with pytest.raises(InputError, match="image_path"):
        row(feed, image=None, image_path=path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ({"product_id": ""}, "no product_id"),
        ({"op": "insert"}, "op is 'insert'"),
        ({"price": "cheap"}, "not a number"),
        ({"price": "nan"}, "price 'nan' is not a finite number of at least 0"),
        ({"price": "-1"}, "not a finite number of at least 0"),
        ({"in_stock": "maybe"}, "neither true nor false"),
        ({"updated_at": "yesterday"}, "ISO 8601"),
        ({"updated_at": "0001-01-01T00:00:00+14:00"}, "ISO 8601"),
        ({"image_base64": "@@"}, "not base64"),
        ({"title": "B\ufffdot"}, "UTF-8"),
        ({"category": "a\0b"}, "UTF-8"),
        ({"product_id": "x" * 10_001}, "10,001 characters"),
    ],
)
def test_a_bad_cell_is_refused_with_its_reason(tmp_path: Path, text: dict[str, str], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        row(tmp_path, image=None, **text)


def test_an_image_of_one_colour_is_a_placeholder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="placeholder"):
        row(tmp_path, image=png(np.full((8, 8), 200, np.uint8)))


@pytest.mark.parametrize("name", ["one.jpg", "one.webp", "ONE.GIF", "one.image", "one"])
def test_the_content_of_an_image_counts_not_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PNG)
    assert row(tmp_path, image=None, image_path=name).image == PNG


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.png").symlink_to("two.png")
    (tmp_path / "two.png").symlink_to("one.png")
    with pytest.raises(InputError, match=r"image_path 'one.png' cannot be read"):
        row(tmp_path, image=None, image_path="one.png")


Cells = (
    st.none()
    | st.text(max_size=30)
    | st.sampled_from(
        ["1e999", "-0", "NaN", "١٢", "=cmd()", "true", "9999-12-31T23:59:59-23:59", "2026-W01", "../.."]
    )
)


@given(
    st.dictionaries(st.sampled_from(TEXT_COLUMNS), Cells),
    st.none() | st.binary(max_size=60) | st.sampled_from([PNG, PNG[:50], PNG + b"x"]),
)
def test_any_cells_are_valid_or_have_a_reason(cells: dict[str, str | None], image: bytes | None) -> None:
    text = dict.fromkeys(TEXT_COLUMNS) | cells
    try:
        parsed = parse_row(text, image_bytes(text, image, Path("/nowhere")), 1000)
    except InputError:
        return
    assert parsed.product_id == cells["product_id"]
    price = parsed.stated["price"]
    assert price is None or (isinstance(price, float) and price >= 0)
