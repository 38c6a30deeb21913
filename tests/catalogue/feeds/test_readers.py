"""Every row of a feed is valid, or has a reason and a copy, whatever its file contains."""

from __future__ import annotations

import base64
import json
import random
import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from catalogue.histories import png
from recsim_tasks.catalogue.feeds.feed import open_feed
from recsim_tasks.catalogue.feeds.readers import read_rows
from recsim_tasks.catalogue.feeds.validate import validate_rows
from recsim_tasks.foundation.errors import InputError

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("shared_spark")]
BASE64 = base64.b64encode(png(1)).decode()
LINES = 3_000


def read(folder: Path, kind: str, content: bytes) -> list[dict[str, Any]]:
    """The validated rows of a feed whose file is `content`, by product id."""
    folder.mkdir(exist_ok=True)
    (folder / f"products.{kind}").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps({"feed_id": "f", "rows": 1}))
    spark = SparkSession.getActiveSession()
    assert spark is not None
    rows = validate_rows(read_rows(spark, open_feed(folder)), folder, max_pixels=10_000).collect()
    return [row.asDict() for row in sorted(rows, key=lambda row: str(row["product_id"]))]


def outcomes(rows: list[dict[str, Any]]) -> dict[str | None, str | None]:
    return {row["product_id"]: row["reason"] for row in rows}


def test_a_csv_value_may_contain_commas_quotes_line_breaks_and_formulas(tmp_path: Path) -> None:
    lines = (
        "\ufeffproduct_id,title,price,image\r\n"
        f'a,"Boot, ""high""\nand black",9.5,{BASE64}\r\nb,=cmd(),,{BASE64}\r\n'
    )
    one, two = read(tmp_path, "csv", lines.encode())
    assert (one["title"], one["price"], one["reason"]) == ('Boot, "high"\nand black', 9.5, None)
    assert (two["title"], two["price"], two["image"]) == ("=cmd()", None, png(1))


def test_a_bad_line_of_a_csv_does_not_affect_those_around_it(tmp_path: Path) -> None:
    lines = ["product_id,title", "a,Boot", "b,Bag,more", "c", "d,Gr\udcfcn", "e,Nu\0l", "f,Hat"]
    rows = read(tmp_path, "csv", "\n".join(lines).encode("utf-8", "surrogateescape"))
    reasons = outcomes(rows)
    assert (reasons["a"], reasons["f"]) == (None, None)
    assert "not as many cells as the header" in str(reasons["b"])
    assert "not as many cells as the header" in str(reasons["c"])
    assert "UTF-8" in str(reasons["d"])
    assert "UTF-8" in str(reasons["e"])
    assert {row["product_id"]: row["row"] for row in rows}["b"] == "b,Bag,more"


@pytest.mark.parametrize(
    ("line", "product_id", "reason"),
    [
        ("{", None, "not JSON"),
        ("[1]", None, "not a JSON object"),
        ('{"product_id": "p", "colour": "red"}', "p", "unknown column colour"),
        ('{"product_id": "p", "title": ["a"]}', "p", "title has more than one value"),
        ('{"product_id": "p", "title": "\\ud800"}', None, "lone surrogate"),
        ('{"product_id": "\\udfff", "colour": "red"}', None, "lone surrogate"),
        ('{"product_id": "\\ud800", "title": ["a"]}', None, "lone surrogate"),
        ('{"product_id": "p", "\\ud800": 1}', None, "lone surrogate"),
        ('{"product_id": "p", "title": {"a": "\\ud800"}}', None, "lone surrogate"),
        ('{"product_id": "p", "price": 1e400}', "p", "not a finite number"),
        ('{"product_id": "p", "price": %s}' % ("9" * 5_000), "p", "not a finite number"),
        ('{"product_id": "p", "updated_at": "0000-01-01"}', "p", "ISO 8601"),
        ('{"product_id": "p", "updated_at": "9999-12-31T23:59:59-12:00"}', "p", "ISO 8601"),
        ('{"product_id": "p", "title": "a\\u0000b"}', "p", "UTF-8"),
        ('{"product_id": "%s"}' % ("x" * 10_001), "x" * 10_001, "10,001 characters"),
        ('{"product_id": "p", "price": NaN}', "p", "not a finite number"),
        ("[" * 100_000, None, "not JSON"),
    ],
)
def test_a_bad_line_of_jsonl_is_kept_as_a_copy(
    tmp_path: Path, line: str, product_id: str | None, reason: str
) -> None:
    good = json.dumps({"product_id": "zz", "price": 7, "in_stock": True, "image": BASE64})
    bad, valid = sorted(
        read(tmp_path, "jsonl", f"{line}\r\n\n{good}".encode()), key=lambda row: row["reason"] is None
    )
    assert (bad["product_id"], reason in bad["reason"], valid["reason"]) == (product_id, True, None)
    assert (valid["price"], valid["in_stock"], valid["image"]) == (7.0, True, png(1))
    assert bad["row"]


@pytest.mark.parametrize(
    "moment", ["0002-01-01T00:00:00Z", "1582-10-10", "1899-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"]
)
def test_every_time_of_the_calendar_is_valid(tmp_path: Path, moment: str) -> None:
    (row,) = read(
        tmp_path, "jsonl", json.dumps({"product_id": "p", "updated_at": moment, "image": BASE64}).encode()
    )
    assert row["reason"] is None
    assert row["updated_at"].isoformat().startswith(moment[:19].removesuffix("Z"))


def test_each_of_thousands_of_damaged_lines_is_accounted_for(tmp_path: Path) -> None:
    chance = random.Random(20)
    whole = [
        json.dumps({"product_id": f"p{n}", "title": "Boot, high", "price": n, "image": BASE64}).encode()
        for n in range(LINES)
    ]

    def damaged(line: bytes) -> bytes:
        changed = bytearray(line)
        for _ in range(chance.randrange(4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        return re.sub(rb"[\r\n]", b" ", bytes(changed)) or b"x"

    rows = read(tmp_path, "jsonl", b"\n".join(map(damaged, whole)))
    assert len(rows) == LINES
    assert all(row["row"] for row in rows if row["reason"])
    assert 0.2 < np.mean([row["reason"] is None for row in rows]) < 0.9


def test_parquet_may_have_nanoseconds_and_decimal_prices(tmp_path: Path) -> None:
    tmp_path.joinpath("other").mkdir()
    for unit, folder in (("ns", tmp_path), ("ms", tmp_path / "other")):
        moments = pa.array([1_764_000_000], pa.timestamp("s", "UTC")).cast(pa.timestamp(unit, "UTC"))
        table = pa.table(
            {"product_id": ["a"], "price": [Decimal("9.50")], "updated_at": moments, "title": pa.nulls(1)}
        )
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        (row,) = read(folder, "parquet", sink.getvalue().to_pybytes())
        assert (row["price"], row["updated_at"].timestamp(), row["title"], row["reason"]) == (
            9.5,
            1_764_000_000.0,
            None,
            None,
        )


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, **options)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@pytest.mark.parametrize(
    "moment", ["2026-11-01T10:01:02.000003", "1899-12-31T23:59:59", "2300-01-01T00:00:00"]
)
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_parquet_may_have_times_as_spark_2_wrote_them(tmp_path: Path, moment: str, zone: str | None) -> None:
    moments = pa.array([datetime.fromisoformat(moment), None], pa.timestamp("us", zone))
    content = parquet({"product_id": ["a", "b"], "updated_at": moments}, use_deprecated_int96_timestamps=True)
    one, two = read(tmp_path, "parquet", content)
    assert (one["updated_at"], two["updated_at"]) == (datetime.fromisoformat(moment), None)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (pa.array(["hat"]).dictionary_encode(), "hat"),
        (pa.array(["hat"], pa.large_string()).dictionary_encode(), "hat"),
        (pa.array(["hat"], pa.large_string()), "hat"),
        (pa.array(["hat"], pa.string_view()), "hat"),
    ],
)
def test_parquet_may_have_text_as_categories_or_large_text(
    tmp_path: Path, column: pa.Array, value: str
) -> None:
    (row,) = read(tmp_path, "parquet", parquet({"product_id": ["a"], "category": column}))
    assert (row["category"], row["reason"]) == (value, None)


def test_parquet_may_have_integers_as_booleans_and_dates_as_times(tmp_path: Path) -> None:
    days = pa.array([date(2026, 11, 1), date(2, 1, 1), None], pa.date32())
    content = parquet(
        {"product_id": ["a", "b", "c"], "in_stock": pa.array([1, 0, 2], pa.int8()), "updated_at": days}
    )
    one, two, three = read(tmp_path, "parquet", content)
    assert (one["in_stock"], one["updated_at"]) == (True, datetime(2026, 11, 1))
    assert (two["in_stock"], two["updated_at"]) == (False, datetime(2, 1, 1))
    assert three["reason"] == "in_stock '2' is neither true nor false"


def test_a_time_outside_the_calendar_affects_its_row_only(tmp_path: Path) -> None:
    moments = pa.array([2**62, 0, None], pa.timestamp("us", "UTC"))
    one, two, three = read(
        tmp_path, "parquet", parquet({"product_id": ["a", "b", "c"], "updated_at": moments})
    )
    assert (two["updated_at"], three["updated_at"], two["reason"], three["reason"]) == (
        datetime(1970, 1, 1),
        None,
        None,
        None,
    )
    assert "not a time in ISO 8601" in one["reason"]


@pytest.mark.parametrize(
    "price",
    [pa.array([Decimal(1)], pa.decimal256(70, 0)), pa.array([np.float16(1)], pa.float16()), pa.array(["1"])],
)
def test_a_number_that_spark_does_not_read_is_refused_by_name(tmp_path: Path, price: pa.Array) -> None:
    with pytest.raises(InputError, match=r"columns of the wrong type: price is"):
        read(tmp_path, "parquet", parquet({"product_id": ["a"], "price": price}))


def test_the_index_of_a_pandas_frame_is_ignored_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = pd.DataFrame({"product_id": ["a", "b"], "price": [1.0, 2.0]}, index=[5, 9])
    frame.to_parquet(tmp_path / "other")
    (row, _) = read(tmp_path / "feed", "parquet", (tmp_path / "other").read_bytes())
    assert (row["price"], row["reason"]) == (1.0, None)
    assert "to_parquet(index=False)" in caplog.text


@pytest.mark.parametrize(
    ("kind", "content", "reason"),
    [
        ("csv", b"product_id,prise\na,1\n", "unknown column prise"),
        ("csv", b"title\nBoot\n", "no column product_id"),
        ("csv", b"product_id,title,title\n", "column title twice"),
        ("csv", b"\xff\xfe\x00", "no readable header"),
        ("csv", b"", "no column product_id"),
        ("parquet", b"PAR1", "not Parquet"),
    ],
)
def test_a_file_with_wrong_columns_is_refused_by_name(
    tmp_path: Path, kind: str, content: bytes, reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read(tmp_path, kind, content)
    assert f"products.{kind}" in str(caught.value)
