"""Whatever stands in a feed's file: each of its rows is taken, or put aside with a reason and a copy."""

from __future__ import annotations

import base64
import json
import random
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from catalogue.histories import png
from recsim_tasks.catalogue.examine import examine
from recsim_tasks.catalogue.feed import open_feed
from recsim_tasks.catalogue.readers import read_rows
from recsim_tasks.foundation.errors import InputError

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("shared_spark")]
BASE64 = base64.b64encode(png(1)).decode()
LINES = 3_000


def read(folder: Path, kind: str, content: bytes) -> list[dict[str, Any]]:
    """The rows of a feed whose file holds `content`, examined, in their order."""
    folder.mkdir(exist_ok=True)
    (folder / f"products.{kind}").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps({"feed_id": "f", "rows": 1}))
    spark = SparkSession.getActiveSession()
    assert spark is not None
    rows = examine(read_rows(spark, open_feed(folder)), folder, max_pixels=10_000).collect()
    return [row.asDict() for row in sorted(rows, key=lambda row: str(row["product_id"]))]


def outcomes(rows: list[dict[str, Any]]) -> dict[str | None, str | None]:
    return {row["product_id"]: row["reason"] for row in rows}


def test_a_csv_value_may_hold_commas_quotes_line_breaks_and_formulas(tmp_path: Path) -> None:
    lines = f'\ufeffproduct_id,title,price,image\r\na,"Boot, ""high""\nand black",9.5,{BASE64}\r\nb,=cmd(),,{BASE64}\r\n'
    one, two = read(tmp_path, "csv", lines.encode())
    assert (one["title"], one["price"], one["reason"]) == ('Boot, "high"\nand black', 9.5, None)
    assert (two["title"], two["price"], two["image"]) == ("=cmd()", None, png(1))


def test_a_bad_line_of_a_csv_is_put_aside_and_those_around_it_are_taken(tmp_path: Path) -> None:
    lines = ["product_id,title", "a,Boot", "b,Bag,more", "c", "d,Gr\udcfcn", "e,Nu\0l", "f,Hat"]
    rows = read(tmp_path, "csv", "\n".join(lines).encode("utf-8", "surrogateescape"))
    told = outcomes(rows)
    assert (told["a"], told["f"]) == (None, None)
    assert "the cells that the header names" in str(told["b"])
    assert "the cells that the header names" in str(told["c"])
    assert "UTF-8" in str(told["d"])
    assert "UTF-8" in str(told["e"])
    assert {row["product_id"]: row["row"] for row in rows}["b"] == "b,Bag,more"


@pytest.mark.parametrize(
    ("line", "product_id", "reason"),
    [
        ("{", None, "not JSON"),
        ("[1]", None, "not a JSON object"),
        ('{"product_id": "p", "colour": "red"}', "p", "unknown column colour"),
        ('{"product_id": "p", "title": ["a"]}', "p", "title holds more than one value"),
        ('{"product_id": "p", "title": "\\ud800"}', None, "half a character"),
        ('{"product_id": "p", "price": NaN}', "p", "not a price"),
        ("[" * 100_000, None, "not JSON"),
    ],
)
def test_a_bad_line_of_jsonl_is_put_aside_whole(tmp_path: Path, line: str, product_id: str | None, reason: str) -> None:
    good = json.dumps({"product_id": "zz", "price": 7, "in_stock": True, "image": BASE64})
    bad, taken = sorted(read(tmp_path, "jsonl", f"{line}\r\n\n{good}".encode()), key=lambda row: row["reason"] is None)
    assert (bad["product_id"], reason in bad["reason"], taken["reason"]) == (product_id, True, None)
    assert (taken["price"], taken["in_stock"], taken["image"]) == (7.0, True, png(1))
    assert bad["row"]


def test_each_of_thousands_of_damaged_lines_is_accounted_for(tmp_path: Path) -> None:
    chance = random.Random(20)
    whole = [json.dumps({"product_id": f"p{n}", "title": "Boot, high", "price": n, "image": BASE64}).encode() for n in range(LINES)]

    def damaged(line: bytes) -> bytes:
        changed = bytearray(line)
        for _ in range(chance.randrange(4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        return re.sub(rb"[\r\n]", b" ", bytes(changed)) or b"x"

    rows = read(tmp_path, "jsonl", b"\n".join(map(damaged, whole)))
    assert len(rows) == LINES
    assert all(row["row"] for row in rows if row["reason"])
    assert 0.2 < np.mean([row["reason"] is None for row in rows]) < 0.9


def test_parquet_may_count_nanoseconds_and_hold_decimal_prices(tmp_path: Path) -> None:
    tmp_path.joinpath("other").mkdir()
    for unit, folder in (("ns", tmp_path), ("ms", tmp_path / "other")):
        moments = pa.array([1_764_000_000], pa.timestamp("s", "UTC")).cast(pa.timestamp(unit, "UTC"))
        table = pa.table({"product_id": ["a"], "price": [Decimal("9.50")], "updated_at": moments, "title": pa.nulls(1)})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        (row,) = read(folder, "parquet", sink.getvalue().to_pybytes())
        assert (row["price"], row["updated_at"].timestamp(), row["title"], row["reason"]) == (9.5, 1_764_000_000.0, None, None)


@pytest.mark.parametrize(
    ("kind", "content", "reason"),
    [
        ("csv", b"product_id,prise\na,1\n", "unknown column prise"),
        ("csv", b"title\nBoot\n", "no column product_id"),
        ("csv", b"product_id,title,title\n", "column title twice"),
        ("csv", b"\xff\xfe\x00", "no header that can be read"),
        ("csv", b"", "no column product_id"),
        ("parquet", b"PAR1", "not Parquet"),
    ],
)
def test_a_file_without_the_columns_of_a_feed_is_refused_by_name(tmp_path: Path, kind: str, content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read(tmp_path, kind, content)
    assert f"products.{kind}" in str(caught.value)
