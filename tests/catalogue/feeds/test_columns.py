from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsim_tasks.catalogue.feeds.columns import check_names, check_parquet_types
from recsim_tasks.foundation.errors import InputError


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (
            ["product_id", "prise"],
            "has unknown column prise. The columns of a feed are product_id, op, title",
        ),
        (["title"], "has no column product_id"),
        (["product_id", "title", "title"], "has column title twice"),
        (["prise", "prise"], "has unknown column prise and column prise twice"),
    ],
)
def test_wrong_columns_are_named(names: list[str], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        check_names(Path("products.csv"), names)


def test_types_of_parquet_columns_must_fit_their_fields(tmp_path: Path) -> None:
    ids = pa.array(["a"]).dictionary_encode()
    pq.write_table(pa.table({"product_id": ids, "price": [1], "in_stock": [1]}), tmp_path / "good.parquet")
    check_parquet_types(tmp_path / "good.parquet")
    pq.write_table(pa.table({"product_id": ids, "price": ["1"], "title": [b"t"]}), tmp_path / "bad.parquet")
    with pytest.raises(
        InputError, match=r"price is string, title is binary\. Expected: price a number, in_stock"
    ):
        check_parquet_types(tmp_path / "bad.parquet")
